//! Dot product: the node whose free resources are least like what the pod asks for (Tetris's packing, as ATC'23 ran it).

use std::sync::Arc;

use orchestra_scheduler::plugin::{Cycle, Plugin, Score};
use orchestra_scheduler::view::{NodeView, PodView};
use orchestra_scheduler::{Points, Profile, Registration};

use super::{LARGEST_CPU, LARGEST_GPU, base, cpu_left};
use crate::gpu::{Account, Ask, TightestDevice};

/// Scores a node by the product of what is left and what is asked for, each as a part of the largest node.
#[derive(Debug)]
pub struct DotProduct(Arc<Account>);

impl DotProduct {
    /// The policy: this score alone.
    #[must_use]
    pub fn profile() -> Profile {
        let account = Arc::new(Account::default());
        base(&account, Arc::new(TightestDevice))
            .register(Registration::of(Self(account)).score(1).local().into())
    }
}

impl Plugin for DotProduct {
    fn name(&self) -> &str {
        "DotProduct"
    }
}

impl Score for DotProduct {
    fn score(&self, _: &Cycle<'_>, pod: &PodView, node: &NodeView) -> Points {
        let cpu = (cpu_left(node) as f64 / LARGEST_CPU) * (pod.demand.scored.cpu.0 as f64 / LARGEST_CPU);
        let left = self.0.devices(node).total_left() as f64 / LARGEST_GPU;
        let gpu = left * (Ask::of(pod).milli() as f64 / LARGEST_GPU);
        Points((100.0 * (1.0 - (cpu + gpu) / 2.0)).clamp(0.0, 100.0) as i64)
    }
}
