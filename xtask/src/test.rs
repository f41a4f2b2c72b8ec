//! `cargo xtask test`: the one command that passes every test.

use std::path::Path;
use std::process::Command;

use crate::{example, need};

/// What examples are given that do not run without.
const GIVEN: &[(&str, &[&str])] =
    &[("fgd", &["--nodes", "examples/simulations/nodes.csv", "--pods", "examples/simulations/pods.csv"])];

/// The test world is a feature, for those who have controllers of their own.
pub(crate) const WORLD: [&str; 2] = ["--features", "orchestra/world"];

/// Runs everything; names what could not run and why.
pub(crate) fn run(root: &Path) -> Result<(), String> {
    let missing = need::provide();

    if need::has_cargo("nextest") {
        cargo(root, &["nextest", "run", "--workspace", WORLD[0], WORLD[1], "--locked", "--no-fail-fast"])?;
    } else {
        cargo(
            root,
            &["test", "--workspace", WORLD[0], WORLD[1], "--locked", "--all-targets", "--no-fail-fast"],
        )?;
    }
    cargo(root, &["test", "--workspace", WORLD[0], WORLD[1], "--locked", "--doc"])?;
    for name in examples(root)? {
        let given = GIVEN.iter().find(|(example, _)| *example == name).map_or(&[][..], |(_, given)| given);
        example::run_with(root, &name, given)?;
    }
    if need::has_cargo("deny") {
        cargo(root, &["deny", "--locked", "check"])?;
    } else {
        println!(
            "did not run: cargo deny check, because cargo-deny is not installed (cargo install cargo-deny)"
        );
    }
    for need in missing {
        println!("did not run: the tests that need {}, which is not on the PATH: {}", need.program, need.why);
    }
    Ok(())
}

pub(crate) fn cargo(root: &Path, arguments: &[&str]) -> Result<(), String> {
    println!("\n-- cargo {}", arguments.join(" "));
    let status = Command::new("cargo")
        .args(arguments)
        .current_dir(root)
        .status()
        .map_err(|problem| format!("cannot run cargo: {problem}"))?;
    if status.success() { Ok(()) } else { Err(format!("cargo {} failed", arguments.join(" "))) }
}

/// The examples of the root package: flat files in `examples/`.
fn examples(root: &Path) -> Result<Vec<String>, String> {
    let folder = root.join("examples");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&folder).map_err(|problem| format!("{}: {problem}", folder.display()))? {
        let path = entry.map_err(|problem| problem.to_string())?.path();
        if path.extension().is_some_and(|extension| extension == "rs")
            && let Some(name) = path.file_stem().and_then(|stem| stem.to_str())
        {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}
