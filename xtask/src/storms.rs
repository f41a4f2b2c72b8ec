//! `cargo xtask storms`: the test world's storms, as many as one likes.

use std::path::Path;
use std::process::Command;

/// Runs storms in release on all processors; a failing one is told, and shrunk if asked for; each is run twice and
/// has to replay if asked for.
pub(crate) fn run(root: &Path, mut arguments: impl Iterator<Item = String>) -> Result<(), String> {
    let (mut seeds, mut from, mut care) = (10_000_u64, 0_u64, Vec::new());
    while let Some(flag) = arguments.next() {
        let mut number = || {
            let value = arguments.next().ok_or_else(|| format!("{flag} needs a number"))?;
            value.parse().map_err(|_| format!("{flag} {value:?}: not a number"))
        };
        match flag.as_str() {
            "--seeds" => seeds = number()?,
            "--from" => from = number()?,
            "--shrink" => care.push("STORMS_SHRINK"),
            "--twice" => care.push("STORMS_TWICE"),
            other => {
                return Err(format!("storms knows --seeds, --from, --shrink and --twice, and not {other:?}"));
            }
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
    cargo.envs(care.into_iter().map(|name| (name, "1")));
    let status = cargo.status().map_err(|problem| format!("cannot run cargo: {problem}"))?;
    if status.success() { Ok(()) } else { Err("a storm left something broken; see above".to_owned()) }
}
