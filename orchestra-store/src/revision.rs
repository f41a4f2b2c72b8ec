//! The one counter of a store.

use std::fmt;

/// A point in a store's history. An empty store is at 1; 0 means "none" and is never the revision of data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Revision(pub u64);

impl Revision {
    /// No revision; in a compare: the key does not exist.
    pub const NONE: Self = Self(0);

    /// The revision after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An answer and the revision it was served at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versioned<T> {
    /// The revision of the store that the answer reflects.
    pub revision: Revision,
    /// The answer.
    pub value: T,
}
