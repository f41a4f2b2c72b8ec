//! A profile: which plugins run at each extension point, in which order, with which weight.

mod registration;

use std::any::{Any, TypeId};
use std::sync::Arc;
use std::time::Duration;

use crate::extender::Extender;
use crate::plugin::{
    Adjust, Bind, Filter, Normalise, Permit, PostBind, PostFilter, PreBind, PreEnqueue, PreFilter, PreScore,
    QueueSort, Requeue, Reserve, Score,
};
use crate::plugins;
use crate::strategy::Strategy;

pub use registration::{PluginSet, Registration};

/// The scheduler name of the default profile, and of pods that name none.
pub const DEFAULT_NAME: &str = "default-scheduler";

/// The Kubernetes minor version whose decisions are made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Version {
    /// 1.34.
    V1_34,
    /// 1.35.
    V1_35,
    /// 1.36.
    #[default]
    V1_36,
}

/// How many nodes are looked at for a pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sampling {
    /// All of them, always.
    #[default]
    All,
    /// Fewer the larger the cluster is; upstream's default.
    Adaptive,
    /// This many in a hundred, but at least 100 nodes.
    Percent(u8),
}

/// How a choice is made among nodes with the highest score.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TieBreak {
    /// The root of a max-heap over the nodes in the order found (1.35 on): deterministic.
    Heap,
    /// Uniformly at random, from the seeded generator (until 1.34).
    Random,
    /// The first of them that was found; the first in the order of the cluster where all nodes are looked at.
    First,
}

/// A scoring plugin with its weight.
#[derive(Clone, Debug)]
pub(crate) struct Scorer {
    pub(crate) plugin: Arc<dyn Score>,
    pub(crate) normalise: Option<Arc<dyn Normalise>>,
    pub(crate) weight: u32,
}

/// Who places pods in batches, and how often.
#[derive(Clone, Debug)]
pub(crate) struct Batches {
    pub(crate) name: Arc<str>,
    pub(crate) strategy: Arc<dyn Strategy>,
    /// The least time between two questions.
    pub(crate) pause: Duration,
}

/// Between two questions to a strategy, where nothing else is said.
const PAUSE: Duration = Duration::from_secs(1);

/// Plugins by extension point, under the scheduler name that pods select them with.
#[derive(Clone, Debug)]
pub struct Profile {
    name: Arc<str>,
    pub(crate) sampling: Sampling,
    pub(crate) tie_break: TieBreak,
    pub(crate) queue_sort: Option<Arc<dyn QueueSort>>,
    pub(crate) pre_enqueue: Vec<Arc<dyn PreEnqueue>>,
    pub(crate) pre_filter: Vec<Arc<dyn PreFilter>>,
    pub(crate) adjust: Vec<Arc<dyn Adjust>>,
    pub(crate) filter: Vec<Arc<dyn Filter>>,
    pub(crate) post_filter: Vec<Arc<dyn PostFilter>>,
    pub(crate) pre_score: Vec<Arc<dyn PreScore>>,
    pub(crate) score: Vec<Scorer>,
    pub(crate) reserve: Vec<Arc<dyn Reserve>>,
    pub(crate) permit: Vec<Arc<dyn Permit>>,
    pub(crate) pre_bind: Vec<Arc<dyn PreBind>>,
    pub(crate) bind: Vec<Arc<dyn Bind>>,
    pub(crate) post_bind: Vec<Arc<dyn PostBind>>,
    pub(crate) requeue: Vec<Arc<dyn Requeue>>,
    pub(crate) batches: Option<Batches>,
    pub(crate) extenders: Vec<Arc<dyn Extender>>,
    /// Plugins that look at one node at a time; see [`Registration::local`].
    local: Vec<TypeId>,
}

impl Default for Profile {
    fn default() -> Self {
        Self::for_version(Version::default())
    }
}

impl Profile {
    /// The default plugins with the weights and formulas of one Kubernetes version.
    #[must_use]
    pub fn for_version(version: Version) -> Self {
        let mut profile = Self::empty(DEFAULT_NAME);
        profile.tie_break = if version >= Version::V1_35 { TieBreak::Heap } else { TieBreak::Random };
        plugins::default_set(version).into_iter().fold(profile, Self::register)
    }

