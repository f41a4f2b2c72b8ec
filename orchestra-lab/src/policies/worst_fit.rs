//! Worst fit: the node on which the most would be left, so that load is spread.

use std::sync::Arc;

use orchestra_scheduler::plugin::{Cycle, Plugin, Score};
use orchestra_scheduler::view::{NodeView, PodView};
use orchestra_scheduler::{Points, Profile, Registration};

use super::{LARGEST_CPU, LARGEST_GPU, base, cpu_left};
use crate::gpu::{Account, Ask, Devices, PickDevice};

/// Scores a node by what would be left of processors and devices, half and half, as a part of the largest node.
#[derive(Debug)]
pub struct WorstFit(Arc<Account>);

impl WorstFit {
    /// The policy: this score alone, and shares of the device that has the most left.
    #[must_use]
    pub fn profile() -> Profile {
        let account = Arc::new(Account::default());
        base(&account, Arc::new(LoosestDevice))
            .register(Registration::of(Self(account)).score(1).local().into())
    }
}

impl Plugin for WorstFit {
    fn name(&self) -> &str {
        "WorstFit"
    }
}

impl Score for WorstFit {
    fn score(&self, _: &Cycle<'_>, pod: &PodView, node: &NodeView) -> Points {
        let cpu = (cpu_left(node) - pod.demand.scored.cpu.0) as f64 / LARGEST_CPU * 0.5;
        let gpu = (self.0.devices(node).total_left() - Ask::of(pod).milli()) as f64 / LARGEST_GPU * 0.5;
        Points(((cpu + gpu) * 100.0).clamp(0.0, 100.0) as i64)
    }
}

/// The device with the most left, the lowest position among equals.
#[derive(Debug)]
struct LoosestDevice;

impl PickDevice for LoosestDevice {
    fn pick(&self, _: &PodView, share: u16, _: &NodeView, devices: &Devices) -> Option<usize> {
        let most = devices.left().iter().copied().max().filter(|most| *most >= share)?;
        devices.left().iter().position(|left| *left == most)
    }
}
