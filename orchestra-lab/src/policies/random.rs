//! Random: any node that will do, each with the same chance, and any device.

use std::sync::Arc;

use orchestra_scheduler::plugin::{Cycle, Plugin, PreScore, Score};
use orchestra_scheduler::verdict::PreScored;
use orchestra_scheduler::view::{NodeName, NodeView, PodView};
use orchestra_scheduler::{Points, Profile, Registration};

use super::{base, chance};
use crate::gpu::{Account, RandomDevice};

/// Draws a node before scoring and gives the points to that one alone.
#[derive(Debug)]
pub struct Random {
    seed: u64,
}

/// The node that was drawn.
struct Drawn(NodeName);

impl Random {
    /// The policy: this score alone, and any device.
    #[must_use]
    pub fn profile(seed: u64) -> Profile {
        let account = Arc::new(Account::default());
        base(&account, Arc::new(RandomDevice { seed }))
            .register(Registration::of(Self { seed }).pre_score().score(1).into())
    }
}

impl Plugin for Random {
    fn name(&self) -> &str {
        "Random"
    }
}

impl PreScore for Random {
    fn pre_score(&self, cycle: &mut Cycle<'_>, pod: &PodView, nodes: &[&NodeView]) -> PreScored {
        if let Some(node) = nodes.get(chance::draw(self.seed, "node", &pod.uid, nodes.len())) {
            cycle.note(Drawn(node.name().clone()));
        }
        PreScored::Score
    }
}

impl Score for Random {
    fn score(&self, cycle: &Cycle<'_>, _: &PodView, node: &NodeView) -> Points {
        let drawn = cycle.noted::<Drawn>().is_some_and(|drawn| drawn.0 == *node.name());
        if drawn { Points::MAX } else { Points::MIN }
    }
}
