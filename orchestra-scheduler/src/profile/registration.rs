//! Says at which extension points one plugin serves.

use std::any::TypeId;
use std::sync::Arc;

use super::Scorer;
use crate::plugin::{
    Adjust, Bind, Filter, Normalise, Permit, Plugin, PostBind, PostFilter, PreBind, PreEnqueue, PreFilter,
    PreScore, QueueSort, Requeue, Reserve, Score,
};

/// One plugin, ready to be added to a [`Profile`](super::Profile).
#[derive(Clone, Debug, Default)]
pub struct PluginSet {
    name: String,
    pub(crate) pre_enqueue: Option<Arc<dyn PreEnqueue>>,
    pub(crate) pre_filter: Option<Arc<dyn PreFilter>>,
    pub(crate) adjust: Option<Arc<dyn Adjust>>,
    pub(crate) filter: Option<Arc<dyn Filter>>,
    pub(crate) post_filter: Option<Arc<dyn PostFilter>>,
    pub(crate) pre_score: Option<Arc<dyn PreScore>>,
    pub(crate) reserve: Option<Arc<dyn Reserve>>,
    pub(crate) permit: Option<Arc<dyn Permit>>,
    pub(crate) pre_bind: Option<Arc<dyn PreBind>>,
    pub(crate) bind: Option<Arc<dyn Bind>>,
    pub(crate) post_bind: Option<Arc<dyn PostBind>>,
    pub(crate) requeue: Option<Arc<dyn Requeue>>,
    pub(crate) queue_sort: Option<Arc<dyn QueueSort>>,
    pub(crate) score: Option<Scorer>,
    pub(crate) local: Option<TypeId>,
}

impl PluginSet {
    /// The plugin's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// Collects the extension points of one plugin.
///
/// ```
/// use orchestra_scheduler::plugins::NodeName;
/// use orchestra_scheduler::{Profile, Registration};
///
/// let profile = Profile::empty("mine").register(Registration::of(NodeName).filter().into());
/// # assert_eq!(&**profile.name(), "mine");
/// ```
#[derive(Debug)]
#[must_use]
pub struct Registration<P> {
    plugin: Arc<P>,
    set: PluginSet,
}

impl<P> From<Registration<P>> for PluginSet {
    fn from(registration: Registration<P>) -> Self {
        registration.set
    }
}

impl<P: Plugin> Registration<P> {
    /// Begins with a plugin that is called nowhere yet.
    pub fn of(plugin: P) -> Self {
        let set = PluginSet { name: plugin.name().to_owned(), ..PluginSet::default() };
        Self { plugin: Arc::new(plugin), set }
    }

    /// Declares that the plugin looks at one node at a time, so that [`FastEngine`](crate::engine::FastEngine) may keep
    /// what it said of a node until the node changes.
    ///
    /// # Contract
    /// 1. In `Filter` and `Score` the answer is a function of the node's state
    ///    ([`NodeView::state`](crate::view::NodeView::state)) and of what the pod asks for alone: its `requests`, `scored`,
    ///    `host_ports` and `rules`; not of its name, labels or priority, nor of other nodes.
    /// 2. In `PreFilter` and `PreScore` it is a function of the same fields of the pod. Notes left there are not found again,
    ///    and `PreScore` is given no nodes.
    /// 3. What the plugin keeps itself may matter as long as it changes together with the node it speaks of.
    /// 4. It does not normalise.
    ///
    /// A plugin that breaks it makes the engines differ; it breaks nothing else.
    pub fn local(mut self) -> Self {
        self.set.local = Some(TypeId::of::<P>());
        self
    }

    /// Adds the plugin as a scorer whose scores are in range as they are. A weight of 0 counts as 1.
    pub fn score(mut self, weight: u32) -> Self
    where
        P: Score,
    {
        self.set.score = Some(Scorer { plugin: self.plugin.clone(), normalise: None, weight: weight.max(1) });
        self
    }

    /// Adds the plugin as a scorer that normalises. A weight of 0 counts as 1.
    pub fn score_normalised(mut self, weight: u32) -> Self
    where
        P: Normalise,
    {
        let normalise: Arc<dyn Normalise> = self.plugin.clone();
        self.set.score =
            Some(Scorer { plugin: self.plugin.clone(), normalise: Some(normalise), weight: weight.max(1) });
        self
    }

    /// Calls the plugin at [`PreEnqueue`].
    pub fn pre_enqueue(mut self) -> Self
    where
        P: PreEnqueue,
    {
        self.set.pre_enqueue = Some(self.plugin.clone());
        self
    }

    /// Calls the plugin at [`PreFilter`].
    pub fn pre_filter(mut self) -> Self
    where
        P: PreFilter,
    {
        self.set.pre_filter = Some(self.plugin.clone());
        self
    }

    /// Calls the plugin through [`Adjust`].
    pub fn adjust(mut self) -> Self
    where
        P: Adjust,
    {
        self.set.adjust = Some(self.plugin.clone());
        self
    }

    /// Calls the plugin at [`Filter`].
    pub fn filter(mut self) -> Self
    where
        P: Filter,
    {
        self.set.filter = Some(self.plugin.clone());
        self
    }

    /// Calls the plugin at [`PostFilter`].
    pub fn post_filter(mut self) -> Self
    where
        P: PostFilter,
    {
        self.set.post_filter = Some(self.plugin.clone());
        self
    }

    /// Calls the plugin at [`PreScore`].
    pub fn pre_score(mut self) -> Self
    where
        P: PreScore,
    {
        self.set.pre_score = Some(self.plugin.clone());
        self
    }

    /// Calls the plugin at [`Reserve`].
    pub fn reserve(mut self) -> Self
    where
        P: Reserve,
    {
        self.set.reserve = Some(self.plugin.clone());
        self
    }

    /// Calls the plugin at [`Permit`].
    pub fn permit(mut self) -> Self
    where
        P: Permit,
    {
        self.set.permit = Some(self.plugin.clone());
        self
    }

    /// Calls the plugin at [`PreBind`].
    pub fn pre_bind(mut self) -> Self
    where
        P: PreBind,
    {
        self.set.pre_bind = Some(self.plugin.clone());
        self
    }

    /// Calls the plugin at [`Bind`].
    pub fn bind(mut self) -> Self
    where
        P: Bind,
    {
        self.set.bind = Some(self.plugin.clone());
        self
    }

    /// Calls the plugin at [`PostBind`].
    pub fn post_bind(mut self) -> Self
    where
        P: PostBind,
    {
        self.set.post_bind = Some(self.plugin.clone());
        self
    }

    /// Calls the plugin at [`Requeue`].
    pub fn requeue(mut self) -> Self
    where
        P: Requeue,
    {
        self.set.requeue = Some(self.plugin.clone());
        self
    }

    /// Calls the plugin at [`QueueSort`].
    pub fn queue_sort(mut self) -> Self
    where
        P: QueueSort,
    {
        self.set.queue_sort = Some(self.plugin.clone());
        self
    }
}
