//! Changes as they happen.

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

/// One message of a watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchMessage {
    /// Everything in the watched range that one revision changed, in the transaction's order.
    Events {
        /// The revision of all of them.
        revision: Revision,
        /// At least one.
        events: Vec<Event>,
    },
    /// Every matching change up to this revision has been delivered on this watch.
    Progress(Revision),
}

/// An endless stream of messages in rising revision. An error is its last item.
pub type WatchStream = BoxStream<'static, Result<WatchMessage>>;
