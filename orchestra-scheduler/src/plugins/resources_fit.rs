//! NodeResourcesFit: a pod needs room, and how much room is left counts.

mod by_device;
mod by_load;
mod shape;

use std::borrow::Cow;
use std::sync::Arc;

use crate::event::{ClusterEvent, Hint};
use crate::plugin::{Cycle, Filter, Plugin, PreScore, Requeue, Score};
use crate::profile::Version;
use crate::unit::{Points, ResourceName, Resources};
use crate::verdict::{PreScored, Rejection, RejectionKind, Verdict};
use crate::view::{ClusterView, DeviceClassView, NodeFacts, NodeView, PodView, is_named_for};

pub(super) use self::by_device::{devices_in_use, note_devices};
pub(crate) use self::by_load::FitByLoad;
pub use self::shape::{Shape, ShapePoint};

/// A resource that scoring looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScoredResource {
    /// Which.
    pub name: ResourceName,
    /// How much it counts beside the others.
    pub weight: u32,
}

/// Which nodes are good.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ScoringStrategy {
    /// Those with the most room left.
    #[default]
    LeastAllocated,
    /// Those with the least.
    MostAllocated,
    /// Those whose use is worth most by this line.
    RequestedToCapacityRatio(Shape),
}

/// Filters by requests and the number of pods; scores by how full a node would be.
#[derive(Clone, Debug)]
pub struct NodeResourcesFit {
    strategy: ScoringStrategy,
    scored: Vec<ScoredResource>,
    ignored: Vec<String>,
    ignored_groups: Vec<String>,
    /// Whether devices may stand for a resource that a node does not offer itself.
    devices: bool,
}

impl Default for NodeResourcesFit {
    fn default() -> Self {
        Self::with_strategy(ScoringStrategy::default(), cpu_and_memory())
    }
}

/// CPU and memory, counting alike.
pub(super) fn cpu_and_memory() -> Vec<ScoredResource> {
    [ResourceName::Cpu, ResourceName::Memory].map(|name| ScoredResource { name, weight: 1 }).into()
}

impl NodeResourcesFit {
    /// The plugin with a scoring strategy over these resources; a weight of 0 counts as 1.
    #[must_use]
    pub fn with_strategy(strategy: ScoringStrategy, mut scored: Vec<ScoredResource>) -> Self {
        for resource in &mut scored {
            resource.weight = resource.weight.max(1);
        }
        Self { strategy, scored, ignored: Vec::new(), ignored_groups: Vec::new(), devices: true }
    }

    /// The plugin as one Kubernetes version has it: from 1.36 on a resource that a device class stands for is left to
    /// DynamicResources on nodes that do not offer it themselves.
    #[must_use]
    pub fn as_of(mut self, version: Version) -> Self {
        self.devices = version >= Version::V1_36;
        self
    }

    /// Leaves the filtering of these extended resources, by name or by the part before the slash, to others.
    #[must_use]
    pub fn ignoring(mut self, resources: Vec<String>, groups: Vec<String>) -> Self {
        self.ignored = resources;
        self.ignored_groups = groups;
        self
    }

    fn ignores(&self, name: &str) -> bool {
        let group = name.split_once('/').map(|(group, _)| group);
        self.ignored.iter().any(|ignored| ignored == name)
            || group.is_some_and(|group| self.ignored_groups.iter().any(|ignored| ignored == group))
    }

