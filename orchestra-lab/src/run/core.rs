//! What decides, behind one face: the live scheduler's dispatcher, or a strategy in batches.

use orchestra_scheduler::queue::Moment;
use orchestra_scheduler::view::{ClusterView, NodeFacts, PodKey, PodUid, PodView};
use orchestra_scheduler::{Dispatcher, Step};

use super::batch::Batch;
use super::{Decider, RunError, RunOptions};
use crate::time::SimTime;

#[derive(Debug)]
pub(super) enum Core {
    Dispatcher(Box<Dispatcher>),
    Batch(Box<Batch>),
}

impl Core {
    pub(super) fn of(decider: &Decider, options: &RunOptions) -> Result<Self, RunError> {
        Ok(match decider {
            Decider::Scheduler(scheduler) => Self::Dispatcher(Box::new(scheduler.dispatcher()?)),
            Decider::Strategy(strategy) => Self::Batch(Box::new(Batch::new(strategy.clone(), options.batch))),
        })
    }

    pub(super) fn cluster(&self) -> &ClusterView {
        match self {
            Self::Dispatcher(dispatcher) => dispatcher.cluster(),
            Self::Batch(batch) => batch.cluster(),
        }
    }

    pub(super) fn node_applied(&mut self, facts: NodeFacts, now: SimTime) {
        match self {
            Self::Dispatcher(dispatcher) => dispatcher.node_applied(facts, now.into()),
            Self::Batch(batch) => batch.node_applied(facts),
        }
    }

    pub(super) fn node_deleted(&mut self, name: &str, now: SimTime) {
        match self {
            Self::Dispatcher(dispatcher) => dispatcher.node_deleted(name, now.into()),
            Self::Batch(batch) => batch.node_deleted(name),
        }
    }

    pub(super) fn pod_applied(&mut self, pod: PodView, now: SimTime) {
        match self {
            Self::Dispatcher(dispatcher) => dispatcher.pod_applied(pod, now.into()),
            Self::Batch(batch) => batch.pod_applied(pod),
        }
    }

    pub(super) fn pod_deleted(&mut self, key: &PodKey, uid: &PodUid, now: SimTime) {
        match self {
            Self::Dispatcher(dispatcher) => dispatcher.pod_deleted(key, now.into()),
            Self::Batch(batch) => batch.pod_deleted(uid),
        }
    }

    pub(super) fn performed(&mut self, uid: &PodUid, result: Result<(), String>, now: SimTime) {
        match self {
            Self::Dispatcher(dispatcher) => dispatcher.performed(uid, result, now.into()),
            // A batch counts its pods as placed from the start; it is told of the bound pod besides.
            Self::Batch(_) => {}
        }
    }

    pub(super) fn evicted(&mut self, preemptor: &PodUid, now: SimTime) {
        if let Self::Dispatcher(dispatcher) = self {
            dispatcher.evicted(preemptor, Ok(()), now.into());
        }
    }

    pub(super) fn next(&mut self, now: SimTime) -> Result<Option<Step>, RunError> {
        match self {
            Self::Dispatcher(dispatcher) => Ok(dispatcher.next(now.into())),
            Self::Batch(batch) => {
                batch.next(now).map_err(|problem| RunError::Contract { time: now, problem })
            }
        }
    }

    pub(super) fn next_due(&self) -> Option<SimTime> {
        match self {
            Self::Dispatcher(dispatcher) => dispatcher.next_due().map(Moment::into),
            Self::Batch(batch) => batch.next_due(),
        }
    }

    /// Whether a pod was decided on and waits for something before it is bound.
    pub(super) fn has_undone(&self) -> bool {
        match self {
            Self::Dispatcher(dispatcher) => dispatcher.counts().in_flight > 0,
            Self::Batch(_) => false,
        }
    }
}
