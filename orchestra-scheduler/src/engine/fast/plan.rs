//! Which profiles can be answered from an index, and what the index has to know of their plugins.
//!
//! The index keeps what plugins said about a node until the node changes. That is right only for plugins whose
//! answer is a function of the pod's class and the node alone, so they are named here, by type and not by name, or
//! have declared it themselves ([`Registration::local`](crate::Registration::local)): a profile with any other filter
//! or scorer is left to the reference engine.

use std::any::Any;
use std::sync::Arc;

use super::by_load::ByLoad;
use super::class::Company;
use super::mounted::is_about_volumes;
use super::table::Table;
use crate::plugin::Plugin;
use crate::plugins::{
    DynamicResources, ImageLocality, InterPodAffinity, NodeAffinity, NodeDeclaredFeatures, NodeName,
    NodePorts, NodeResourcesBalancedAllocation, NodeResourcesFit, NodeUnschedulable, PodTopologySpread,
    TaintToleration, normalise::Best,
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
    /// The same without the plugins that have nothing to say about a pod that is alone.
    alone: Profile,
    pub(super) scorers: Vec<ScorerPlan>,
    /// Who is asked about the load of nodes, if everybody else looks at what nodes say about themselves.
    pub(super) by_load: Option<ByLoad>,
    /// Whether pods of one group are spread.
    spreads: bool,
    /// Whether pods may want each other near or away.
    neighbours: bool,
    /// Whether some plugin only declared that it looks at one node at a time: it may look at what a pod mounts.
    declared: bool,
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
        let local = |plugin: &dyn Any| is_local(plugin) || profile.holds_local(plugin);
        let known = profile.filter.iter().all(|plugin| local(&**plugin))
            && profile.pre_filter.iter().all(|plugin| local(&**plugin))
            && profile.pre_score.iter().all(|plugin| local(&**plugin))
            && profile.adjust.iter().all(|plugin| is_local(&**plugin));
        if !known || !profile.extenders.is_empty() {
            return None;
        }
        let mut scorers = Vec::new();
        for scorer in &profile.score {
            let declared = || profile.holds_local(&*scorer.plugin).then_some(None);
            let normal = normal(&*scorer.plugin).or_else(declared)?;
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
        let declared = profile.filter.iter().any(|plugin| profile.holds_local(&**plugin))
            || profile.pre_filter.iter().any(|plugin| profile.holds_local(&**plugin))
            || profile.pre_score.iter().any(|plugin| profile.holds_local(&**plugin))
            || profile.score.iter().any(|scorer| profile.holds_local(&*scorer.plugin));
        (highest <= HIGHEST_TOTAL).then(|| Self {
            by_load: if declared { None } else { ByLoad::of(profile) },
            alone: without_company(profile),
            profile: profile.clone(),
            scorers,
            spreads,
            neighbours,
            declared,
        })
    }

    /// Who matters to a pod.
    pub(super) fn company(&self, cluster: &ClusterView, table: &Table, pod: &PodView) -> Company {
        Company {
            spread: self.spreads && (!pod.rules.spread.is_empty() || belongs(cluster, pod)),
            near: self.neighbours && (!pod.affinity.is_empty() || table.any_affinity()),
        }
    }

    /// Whether it is known which plugins look at what pods mount.
    pub(super) fn takes_mounts(&self) -> bool {
        !self.declared
    }

    /// The plugins that may have something to say about a pod in this company.
    pub(super) fn profile(&self, company: Company) -> &Profile {
        if company.is_alone() { &self.alone } else { &self.profile }
    }

    /// The plugin that spreads pods, if it is one and asked at every extension point it has.
    pub(super) fn spread(&self) -> Option<&PodTopologySpread> {
        self.everywhere()
    }

    /// What its scores weigh.
    pub(super) fn spread_weight(&self) -> i64 {
        self.weight::<PodTopologySpread>()
    }

    /// The plugin that knows who wants whom near, if it is one and asked at every extension point it has.
    pub(super) fn affinity(&self) -> Option<&InterPodAffinity> {
        self.everywhere()
    }

    /// What its scores weigh.
    pub(super) fn affinity_weight(&self) -> i64 {
        self.weight::<InterPodAffinity>()
    }

    /// The names of the plugins whose scores are worked out apart for pods in this company.
    pub(super) fn scorers_around(&self, company: Company) -> impl Iterator<Item = &str> {
        let spread = self.spread().filter(|_| company.spread).map(Plugin::name);
        spread.into_iter().chain(self.affinity().filter(|_| company.near).map(Plugin::name))
    }

    fn everywhere<P: Any>(&self) -> Option<&P> {
        fn one<'a, P: Any>(mut of: impl Iterator<Item = &'a dyn Any>) -> Option<&'a P> {
            let first = of.find_map(|plugin| plugin.downcast_ref())?;
            of.all(|plugin| !plugin.is::<P>()).then_some(first)
        }
        let profile = &self.profile;
        let filter = one(profile.filter.iter().map(|plugin| &**plugin as &dyn Any))?;
        let others = [
            one(profile.pre_filter.iter().map(|plugin| &**plugin as &dyn Any))?,
            one(profile.pre_score.iter().map(|plugin| &**plugin as &dyn Any))?,
            one(profile.score.iter().map(|scorer| &*scorer.plugin as &dyn Any))?,
        ];
        others.iter().all(|other| std::ptr::eq(*other, filter)).then_some(filter)
    }

    fn weight<P: Any>(&self) -> i64 {
        let scorer = self.profile.score.iter().find(|scorer| (&*scorer.plugin as &dyn Any).is::<P>());
        scorer.map_or(0, |scorer| scorer.weight.into())
    }

    /// Whether this is the plan for `profile`.
    pub(super) fn is_for(&self, profile: &Profile) -> bool {
        self.profile.decides_like(profile)
    }
}