    /// The class whose devices stand for a resource on a node that offers none of it itself.
    fn class_of<'a>(
        &self,
        cluster: &'a ClusterView,
        name: &str,
        offered: i64,
    ) -> Option<&'a Arc<DeviceClassView>> {
        if self.devices && offered == 0 { cluster.class_for(name) } else { None }
    }

    /// Every reason why `pod` does not fit beside what is `used` of the node.
    fn shortages(
        &self,
        cluster: &ClusterView,
        pod: &PodView,
        node: &NodeFacts,
        used: &Resources,
        pods: usize,
    ) -> Option<Rejection> {
        let mut rejection = Rejection { kind: RejectionKind::Unschedulable, reasons: Vec::new() };
        if is_crowded(i64::try_from(pods).unwrap_or(i64::MAX), node.allocatable_pods) {
            rejection.reasons.push(Cow::Borrowed("Too many pods"));
        }
        let mut check = |name: Cow<'static, str>, asked: i64, offered: i64, used: i64| {
            if is_short(asked, offered, used) {
                if asked > offered {
                    rejection.kind = RejectionKind::Unresolvable;
                }
                rejection.reasons.push(name);
            }
        };
        let (asked, offered) = (&pod.demand.requests, &node.allocatable);
        check("Insufficient cpu".into(), asked.cpu.0, offered.cpu.0, used.cpu.0);
        check("Insufficient memory".into(), asked.memory.0, offered.memory.0, used.memory.0);
        let storage = (asked.ephemeral_storage.0, offered.ephemeral_storage.0, used.ephemeral_storage.0);
        check("Insufficient ephemeral-storage".into(), storage.0, storage.1, storage.2);
        for (name, amount) in asked.scalars.iter().filter(|(name, _)| !self.ignores(name)) {
            let of = |resources: &Resources| resources.scalars.get(name).copied().unwrap_or(0);
            if *amount != 0 && self.class_of(cluster, name, of(offered)).is_none() {
                check(format!("Insufficient {name}").into(), *amount, of(offered), of(used));
            }
        }
        (!rejection.reasons.is_empty()).then_some(rejection)
    }

    /// The score where this much of each resource that counts would be in use, of so much.
    #[inline]
    fn points(&self, in_use: impl Fn(&ResourceName) -> Option<(i64, i64)>) -> Points {
        let (mut sum, mut weights) = (0_i64, 0_i64);
        for resource in &self.scored {
            let Some((used, offered)) = in_use(&resource.name) else { continue };
            let points = match &self.strategy {
                ScoringStrategy::LeastAllocated => least_allocated(used, offered),
                ScoringStrategy::MostAllocated => most_allocated(used, offered),
                ScoringStrategy::RequestedToCapacityRatio(shape) => match most_allocated(used, offered) {
                    utilization if shape.at(utilization) > 0 => shape.at(utilization),
                    // Worth nothing means not counted at all.
                    _ => continue,
                },
            };
            sum = sum.saturating_add(points.saturating_mul(resource.weight.into()));
            weights += i64::from(resource.weight);
        }
        Points(match &self.strategy {
            _ if weights == 0 => 0,
            ScoringStrategy::RequestedToCapacityRatio(_) => (sum as f64 / weights as f64).round() as i64,
            ScoringStrategy::LeastAllocated | ScoringStrategy::MostAllocated => sum / weights,
        })
    }

    fn fits_empty(&self, cluster: &ClusterView, pod: &PodView, node: &NodeFacts) -> bool {
        self.shortages(cluster, pod, node, &Resources::default(), 0).is_none()
    }

    /// Whether a class came to stand for a resource that the pod asks for.
    fn is_stood_for(&self, pod: &PodView, old: Option<&DeviceClassView>, new: &DeviceClassView) -> bool {
        let named = |class: &DeviceClassView| class.spec.extended_resource_name.clone().unwrap_or_default();
        let (now, asked) = (named(new), &pod.demand.requests.scalars);
        let by_its_name = || asked.keys().any(|name| is_named_for(name, new));
        let is_new = old.is_none_or(|old| named(old) != now);
        self.devices && ((is_new && asked.contains_key(&*now)) || (old.is_none() && by_its_name()))
    }
}

/// Whether a node with so many pods takes no other.
fn is_crowded(pods: i64, allowed: i64) -> bool {
    pods.saturating_add(1) > allowed
}

/// Whether more is asked for than is left.
fn is_short(asked: i64, offered: i64, used: i64) -> bool {
    asked > 0 && asked > offered.saturating_sub(used)
}

