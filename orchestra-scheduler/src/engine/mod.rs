//! Engines find the node for a pod. They differ in speed, never in the answer.

mod explain;
mod fast;
mod filter;
mod narrow;
mod reference;
mod score;
mod select;

use std::fmt::Debug;

use crate::outcome::{Diagnosis, Failure, Outcome};
use crate::plugin::Cycle;
use crate::profile::Profile;
use crate::verdict::Rejection;
use crate::view::{ClusterView, NodeName, PodView};

use self::filter::Filters;
use self::narrow::pre_filter;

pub(crate) use explain::Explaining;
pub use explain::{
    Explain, Explanation, FilterSaid, FilterVerdict, NodeExplanation, NodeScore, PreFilterSaid,
    PreFilterVerdict, Reached, ScorerVerdict,
};
pub use fast::{FastEngine, Tally};
pub use reference::ReferenceEngine;

/// Whether a pod can have a node that was chosen elsewhere, by the plugins up to `Filter`; why not, if it cannot.
pub(crate) fn check(
    profile: &Profile,
    cycle: &mut Cycle<'_>,
    pod: &PodView,
    name: &NodeName,
) -> Result<Option<Diagnosis>, Failure> {
    let mut diagnosis = Diagnosis { node_count: 1, ..Diagnosis::default() };
    let narrowed = pre_filter(profile, cycle, pod, &mut diagnosis)?;
    if narrowed.refused {
        return Ok(Some(diagnosis));
    }
    if narrowed.only.is_some_and(|only| !only.contains(name)) {
        let rejection = Rejection::unresolvable("node(s) didn't match Pod's node affinity/selector");
        let plugin = narrowed.narrowing.first().map_or("", String::as_str);
        return Ok(Some(Diagnosis::after_choice(name.clone(), plugin, rejection)));
    }
    let Some(node) = cycle.cluster().node(name) else {
        let message = format!("node {:?} is not there", &**name);
        return Err(Failure { plugin: None, message });
    };
    let refused = Filters { profile, pod, skipped: &narrowed.skipped }.run(cycle, node)?;
    Ok(refused.map(|refused| Diagnosis::after_choice(refused.node, &refused.plugin, refused.rejection)))
}

/// Which engine decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EngineKind {
    /// [`FastEngine`].
    #[default]
    Fast,
    /// [`ReferenceEngine`].
    Reference,
}

impl EngineKind {
    /// An engine of this kind whose chance comes from `seed`.
    #[must_use]
    pub fn seeded(self, seed: u64) -> Box<dyn Engine> {
        match self {
            Self::Fast => Box::new(FastEngine::seeded(seed)),
            Self::Reference => Box::new(ReferenceEngine::seeded(seed)),
        }
    }
}

/// Finds the node for one pod in one cluster.
///
/// # Contract
/// 1. The outcome is the one [`ReferenceEngine`] would give from the same seed after the same calls.
/// 2. The cluster of `cycle` may have changed in any way since the last call.
/// 3. An explanation tells what [`Engine::place`] would do if it were called now, and changes nothing.
pub trait Engine: Debug + Send {
    /// Runs the extension points from `PreFilter` to `Score` and chooses.
    fn place(&mut self, profile: &Profile, cycle: &mut Cycle<'_>, pod: &PodView) -> Outcome;

    /// Why the pod would go where it would go: what each plugin says of each node.
    fn explain<'a>(
        &self,
        profile: &'a Profile,
        cluster: &'a ClusterView,
        pod: &'a PodView,
    ) -> Explanation<'a>;
}
