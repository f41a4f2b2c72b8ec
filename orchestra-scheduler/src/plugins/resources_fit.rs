//! NodeResourcesFit: a pod needs room, and how much room is left counts.

mod by_load;
mod shape;

use std::borrow::Cow;

use crate::event::{ClusterEvent, Hint};
use crate::plugin::{Cycle, Filter, Plugin, Requeue, Score};
use crate::unit::{Points, ResourceName, Resources};
use crate::verdict::{Rejection, RejectionKind, Verdict};
use crate::view::{NodeFacts, NodeView, PodView};

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
        Self { strategy, scored, ignored: Vec::new(), ignored_groups: Vec::new() }
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

    /// Every reason why `pod` does not fit beside what is `used` of the node.
    fn shortages(&self, pod: &PodView, node: &NodeFacts, used: &Resources, pods: usize) -> Option<Rejection> {
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
        let (asked, offered) = (&pod.requests, &node.allocatable);
        check("Insufficient cpu".into(), asked.cpu.0, offered.cpu.0, used.cpu.0);
        check("Insufficient memory".into(), asked.memory.0, offered.memory.0, used.memory.0);
        let storage = (asked.ephemeral_storage.0, offered.ephemeral_storage.0, used.ephemeral_storage.0);
        check("Insufficient ephemeral-storage".into(), storage.0, storage.1, storage.2);
        for (name, amount) in asked.scalars.iter().filter(|(name, _)| !self.ignores(name)) {
            let of = |resources: &Resources| resources.scalars.get(name).copied().unwrap_or(0);
            check(format!("Insufficient {name}").into(), *amount, of(offered), of(used));
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

    fn fits_empty(&self, pod: &PodView, node: &NodeFacts) -> bool {
        self.shortages(pod, node, &Resources::default(), 0).is_none()
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
        ResourceName::Cpu => node.occupied().cpu.plus(pod.scored.cpu).0,
        ResourceName::Memory => node.occupied().memory.plus(pod.scored.memory).0,
        ResourceName::EphemeralStorage => {
            node.requested().amount(name).saturating_add(pod.requests.amount(name))
        }
        ResourceName::Scalar(_) if pod.requests.amount(name) == 0 => return None,
        ResourceName::Scalar(_) => node.requested().amount(name).saturating_add(pod.requests.amount(name)),
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
    fn filter(&self, _: &Cycle<'_>, pod: &PodView, node: &NodeView) -> Verdict {
        match self.shortages(pod, node.facts(), node.requested(), node.pods().len()) {
            None => Verdict::Pass,
            Some(rejection) => Verdict::Reject(rejection),
        }
    }
}

impl Score for NodeResourcesFit {
    fn score(&self, _: &Cycle<'_>, pod: &PodView, node: &NodeView) -> Points {
        self.points(|name| in_use(pod, node, name))
    }
}

impl Requeue for NodeResourcesFit {
    fn hint(&self, pod: &PodView, event: &ClusterEvent) -> Hint {
        let needs_less = |old: &Resources, new: &Resources| {
            let less =
                |name: ResourceName| pod.requests.amount(&name) > 0 && new.amount(&name) < old.amount(&name);
            less(ResourceName::Cpu)
                || less(ResourceName::Memory)
                || less(ResourceName::EphemeralStorage)
                || old.scalars.keys().any(|name| less(ResourceName::Scalar(name.clone())))
        };
        Hint::when(match event {
            ClusterEvent::NodeAdded(node) => self.fits_empty(pod, node),
            ClusterEvent::NodeUpdated { old, new } => {
                self.fits_empty(pod, new)
                    && (!self.fits_empty(pod, old)
                        || needs_less(&new.allocatable, &old.allocatable)
                        || new.allocatable_pods > old.allocatable_pods)
            }
            ClusterEvent::AssignedPodDeleted(_) => true,
            ClusterEvent::AssignedPodUpdated { old, new } => needs_less(&old.requests, &new.requests),
            ClusterEvent::PodUpdated { old, new } => {
                new.uid == pod.uid && needs_less(&old.requests, &new.requests)
            }
            _ => false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{asking, cluster, pod};
    use crate::view::NodeName;
    use serde_json::{Value, json};

    fn refusals(allocatable: Value, on_it: &[&str], asked: Value) -> Verdict {
        let mut cluster = cluster([json!({"status": {"allocatable": allocatable}})]);
        for (index, cpu) in on_it.iter().enumerate() {
            cluster.place(asking(&format!("old-{index}"), cpu, "0"), &NodeName::from("node"));
        }
        let pod = pod(json!({"spec": {"containers": [{"name": "c", "resources": {"requests": asked}}]}}));
        NodeResourcesFit::default().filter(&Cycle::new(&cluster), &pod, cluster.node("node").unwrap())
    }

    fn reject(kind: RejectionKind, reasons: &[&'static str]) -> Verdict {
        Verdict::Reject(Rejection {
            kind,
            reasons: reasons.iter().map(|reason| Cow::Borrowed(*reason)).collect(),
        })
    }

    #[test]
    fn every_failing_resource_is_listed() {
        let verdict = refusals(
            json!({"cpu": "1", "memory": "1Gi", "pods": "1"}),
            &["900m"],
            json!({"cpu": "200m", "memory": "1Gi", "x.io/a": "0"}),
        );
        assert_eq!(verdict, reject(RejectionKind::Unschedulable, &["Too many pods", "Insufficient cpu"]));
    }

    #[test]
    fn above_allocatable_is_unresolvable() {
        let verdict = refusals(json!({"cpu": "1", "pods": "9"}), &[], json!({"cpu": "2", "x.io/a": "1"}));
        let reasons = ["Insufficient cpu", "Insufficient x.io/a"];
        assert_eq!(verdict, reject(RejectionKind::Unresolvable, &reasons));
    }

    #[test]
    fn zero_requests_are_never_checked_so_an_over_committed_node_takes_them() {
        let allocatable = json!({"cpu": "1", "memory": "1Gi", "pods": "9"});
        assert_eq!(refusals(allocatable.clone(), &["2"], json!({"memory": "1Gi"})), Verdict::Pass);
        assert_eq!(refusals(allocatable, &["2"], json!({})), Verdict::Pass);
    }

    #[test]
    fn ignored_resources_and_groups_are_left_to_others() {
        let cluster = cluster([json!({})]);
        let plugin = NodeResourcesFit::default().ignoring(vec!["a.io/x".into()], vec!["b.io".into()]);
        let pod = pod(json!({"spec": {"containers": [{"name": "c", "resources": {"requests": {
            "a.io/x": "1", "b.io/y": "1", "a.io/z": "1"}}}]}}));
        let verdict = plugin.filter(&Cycle::new(&cluster), &pod, cluster.node("node").unwrap());
        assert_eq!(verdict, reject(RejectionKind::Unresolvable, &["Insufficient a.io/z"]));
    }

    fn score(plugin: &NodeResourcesFit, allocatable: Value, used: (&str, &str), asked: (&str, &str)) -> i64 {
        let mut cluster = cluster([json!({"status": {"allocatable": allocatable}})]);
        cluster.place(asking("old", used.0, used.1), &NodeName::from("node"));
        plugin.score(&Cycle::new(&cluster), &asking("new", asked.0, asked.1), cluster.node("node").unwrap()).0
    }

    #[test]
    fn least_allocated_truncates_each_resource_and_the_mean() {
        let plugin = NodeResourcesFit::default();
        for (allocatable, used, asked, expected) in [
            // cpu ⌊(4000−2000)·100/4000⌋ = 50, memory ⌊(10000−5000)·100/10000⌋ = 50
            (json!({"cpu": "4", "memory": "10000"}), ("1", "2000"), ("1", "3000"), 50),
            // cpu ⌊1000·100/3000⌋ = 33, memory ⌊2·100/3⌋ = 66, mean ⌊99/2⌋ = 49
            (json!({"cpu": "3", "memory": "3"}), ("1", "0"), ("1", "1"), 49),
            // cpu over-committed gives 0, memory 100
            (json!({"cpu": "1", "memory": "3"}), ("1", "0"), ("1", "0"), 50),
            (json!({"cpu": "1"}), ("1", "0"), ("1", "0"), 0),
            // memory is not offered and drops out of both sums
            (json!({"cpu": "4"}), ("1", "0"), ("1", "0"), 50),
            (json!({"pods": "1"}), ("1", "0"), ("1", "0"), 0),
        ] {
            assert_eq!(
                score(&plugin, allocatable.clone(), used, asked),
                expected,
                "{allocatable} {used:?} {asked:?}"
            );
        }
    }

    #[test]
    fn most_allocated_clips_use_to_what_is_offered() {
        let plugin = NodeResourcesFit::with_strategy(ScoringStrategy::MostAllocated, cpu_and_memory());
        let allocatable = json!({"cpu": "3", "memory": "3"});
        // cpu ⌊2000·100/3000⌋ = 66, memory clipped = 100, mean 83
        assert_eq!(score(&plugin, allocatable, ("1", "2"), ("1", "2")), 83);
    }

    #[test]
    fn requested_to_capacity_ratio_rounds_the_mean_and_leaves_worthless_resources_out() {
        let points =
            [(0, 0), (50, 0), (100, 10)].map(|(utilization, score)| ShapePoint { utilization, score });
        let shape = Shape::new(points.into()).unwrap();
        let ratio = ScoringStrategy::RequestedToCapacityRatio(shape);
        let mut scored = cpu_and_memory();
        let plugin = NodeResourcesFit::with_strategy(ratio.clone(), scored.clone());
        let allocatable = json!({"cpu": "4", "memory": "100"});
        // cpu 75 % is worth 50, memory 20 % nothing and does not count
        assert_eq!(score(&plugin, allocatable.clone(), ("2", "10"), ("1", "10")), 50);
        // cpu 50, memory beyond what there is 100, weights 1 and 3: 87.5 rounds to 88
        scored[1].weight = 3;
        let plugin = NodeResourcesFit::with_strategy(ratio, scored);
        assert_eq!(score(&plugin, allocatable, ("2", "90"), ("1", "90")), 88);
    }

    #[test]
    fn a_scalar_that_the_pod_does_not_request_is_left_out() {
        let gpu = ScoredResource { name: ResourceName::Scalar("x.io/gpu".into()), weight: 10 };
        let mut scored = cpu_and_memory();
        scored.push(gpu);
        let plugin = NodeResourcesFit::with_strategy(ScoringStrategy::LeastAllocated, scored);
        let allocatable = json!({"cpu": "4", "memory": "4", "x.io/gpu": "8"});
        assert_eq!(score(&plugin, allocatable, ("1", "1"), ("1", "1")), 50);
    }

    #[test]
    fn containers_without_requests_count_100m_and_200_mib_in_scoring() {
        let cluster = cluster([json!({"status": {"allocatable": {"cpu": "1", "memory": "2000Mi"}}})]);
        let plugin = NodeResourcesFit::default();
        let points = plugin.score(&Cycle::new(&cluster), &pod(json!({})), cluster.node("node").unwrap());
        assert_eq!(points, Points(90));
    }

    #[test]
    fn hints_wake_a_pod_for_nodes_it_fits_and_for_freed_requests() {
        use crate::testing::node;
        let plugin = NodeResourcesFit::default();
        let pod = asking("p", "2", "0");
        let sized = |cpu: &str| node(json!({"status": {"allocatable": {"cpu": cpu, "pods": "10"}}}));
        for (event, expected) in [
            (ClusterEvent::NodeAdded(sized("1")), Hint::Skip),
            (ClusterEvent::NodeAdded(sized("2")), Hint::Queue),
            (ClusterEvent::NodeUpdated { old: sized("2"), new: sized("2") }, Hint::Skip),
            (ClusterEvent::NodeUpdated { old: sized("2"), new: sized("3") }, Hint::Queue),
            (ClusterEvent::AssignedPodDeleted(asking("q", "1", "0")), Hint::Queue),
            (
                ClusterEvent::AssignedPodUpdated { old: asking("q", "2", "0"), new: asking("q", "1", "0") },
                Hint::Queue,
            ),
            (
                ClusterEvent::AssignedPodUpdated { old: asking("q", "1", "9"), new: asking("q", "1", "1") },
                Hint::Skip,
            ),
        ] {
            assert_eq!(plugin.hint(&pod, &event), expected, "{event:?}");
        }
    }

    #[test]
    fn pods_on_the_node_that_ask_for_nothing_count_100m_and_200_mib_as_well() {
        let mut cluster = cluster([json!({"status": {"allocatable": {"cpu": "1", "memory": "2000Mi"}}})]);
        cluster.place(pod(json!({"metadata": {"name": "old"}})), &NodeName::from("node"));
        let plugin = NodeResourcesFit::default();
        let points = plugin.score(&Cycle::new(&cluster), &pod(json!({})), cluster.node("node").unwrap());
        assert_eq!(points, Points(80));
    }

    #[test]
    fn storage_and_extended_resources_count_as_they_are_requested() {
        let gpu = ResourceName::Scalar("x.io/gpu".into());
        for (field, name) in [("ephemeral-storage", ResourceName::EphemeralStorage), ("x.io/gpu", gpu)] {
            let wanting = |pod_name: &str, amount: &str| {
                pod(json!({"metadata": {"name": pod_name}, "spec": {"containers": [
                    {"name": "c", "resources": {"requests": {(field): amount}}}]}}))
            };
            let mut cluster = cluster([json!({"status": {"allocatable": {(field): "10"}}})]);
            cluster.place(wanting("old", "3"), &NodeName::from("node"));
            let scored = vec![ScoredResource { name, weight: 1 }];
            let plugin = NodeResourcesFit::with_strategy(ScoringStrategy::LeastAllocated, scored);
            let node = cluster.node("node").unwrap();
            assert_eq!(
                plugin.score(&Cycle::new(&cluster), &wanting("new", "2"), node),
                Points(50),
                "{field}"
            );
        }
    }

    #[test]
    fn a_weight_of_zero_counts_as_one() {
        let mut scored = cpu_and_memory();
        scored[0].weight = 0;
        let plugin = NodeResourcesFit::with_strategy(ScoringStrategy::LeastAllocated, scored);
        // cpu 50, memory 100
        assert_eq!(score(&plugin, json!({"cpu": "4", "memory": "4"}), ("1", "0"), ("1", "0")), 75);
    }
}