/// What would be in use of a resource with the pod on the node, and what there is; `None` if the resource does not
/// count here.
fn in_use(pod: &PodView, node: &NodeView, name: &ResourceName) -> Option<(i64, i64)> {
    let offered = node.facts().allocatable.amount(name);
    let used = match name {
        ResourceName::Cpu => node.occupied().cpu.plus(pod.demand.scored.cpu).0,
        ResourceName::Memory => node.occupied().memory.plus(pod.demand.scored.memory).0,
        ResourceName::EphemeralStorage => {
            node.requested().amount(name).saturating_add(pod.demand.requests.amount(name))
        }
        ResourceName::Scalar(_) if pod.demand.requests.amount(name) == 0 => return None,
        ResourceName::Scalar(_) => {
            node.requested().amount(name).saturating_add(pod.demand.requests.amount(name))
        }
    };
    (offered != 0).then_some((used, offered))
}

fn least_allocated(used: i64, offered: i64) -> i64 {
    if used > offered { 0 } else { percent(offered - used, offered) }
}

fn most_allocated(used: i64, offered: i64) -> i64 {
    percent(used.min(offered), offered)
}

fn percent(part: i64, whole: i64) -> i64 {
    if let Some(product) = part.checked_mul(Points::MAX.0) {
        return product / whole;
    }
    i64::try_from(i128::from(part) * i128::from(Points::MAX.0) / i128::from(whole)).unwrap_or(0)
}

impl Plugin for NodeResourcesFit {
    fn name(&self) -> &str {
        "NodeResourcesFit"
    }
}

impl Filter for NodeResourcesFit {
    fn filter(&self, cycle: &Cycle<'_>, pod: &PodView, node: &NodeView) -> Verdict {
        match self.shortages(cycle.cluster(), pod, node.facts(), node.requested(), node.pods().len()) {
            None => Verdict::Pass,
            Some(rejection) => Verdict::Reject(rejection),
        }
    }
}

impl PreScore for NodeResourcesFit {
    fn pre_score(&self, cycle: &mut Cycle<'_>, pod: &PodView, _: &[&NodeView]) -> PreScored {
        if self.devices {
            note_devices(cycle, pod, self.scored.iter().map(|resource| &resource.name));
        }
        PreScored::Score
    }
}

impl Score for NodeResourcesFit {
    fn score(&self, cycle: &Cycle<'_>, pod: &PodView, node: &NodeView) -> Points {
        self.points(|name| match devices_in_use(cycle, node, name) {
            Some((had, all)) if self.devices => {
                Some((had.saturating_add(pod.demand.requests.amount(name)), all))
            }
            _ => in_use(pod, node, name),
        })
    }
}

impl Requeue for NodeResourcesFit {
    fn hint(&self, cluster: &ClusterView, pod: &PodView, event: &ClusterEvent) -> Hint {
        let needs_less = |old: &Resources, new: &Resources| {
            let less = |name: ResourceName| {
                pod.demand.requests.amount(&name) > 0 && new.amount(&name) < old.amount(&name)
            };
            less(ResourceName::Cpu)
                || less(ResourceName::Memory)
                || less(ResourceName::EphemeralStorage)
                || old.scalars.keys().any(|name| less(ResourceName::Scalar(name.clone())))
        };
        Hint::when(match event {
            ClusterEvent::NodeAdded(node) => self.fits_empty(cluster, pod, node),
            ClusterEvent::DeviceClassChanged { old, new } => self.is_stood_for(pod, old.as_deref(), new),
            ClusterEvent::NodeUpdated { old, new } => {
                self.fits_empty(cluster, pod, new)
                    && (!self.fits_empty(cluster, pod, old)
                        || needs_less(&new.allocatable, &old.allocatable)
                        || new.allocatable_pods > old.allocatable_pods)
            }
            ClusterEvent::AssignedPodDeleted(_) => true,
            ClusterEvent::AssignedPodUpdated { old, new } => {
                needs_less(&old.demand.requests, &new.demand.requests)
            }
            ClusterEvent::PodUpdated { old, new } => {
                new.uid == pod.uid && needs_less(&old.demand.requests, &new.demand.requests)
            }
            _ => false,
        })
    }
}

#[cfg(test)]
mod tests;
