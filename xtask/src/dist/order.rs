//! Which functions lie beside each other in the program.
//!
//! Of the functions that were compiled few are ever called, and a page of the program is read in, and has its place in the
//! processor's table of pages, whole. Those that were called lie together, the busiest first.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

/// Writes the names of the functions that counts have seen called, for the linker.
pub(super) fn write(profdata: &Path, counts: &Path, order: &Path) -> Result<(), String> {
    let mut show = Command::new(profdata);
    show.args(["show", "--all-functions", "--counts"]).arg(counts).stdout(Stdio::piped());
    let mut child = show.spawn().map_err(|problem| format!("cannot run {show:?}: {problem}"))?;
    let output = child.stdout.take().ok_or_else(|| format!("{show:?} has no output"))?;
    let names = called(BufReader::new(output)).map_err(|problem| format!("{show:?}: {problem}"))?;
    let status = child.wait().map_err(|problem| format!("{show:?}: {problem}"))?;
    if !status.success() || names.is_empty() {
        return Err(format!("{show:?} ended with {status} and named {} functions", names.len()));
    }
    let mut file = Vec::new();
    for name in &names {
        writeln!(file, "{name}").map_err(|problem| problem.to_string())?;
    }
    std::fs::write(order, file).map_err(|problem| format!("{}: {problem}", order.display()))
}

/// The functions that were called. What was called about as often lies by name, so that what is of one module does.
fn called(shown: impl BufRead) -> std::io::Result<Vec<String>> {
    let (mut functions, mut name) = (Vec::new(), None);
    for line in shown.lines() {
        let line = line?;
        let line = line.trim();
        if let Some(counts) = line.strip_prefix("Block counts: [") {
            let counts =
                counts.trim_end_matches(']').split(", ").filter_map(|count| count.parse::<u64>().ok());
            let times = counts.max().unwrap_or_default();
            functions.extend(name.take().filter(|_| times > 0).map(|name| (times.ilog2(), name)));
        } else if let Some(begun) = line.strip_suffix(':') {
            // What only its own unit sees is named with the unit in front.
            name = begun.rsplit(';').next().map(str::to_owned);
        }
    }
    functions
        .sort_unstable_by(|(times, name), (others, other)| others.cmp(times).then_with(|| name.cmp(other)));
    Ok(functions.into_iter().map(|(_, name)| name).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_called_is_named_and_the_busiest_first() {
        let shown = "Counters:\n  seldom:\n    Hash: 0x1\n    Counters: 2\n    Block counts: [0, 1]\n\
                     \x20 never:\n    Hash: 0x2\n    Counters: 1\n    Block counts: [0]\n\
                     \x20 unit.rs;own:\n    Hash: 0x3\n    Counters: 1\n    Block counts: [1000]\n\
                     \x20 also:\n    Hash: 0x4\n    Counters: 3\n    Block counts: [0, 1001, 7]\n\
                     Functions shown: 4\n";
        assert_eq!(called(shown.as_bytes()).unwrap(), ["also", "own", "seldom"]);
    }
}
