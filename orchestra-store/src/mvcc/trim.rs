//! How much of the past is freed at a time.

use super::record::Record;

/// Most changes that are freed under one lock: what a writer who waits for it hardly feels.
pub(super) const STEP: usize = 64;
/// What a change that is freed counts at least, whatever it held: a past of which nothing was overwritten holds little.
const LEAST: usize = 64;

/// What is still to be freed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Share {
    pub(crate) changes: usize,
    pub(crate) bytes: usize,
}

impl Share {
    pub(crate) const ALL: Self = Self { changes: usize::MAX, bytes: usize::MAX };

    pub(super) fn is_used_up(self) -> bool {
        self == Self::default()
    }

    /// A change was freed that held so much.
    pub(super) fn take(&mut self, bytes: usize) {
        self.changes = self.changes.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes.max(LEAST));
    }
}

impl std::iter::Sum for Share {
    fn sum<I: Iterator<Item = Self>>(shares: I) -> Self {
        shares.fold(Self::default(), |a, b| Self { changes: a.changes + b.changes, bytes: a.bytes + b.bytes })
    }
}

/// What was taken out. It is dropped when no lock is held: giving memory back takes longer than finding what to give.
#[derive(Debug, Default)]
#[must_use = "it is to be dropped when no lock is held"]
pub(crate) struct Freed {
    pub(super) records: Vec<Record>,
    pub(super) changes: usize,
    /// Whether there is more below the window.
    pub(crate) has_more: bool,
}
