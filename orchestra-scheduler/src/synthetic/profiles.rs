//! Profiles that differ in all that can be configured.

use rand::Rng;
use rand::rngs::SmallRng;

use crate::plugin::{Cycle, Filter, Plugin, Score};
use crate::plugins::{
    self, DefaultBinder, DefaultPreemption, NodeAffinity, NodeName, NodePorts,
    NodeResourcesBalancedAllocation, NodeResourcesFit, NodeUnschedulable, PodTopologySpread, ScoredResource,
    ScoringStrategy, Shape, ShapePoint, TaintToleration,
};
use crate::unit::{Points, ResourceName};
use crate::verdict::Verdict;
use crate::view::{NodeSelector, NodeView, PodView, SpreadConstraint, Unsatisfiable};
use crate::{Profile, Registration, Sampling, TieBreak, Version};

/// Which profile decides; a plain value, so that a history can be told again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProfileChoice {
    version: Version,
    sampling: Sampling,
    tie_break: Option<TieBreak>,
    custom: Option<Custom>,
}

/// A profile put together by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Custom {
    strategy: u8,
    fit: u32,
    taints: u32,
    affinity: u32,
    added: bool,
    scores: bool,
    /// With a plugin of somebody else's that looks at one node at a time.
    local: bool,
    /// Content with candidates for preemption on this share of the nodes, if pods preempt at all.
    preempts: Option<u8>,
}

impl ProfileChoice {
    /// The default profile.
    #[must_use]
    pub fn plain() -> Self {
        Self { version: Version::V1_36, sampling: Sampling::All, tie_break: None, custom: None }
    }

    /// Some profile; the default one half of the time.
    pub fn any(random: &mut SmallRng) -> Self {
        if random.random_bool(0.5) {
            return Self::plain();
        }
        let weight = |random: &mut SmallRng| random.random_range(1..5);
        Self {
            version: [Version::V1_34, Version::V1_35, Version::V1_36][random.random_range(0..3)],
            sampling: [Sampling::All, Sampling::Adaptive, Sampling::Percent(30)][random.random_range(0..3)],
            tie_break: [None, Some(TieBreak::Random), Some(TieBreak::Heap), Some(TieBreak::First)]
                [random.random_range(0..4)],
            custom: random.random_bool(0.5).then(|| Custom {
                strategy: random.random_range(0..4),
                fit: weight(random),
                taints: weight(random),
                affinity: weight(random),
                added: random.random_bool(0.3),
                scores: random.random_bool(0.9),
                local: random.random_bool(0.3),
                preempts: random.random_bool(0.7).then(|| [0, 10, 60][random.random_range(0..3)]),
            }),
        }
    }

    /// The profile itself.
    #[must_use]
    pub fn profile(self) -> Profile {
        let profile = match self.custom {
            None => Profile::for_version(self.version),
            Some(custom) => custom.profile(self.version),
        };
        let profile = profile.sampling(self.sampling);
        match self.tie_break {
            Some(rule) => profile.tie_break(rule),
            None => profile,
        }
    }
}

impl Custom {
    fn profile(self, version: Version) -> Profile {
        let affinity = if self.added { added() } else { NodeAffinity::default() };
        let taints = TaintToleration::for_version(version);
        let balanced = NodeResourcesBalancedAllocation::over(version, resources());
        let profile = Profile::empty("custom")
            .register(Registration::of(NodeUnschedulable).filter().into())
            .register(Registration::of(NodePorts).pre_filter().filter().into())
            .register(Registration::of(DefaultBinder).bind().into());
        let profile = match self.local {
            true => profile.register(Registration::of(Stranger).filter().score(self.fit).local().into()),
            false => profile,
        };
        let profile = match self.preempts {
            Some(percent) => {
                profile.register(plugins::preemption(DefaultPreemption::trying(percent, percent.into())))
            }
            None => profile,
        };
        if !self.scores {
            return profile
                .register(Registration::of(taints).filter().into())
                .register(Registration::of(self.fit().as_of(version)).filter().into())
                .register(Registration::of(affinity).pre_filter().filter().into());
        }
        profile
            .register(Registration::of(self.fit().as_of(version)).filter().pre_score().score(self.fit).into())
            .register(
                Registration::of(affinity)
                    .pre_filter()
                    .filter()
                    .pre_score()
                    .score_normalised(self.affinity)
                    .into(),
            )
            .register(Registration::of(taints).filter().score_normalised(self.taints).into())
            .register(Registration::of(NodeName).filter().into())
            .register(plugins::spread(self.spread()))
            .register(Registration::of(balanced).pre_score().score(1).into())
    }

    /// Spread by default as upstream does, or also held to constraints of the configuration.
    fn spread(self) -> PodTopologySpread {
        if self.strategy.is_multiple_of(2) {
            return PodTopologySpread::default();
        }
        let mut hard = SpreadConstraint::preferring(2, "topology.kubernetes.io/zone");
        hard.unsatisfiable = Unsatisfiable::DoNotSchedule;
        PodTopologySpread::with_defaults(vec![SpreadConstraint::preferring(1, "disk"), hard])
    }

    fn fit(self) -> NodeResourcesFit {
        let points =
            [(0, 0), (40, 7), (100, 10)].map(|(utilization, score)| ShapePoint { utilization, score });
        let strategy = match (self.strategy, Shape::new(points.into())) {
            (0, _) => ScoringStrategy::MostAllocated,
            (1, Ok(shape)) => ScoringStrategy::RequestedToCapacityRatio(shape),
            _ => ScoringStrategy::LeastAllocated,
        };
        let fit = NodeResourcesFit::with_strategy(strategy, resources());
        if self.strategy == 2 { fit.ignoring(vec!["example.com/gpu".into()], Vec::new()) } else { fit }
    }
}

fn resources() -> Vec<ScoredResource> {
    [(ResourceName::Cpu, 2), (ResourceName::Memory, 1), (ResourceName::Scalar("example.com/gpu".into()), 3)]
        .map(|(name, weight)| ScoredResource { name, weight })
        .into()
}

fn added() -> NodeAffinity {
    let terms = serde_json::json!({"nodeSelectorTerms": [{"matchExpressions": [
        {"key": "disk", "operator": "NotIn", "values": ["7"]}]}]});
    let required = serde_json::from_value(terms).ok();
    NodeAffinity::adding(required.as_ref().map(NodeSelector::from_api), Vec::new())
}

/// What somebody else may have written: looks at one node at a time.
#[derive(Debug)]
struct Stranger;

impl Stranger {
    fn whim(pod: &PodView, node: &NodeView) -> i64 {
        let used = node.requested().cpu.0 / 10 + node.facts().allocatable.cpu.0 / 100;
        (used + pod.demand.requests.cpu.0 / 50 + node.pods().len() as i64 * 13).rem_euclid(101)
    }
}

impl Plugin for Stranger {
    fn name(&self) -> &str {
        "Stranger"
    }
}

impl Filter for Stranger {
    fn filter(&self, _: &Cycle<'_>, pod: &PodView, node: &NodeView) -> Verdict {
        if Self::whim(pod, node) % 11 == 7 { Verdict::unschedulable("a whim") } else { Verdict::Pass }
    }
}

impl Score for Stranger {
    fn score(&self, _: &Cycle<'_>, pod: &PodView, node: &NodeView) -> Points {
        Points(Self::whim(pod, node) / 20)
    }
}
