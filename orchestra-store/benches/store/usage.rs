//! What a process has used, as the kernel counts it.

use std::time::Duration;

use crate::Result;

/// Ticks of the processor clock in `/proc`: 100 a second on every Linux.
const TICK: Duration = Duration::from_millis(10);

/// What a process occupies of the machine's memory, apart from files it has mapped.
pub(crate) fn private_bytes(process: &str) -> Result<u64> {
    status(process, "RssAnon:")
}

/// What a process occupies of the machine's memory in all.
pub(crate) fn resident_bytes(process: &str) -> Result<u64> {
    status(process, "VmRSS:")
}

fn status(process: &str, what: &str) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(what)).ok_or("a status without memory")?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib * 1024)
}

/// How long processors have worked for a process, in it and in the kernel.
pub(crate) fn processor_time(process: &str) -> Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The name before it is in parentheses, and may hold anything.
    let (_, fields) = stat.rsplit_once(')').ok_or("no stat")?;
    let ticks: Result<Vec<u32>> =
        fields.split_whitespace().skip(11).take(2).map(|n| Ok(n.parse()?)).collect();
    Ok(TICK * ticks?.iter().sum())
}
