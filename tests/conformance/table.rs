//! The rows of the suite, and the name of the test for each.

use std::collections::BTreeSet;

/// The rows: area, class, release, and the specification's own name.
const ROWS: &str = include_str!("rows.tsv");
/// The sources in which a row's test may stand.
const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/conformance");

/// The name of a row's test: what stands outside the brackets, in lower case, other characters as underscores.
fn test_name(spec: &str) -> String {
    let mut name = String::new();
    let mut depth = 0;
    for letter in spec.chars() {
        match letter {
            '[' => depth += 1,
            ']' => depth -= 1,
            _ if depth > 0 => {}
            letter if letter.is_ascii_alphanumeric() => name.push(letter.to_ascii_lowercase()),
            _ if name.ends_with('_') || name.is_empty() => {}
            _ => name.push('_'),
        }
    }
    name.trim_end_matches('_').to_owned()
}

/// Area and name of the test of every row.
fn rows() -> impl Iterator<Item = (String, String)> {
    ROWS.lines().skip(1).map(|line| {
        let fields: Vec<&str> = line.split('\t').collect();
        (fields[0].replace('-', "_"), test_name(fields[3]))
    })
}

/// Every function of the tests with its area: the file or folder it stands in.
fn functions() -> BTreeSet<(String, String)> {
    let mut functions = BTreeSet::new();
    let mut folders = vec![std::path::PathBuf::from(SOURCES)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let inside = path.strip_prefix(SOURCES).unwrap();
            let area = inside.components().next().unwrap().as_os_str().to_string_lossy();
            let area = area.trim_end_matches(".rs").to_owned();
            let text = std::fs::read_to_string(&path).unwrap();
            let mut lines = text.lines().peekable();
            while let Some(line) = lines.next() {
                let tested = line.trim_start().starts_with("#[test]") || line.contains("#[tokio::test");
                let name = lines
                    .peek()
                    .and_then(|next| next.split_once("fn "))
                    .and_then(|(_, rest)| rest.split_once('('));
                if let (true, Some((name, _))) = (tested, name) {
                    functions.insert((area.clone(), name.to_owned()));
                }
            }
        }
    }
    functions
}

#[test]
fn no_two_rows_of_an_area_share_a_name() {
    let mut seen = BTreeSet::new();
    for row in rows() {
        assert!(seen.insert(row.clone()), "{row:?} stands twice");
    }
}

#[test]
fn every_test_is_named_after_a_row_of_its_area() {
    let rows: BTreeSet<_> = rows().collect();
    let strangers: Vec<_> = functions()
        .into_iter()
        .filter(|(area, _)| area != "table" && area != "world")
        .filter(|test| !rows.contains(test))
        .collect();
    assert_eq!(strangers, Vec::new(), "not named after a row");
}
