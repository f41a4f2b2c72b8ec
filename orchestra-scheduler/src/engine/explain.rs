//! Why a pod goes to one node and not to another: what each plugin says of each node.
//!
//! An explanation is made beside a decision and not in it: the engine is asked for one before it decides, and asks the plugins
//! again. So who wants none pays nothing, and there is no branch in the search for it. It keeps numbers only, two for each
//! scored node and scorer; what filters say in words is made for one node at a time, while [`Explanation::nodes`] is read, so a
//! cluster of 100,000 nodes can be explained, too.

mod listen;
mod look;

use crate::outcome::Failure;
use crate::profile::Profile;
use crate::unit::Points;
use crate::verdict::Rejection;
use crate::view::{NodeName, NodeView, PodView};

pub use listen::Explain;
pub(crate) use listen::Explaining;

use self::look::Looked;

/// Why a pod goes where it goes.
///
/// ```
/// use std::sync::Arc;
///
/// use orchestra_scheduler::Profile;
/// use orchestra_scheduler::engine::{Engine, FastEngine, Reached};
/// use orchestra_scheduler::view::{ClusterView, NodeFacts, PodView};
/// use serde_json::{Value, from_value, json};
///
/// let mut cluster = ClusterView::default();
/// for (name, cpu) in [("small", "1"), ("large", "4"), ("larger", "8")] {
///     let node = json!({"metadata": {"name": name},
///         "status": {"allocatable": {"cpu": cpu, "memory": "8Gi", "pods": "110"}}});
///     cluster.set_node(Arc::new(NodeFacts::from_api(&from_value(node)?)?));
/// }
/// let pod = json!({"metadata": {"name": "web", "namespace": "default", "uid": "1"}, "spec": {"containers": [
///     {"name": "c", "resources": {"requests": {"cpu": "2", "memory": "1Gi"}}}]}});
/// let (pod, profile) = (PodView::from_api(&from_value(pod)?)?, Profile::default());
///
/// let explanation = FastEngine::seeded(0).explain(&profile, &cluster, &pod);
/// assert_eq!(explanation.chosen().map(|node| &**node), Some("larger"));
/// for node in explanation.nodes() {
///     match node.reached {
///         Reached::Filter => {
///             let refusals: Vec<_> = node.filters.iter().filter_map(|filter| filter.said.reasons()).collect();
///             println!("{}: {}", node.node.name(), refusals.join(", ")); // small: Insufficient cpu
///         }
///         _ => println!("{}: {:?}, of which {:?}", node.node.name(), node.total, node.scores),
///     }
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Explanation<'a> {
    pod: &'a PodView,
    profile: &'a Profile,
    looked: Looked<'a>,
}

/// What a plugin said before any node was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreFilterVerdict<'a> {
    /// The plugin.
    pub plugin: &'a str,
    /// What it said.
    pub said: PreFilterSaid,
}

/// What can be said before any node is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PreFilterSaid {
    /// All nodes are to be filtered.
    Passed,
    /// Its filter has nothing to say about this pod.
    Skipped,
    /// Only so many nodes come into question.
    Narrowed(usize),
    /// No node will do.
    Refused(Rejection),
    /// It could not tell.
    Failed(String),
}

/// What a scorer came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScorerVerdict<'a> {
    /// The plugin.
    pub plugin: &'a str,
    /// What its points are multiplied by.
    pub weight: u32,
    /// Whether it scored: not if it has nothing to say about this pod, or if nothing had to be scored.
    pub scored: bool,
}

/// How far a node came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reached {
    /// Left out before the filters.
    PreFilter,
    /// Not looked at: enough others had been found ([`Sampling`](crate::Sampling)), or the pod was promised another
    /// node. What filters would say is told all the same.
    NotLookedAt,
    /// Refused by a filter.
    Filter,
    /// It would do, and was not scored: it is the only one, or something failed.
    Feasible,
    /// It was scored.
    Scored,
}

impl Reached {
    /// The word for it in files.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::PreFilter => "prefilter",
            Self::NotLookedAt => "not looked at",
            Self::Filter => "filter",
            Self::Feasible => "feasible",
            Self::Scored => "scored",
        }
    }
}

