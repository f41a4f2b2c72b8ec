//! What changed in a cluster, so that whoever keeps an index of it need not look at everything again.
//!
//! Two means: every state of a node carries a [`Stamp`], and a [`ChangeLog`] lists the nodes touched of late. The log
//! is a shortcut and may be cut off at any time; the stamps alone tell all there is to tell.

use std::sync::atomic::{AtomicU64, Ordering};

/// Entries kept beyond twice the number of nodes.
const KEPT: usize = 1024;

static NEXT: AtomicU64 = AtomicU64::new(0);

/// Names one state: two things of a kind with the same stamp hold the same. Made anew at every change and never twice in
/// a process; it says nothing about which state came first, and no two runs have the same ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stamp(u64);

impl Stamp {
    /// A stamp that nothing carries yet.
    pub(crate) fn fresh() -> Self {
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// Which slots were touched, in order.
#[derive(Debug)]
pub(super) struct ChangeLog {
    lineage: Stamp,
    first: u64,
    slots: Vec<usize>,
}

/// How far someone has read a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bookmark {
    lineage: Stamp,
    next: u64,
}

impl Default for ChangeLog {
    fn default() -> Self {
        Self { lineage: Stamp::fresh(), first: 0, slots: Vec::new() }
    }
}

impl Clone for ChangeLog {
    /// A fork goes its own way, so it starts a log of its own.
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl ChangeLog {
    /// Takes note of a change; `nodes` is how many slots there are.
    pub(super) fn touch(&mut self, slot: usize, nodes: usize) {
        let limit = nodes.saturating_mul(2).saturating_add(KEPT);
        if self.slots.len() >= limit {
            let dropped = limit / 2;
            self.slots.drain(..dropped);
            self.first += dropped as u64;
        }
        self.slots.push(slot);
    }

    /// Slots got other meanings: nothing noted so far can be used.
    pub(super) fn restart(&mut self) {
        *self = Self::default();
    }

    /// Where the log ends now.
    pub(super) fn bookmark(&self) -> Bookmark {
        Bookmark { lineage: self.lineage, next: self.first + self.slots.len() as u64 }
    }

    /// The slots touched since `bookmark`, some perhaps more than once; `None` when the log cannot tell.
    pub(super) fn since(&self, bookmark: Bookmark) -> Option<&[usize]> {
        if bookmark.lineage != self.lineage {
            return None;
        }
        let skipped = usize::try_from(bookmark.next.checked_sub(self.first)?).ok()?;
        self.slots.get(skipped..)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_tells_what_was_touched_since_a_bookmark() {
        let mut log = ChangeLog::default();
        log.touch(7, 10);
        let mark = log.bookmark();
        log.touch(3, 10);
        log.touch(3, 10);
        assert_eq!(log.since(mark), Some(&[3, 3][..]));
        assert_eq!(log.since(log.bookmark()), Some(&[][..]));
    }

    #[test]
    fn a_log_that_was_cut_off_forked_or_restarted_says_so() {
        let mut log = ChangeLog::default();
        let mark = log.bookmark();
        assert_eq!(log.clone().since(mark), None);
        for _ in 0..5000 {
            log.touch(0, 4);
        }
        assert_eq!(log.since(mark), None);
        assert!(log.slots.len() < 2000);
        let mark = log.bookmark();
        log.restart();
        assert_eq!(log.since(mark), None);
    }
}
