//! The plugin that hands out devices.

use std::fmt::Debug;
use std::sync::Arc;

use orchestra_scheduler::effect::Effect;
use orchestra_scheduler::event::{ClusterEvent, Hint};
use orchestra_scheduler::plugin::{Cycle, Filter, Plugin, Requeue, Reserve};
use orchestra_scheduler::verdict::{Rejection, Reservation, Verdict};
use orchestra_scheduler::view::{ClusterView, NodeName, NodeView, PodView};
use orchestra_scheduler::{PluginSet, Registration};

use super::{Account, Ask, Devices, Picked};
use crate::policies::chance;

const NO_DEVICE: &str = "node(s) had no device with enough left";

/// Chooses the device for a pod that asks for a share of one.
pub trait PickDevice: Debug + Send + Sync + 'static {
    /// The position of a device with at least `share` left; `None` if there is none. The same arguments give the same answer.
    fn pick(&self, pod: &PodView, share: u16, node: &NodeView, devices: &Devices) -> Option<usize>;
}

/// The device with the least left that has enough.
#[derive(Debug)]
pub struct TightestDevice;

impl PickDevice for TightestDevice {
    fn pick(&self, _: &PodView, share: u16, _: &NodeView, devices: &Devices) -> Option<usize> {
        devices.tightest(share)
    }
}

/// Any device that has enough left, each with the same chance.
#[derive(Debug)]
pub struct RandomDevice {
    /// Where chance comes from.
    pub seed: u64,
}

impl PickDevice for RandomDevice {
    fn pick(&self, pod: &PodView, share: u16, _: &NodeView, devices: &Devices) -> Option<usize> {
        let enough = devices.left().iter().enumerate().filter(|(_, left)| **left >= share);
        let enough: Vec<_> = enough.map(|(position, _)| position).collect();
        enough.get(chance::draw(self.seed, "device", &pod.uid, enough.len())).copied()
    }
}

/// Filters nodes by what is left of their devices, and gives pods theirs once a node is chosen.
///
/// `Filter` and `Reserve`. Whole devices are the lowest free ones; for a share [`PickDevice`] is asked.
#[derive(Debug)]
pub struct GpuDevices {
    account: Arc<Account>,
    rule: Arc<dyn PickDevice>,
}

impl GpuDevices {
    /// The plugin over an account, which scorers may look into too.
    #[must_use]
    pub fn new(account: Arc<Account>, rule: Arc<dyn PickDevice>) -> Self {
        Self { account, rule }
    }

    /// Who has which devices.
    #[must_use]
    pub fn account(&self) -> &Arc<Account> {
        &self.account
    }

    fn pick(&self, pod: &PodView, node: &NodeView) -> Option<Picked> {
        let devices = self.account.devices(node);
        match Ask::of(pod) {
            Ask::Nothing => Some(Picked::default()),
            Ask::Share(share) => self.rule.pick(pod, share, node, &devices).map(Picked::one),
            Ask::Whole(count) => devices.lowest_free(count),
            Ask::Odd => None,
        }
    }
}

impl From<GpuDevices> for PluginSet {
    fn from(plugin: GpuDevices) -> Self {
        Registration::of(plugin).filter().reserve().requeue().local().into()
    }
}

impl Plugin for GpuDevices {
    fn name(&self) -> &str {
        "GpuDevices"
    }
}

impl Filter for GpuDevices {
    fn filter(&self, _: &Cycle<'_>, pod: &PodView, node: &NodeView) -> Verdict {
        match Ask::of(pod) {
            Ask::Nothing => Verdict::Pass,
            Ask::Odd => Verdict::unresolvable("devices are shared one at a time or taken whole"),
            ask if self.account.devices(node).can_give(ask) => Verdict::Pass,
            _ => Verdict::unschedulable(NO_DEVICE),
        }
    }
}

impl Reserve for GpuDevices {
    fn reserve(&self, cycle: &mut Cycle<'_>, pod: &PodView, node: &NodeName) -> Reservation {
        if Ask::of(pod) == Ask::Nothing {
            return Reservation::Made;
        }
        let picked = cycle.cluster().node(node).and_then(|view| self.pick(pod, view));
        let Some(picked) = picked else { return Reservation::Reject(Rejection::unschedulable(NO_DEVICE)) };
        self.account.give(cycle.cluster(), pod, node, picked);
        Reservation::Made
    }

    fn unreserve(&self, _: &mut Cycle<'_>, pod: &PodView, _: &NodeName) -> Vec<Effect> {
        self.account.take_back(pod);
        Vec::new()
    }
}

impl Requeue for GpuDevices {
    fn hint(&self, _: &ClusterView, _: &PodView, event: &ClusterEvent) -> Hint {
        Hint::when(matches!(
            event,
            ClusterEvent::NodeAdded(_)
                | ClusterEvent::NodeUpdated { .. }
                | ClusterEvent::AssignedPodDeleted(_)
                | ClusterEvent::PodUpdated { .. }
        ))
    }
}
