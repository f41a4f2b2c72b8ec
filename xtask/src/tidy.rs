//! `cargo xtask tidy`: rules of the house that neither the compiler nor clippy knows.

use std::fs;
use std::path::{Path, PathBuf};

/// Names that say nothing about what is inside.
const REFUSED_NAMES: &[&str] = &["utils", "util", "common", "helpers", "helper", "misc", "types"];

/// Lines a source file may have, tests that moved into files of their own aside.
const LONGEST_SOURCE: usize = 800;
/// Lines a file of tests may have.
const LONGEST_TEST: usize = 1_200;

/// Which workspace crates a crate may name in its `[dependencies]`.
const MAY_KNOW: &[(&str, &[&str])] = &[
    ("orchestra-metrics", &[]),
    ("orchestra-cel", &[]),
    ("orchestra-core", &["orchestra-cel"]),
    ("orchestra-store", &["orchestra-core", "orchestra-metrics"]),
    ("orchestra-apiserver", &["orchestra-core", "orchestra-metrics", "orchestra-store"]),
    ("orchestra-controllers", &["orchestra-core", "orchestra-metrics"]),
    ("orchestra-scheduler", &["orchestra-cel", "orchestra-core", "orchestra-metrics"]),
    ("orchestra-lab", &["orchestra-core", "orchestra-scheduler"]),
    ("orchestra-net", &["orchestra-core", "orchestra-metrics"]),
    ("orchestra-runtime", &["orchestra-core", "orchestra-metrics", "orchestra-net"]),
];

/// The page whose tables name, in their last column, the test that holds each statement, and where those tests are.
const STATEMENTS: (&str, &str) = ("docs/scheduling-semantics.md", "orchestra-scheduler");

/// Checks every rule and reports every breach.
pub(crate) fn run(root: &Path) -> Result<(), String> {
    let mut breaches = Vec::new();
    for (name, may_know) in MAY_KNOW {
        check_dependencies(root, name, may_know, &mut breaches)?;
    }
    let mut sources = Vec::new();
    for folder in ["src", "xtask", "fuzz/fuzz_targets", "fuzz/src", "examples", "benches", "tests"]
        .into_iter()
        .chain(MAY_KNOW.iter().map(|(name, _)| *name))
    {
        collect_sources(&root.join(folder), &mut sources)?;
    }
    for path in &sources {
        check_source(root, path, &mut breaches)?;
    }
    check_statements(root, &mut breaches)?;
    if breaches.is_empty() {
        println!("tidy: {} files keep the rules", sources.len());
        return Ok(());
    }
    Err(format!("the house rules are broken:\n  {}", breaches.join("\n  ")))
}

fn check_dependencies(
    root: &Path,
    name: &str,
    may_know: &[&str],
    breaches: &mut Vec<String>,
) -> Result<(), String> {
    let manifest = read(&root.join(name).join("Cargo.toml"))?;
    let mut in_dependencies = false;
    for line in manifest.lines() {
        if line.starts_with('[') {
            in_dependencies = line.trim() == "[dependencies]";
        } else if in_dependencies {
            let dependency = line.split(['.', ' ', '=']).next().unwrap_or_default();
            if dependency.starts_with("orchestra-") && !may_know.contains(&dependency) {
                breaches.push(format!("{name} depends on {dependency}; dependencies point one way"));
            }
        }
    }
    Ok(())
}

fn check_statements(root: &Path, breaches: &mut Vec<String>) -> Result<(), String> {
    let (page, folder) = STATEMENTS;
    let mut sources = Vec::new();
    collect_sources(&root.join(folder), &mut sources)?;
    let code = sources.iter().map(|path| read(path)).collect::<Result<String, _>>()?;
    for (number, line) in read(&root.join(page))?.lines().enumerate() {
        let Some(test) = line.strip_suffix("` |").and_then(|line| line.rsplit('`').next()) else { continue };
        if !code.contains(&format!("fn {test}(")) {
            breaches.push(format!("{page}:{}: there is no test {test}", number + 1));
        }
    }
    Ok(())
}

fn check_source(root: &Path, path: &Path, breaches: &mut Vec<String>) -> Result<(), String> {
    let shown = path.strip_prefix(root).unwrap_or(path).display().to_string();
    let text = read(path)?;
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    if REFUSED_NAMES.contains(&stem) {
        breaches.push(format!("{shown}: a name that says nothing about what is inside"));
    }
    let is_test = shown.contains("/tests/") || shown.starts_with("tests/") || shown.ends_with("tests.rs");
    // Unit tests at the end of a file do not count against its length.
    let lines = if is_test {
        text.lines().count()
    } else {
        text.lines().take_while(|line| *line != "#[cfg(test)]").count()
    };
    let longest = if is_test { LONGEST_TEST } else { LONGEST_SOURCE };
    if lines > longest {
        breaches.push(format!("{shown}: {lines} lines, more than {longest}"));
    }
    for (number, line) in text.lines().enumerate() {
        let line = line.trim_start();
        if (line.starts_with("//!") || line.starts_with("///"))
            && line.contains("```")
            && line.contains("ignore")
        {
            breaches.push(format!("{shown}:{}: a code example that nobody compiles", number + 1));
        }
    }
    Ok(())
}

fn collect_sources(folder: &Path, sources: &mut Vec<PathBuf>) -> Result<(), String> {
    if !folder.exists() {
        return Ok(());
    }
    let entries = fs::read_dir(folder).map_err(|problem| format!("{}: {problem}", folder.display()))?;
    for entry in entries {
        let path = entry.map_err(|problem| problem.to_string())?.path();
        if path.is_dir() {
            collect_sources(&path, sources)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            sources.push(path);
        }
    }
    sources.sort();
    Ok(())
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|problem| format!("{}: {problem}", path.display()))
}
