//! Explains decisions to someone who wants to know, around any engine.

use std::fmt::Debug;
use std::sync::Arc;

use super::Explanation;
use crate::engine::Engine;
use crate::guard::guarded;
use crate::outcome::Outcome;
use crate::plugin::Cycle;
use crate::profile::Profile;
use crate::view::{ClusterView, PodView};

/// Wants to know why pods go where they go; given to [`Scheduler::explain`](crate::Scheduler::explain).
///
/// # Contract
/// 1. Called before each decision on a pod it wants to know about, in the order of decisions, and never for others.
/// 2. What it does with the explanation changes no decision.
///
/// # Implementing
/// The scheduler waits meanwhile, so what takes long is better handed to someone else.
///
/// ```
/// use std::sync::Mutex;
///
/// use orchestra_scheduler::engine::{Explain, Explanation};
/// use orchestra_scheduler::view::PodView;
///
/// /// Remembers the five best nodes of each pod of one namespace.
/// #[derive(Debug, Default)]
/// struct Best(Mutex<Vec<(String, i64)>>);
///
/// impl Explain for Best {
///     fn wants(&self, pod: &PodView) -> bool {
///         &*pod.key.namespace == "research"
///     }
///
///     fn explained(&self, explanation: &Explanation<'_>) {
///         let scored = explanation.nodes().filter_map(|node| Some((node.node.name().to_string(), node.total?)));
///         let mut best: Vec<_> = scored.collect();
///         best.sort_by_key(|(_, total)| -total);
///         best.truncate(5);
///         self.0.lock().expect("nobody panics meanwhile").extend(best);
///     }
/// }
/// ```
pub trait Explain: Debug + Send + Sync {
    /// Whether decisions on this pod are to be explained.
    fn wants(&self, pod: &PodView) -> bool;
    /// Takes an explanation.
    fn explained(&self, explanation: &Explanation<'_>);
}

/// An engine whose decisions are explained. The engine inside does not know, so one that is not inside pays nothing.
#[derive(Debug)]
pub(crate) struct Explaining {
    engine: Box<dyn Engine>,
    listener: Arc<dyn Explain>,
}

impl Explaining {
    pub(crate) fn new(engine: Box<dyn Engine>, listener: Arc<dyn Explain>) -> Self {
        Self { engine, listener }
    }
}

impl Engine for Explaining {
    fn place(&mut self, profile: &Profile, cycle: &mut Cycle<'_>, pod: &PodView) -> Outcome {
        let told = guarded("explain", "Explain", || {
            if self.listener.wants(pod) {
                self.listener.explained(&self.engine.explain(profile, cycle.cluster(), pod));
            }
        });
        if let Err(failure) = told {
            tracing::error!(pod = %pod.key, error = %failure, "a decision was not explained");
        }
        self.engine.place(profile, cycle, pod)
    }

    fn explain<'a>(
        &self,
        profile: &'a Profile,
        cluster: &'a ClusterView,
        pod: &'a PodView,
    ) -> Explanation<'a> {
        self.engine.explain(profile, cluster, pod)
    }
}
