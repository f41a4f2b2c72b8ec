//! Engines find the node for a pod. They differ in speed, never in the answer.

mod explain;
mod fast;
mod filter;
mod narrow;
mod reference;
mod score;
mod select;

use std::fmt::Debug;

use crate::outcome::Outcome;
use crate::plugin::Cycle;
use crate::profile::Profile;
use crate::view::PodView;

pub use explain::Explanation;
pub use fast::{FastEngine, Tally};
pub use reference::ReferenceEngine;

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
pub trait Engine: Debug + Send {
    /// Runs the extension points from `PreFilter` to `Score` and chooses.
    fn place(&mut self, profile: &Profile, cycle: &mut Cycle<'_>, pod: &PodView) -> Outcome;
}
