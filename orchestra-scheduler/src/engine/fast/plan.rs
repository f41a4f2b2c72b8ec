//! Which profiles can be answered from an index, and what the index has to know of their plugins.
//!
//! The index keeps what plugins said about a node until the node changes. That is right only for plugins whose
//! answer is a function of the pod's class and the node alone, so they are named here, by type and not by name: a
//! profile with any other filter or scorer is left to the reference engine.

use std::any::Any;
use std::sync::Arc;

use super::table::Table;
use crate::plugins::{
    DynamicResources, ImageLocality, InterPodAffinity, NodeAffinity, NodeDeclaredFeatures, NodeName,
    NodePorts, NodeResourcesBalancedAllocation, NodeResourcesFit, NodeUnschedulable, NodeVolumeLimits,
    PodTopologySpread, TaintToleration, VolumeBinding, VolumeRestrictions, VolumeZone, normalise::Best,
};
use crate::profile::Profile;
use crate::unit::Points;
use crate::view::{ClusterView, OwnerView, PodView, ServiceView};

/// Totals above this are not kept; no sane weights come near.
const HIGHEST_TOTAL: i64 = 1 << 30;

/// A profile that can be answered from an index.
#[derive(Debug)]
pub(super) struct Plan {
    profile: Profile,
    pub(super) scorers: Vec<ScorerPlan>,
    /// Whether pods of one group are spread.
    spreads: bool,
    /// Whether pods may want each other near or away.
    neighbours: bool,
}

/// What has to be known of a scoring plugin.
#[derive(Clone, Copy, Debug)]
pub(super) struct ScorerPlan {
    pub(super) weight: i32,
    /// How the plugin normalises; `None` when its scores are final.
    pub(super) normal: Option<Best>,
}

impl Plan {
    /// The plan for a profile; `None` when some plugin is not known.
    pub(super) fn of(profile: &Profile) -> Option<Self> {
        let known = profile.filter.iter().all(|plugin| is_local(&**plugin))
            && profile.pre_filter.iter().all(|plugin| is_local(&**plugin))
            && profile.pre_score.iter().all(|plugin| is_local(&**plugin))
            && profile.adjust.iter().all(|plugin| is_local(&**plugin));
        if !known {
            return None;
        }
        let mut scorers = Vec::new();
        for scorer in &profile.score {
            let normal = normal(&*scorer.plugin)?;
            if normal.is_some() != scorer.normalise.is_some() {
                return None;
            }
            scorers.push(ScorerPlan { weight: i32::try_from(scorer.weight).ok()?, normal });
        }
        let highest: i64 = scorers.iter().map(|scorer| i64::from(scorer.weight) * Points::MAX.0).sum();
        let any = |is: fn(&dyn Any) -> bool| {
            profile.filter.iter().any(|plugin| is(&**plugin))
                || profile.score.iter().any(|scorer| is(&*scorer.plugin))
        };
        let (spreads, neighbours) =
            (any(|plugin| plugin.is::<PodTopologySpread>()), any(|plugin| plugin.is::<InterPodAffinity>()));
        (highest <= HIGHEST_TOTAL).then(|| Self { profile: profile.clone(), scorers, spreads, neighbours })
    }

    /// Whether what the plugins say of a node may depend on other nodes, for this pod.
    pub(super) fn looks_around(&self, cluster: &ClusterView, table: &Table, pod: &PodView) -> bool {
        (self.spreads && (!pod.rules.spread.is_empty() || belongs(cluster, pod)))
            || (self.neighbours && (!pod.affinity.is_empty() || table.any_affinity()))
    }

    /// Whether this is the plan for `profile`.
    pub(super) fn is_for(&self, profile: &Profile) -> bool {
        self.profile.decides_like(profile)
    }
}

