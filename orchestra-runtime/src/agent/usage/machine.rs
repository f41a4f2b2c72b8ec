//! What the machine as a whole uses: all of its programs, not only those in containers.

use std::time::Duration;

/// Up to now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MachineUsage {
    /// How long its processors have worked since it started.
    pub(super) cpu: Duration,
    /// Bytes of memory that could not be had without swapping.
    pub(super) memory: u64,
    /// Bytes of memory that could.
    pub(super) available: u64,
}

impl MachineUsage {
    /// Reads it; nothing where the machine does not tell.
    pub(super) fn read() -> Option<Self> {
        let text = |path: &str| std::fs::read_to_string(path).ok();
        Self::parse(&text("/proc/stat")?, &text("/proc/meminfo")?)
    }

    /// `/proc/stat` counts in hundredths of a second on every architecture there is a node for.
    fn parse(stat: &str, meminfo: &str) -> Option<Self> {
        let counts = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
        let counts: Vec<u64> =
            counts.split_ascii_whitespace().map_while(|count| count.parse().ok()).collect();
        // user, nice, system; idle and waiting are none; irq, softirq, steal. What guests use is in user.
        let busy: u64 = [0, 1, 2, 5, 6, 7].into_iter().filter_map(|at| counts.get(at)).sum();
        let kib = |name: &str| {
            let line = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
        };
        let available = kib("MemAvailable")?;
        Some(Self {
            cpu: Duration::from_millis(busy.saturating_mul(10)),
            memory: kib("MemTotal")?.saturating_sub(available),
            available,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_time_and_what_guests_use_do_not_count_twice() {
        let stat = "cpu  100 10 30 9999 500 5 4 1 77 0\ncpu0 1 2 3\n";
        let meminfo = "MemTotal:  100 kB\nMemFree: 10 kB\nMemAvailable:   40 kB\n";
        let wanted =
            MachineUsage { cpu: Duration::from_millis(1500), memory: 60 * 1024, available: 40 * 1024 };
        assert_eq!(MachineUsage::parse(stat, meminfo), Some(wanted));
        assert_eq!(MachineUsage::parse("", meminfo), None);
        assert_eq!(MachineUsage::parse(stat, "MemTotal: 1 kB"), None);
    }
}
