//! `cargo xtask example`: an example of any package, with the features that the tests are built with.
//!
//! `cargo run --package` chooses features for one package, and so compiles half the workspace a second time.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::test;

/// Builds all examples and runs the first argument with the others, in the root of the workspace.
pub(crate) fn run(root: &Path, mut arguments: impl Iterator<Item = String>) -> Result<(), String> {
    let name = arguments.next().ok_or("usage: cargo xtask example NAME [ARGUMENT...]")?;
    let arguments: Vec<String> = arguments.collect();
    run_with(root, &name, &arguments.iter().map(String::as_str).collect::<Vec<_>>())
}

pub(crate) fn run_with(root: &Path, name: &str, arguments: &[&str]) -> Result<(), String> {
    test::cargo(root, &["build", "--workspace", test::WORLD[0], test::WORLD[1], "--locked", "--examples"])?;
    println!("\n-- example {name} {}", arguments.join(" "));
    let program = folder()?.join(name);
    let status = Command::new(&program)
        .args(arguments)
        .current_dir(root)
        .status()
        .map_err(|problem| format!("cannot run {}: {problem}", program.display()))?;
    if status.success() { Ok(()) } else { Err(format!("example {name} ended with {status}")) }
}

/// Where cargo puts examples: beside itself, which it put there, too.
fn folder() -> Result<PathBuf, String> {
    let own =
        std::env::current_exe().map_err(|problem| format!("cannot tell where xtask itself is: {problem}"))?;
    Ok(own.with_file_name("examples"))
}
