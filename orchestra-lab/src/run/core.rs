//! The live scheduler's dispatcher, told the time of the simulation.

use orchestra_scheduler::queue::Moment;
use orchestra_scheduler::view::{ClusterView, NodeFacts, PodKey, PodUid, PodView};
use orchestra_scheduler::{Dispatcher, Scheduler, Step};

use super::{Decider, RunError, RunOptions};
use crate::time::SimTime;

#[derive(Debug)]
pub(super) struct Core {
    dispatcher: Dispatcher,
    /// Whether a strategy decides: what fails then, failed by its fault.
    strategy: bool,
}

impl Core {
    pub(super) fn of(decider: &Decider, options: &RunOptions) -> Result<Self, RunError> {
        let dispatcher = match decider {
            Decider::Scheduler(scheduler) => scheduler.dispatcher()?,
            Decider::Strategy(strategy) => {
                let debug = format!("{strategy:?}");
                let name = debug.split(|letter: char| !letter.is_alphanumeric()).next().unwrap_or_default();
                let scheduler = Scheduler::default().strategy(name, strategy.clone());
                scheduler.strategy_pause(Moment::from(options.batch).0).dispatcher()?
            }
        };
        Ok(Self { dispatcher, strategy: matches!(decider, Decider::Strategy(_)) })
    }

    pub(super) fn is_strategy(&self) -> bool {
        self.strategy
    }

    pub(super) fn cluster(&self) -> &ClusterView {
        self.dispatcher.cluster()
    }

    pub(super) fn node_applied(&mut self, facts: NodeFacts, now: SimTime) {
        self.dispatcher.node_applied(facts, now.into());
    }

    pub(super) fn node_deleted(&mut self, name: &str, now: SimTime) {
        self.dispatcher.node_deleted(name, now.into());
    }

    pub(super) fn pod_applied(&mut self, pod: PodView, now: SimTime) {
        self.dispatcher.pod_applied(pod, now.into());
    }

    pub(super) fn pod_deleted(&mut self, key: &PodKey, now: SimTime) {
        self.dispatcher.pod_deleted(key, now.into());
    }

    pub(super) fn performed(&mut self, uid: &PodUid, result: Result<(), String>, now: SimTime) {
        self.dispatcher.performed(uid, result, now.into());
    }

    pub(super) fn evicted(&mut self, preemptor: &PodUid, now: SimTime) {
        self.dispatcher.evicted(preemptor, Ok(()), now.into());
    }

    pub(super) fn next(&mut self, now: SimTime) -> Option<Step> {
        self.dispatcher.next(now.into())
    }

    pub(super) fn next_due(&self) -> Option<SimTime> {
        self.dispatcher.next_due().map(Moment::into)
    }

    /// Whether a pod was decided on and waits for something before it is bound.
    pub(super) fn has_undone(&self) -> bool {
        self.dispatcher.counts().in_flight > 0
    }
}