/// Whether the plugin looks at nothing but the pod and the node, for pods that the index takes at all.
fn is_local(plugin: &dyn Any) -> bool {
    // DynamicResources has nothing to say about pods without claims; others are not taken. What the volume plugins,
    // PodTopologySpread and InterPodAffinity say is worked out apart.
    plugin.is::<NodeUnschedulable>()
        || plugin.is::<NodeName>()
        || plugin.is::<TaintToleration>()
        || plugin.is::<NodeAffinity>()
        || plugin.is::<NodePorts>()
        || plugin.is::<NodeResourcesFit>()
        || plugin.is::<NodeResourcesBalancedAllocation>()
        || plugin.is::<NodeDeclaredFeatures>()
        || is_about_volumes(plugin)
        || plugin.is::<DynamicResources>()
        || plugin.is::<PodTopologySpread>()
        || plugin.is::<InterPodAffinity>()
}

/// Whether the plugin looks at other pods: it has nothing to say about one to whom they do not matter.
pub(super) fn is_about_others(plugin: &dyn Any) -> bool {
    plugin.is::<PodTopologySpread>() || plugin.is::<InterPodAffinity>()
}

/// The profile without the plugins that look at other pods; they look at all nodes to find that there is nothing to
/// say.
fn without_company(profile: &Profile) -> Profile {
    let speaks = |plugin: &dyn Any| !is_about_others(plugin);
    let mut alone = profile.clone();
    alone.pre_filter.retain(|plugin| speaks(&**plugin));
    alone.filter.retain(|plugin| speaks(&**plugin));
    alone.adjust.retain(|plugin| speaks(&**plugin));
    alone.pre_score.retain(|plugin| speaks(&**plugin));
    // A profile whose scorers are all silent still looks for as many nodes as one with scorers.
    if alone.score.iter().any(|scorer| speaks(&*scorer.plugin)) {
        alone.score.retain(|scorer| speaks(&*scorer.plugin));
    }
    alone
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
    // The last two are worked out apart; DynamicResources is silent about pods without claims.
    if plugin.is::<NodeAffinity>()
        || plugin.is::<DynamicResources>()
        || plugin.is::<PodTopologySpread>()
        || plugin.is::<InterPodAffinity>()
    {
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
    use crate::plugin::{Cycle, Filter};
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
