//! What containers use, read from `/proc`.
//!
//! A container is its first process, what shares that one's session or group, and all their children. Its processor time is
//! that of the processes there are and of those they have waited for; a process that left its family and has ended is
//! forgotten. Its memory is what is resident, so pages that several processes share count for each of them.

use std::collections::HashMap;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use super::layout::ProcessRecord;
use super::registry::Entry;
use crate::runtime::{ContainerStats, Error, Result};

/// What the kernel counts in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Units {
    ticks_per_second: u64,
    page_bytes: u64,
}

/// One line of `/proc/<pid>/stat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    parent: i32,
    group: i32,
    session: i32,
    /// Of itself and of the children it has waited for.
    ticks: u64,
    /// Clock ticks after boot.
    start: u64,
    pages: u64,
}

/// Reads what these containers use.
pub(super) fn read(running: &[(Arc<Entry>, ProcessRecord)]) -> Result<Vec<ContainerStats>> {
    let units = units();
    let processes = processes().map_err(Error::system("reading /proc"))?;
    let leaders: Vec<(i32, u64)> =
        running.iter().map(|(_, record)| (record.process.pid, record.process.start)).collect();
    let used = attribute(&processes, &leaders);
    let stats = running.iter().zip(used).filter_map(|((entry, record), used)| {
        let (ticks, pages) = used?;
        let nanos = u128::from(ticks) * 1_000_000_000 / u128::from(units.ticks_per_second);
        Some(ContainerStats {
            id: entry.record.id.clone(),
            pod: entry.record.pod.clone(),
            name: entry.record.config.name.clone(),
            started_at: record.started_at,
            cpu: Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)),
            nano_cores: None,
            memory: pages.saturating_mul(units.page_bytes),
        })
    });
    Ok(stats.collect())
}

fn processes() -> std::io::Result<HashMap<i32, Stat>> {
    let mut found = HashMap::new();
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // One that has ended meanwhile.
        let Ok(text) = fs::read_to_string(entry.path().join("stat")) else { continue };
        found.extend(Stat::parse(&text).map(|stat| (pid, stat)));
    }
    Ok(found)
}

impl Stat {
    /// The program's name, in brackets, may hold anything: fields are counted after the last bracket.
    fn parse(stat: &str) -> Option<Self> {
        let fields: Vec<&str> = stat.get(stat.rfind(')')? + 1..)?.split_ascii_whitespace().collect();
        let signed = |at: usize| fields.get(at)?.parse::<i32>().ok();
        // Times of children may be negative in old kernels, and pages of kernel threads are nothing.
        let count = |at: usize| Some(fields.get(at)?.parse::<u64>().unwrap_or(0));
        Some(Self {
            parent: signed(1)?,
            group: signed(2)?,
            session: signed(3)?,
            ticks: (11..15).filter_map(count).fold(0, u64::saturating_add),
            start: count(19)?,
            pages: count(21)?,
        })
    }
}

/// Ticks and pages of each leader's family; nothing where the leader is gone.
fn attribute(processes: &HashMap<i32, Stat>, leaders: &[(i32, u64)]) -> Vec<Option<(u64, u64)>> {
    let is_there = |(pid, start): &(i32, u64)| processes.get(pid).is_some_and(|stat| stat.start == *start);
    let mut families: HashMap<i32, usize> = HashMap::new();
    for (at, (pid, _)) in leaders.iter().enumerate().filter(|(_, leader)| is_there(leader)) {
        families.insert(*pid, at);
    }
    let mut used: Vec<_> = leaders.iter().map(|leader| is_there(leader).then_some((0u64, 0u64))).collect();
    for (pid, stat) in processes {
        let Some(at) = family_of(*pid, processes, &families) else { continue };
        if let Some(Some((ticks, pages))) = used.get_mut(at) {
            *ticks = ticks.saturating_add(stat.ticks);
            *pages = pages.saturating_add(stat.pages);
        }
    }
    used
}

