//! Which functions lie beside each other in the program.
//!
//! Of the functions that were compiled few are ever called, and a page of the program is read in, and has its place in the
//! processor's table of pages, whole. Those that were called lie together: first those that the same parts of a cluster call, so
//! that a scheduler does not read in a server, and of these the busiest.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

/// Has the compiler name functions that more than one unit comes to see after the unit they are of, instead of a number that is
/// known only once they are compiled.
pub(super) const NAMES: &str = "-use-source-filename-for-promoted-locals";

/// How often each function was called, for each of the parts: the unit if it is seen in one alone, and its name.
type Calls = BTreeMap<(Option<String>, String), Vec<u64>>;

/// Writes the names of the functions that were called, for the linker. The counts of each part are a file in `counts`.
pub(super) fn write(profdata: &Path, counts: &Path, order: &Path) -> Result<(), String> {
    let wrong = |problem: std::io::Error| format!("{}: {problem}", counts.display());
    let mut parts = Vec::new();
    for entry in std::fs::read_dir(counts).map_err(wrong)? {
        parts.push(entry.map_err(wrong)?.path());
    }
    parts.sort_unstable();
    let mut calls = Calls::new();
    for (part, file) in parts.iter().enumerate() {
        let mut show = Command::new(profdata);
        show.args(["show", "--all-functions", "--counts"]).arg(file).stdout(Stdio::piped());
        let mut child = show.spawn().map_err(|problem| format!("cannot run {show:?}: {problem}"))?;
        let output = child.stdout.take().ok_or_else(|| format!("{show:?} has no output"))?;
        let before = calls.len();
        called(BufReader::new(output), part, parts.len(), &mut calls)
            .map_err(|problem| format!("{show:?}: {problem}"))?;
        let status = child.wait().map_err(|problem| format!("{show:?}: {problem}"))?;
        if !status.success() {
            return Err(format!("{show:?} ended with {status}"));
        }
        println!("{}: {} functions more were called", file.display(), calls.len() - before);
    }
    std::fs::write(order, ordered(calls)).map_err(|problem| format!("{}: {problem}", order.display()))
}

/// Adds what one of so many parts called.
fn called(shown: impl BufRead, part: usize, parts: usize, calls: &mut Calls) -> std::io::Result<()> {
    let mut name = None;
    for line in shown.lines() {
        let line = line?;
        let line = line.trim();
        if let Some(counts) = line.strip_prefix("Block counts: [") {
            let counts =
                counts.trim_end_matches(']').split(", ").filter_map(|count| count.parse::<u64>().ok());
            let times = counts.max().unwrap_or_default();
            if let Some(name) = name.take().filter(|_| times > 0) {
                let of_parts = calls.entry(name).or_insert_with(|| vec![0; parts]);
                of_parts[part] = of_parts[part].max(times);
            }
        } else if let Some(begun) = line.strip_suffix(':') {
            name = Some(match begun.rsplit_once(';') {
                Some((unit, name)) => (Some(unit.to_owned()), name.to_owned()),
                None => (None, begun.to_owned()),
            });
        }
    }
    Ok(())
}

/// The names, a line each.
fn ordered(calls: Calls) -> String {
    let of_whom = |times: &[u64]| times.iter().map(|times| *times > 0).collect::<Vec<_>>();
    let magnitude = |times: &[u64]| times.iter().max().and_then(|times| times.checked_ilog2());
    let mut calls: Vec<_> = calls.into_iter().collect();
    // What is called about as often lies by name, so that what is of one module does.
    calls.sort_by_cached_key(|((_, name), times)| {
        std::cmp::Reverse((of_whom(times), magnitude(times), std::cmp::Reverse(name.clone())))
    });
    let mut lines = String::new();
    for ((unit, name), _) in &calls {
        // Writing to a string cannot fail.
        let _ = writeln!(lines, "{name}");
        if let Some(unit) = unit {
            let unit = unit.replace(|letter: char| !letter.is_ascii_alphanumeric(), "_");
            let _ = writeln!(lines, "{name}.llvm.{unit}");
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_same_parts_call_lies_together_and_the_busiest_first() {
        let shown = |functions: &[(&str, &str)]| {
            let mut text = "Counters:\n".to_owned();
            for (name, counts) in functions {
                let _ =
                    write!(text, "  {name}:\n    Hash: 0x1\n    Counters: 2\n    Block counts: [{counts}]\n");
            }
            text + "Functions shown: 4\n"
        };
        let mut calls = Calls::new();
        let first =
            shown(&[("seldom", "0, 1"), ("never", "0"), ("own-cgu.1;often", "1000"), ("both", "3, 1, 7")]);
        called(first.as_bytes(), 0, 2, &mut calls).unwrap();
        let second = shown(&[("seldom", "0, 0"), ("never", "0"), ("both", "1, 0, 0"), ("other", "9")]);
        called(second.as_bytes(), 1, 2, &mut calls).unwrap();
        assert_eq!(ordered(calls), "both\noften\noften.llvm.own_cgu_1\nseldom\nother\n");
    }
}
