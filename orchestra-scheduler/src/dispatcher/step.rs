//! What the dispatcher wants done.

use std::sync::Arc;

use crate::effect::Effect;
use crate::verdict::Announcement;
use crate::view::{NodeName, PodView};

/// One thing to do.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Step {
    /// Carry out effects, then tell [`Dispatcher::performed`](super::Dispatcher::performed).
    Perform(Job),
    /// Carry out effects that may help a pod. There is no answer to give: what they change is seen when it comes back.
    Repair {
        /// The pod.
        pod: Arc<PodView>,
        /// What to do.
        effects: Vec<Effect>,
    },
    /// Tell the world that a pod was bound.
    Bound {
        /// The pod.
        pod: Arc<PodView>,
        /// Its node.
        node: NodeName,
    },
    /// Tell the world what a pod waits for before it can be bound.
    Announce {
        /// The pod.
        pod: Arc<PodView>,
        /// What it hears.
        notice: Announcement,
    },
    /// Tell the world why a pod has no node.
    Report(Report),
    /// Evict a pod, then tell [`Dispatcher::evicted`](super::Dispatcher::evicted) (unless it was done in memory).
    Evict(Eviction),
}

/// A pod that has to go.
#[derive(Clone, Debug)]
pub struct Eviction {
    /// Who goes.
    pub victim: Arc<PodView>,
    /// For whom.
    pub preemptor: Arc<PodView>,
    /// From where.
    pub node: NodeName,
    /// The victim was only assumed to be there and is not any more; nothing is to be deleted.
    pub in_memory: bool,
}

/// Effects for one pod, to be carried out in order.
#[derive(Clone, Debug)]
pub struct Job {
    /// The pod.
    pub pod: Arc<PodView>,
    /// The node it was decided for.
    pub node: NodeName,
    /// What to do.
    pub effects: Vec<Effect>,
}

/// Why a pod has no node.
#[derive(Clone, Debug)]
pub struct Report {
    /// The pod.
    pub pod: Arc<PodView>,
    /// In one word.
    pub reason: ReportReason,
    /// In words.
    pub message: String,
    /// The node on which it is promised room.
    pub nominated: Option<NodeName>,
    /// How many pods are to go for it; `None` where room was not looked for.
    pub victims: Option<usize>,
}

/// Why a pod has no node, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportReason {
    /// No node will do.
    Unschedulable,
    /// Something broke.
    SchedulerError,
    /// It is being deleted; there is an event and no condition.
    Deleting,
    /// A more important pod took what it was promised; there is neither event nor condition.
    Displaced,
}
