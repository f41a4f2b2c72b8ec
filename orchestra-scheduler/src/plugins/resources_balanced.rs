//! NodeResourcesBalancedAllocation: prefers nodes whose resources would be used evenly.

use crate::plugin::{Cycle, Plugin, PreScore, Score};
use crate::plugins::resources_fit::{ScoredResource, cpu_and_memory, devices_in_use, note_devices};
use crate::profile::Version;
use crate::unit::{NonZero, Points, ResourceName};
use crate::verdict::PreScored;
use crate::view::load::{self, amount, exact, least, share};
use crate::view::{Brief, Load, NodeView, PodView};

/// So many resources are compared without a list of their shares.
const FEW: usize = 4;

/// Scores by how far apart the used shares of the resources are.
#[derive(Clone, Debug)]
pub struct NodeResourcesBalancedAllocation {
    version: Version,
    resources: Vec<ResourceName>,
}

impl NodeResourcesBalancedAllocation {
    /// The plugin with the formula of one Kubernetes version, over CPU and memory.
    #[must_use]
    pub fn for_version(version: Version) -> Self {
        Self::over(version, cpu_and_memory())
    }

    /// The plugin with the formula of one Kubernetes version, over these resources; weights do not matter.
    #[must_use]
    pub fn over(version: Version, resources: Vec<ScoredResource>) -> Self {
        Self { version, resources: resources.into_iter().map(|resource| resource.name).collect() }
    }

    /// Whether nothing but CPU and memory counts for this pod.
    pub(crate) fn scores_by_load(&self, pod: &PodView) -> bool {
        self.resources.iter().all(|name| match name {
            ResourceName::Cpu | ResourceName::Memory => true,
            ResourceName::EphemeralStorage => false,
            ResourceName::Scalar(_) => pod.demand.requests.amount(name) == 0,
        })
    }

    /// The score of a node with this load for such a pod.
    #[inline]
    pub(crate) fn score_load(&self, pod: &PodView, load: &Load) -> Points {
        self.points(|name, with| {
            let offered = amount(load.allocatable, name).filter(|offered| *offered != 0)?;
            let asked = if with { pod.demand.requests.amount(name) } else { 0 };
            Some((amount(load.requested, name)?.saturating_add(asked), offered))
        })
    }

    /// The score where this much of each resource that counts is in use, without the pod or with it, of so much.
    #[inline]
    fn points(&self, in_use: impl Fn(&ResourceName, bool) -> Option<(i64, i64)>) -> Points {
        let with = self.evenness(|name| in_use(name, true));
        if !self.compares() {
            return Points(with);
        }
        Points(gained(with, self.evenness(|name| in_use(name, false))))
    }

    /// Whether the change counts, and not what comes of it.
    fn compares(&self) -> bool {
        self.version >= Version::V1_36
    }

    /// How even the shares are: 100 is perfectly.
    #[inline]
    fn evenness(&self, in_use: impl Fn(&ResourceName) -> Option<(i64, i64)>) -> i64 {
        let fraction = |(used, offered): (i64, i64)| share(used, offered);
        let fractions = self.resources.iter().filter_map(|name| in_use(name).map(fraction));
        if self.resources.len() > FEW {
            return whole(&fractions.collect::<Vec<_>>());
        }
        // Mostly two, for which no list has to be made.
        let (mut few, mut count) = ([0.0; FEW], 0);
        for (place, fraction) in few.iter_mut().zip(fractions) {
            *place = fraction;
            count += 1;
        }
        whole(few.get(..count).unwrap_or_default())
    }
}

/// The score where the pod makes this of the evenness.
#[inline]
fn gained(with: i64, without: i64) -> i64 {
    50 + (50 + with - without) / 2
}

/// The scores of one pod by CPU and memory, where their numbers are exact.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BalancedByLoad {
    compares: bool,
    asked: [f64; 2],
}

impl BalancedByLoad {
    /// Those of a pod that [`NodeResourcesBalancedAllocation::scores_by_load`] holds for; `None` if the plugin does not look
    /// at both, or the pod asks for too much.
    pub(crate) fn of(plugin: &NodeResourcesBalancedAllocation, pod: &PodView) -> Option<Self> {
        let native = [ResourceName::Cpu, ResourceName::Memory];
        let each_once =
            native.iter().all(|name| plugin.resources.iter().filter(|one| *one == name).count() == 1);
        let asked = exact(NonZero { cpu: pod.demand.requests.cpu, memory: pod.demand.requests.memory })?;
        each_once.then_some(Self { compares: plugin.compares(), asked })
    }

    /// The score of a node that there is a brief of, within the range of points.
    #[inline]
    pub(crate) fn score(&self, load: &Brief) -> i32 {
        let (offered, used, asked) = (&load.offered, &load.requested, &self.asked);
        let shares = [(used[0] + asked[0]) / offered[0], (used[1] + asked[1]) / offered[1]];
        let shares = [least(shares[0], 1.0), least(shares[1], 1.0)];
        let with = load::whole(load::evenness(shares));
        if self.compares { gained(i64::from(with), i64::from(load.evenness)) as i32 } else { with }
    }
}

/// How even these fractions are, in points.
#[inline]
fn whole(fractions: &[f64]) -> i64 {
    match fractions {
        [left, right] => load::evenness([*left, *right]) as i64,
        _ => ((1.0 - deviation(fractions)) * Points::MAX.0 as f64) as i64,
    }
}

