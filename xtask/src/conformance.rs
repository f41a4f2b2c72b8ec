//! `cargo xtask conformance`: runs the tests named after the rows of Kubernetes' conformance suite and writes down which pass.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

/// Where the rows stand.
const ROWS: &str = "tests/conformance/rows.tsv";
/// Where the page goes.
const PAGE: &str = "docs/conformance.md";

/// Runs the tests and writes the page; fails if a test failed.
pub(crate) fn run(root: &Path) -> Result<(), String> {
    let output = Command::new("cargo")
        .args(["nextest", "run", "--test", "conformance", "--locked", "--no-fail-fast", "--color", "never"])
        .current_dir(root)
        .output()
        .map_err(|problem| format!("cannot run cargo: {problem}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let outcomes = outcomes(&said);
    if outcomes.is_empty() {
        return Err(format!("no test ran:\n{said}"));
    }
    let rows = std::fs::read_to_string(root.join(ROWS)).map_err(|problem| format!("{ROWS}: {problem}"))?;
    std::fs::write(root.join(PAGE), page(&rows, &outcomes))
        .map_err(|problem| format!("{PAGE}: {problem}"))?;
    let failed: Vec<&str> =
        outcomes.iter().filter(|(_, passed)| !**passed).map(|(name, _)| name.as_str()).collect();
    if failed.is_empty() { Ok(()) } else { Err(format!("failed: {}\n{said}", failed.join(", "))) }
}

/// Which test passed, by its name without modules, from what nextest prints of each:
/// `PASS [   0.5s] (1/3) orchestra::conformance area::name`.
fn outcomes(said: &str) -> BTreeMap<String, bool> {
    let mut outcomes = BTreeMap::new();
    for line in said.lines() {
        let mut words = line.split_whitespace();
        let passed = match words.next() {
            Some("PASS") => true,
            Some("FAIL" | "ABORT" | "SIGNAL" | "TIMEOUT") => false,
            _ => continue,
        };
        if let Some(name) = words.next_back().and_then(|path| path.rsplit("::").next()) {
            outcomes.insert(name.to_owned(), passed);
        }
    }
    outcomes
}

/// The name of a row's test; the same rule as in `tests/conformance/table.rs`, which holds the tests to it.
fn test_name(spec: &str) -> String {
    let mut outside = String::new();
    let mut depth = 0;
    for letter in spec.chars() {
        match letter {
            '[' => depth += 1,
            ']' => depth -= 1,
            letter if depth == 0 => outside.push(letter.to_ascii_lowercase()),
            _ => {}
        }
    }
    let words = outside.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("_")
}

fn page(rows: &str, outcomes: &BTreeMap<String, bool>) -> String {
    let mut page = String::from(
        "# Kubernetes' conformance suite, row by row\n\n\
         The 446 rows of the suite of Kubernetes 1.36, and for each whether a test here that is named after it and does what it\n\
         does passes. Written by `cargo xtask conformance`, which runs them; the classes say what a row needs: N the API alone,\n\
         C controllers and admission too, F a webhook or an extension server, S pods that are bound and reported, R real\n\
         containers, volumes and network. Where the suite's clients speak protobuf, the tests do.\n\n",
    );
    let mut counts: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    let mut table = String::from("| area | class | row | here |\n|---|---|---|---|\n");
    for line in rows.lines().skip(1) {
        let fields: Vec<&str> = line.split('\t').collect();
        let [area, class, _, spec] = fields[..] else { continue };
        let name = test_name(spec);
        let (here, passes) = match outcomes.get(&name) {
            Some(true) => ("passes", 1),
            Some(false) => ("fails", 0),
            None => ("no test yet", 0),
        };
        let count = counts.entry(class).or_default();
        count.0 += passes;
        count.1 += 1;
        let _ = writeln!(table, "| {area} | {class} | {} | {here} |", spec.replace('|', "\\|"));
    }
    page.push_str("| class | rows | pass |\n|---|---|---|\n");
    for (class, (passes, rows)) in counts {
        let _ = writeln!(page, "| {class} | {rows} | {passes} |");
    }
    page.push('\n');
    page.push_str(&table);
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_without_a_passing_test_is_not_said_to_pass() {
        let rows =
            "area\tclass\trelease\tspec\na\tN\tv1\t[x] One [y]\na\tN\tv1\t[x] Two\na\tC\tv1\t[x] Three, 3.\n";
        let said = "        PASS [   0.1s] (1/2) orchestra::conformance a::one\n        FAIL [   0.1s] (2/2) orchestra::conformance a::two\n";
        let page = page(rows, &outcomes(said));
        assert!(page.contains("| a | N | [x] One [y] | passes |"), "{page}");
        assert!(page.contains("| a | N | [x] Two | fails |"), "{page}");
        assert!(page.contains("| a | C | [x] Three, 3. | no test yet |"), "{page}");
        assert!(page.contains("| N | 2 | 1 |"), "{page}");
    }
}
