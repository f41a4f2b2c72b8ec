//! What the kernel says that a process uses.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// How often the kernel counts CPU time in /proc, for each second. Fixed by its interface to programs.
const TICKS: u64 = 100;

/// This process, as the kernel calls it.
const SELF: &str = "self";

/// CPU time used since this process began, in user and kernel mode.
pub(crate) fn cpu() -> Duration {
    cpu_of(SELF)
}

/// The same of any process.
pub(crate) fn cpu_of(process: &str) -> Duration {
    used(&Path::new("/proc").join(process).join("stat")).map_or(Duration::ZERO, |(_, used)| used)
}

/// The same by the names of threads, for those that live.
pub(crate) fn cpu_by_thread() -> BTreeMap<String, Duration> {
    let mut by_name = BTreeMap::new();
    for task in std::fs::read_dir("/proc/self/task").expect("/proc").flatten() {
        // One that has just ended.
        let Some((name, used)) = used(&task.path().join("stat")) else { continue };
        *by_name.entry(name).or_default() += used;
    }
    by_name
}

fn used(stat: &Path) -> Option<(String, Duration)> {
    let stat = std::fs::read_to_string(stat).ok()?;
    // The second field is a name in brackets and may hold blanks; the two times are the 14th and 15th.
    let (name, fields) = (stat.split_once('(')?.1, stat.rsplit(')').next()?);
    let name = name.rsplit_once(')')?.0;
    let ticks = fields.split_whitespace().skip(11).take(2).map(|field| field.parse::<u64>().unwrap_or(0));
    Some((name.to_owned(), Duration::from_millis(ticks.sum::<u64>() * 1000 / TICKS)))
}

pub(crate) fn resident_mib() -> f64 {
    resident_mib_of(SELF)
}

pub(crate) fn resident_mib_of(process: &str) -> f64 {
    let status = std::fs::read_to_string(Path::new("/proc").join(process).join("status")).expect("/proc");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    let kib: f64 = line.split_whitespace().next().and_then(|number| number.parse().ok()).expect("a number");
    kib / 1024.0
}