    /// A profile without plugins. Pods that nothing sorts are taken in the order they came, and pods that no
    /// plugin binds are never bound.
    #[must_use]
    pub fn empty(name: &str) -> Self {
        Self {
            name: name.into(),
            sampling: Sampling::default(),
            tie_break: TieBreak::Heap,
            queue_sort: None,
            pre_enqueue: Vec::new(),
            pre_filter: Vec::new(),
            adjust: Vec::new(),
            filter: Vec::new(),
            post_filter: Vec::new(),
            pre_score: Vec::new(),
            score: Vec::new(),
            reserve: Vec::new(),
            permit: Vec::new(),
            pre_bind: Vec::new(),
            bind: Vec::new(),
            post_bind: Vec::new(),
            requeue: Vec::new(),
            batches: None,
            extenders: Vec::new(),
            local: Vec::new(),
        }
    }

    /// The scheduler name that selects this profile.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Gives the profile another scheduler name.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        self.name = name.into();
        self
    }

    /// Decides how many nodes are looked at.
    #[must_use]
    pub fn sampling(mut self, sampling: Sampling) -> Self {
        self.sampling = sampling;
        self
    }

    /// Decides how ties are broken.
    #[must_use]
    pub fn tie_break(mut self, tie_break: TieBreak) -> Self {
        self.tie_break = tie_break;
        self
    }

    /// Has a strategy place the pods of this profile, all that wait at once, in the place of scoring and of the choice among nodes.
    ///
    /// The filters still have the last word on each node it chooses, and what comes after a choice (`Reserve`, `Permit`,
    /// binding) stays. Errors speak of it by this name.
    #[must_use]
    pub fn strategy(mut self, name: &str, strategy: Arc<dyn Strategy>) -> Self {
        let pause = self.batches.map_or(PAUSE, |before| before.pause);
        self.batches = Some(Batches { name: name.into(), strategy, pause });
        self
    }

    /// The least time between two questions to the strategy; a second if nothing is said. It is asked only when something changed.
    #[must_use]
    pub fn strategy_pause(mut self, pause: Duration) -> Self {
        if let Some(batches) = &mut self.batches {
            batches.pause = pause;
        }
        self
    }

    /// Whether the profile can work at all.
    pub(crate) fn check(&self) -> Result<(), crate::Error> {
        let invalid = |problem| Err(crate::Error::InvalidProfile { profile: self.name.to_string(), problem });
        let mut scorers: Vec<_> = self.score.iter().map(|scorer| scorer.plugin.name()).collect();
        scorers.sort_unstable();
        if scorers.windows(2).any(|pair| pair.first() == pair.last()) {
            return invalid("two scoring plugins have the same name");
        }
        if self.bind.is_empty() {
            return invalid("no plugin binds pods");
        }
        Ok(())
    }

    /// Adds a plugin at the end of every extension point it was registered for.
    #[must_use]
    pub fn register(mut self, set: PluginSet) -> Self {
        self.queue_sort = set.queue_sort.or(self.queue_sort);
        self.pre_enqueue.extend(set.pre_enqueue);
        self.pre_filter.extend(set.pre_filter);
        self.adjust.extend(set.adjust);
        self.filter.extend(set.filter);
        self.post_filter.extend(set.post_filter);
        self.pre_score.extend(set.pre_score);
        self.score.extend(set.score);
        self.reserve.extend(set.reserve);
        self.permit.extend(set.permit);
        self.pre_bind.extend(set.pre_bind);
        self.bind.extend(set.bind);
        self.post_bind.extend(set.post_bind);
        self.requeue.extend(set.requeue);
        self.local.extend(set.local);
        self
    }

    /// Takes all scorers out, to put others in their place.
    #[must_use]
    pub fn without_scorers(mut self) -> Self {
        self.pre_score.clear();
        self.score.clear();
        self
    }

    /// Whether this plugin was registered as one that looks at one node at a time.
    pub(crate) fn holds_local(&self, plugin: &dyn Any) -> bool {
        self.local.contains(&plugin.type_id())
    }

    /// Adds an extender. Those that can be ignored are asked after the others.
    #[must_use]
    pub fn extender(mut self, extender: Arc<dyn Extender>) -> Self {
        self.extenders.push(extender);
        self.extenders.sort_by_key(|extender| extender.options().ignorable);
        self
    }

    /// Adds a filter.
    #[must_use]
    pub fn filter(mut self, plugin: impl Filter) -> Self {
        self.filter.push(Arc::new(plugin));
        self
    }

    /// Adds a scorer whose scores are in range as they are. A weight of 0 counts as 1.
    #[must_use]
    pub fn score(self, plugin: impl Score, weight: u32) -> Self {
        self.register(Registration::of(plugin).score(weight).into())
    }

    /// Adds a scorer that normalises its scores. A weight of 0 counts as 1.
    #[must_use]
    pub fn score_normalised(self, plugin: impl Normalise, weight: u32) -> Self {
        self.register(Registration::of(plugin).score_normalised(weight).into())
    }
}
