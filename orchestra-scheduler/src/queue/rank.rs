//! The active queue's order.

use std::cmp::Ordering;
use std::sync::Arc;

use super::QueuedPod;
use crate::plugin::QueueSort;

/// A pod in the active heap; the greatest is popped first.
#[derive(Debug)]
pub(super) struct Ranked {
    pub(super) queued: QueuedPod,
    pub(super) stamp: u64,
    pub(super) sort: Option<Arc<dyn QueueSort>>,
}

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_plugin =
            self.sort.as_ref().map_or(Ordering::Equal, |sort| sort.order(&self.queued, &other.queued));
        by_plugin.then(self.stamp.cmp(&other.stamp)).reverse()
    }
}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Ranked {}