/// The standard deviation of the fractions, which are not two.
#[inline]
fn deviation(fractions: &[f64]) -> f64 {
    match fractions {
        [] | [_] => 0.0,
        many => {
            let count = many.len() as f64;
            let mean = many.iter().sum::<f64>() / count;
            (many.iter().map(|fraction| (fraction - mean) * (fraction - mean)).sum::<f64>() / count).sqrt()
        }
    }
}

impl Plugin for NodeResourcesBalancedAllocation {
    fn name(&self) -> &str {
        "NodeResourcesBalancedAllocation"
    }
}

impl PreScore for NodeResourcesBalancedAllocation {
    fn pre_score(&self, cycle: &mut Cycle<'_>, pod: &PodView, _: &[&NodeView]) -> PreScored {
        if self.version >= Version::V1_36 {
            note_devices(cycle, pod, self.resources.iter());
        }
        let best_effort = self.resources.iter().all(|name| pod.demand.requests.amount(name) == 0);
        if best_effort { PreScored::Skip } else { PreScored::Score }
    }
}

impl Score for NodeResourcesBalancedAllocation {
    fn score(&self, cycle: &Cycle<'_>, pod: &PodView, node: &NodeView) -> Points {
        self.points(|name, with| {
            let (offered, asked) = (node.facts().allocatable.amount(name), pod.demand.requests.amount(name));
            if self.version >= Version::V1_36
                && let Some((had, all)) = devices_in_use(cycle, node, name)
            {
                return Some((had.saturating_add(if with { asked } else { 0 }), all));
            }
            let unasked = matches!(name, ResourceName::Scalar(_)) && asked == 0;
            if offered == 0 || unasked {
                return None;
            }
            Some((node.requested().amount(name).saturating_add(if with { asked } else { 0 }), offered))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{asking, cluster, pod};
    use crate::view::NodeName;
    use serde_json::json;

    fn score(version: Version, used: (&str, &str), asked: (&str, &str)) -> i64 {
        let mut cluster = cluster([json!({"status": {"allocatable": {"cpu": "10", "memory": "10000"}}})]);
        cluster.place(asking("old", used.0, used.1), &NodeName::from("node"));
        let plugin = NodeResourcesBalancedAllocation::for_version(version);
        plugin.score(&Cycle::new(&cluster), &asking("new", asked.0, asked.1), cluster.node("node").unwrap()).0
    }

    #[test]
    fn until_1_35_the_score_is_the_evenness_with_the_pod() {
        // cpu 0.6, memory 0.5: std 0.05
        assert_eq!(score(Version::V1_35, ("3", "2000"), ("3", "3000")), 95);
        // cpu clipped at 1.0, memory 0: std 0.5
        assert_eq!(score(Version::V1_35, ("9", "0"), ("9", "0")), 50);
    }

    #[test]
    fn in_1_36_the_score_is_the_change_of_evenness_and_no_change_gives_75() {
        assert_eq!(score(Version::V1_36, ("1", "1000"), ("1", "1000")), 75);
        // without: |0.3−0.2|/2 = 0.05 → 95; with: |0.3−0.5|/2 = 0.1 → 90; 50 + (50 − 5)/2 = 72
        assert_eq!(score(Version::V1_36, ("3", "2000"), ("0", "3000")), 72);
    }

    #[test]
    fn more_than_two_resources_use_the_population_deviation() {
        assert!((deviation(&[0.0, 0.5, 1.0]) - (1.0_f64 / 6.0).sqrt()).abs() < 1e-12);
        assert!(deviation(&[0.7]).abs() < f64::EPSILON);
    }

    #[test]
    fn best_effort_pods_are_skipped() {
        let cluster = cluster([json!({})]);
        let plugin = NodeResourcesBalancedAllocation::for_version(Version::V1_36);
        let skipped = |pod: &PodView| plugin.pre_score(&mut Cycle::new(&cluster), pod, &[]);
        assert_eq!(skipped(&pod(json!({}))), PreScored::Skip);
        assert_eq!(skipped(&asking("p", "1m", "0")), PreScored::Score);
    }

    #[test]
    fn the_evenness_is_cut_to_a_whole_number() {
        // cpu 0.51, memory 0.5: std 0.005, 99.5
        assert_eq!(score(Version::V1_35, ("0", "0"), ("5100m", "5000")), 99);
    }

    #[test]
    fn what_pods_really_asked_for_counts_and_not_what_they_are_taken_for() {
        let mut cluster = cluster([json!({"status": {"allocatable": {"cpu": "1", "memory": "1000"}}})]);
        cluster.place(pod(json!({"metadata": {"name": "old"}})), &NodeName::from("node"));
        let plugin = NodeResourcesBalancedAllocation::for_version(Version::V1_35);
        let node = cluster.node("node").unwrap();
        assert_eq!(plugin.score(&Cycle::new(&cluster), &asking("new", "500m", "500"), node), Points(100));
    }

    #[test]
    fn a_resource_that_a_node_does_not_have_is_left_out() {
        let cluster = cluster([json!({"status": {"allocatable": {"cpu": "10"}}})]);
        let plugin = NodeResourcesBalancedAllocation::for_version(Version::V1_35);
        let node = cluster.node("node").unwrap();
        assert_eq!(plugin.score(&Cycle::new(&cluster), &asking("new", "5", "5"), node), Points(100));
    }
}