/// Whether the plugin looks at nothing but the pod and the node, for pods that the index takes at all.
fn is_local(plugin: &dyn Any) -> bool {
    // The volume plugins and DynamicResources have nothing to say about pods without claims, PodTopologySpread nothing about pods that belong
    // to no group, InterPodAffinity nothing where no pod has terms; others are not taken.
    plugin.is::<NodeUnschedulable>()
        || plugin.is::<NodeName>()
        || plugin.is::<TaintToleration>()
        || plugin.is::<NodeAffinity>()
        || plugin.is::<NodePorts>()
        || plugin.is::<NodeResourcesFit>()
        || plugin.is::<NodeResourcesBalancedAllocation>()
        || plugin.is::<NodeDeclaredFeatures>()
        || plugin.is::<VolumeBinding>()
        || plugin.is::<VolumeRestrictions>()
        || plugin.is::<VolumeZone>()
        || plugin.is::<NodeVolumeLimits>()
        || plugin.is::<DynamicResources>()
        || plugin.is::<PodTopologySpread>()
        || plugin.is::<InterPodAffinity>()
}

/// Whether services or an owner make a pod one of many.
fn belongs(cluster: &ClusterView, pod: &PodView) -> bool {
    let selects = |service: &Arc<ServiceView>| {
        service.key.namespace == pod.key.namespace && service.selects(&pod.labels)
    };
    pod.rules.owner.as_ref().is_some_and(|owner| cluster.kept::<OwnerView>(owner).is_some())
        || cluster.all::<ServiceView>().any(selects)
}

/// How a known scorer normalises; `None` for one that is not known.
fn normal(plugin: &dyn Any) -> Option<Option<Best>> {
    if plugin.is::<TaintToleration>() {
        return Some(Some(Best::Lowest));
    }
    // The latter two are silent for pods that the index takes.
    if plugin.is::<NodeAffinity>() || plugin.is::<PodTopologySpread>() || plugin.is::<InterPodAffinity>() {
        return Some(Some(Best::Highest));
    }
    let known = plugin.is::<ImageLocality>() || plugin.is::<NodeResourcesFit>();
    (known || plugin.is::<NodeResourcesBalancedAllocation>()).then_some(None)
}

impl Profile {
    /// Whether both look for nodes with the very same plugins, weights and rules of choice.
    fn decides_like(&self, other: &Self) -> bool {
        fn same<T: ?Sized>(left: &[Arc<T>], right: &[Arc<T>]) -> bool {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| Arc::ptr_eq(left, right))
        }
        self.sampling == other.sampling
            && self.tie_break == other.tie_break
            && same(&self.pre_filter, &other.pre_filter)
            && same(&self.filter, &other.filter)
            && same(&self.pre_score, &other.pre_score)
            && same(&self.adjust, &other.adjust)
            && self.score.len() == other.score.len()
            && self.score.iter().zip(&other.score).all(|(left, right)| {
                Arc::ptr_eq(&left.plugin, &right.plugin)
                    && left.weight == right.weight
                    && left.normalise.is_some() == right.normalise.is_some()
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::{Cycle, Filter, Plugin};
    use crate::verdict::Verdict;
    use crate::view::{NodeView, PodView};

    /// Bears the name of a known plugin.
    #[derive(Debug)]
    struct Impostor;

    impl Plugin for Impostor {
        fn name(&self) -> &str {
            "NodeName"
        }
    }

    impl Filter for Impostor {
        fn filter(&self, _: &Cycle<'_>, _: &PodView, _: &NodeView) -> Verdict {
            Verdict::Pass
        }
    }

    #[test]
    fn plugins_are_known_by_type_and_others_leave_the_profile_to_the_reference() {
        assert!(Plan::of(&Profile::default()).is_some());
        assert!(Plan::of(&Profile::default().filter(Impostor)).is_none());
    }

    #[test]
    fn a_plan_is_for_the_plugins_it_was_made_of() {
        let profile = Profile::default();
        let plan = Plan::of(&profile).unwrap();
        assert!(plan.is_for(&profile.clone().named("other")));
        assert!(!plan.is_for(&Profile::default()));
        assert!(!plan.is_for(&profile.tie_break(crate::TieBreak::Random)));
    }
}
