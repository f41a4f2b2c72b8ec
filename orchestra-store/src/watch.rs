//! Changes as they happen.

use std::sync::Arc;

use futures::stream::BoxStream;

use crate::key::Key;
use crate::revision::Revision;
use crate::store::{Entry, Result};

/// A change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The key was set.
    Put {
        /// What it holds now.
        entry: Entry,
        /// What it held before; `None` when it was created.
        previous: Option<Entry>,
    },
    /// The key was removed.
    Delete {
        /// The key.
        key: Key,
        /// The revision of the removal.
        revision: Revision,
        /// What it held before.
        previous: Entry,
    },
}

impl Event {
    /// The key that changed.
    pub fn key(&self) -> &Key {
        match self {
            Self::Put { entry, .. } => &entry.key,
            Self::Delete { key, .. } => key,
        }
    }

    /// The revision of the change.
    pub fn revision(&self) -> Revision {
        match self {
            Self::Put { entry, .. } => entry.mod_revision,
            Self::Delete { revision, .. } => *revision,
        }
    }
}

/// One message of a watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchMessage {
    /// Everything in the watched range that one revision changed, in the transaction's order.
    Events {
        /// The revision of all of them.
        revision: Revision,
        /// At least one; shared by all watchers who see the same.
        events: Arc<[Event]>,
    },
    /// Every matching change up to this revision has been delivered on this watch, and none at or below it follows.
    ///
    /// Nobody asks for it. It comes once when a watch that began in the past has reached the present, and
    /// whenever the store has moved on by changes outside the range while nothing else was queued; many such
    /// revisions come as one message with the newest. So a watch that is drained always knows how far the
    /// store is, and a cache behind it can answer "not older than" reads and send bookmarks without asking.
    /// It is never below the revision that the watch was asked to begin at.
    Progress(Revision),
}

/// An endless stream of messages in rising revision. An error is its last item.
pub type WatchStream = BoxStream<'static, Result<WatchMessage>>;