/// The leader that is nearest among a process, its group, its session and its parents.
fn family_of(pid: i32, processes: &HashMap<i32, Stat>, families: &HashMap<i32, usize>) -> Option<usize> {
    let mut pid = pid;
    // Parents are read one after another while processes come and go: a circle would be an accident, but an endless one.
    for _ in 0..64 {
        let stat = processes.get(&pid)?;
        let found = [pid, stat.group, stat.session].iter().find_map(|id| families.get(id));
        if found.is_some() {
            return found.copied();
        }
        pid = stat.parent;
    }
    None
}

/// The kernel's units, as it tells every program at its start.
fn units() -> Units {
    let vector = fs::read("/proc/self/auxv").unwrap_or_default();
    parse_units(&vector)
}

fn parse_units(vector: &[u8]) -> Units {
    const PAGE_SIZE: usize = 6;
    const CLOCK_TICKS: usize = 17;
    let word = |bytes: &[u8]| bytes.try_into().ok().map(usize::from_ne_bytes);
    let (pairs, _) = vector.as_chunks::<{ 2 * size_of::<usize>() }>();
    let value = |wanted: usize| {
        pairs.iter().find_map(|pair| {
            let (key, value) = pair.split_at(size_of::<usize>());
            (word(key)? == wanted).then(|| word(value))?
        })
    };
    let or = |value: Option<usize>, usual: u64| {
        value.and_then(|value| u64::try_from(value).ok()).filter(|value| *value > 0).unwrap_or(usual)
    };
    Units { ticks_per_second: or(value(CLOCK_TICKS), 100), page_bytes: or(value(PAGE_SIZE), 4096) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat(parent: i32, group: i32, session: i32, ticks: u64) -> Stat {
        Stat { parent, group, session, ticks, start: 7, pages: 1 }
    }

    #[test]
    fn a_line_is_read_after_the_name_whatever_that_is() {
        let line = "7 (a) b) S 1 2 3 0 -1 0 0 0 0 0 10 20 3 4 20 0 1 0 4242 999 55 18446744073709551615";
        let wanted = Stat { parent: 1, group: 2, session: 3, ticks: 37, start: 4242, pages: 55 };
        assert_eq!(Stat::parse(line), Some(wanted));
        assert_eq!((Stat::parse("7 (a) S 1"), Stat::parse("rubbish")), (None, None));
    }

    #[test]
    fn children_and_what_shares_a_session_count_for_their_container() {
        let processes = HashMap::from([
            (1, stat(0, 1, 1, 1000)),
            (10, stat(1, 10, 10, 1)),
            (11, stat(10, 10, 10, 2)),
            // It left group and session, and its parent is there.
            (12, stat(11, 12, 12, 4)),
            // Its parent has ended.
            (13, stat(1, 13, 10, 8)),
            (20, stat(1, 20, 20, 100)),
        ]);
        let used = attribute(&processes, &[(10, 7), (20, 7), (30, 7), (1, 8)]);
        assert_eq!(used, [Some((15, 4)), Some((100, 1)), None, None]);
    }

    #[test]
    fn parents_in_a_circle_end() {
        let processes = HashMap::from([(2, stat(3, 2, 2, 1)), (3, stat(2, 3, 3, 1))]);
        assert_eq!(attribute(&processes, &[(9, 7)]), [None]);
    }

    #[test]
    fn this_machine_tells_its_units_and_silence_means_the_usual_ones() {
        assert!(units().ticks_per_second >= 24 && units().page_bytes.is_power_of_two());
        assert_eq!(parse_units(b"rubbish"), Units { ticks_per_second: 100, page_bytes: 4096 });
    }

    #[test]
    fn this_process_uses_processor_and_memory() {
        let processes = processes().unwrap();
        let own = i32::try_from(std::process::id()).unwrap();
        let start = processes[&own].start;
        let used = attribute(&processes, &[(own, start)]);
        assert!(used[0].is_some_and(|(_, pages)| pages > 0), "{used:?}");
    }
}
