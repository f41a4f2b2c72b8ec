//! Best fit: the node on which the least would be left (ATC'23's baseline).

use std::sync::Arc;

use orchestra_scheduler::plugin::{Cycle, Normalise, Plugin, Score};
use orchestra_scheduler::view::{NodeView, PodView};
use orchestra_scheduler::{Points, Profile, Registration};

use super::{LARGEST_CPU, LARGEST_GPU, base, cpu_left};
use crate::gpu::{Account, Ask, TightestDevice};

/// Scores a node by what would be left of processors and devices, half and half, as a part of the largest node.
#[derive(Debug)]
pub struct BestFit(pub Arc<Account>);

impl BestFit {
    /// The policy: this score alone. Left as it is, because spreading it over the whole range changes no order among whole
    /// numbers from 0 to 100, and what is not normalised need not be worked out for all nodes at once.
    #[must_use]
    pub fn profile() -> Profile {
        let account = Arc::new(Account::default());
        base(&account, Arc::new(TightestDevice))
            .register(Registration::of(Self(account)).score(1).local().into())
    }
}

impl Plugin for BestFit {
    fn name(&self) -> &str {
        "BestFit"
    }
}

impl Score for BestFit {
    fn score(&self, _: &Cycle<'_>, pod: &PodView, node: &NodeView) -> Points {
        let cpu = (cpu_left(node) - pod.demand.scored.cpu.0) as f64 / LARGEST_CPU * 0.5;
        let gpu = (self.0.devices(node).total_left() - Ask::of(pod).milli()) as f64 / LARGEST_GPU * 0.5;
        Points(((1.0 - (cpu + gpu)) * 100.0).clamp(0.0, 100.0) as i64)
    }
}

impl Normalise for BestFit {
    fn normalise(&self, _: &Cycle<'_>, _: &PodView, _: &[&NodeView], scores: &mut [Points]) {
        let lowest = scores.iter().copied().min().unwrap_or_default();
        let range = scores.iter().copied().max().unwrap_or_default().minus(lowest);
        for points in scores {
            *points = Points((points.minus(lowest).0 * 100).checked_div(range.0).unwrap_or(0));
        }
    }
}