/// What is said of one node.
#[derive(Clone, Debug)]
pub struct NodeExplanation<'e> {
    /// The node.
    pub node: &'e NodeView,
    /// How far it came.
    pub reached: Reached,
    /// What each filter says, in the order they are asked; none are for a node that was left out before. The first refusal
    /// is the one that counts.
    pub filters: Vec<FilterVerdict<'e>>,
    /// What each scorer said that scored, in their order.
    pub scores: Vec<NodeScore<'e>>,
    /// The sum of the weighted scores.
    pub total: Option<i64>,
    /// Whether this is the node that the pod goes to.
    pub chosen: bool,
}

impl PartialEq for NodeExplanation<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.node.name() == other.node.name()
            && (self.reached, self.total, self.chosen) == (other.reached, other.total, other.chosen)
            && self.filters == other.filters
            && self.scores == other.scores
    }
}

/// What one filter says of one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterVerdict<'e> {
    /// The plugin.
    pub plugin: &'e str,
    /// What it says.
    pub said: FilterSaid,
}

/// What a filter can say of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FilterSaid {
    /// The node will do.
    Passed,
    /// It has nothing to say about this pod, as its `PreFilter` said.
    Skipped,
    /// It will not do.
    Refused(Rejection),
    /// It would not do beside the pods that are promised room there.
    RefusedBesidePromised(Rejection),
    /// The plugin could not tell.
    Failed(String),
}

impl FilterSaid {
    /// The reasons of a refusal or failure, with commas between.
    #[must_use]
    pub fn reasons(&self) -> Option<String> {
        match self {
            Self::Passed | Self::Skipped => None,
            Self::Refused(rejection) | Self::RefusedBesidePromised(rejection) => {
                Some(rejection.reasons.join(", "))
            }
            Self::Failed(message) => Some(message.clone()),
        }
    }
}

/// What one scorer said of one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeScore<'e> {
    /// The plugin.
    pub plugin: &'e str,
    /// As it scored.
    pub raw: Points,
    /// As it normalised; the same where it does not.
    pub normalised: Points,
    /// What that is multiplied by.
    pub weight: u32,
}

impl NodeScore<'_> {
    /// What it adds to the total.
    #[must_use]
    pub fn weighted(&self) -> i64 {
        self.normalised.0.saturating_mul(i64::from(self.weight))
    }
}

impl<'a> Explanation<'a> {
    /// The pod.
    #[must_use]
    pub fn pod(&self) -> &'a PodView {
        self.pod
    }

    /// The node it goes to; `None` if no node will do or something failed. What preemption would do is not told.
    #[must_use]
    pub fn chosen(&self) -> Option<&NodeName> {
        self.looked.chosen.as_ref()
    }

    /// What failed, if something did.
    #[must_use]
    pub fn failure(&self) -> Option<&Failure> {
        self.looked.failure.as_ref()
    }

    /// What plugins said before any node was looked at, in their order; none follow a failure or a hopeless refusal.
    #[must_use]
    pub fn pre_filters(&self) -> &[PreFilterVerdict<'a>] {
        &self.looked.pre_filters
    }

    /// The filters of the profile, in the order they are asked.
    pub fn filters(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.profile.filter.iter().map(|plugin| plugin.name())
    }

    /// The scorers of the profile, in their order.
    pub fn scorers(&self) -> impl Iterator<Item = ScorerVerdict<'a>> {
        self.profile.score.iter().zip(&self.looked.columns).map(|(scorer, column)| ScorerVerdict {
            plugin: scorer.plugin.name(),
            weight: scorer.weight,
            scored: !column.normalised.is_empty(),
        })
    }

    /// What is said of each node, in the order of the cluster; made one at a time.
    pub fn nodes(&self) -> impl Iterator<Item = NodeExplanation<'_>> {
        self.looked.nodes(self.profile, self.pod)
    }

    /// What is said of the node of this name.
    #[must_use]
    pub fn node(&self, name: &str) -> Option<NodeExplanation<'_>> {
        self.looked.node(self.profile, self.pod, name)
    }
}

#[cfg(test)]
mod tests;
