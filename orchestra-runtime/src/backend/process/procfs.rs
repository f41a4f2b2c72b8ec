//! Tells processes apart for certain: a pid alone is used again, a pid with its start time is not.

use std::fs;
use std::os::fd::OwnedFd;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open};
use serde::{Deserialize, Serialize};

/// One process of one boot of the machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ProcessId {
    pub(super) pid: i32,
    /// Clock ticks after boot, from `/proc/<pid>/stat`.
    pub(super) start: u64,
    /// Which boot.
    pub(super) boot: String,
}

impl ProcessId {
    /// The process `pid`, if there is one now.
    pub(super) fn of(pid: i32) -> Option<Self> {
        Some(Self { pid, start: start_time(pid)?, boot: boot_id() })
    }

    /// Whether this very process still runs. A zombie does not.
    pub(super) fn is_alive(&self) -> bool {
        self.boot == boot_id() && start_time(self.pid) == Some(self.start)
    }

    /// A descriptor that becomes readable when it ends; `None` when it ended.
    pub(super) fn open(&self) -> Option<OwnedFd> {
        let fd = pidfd_open(Pid::from_raw(self.pid)?, PidfdFlags::NONBLOCK).ok()?;
        // Only now, with the descriptor held, is it certain whose it is.
        self.is_alive().then_some(fd)
    }

    /// Signals the process group this process leads.
    pub(super) fn signal_group(&self, signal: Signal) {
        if self.is_alive()
            && let Some(pid) = Pid::from_raw(self.pid)
        {
            // An error means that it ended in between, which is what was wanted.
            let _ = rustix::process::kill_process_group(pid, signal);
        }
    }
}

fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// When a process that has not ended started.
fn start_time(pid: i32) -> Option<u64> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The program's name, in brackets, may hold anything: fields are counted after the last bracket.
fn parse_stat(stat: &str) -> Option<u64> {
    let mut fields = stat.get(stat.rfind(')')? + 1..)?.split_ascii_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X" | "x") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_alive_and_another_start_time_is_another_process() {
        let mut me = ProcessId::of(std::process::id().try_into().unwrap()).unwrap();
        assert!(me.is_alive() && me.open().is_some());
        me.start += 1;
        assert!(!me.is_alive() && me.open().is_none());
    }

    #[test]
    fn names_with_brackets_and_zombies_are_read_right() {
        let tail = "S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 4242 9 9";
        assert_eq!(parse_stat(&format!("7 (a) b) c) {tail}")), Some(4242));
        assert_eq!(parse_stat(&format!("7 (a) {}", tail.replace('S', "Z"))), None);
        assert_eq!(parse_stat("rubbish"), None);
    }
}
