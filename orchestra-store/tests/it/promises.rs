//! `docs/store-guarantees.md` and the suite speak of the same promises.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Each letter and how many promises it has.
const PROMISES: [(char, u32); 8] =
    [('a', 8), ('b', 6), ('c', 5), ('d', 12), ('e', 5), ('f', 5), ('g', 6), ('h', 3)];

fn text(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The parts of a name that are promises: `d2` and `d3` of `d2_d3_no_event_…`.
fn promises(name: &str) -> impl Iterator<Item = &str> {
    name.split('_').take_while(|part| {
        let mut chars = part.chars();
        chars.next().is_some_and(char::is_alphabetic)
            && !chars.as_str().is_empty()
            && chars.all(|c| c.is_ascii_digit())
    })
}

/// The cases that the macros list.
fn cases() -> BTreeSet<String> {
    let suite = text("src/conformance.rs");
    let names = suite.lines().map(str::trim).filter(|line| promises(line).next().is_some());
    names.map(str::to_owned).collect()
}

#[test]
fn every_promise_has_a_row_and_every_case_it_names_exists() {
    let (page, cases) = (text("../docs/store-guarantees.md"), cases());
    let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| ")).collect();
    for (letter, count) in PROMISES {
        for n in 1..=count {
            let name = format!("{}{n}", letter.to_ascii_uppercase());
            let is_it = |row: &&&str| {
                row.split('|').nth(1).is_some_and(|cell| cell.split(',').any(|it| it.trim() == name))
            };
            let row = rows.iter().find(is_it).unwrap_or_else(|| panic!("{name} has no row"));
            assert!(row.matches('`').count() >= 2, "{name} is shown by nothing: {row}");
        }
    }
    for quoted in page.split('`').skip(1).step_by(2) {
        if let Some(begin) = quoted.strip_suffix('…')
            && promises(begin).next().is_some()
        {
            assert!(cases.iter().any(|case| case.starts_with(begin)), "no case begins with {begin}");
        }
    }
}

#[test]
fn every_case_is_about_a_promise_of_the_page() {
    let page = text("../docs/store-guarantees.md");
    for case in cases() {
        for promise in promises(&case) {
            assert!(
                page.contains(&format!("`{promise}_")) || page.contains(&format!("_{promise}_")),
                "{case}"
            );
        }
    }
}
