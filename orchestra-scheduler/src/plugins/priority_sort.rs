//! PrioritySort: the more important pod first, then the one that has waited longer.

use std::cmp::Ordering;

use crate::plugin::{Plugin, QueueSort};
use crate::queue::QueuedPod;

/// Orders by priority, highest first, then by the time the pod was last added to the queue.
#[derive(Clone, Copy, Debug, Default)]
pub struct PrioritySort;

impl Plugin for PrioritySort {
    fn name(&self) -> &str {
        "PrioritySort"
    }
}

impl QueueSort for PrioritySort {
    fn order(&self, left: &QueuedPod, right: &QueuedPod) -> Ordering {
        right.pod.priority.cmp(&left.pod.priority).then(left.added.cmp(&right.added))
    }
}
