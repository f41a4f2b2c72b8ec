//! `cargo xtask storms`: the test world's storms, as many as one likes.

use std::path::Path;
use std::process::Command;

/// Runs storms in release on all processors; a failing one is told, and shrunk if asked for.
pub(crate) fn run(root: &Path, mut arguments: impl Iterator<Item = String>) -> Result<(), String> {
    let (mut seeds, mut from, mut shrink) = (10_000_u64, 0_u64, false);
    while let Some(flag) = arguments.next() {
        let mut number = || {
            let value = arguments.next().ok_or_else(|| format!("{flag} needs a number"))?;
            value.parse().map_err(|_| format!("{flag} {value:?}: not a number"))
        };
        match flag.as_str() {
            "--seeds" => seeds = number()?,
            "--from" => from = number()?,
            "--shrink" => shrink = true,
            other => return Err(format!("storms knows --seeds, --from and --shrink, and not {other:?}")),
        }
    }
    let mut cargo = Command::new("cargo");
    cargo.current_dir(root).args([
        "test",
        "--release",
        "--locked",
        "--package",
        "orchestra",
        "--features",
        "world",
    ]);
    cargo.args(["--test", "world", "--", "--ignored", "--exact", "--nocapture"]);
    cargo.arg("storms::many_storms_leave_every_promise_kept");
    cargo.env("STORMS", seeds.to_string()).env("STORMS_FROM", from.to_string());
    if shrink {
        cargo.env("STORMS_SHRINK", "1");
    }
    let status = cargo.status().map_err(|problem| format!("cannot run cargo: {problem}"))?;
    if status.success() { Ok(()) } else { Err("a storm left something broken; see above".to_owned()) }
}
