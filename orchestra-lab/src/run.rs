//! One simulation: a workload, a scheduler and a virtual clock.
//!
//! The scheduler is the live one: the same [`Dispatcher`](orchestra_scheduler::Dispatcher) with the same queue, pauses,
//! plugins and engine. What the simulator adds is the world around it: pods that come and end, nodes that come, fail and
//! go, bindings and evictions that happen at once.
//!
//! At one moment, first pods end, then nodes go, then nodes come, then pods come, each in the order of the workload; then
//! the scheduler decides until it has nothing more to do. Nothing reads a clock, and no order depends on a hash.

mod batch;
mod core;
mod fragment;
mod gauge;
mod world;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use orchestra_scheduler::{Scheduler, Strategy};

use crate::gpu::{Account, GpuDevices};
use crate::time::SimTime;
use crate::workload::Workload;

pub use gauge::{Resource, Sample, Usage};

/// Who decides.
#[derive(Clone, Debug)]
pub enum Decider {
    /// The scheduler, one pod at a time.
    Scheduler(Box<Scheduler>),
    /// A strategy, all waiting pods at once.
    Strategy(Arc<dyn Strategy>),
}

impl Decider {
    /// Who knows which devices pods have: the plugin that hands them out, if there is one.
    fn devices(&self) -> Arc<Account> {
        let plugin = match self {
            Self::Scheduler(scheduler) => scheduler.reserver::<GpuDevices>(),
            Self::Strategy(_) => None,
        };
        plugin.map(|plugin| plugin.account().clone()).unwrap_or_default()
    }
}

/// How a simulation is run.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RunOptions {
    /// How long an evicted pod takes to end.
    pub grace: SimTime,
    /// The least time between two calls of a strategy.
    pub batch: SimTime,
    /// Whether every refusal is recorded, or only the first of each pod.
    pub refusals: Refusals,
    /// Ends the run early.
    pub stop: Stop,
}

/// Which refusals are recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Refusals {
    /// The first of each pod.
    #[default]
    First,
    /// All of them.
    All,
}

/// Tells runs to end early, from another thread.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Ends all runs that were given this.
    pub fn stop(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether runs should end.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Default for RunOptions {
    /// Pods take 30 seconds to be evicted, as Kubernetes has it; strategies are called once a second at most.
    fn default() -> Self {
        Self {
            grace: SimTime::from_secs(30),
            batch: SimTime::from_secs(1),
            refusals: Refusals::default(),
            stop: Stop::default(),
        }
    }
}

/// What happened to a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verb {
    /// It was given a node.
    Bound,
    /// No node would do.
    Refused,
    /// Something broke while it was decided on.
    Failed,
    /// It was told to go for a more important one.
    Evicted,
    /// Its node was lost.
    Lost,
    /// It still had no node at the end.
    Pending,
}

impl Verb {
    /// The word for it in files.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Bound => "bound",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Evicted => "evicted",
            Self::Lost => "lost",
            Self::Pending => "pending",
        }
    }
}

/// One decision.
#[derive(Clone, Copy, Debug)]
pub struct Decision<'a> {
    /// When.
    pub time: SimTime,
    /// Namespace of the pod.
    pub namespace: &'a str,
    /// Name of the pod.
    pub pod: &'a str,
    /// What happened.
    pub verb: Verb,
    /// On which node.
    pub node: Option<&'a str>,
    /// Since the pod was made.
    pub queued: SimTime,
    /// How often it had been tried, this time included.
    pub attempts: u32,
    /// Why, in the scheduler's words.
    pub reason: &'a str,
}

/// Takes decisions down.
pub trait Sink {
    /// One more decision.
    ///
    /// # Errors
    /// When it cannot be taken down; the run ends.
    fn decided(&mut self, decision: &Decision<'_>) -> std::io::Result<()>;

    /// How far the run is: pods that have come, so far.
    fn progress(&mut self, _pods: usize) {}
}

impl Sink for () {
    fn decided(&mut self, _: &Decision<'_>) -> std::io::Result<()> {
        Ok(())
    }
}

/// Why a run did not come to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The profiles contradict each other.
    #[error(transparent)]
    Scheduler(#[from] orchestra_scheduler::Error),
    /// A strategy broke its contract.
    #[error("the strategy broke its contract at {time} s: {problem}")]
    Contract {
        /// When.
        time: SimTime,
        /// How.
        problem: String,
    },
    /// A decision could not be written down.
    #[error("cannot write decisions down")]
    Sink(#[from] std::io::Error),
    /// It was told to end early.
    #[error("stopped")]
    Stopped,
}

/// What a run came to.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// When the last thing happened.
    pub end: SimTime,
    /// Pods that came, those made anew after a loss or an eviction included.
    pub pods: u64,
    /// Pods that were given a node.
    pub bound: u64,
    /// Attempts that found no node.
    pub refused: u64,
    /// Attempts that broke.
    pub failed: u64,
    /// Pods evicted for more important ones.
    pub evicted: u64,
    /// Pods lost with their node.
    pub lost: u64,
    /// Pods without a node at the end.
    pub pending: u64,
    /// Things that happened, decisions included.
    pub events: u64,
    /// How long each pod that was bound had waited, in the order they were bound.
    pub delays: Vec<SimTime>,
    /// What was in use of each resource.
    pub usage: Vec<Usage>,
    /// The state at times that are evenly spaced.
    pub samples: Vec<Sample>,
}

/// Runs a workload.
///
/// ```
/// use orchestra_lab::run::{Decider, RunOptions, run};
/// use orchestra_lab::trace::{BadRows, Source, read};
/// use orchestra_scheduler::Scheduler;
///
/// let text = r#"{
///   "nodes": [{"name": "n", "allocatable": {"cpu": "4", "memory": "8Gi"}}],
///   "pods": [
///     {"name": "first", "at": 0, "duration": 60, "requests": {"cpu": "3"}},
///     {"name": "second", "at": 10, "duration": 60, "requests": {"cpu": "3"}}
///   ]
/// }"#;
/// let workload = read(None, Source { name: "trace.json", text }, BadRows::Stop)?.workload;
/// let decider = Decider::Scheduler(Box::new(Scheduler::default()));
/// let outcome = run(&workload, &decider, &RunOptions::default(), &mut ())?;
/// assert_eq!(outcome.delays.iter().map(ToString::to_string).collect::<Vec<_>>(), ["0", "50"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// When the scheduler cannot be made, a strategy breaks its contract, or a decision cannot be taken down.
pub fn run(
    workload: &Workload,
    decider: &Decider,
    options: &RunOptions,
    sink: &mut dyn Sink,
) -> Result<Outcome, RunError> {
    let core = core::Core::of(decider, options)?;
    world::World::new(workload, core, decider.devices(), options, sink).live()
}

#[cfg(test)]
mod tests;
