//! The workspace's own chores, run as `cargo xtask <chore>`.
//!
//! - `test`: every test of the workspace, doctests and examples included; installs what is missing.
//! - `conformance`: the tests named after the rows of Kubernetes' conformance suite; writes docs/conformance.md.
//! - `dist`: the program built for the way it is used.
//! - `example`: an example of any package, with the build that the tests have.
//! - `fuzz`: every fuzz target for a few seconds.
//! - `storms`: the test world's storms, as many as one likes.
//! - `tidy`: the house rules that a machine can check. Never writes.

mod conformance;
mod dist;
mod example;
mod fuzz;
mod need;
mod storms;
mod test;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let root = workspace_root();
    let outcome = match arguments.next().as_deref() {
        Some("test") => test::run(&root),
        Some("conformance") => conformance::run(&root),
        Some("dist") => dist::run(&root),
        Some("example") => example::run(&root, arguments),
        Some("fuzz") => fuzz::run(&root, arguments),
        Some("storms") => storms::run(&root, arguments),
        Some("tidy") => tidy::run(&root),
        other => {
            if let Some(other) = other {
                eprintln!("xtask: no chore is called {other:?}");
            }
            eprintln!(
                "usage: cargo xtask test | conformance | dist | example NAME [ARGUMENT...] | fuzz [--seconds N] | storms [--seeds N] [--from N] [--shrink] [--twice] | tidy"
            );
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("xtask: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn workspace_root() -> PathBuf {
    // xtask sits directly below the root.
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_owned).unwrap_or_default()
}
