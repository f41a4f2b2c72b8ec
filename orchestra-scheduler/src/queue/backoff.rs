//! How long a pod pauses, and who is first when the pause is over.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use super::Moment;
use crate::unit::Priority;
use crate::view::PodUid;

/// How long pods pause between attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackoffOptions {
    /// The first pause (`podInitialBackoffSeconds`).
    pub initial: Duration,
    /// The longest pause (`podMaxBackoffSeconds`).
    pub longest: Duration,
}

impl Default for BackoffOptions {
    fn default() -> Self {
        Self { initial: Duration::from_secs(1), longest: Duration::from_secs(10) }
    }
}

impl BackoffOptions {
    /// When a pause that began at `from` is over: doubled for each further rejection (or, if the last attempts
    /// ended in errors, for each error in a row), and cut to whole seconds.
    pub(super) fn over(self, from: Moment, unschedulable: u32, errors: u32) -> Moment {
        let count = if errors > 0 { errors } else { unschedulable };
        if count == 0 {
            return from;
        }
        let factor = 2_u32.saturating_pow(count - 1);
        let pause = self.initial.saturating_mul(factor).min(self.longest);
        Moment(Duration::from_secs(from.after(pause).0.as_secs()))
    }
}

/// Pods by the end of their pause, the more important first within one second.
#[derive(Debug, Default)]
pub(super) struct BackoffHeap(BinaryHeap<Reverse<Pause>>);

/// Ordered by its fields, one after the other.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Pause {
    over: Moment,
    priority: Reverse<Priority>,
    stamp: u64,
    uid: PodUid,
}

impl BackoffHeap {
    pub(super) fn push(&mut self, over: Moment, priority: Priority, uid: PodUid, stamp: u64) {
        self.0.push(Reverse(Pause { over, priority: Reverse(priority), stamp, uid }));
    }

    pub(super) fn pop(&mut self) -> Option<(PodUid, u64)> {
        self.0.pop().map(|Reverse(pause)| (pause.uid, pause.stamp))
    }

    pub(super) fn pop_due(&mut self, now: Moment) -> Option<(PodUid, u64)> {
        if self.next_due()? <= now { self.pop() } else { None }
    }

    pub(super) fn next_due(&self) -> Option<Moment> {
        self.0.peek().map(|Reverse(pause)| pause.over)
    }
}
