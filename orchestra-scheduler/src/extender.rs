//! Extenders: other programs that have a say in where pods go, as upstream's `k8s.io/kube-scheduler/extender/v1` has them.
//!
//! The core asks them through a trait and knows no network. [`HttpExtender`] (feature `extender`) speaks to one over HTTP;
//! a `KubeSchedulerConfiguration` configures it. A profile with extenders is decided on by the reference engine, and off the
//! threads that run tasks, because an answer may take its time.

#[cfg(feature = "extender")]
mod http;
mod originals;
mod round;
pub(crate) mod wire;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

#[cfg(feature = "extender")]
pub use http::{HttpExtender, HttpOptions, TlsOptions};
pub use originals::Originals;
pub(crate) use round::{filter, preempt, prioritize};

use crate::view::{NodeName, NodeView, PodKey, PodUid, PodView};

/// Who is named where an extender refused a node.
pub(crate) const EXTENDER: &str = "Extender";

/// What an extender does, and for which pods.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExtenderOptions {
    /// Whether it rules nodes out.
    pub filters: bool,
    /// Whether it gives nodes points, and what they weigh; 0 is not at all.
    pub weight: u32,
    /// Whether it has a say in who is evicted.
    pub preempts: bool,
    /// Whether it binds pods.
    pub binds: bool,
    /// Whether pods are placed without it when it fails.
    pub ignorable: bool,
    /// The resources it manages: it is asked about pods that request one of them, or about all if there are none.
    pub managed: Vec<Box<str>>,
}

/// The nodes an extender lets pass, and what it says of others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Passed {
    /// The nodes that pass, of those it was asked about.
    pub nodes: Vec<NodeName>,
    /// Why others do not, where evicting pods may help.
    pub failed: BTreeMap<String, String>,
    /// Why others do not, where it may not.
    pub hopeless: BTreeMap<String, String>,
}

/// A node on which room could be made.
#[derive(Clone, Debug)]
pub struct Proposal {
    /// The node.
    pub node: NodeName,
    /// Who would have to go, the most important first.
    pub victims: Vec<Arc<PodView>>,
    /// How many of them a budget protects.
    pub violations: usize,
}

/// Another program that has a say.
///
/// # Contract
/// 1. It is only asked to do what its options say it does, and only about pods it is interested in.
/// 2. A call may take its time, but not for ever: it is the implementation that ends it.
/// 3. What it names was in the question. An answer that breaks this fails the pod with the extender's name, unless it is ignorable.
///
/// # Errors
/// In words. An error fails the pod at hand, which is tried again later, unless the extender is ignorable; an error while
/// giving points is no points.
///
/// # Implementing
/// ```
/// use orchestra_scheduler::extender::{Extender, ExtenderOptions, Originals, Passed, Proposal};
/// use orchestra_scheduler::view::{NodeName, NodeView, PodKey, PodUid, PodView};
/// use orchestra_scheduler::Scheduler;
///
/// /// Lets nodes pass whose names begin with a letter.
/// #[derive(Debug)]
/// struct Letter(ExtenderOptions, char);
///
/// impl Extender for Letter {
///     fn name(&self) -> &str { "letter" }
///     fn options(&self) -> &ExtenderOptions { &self.0 }
///     fn originals(&self) -> Option<&Originals> { None }
///     fn filter(&self, _: &PodView, nodes: &[&NodeView]) -> Result<Passed, String> {
///         let names = nodes.iter().map(|node| node.name().clone());
///         Ok(Passed { nodes: names.filter(|name| name.starts_with(self.1)).collect(), ..Passed::default() })
///     }
///     fn prioritize(&self, _: &PodView, _: &[&NodeView]) -> Result<Vec<(String, i64)>, String> { Ok(Vec::new()) }
///     fn preempt(&self, _: &PodView, proposals: &[Proposal]) -> Result<Vec<(NodeName, Vec<PodUid>, usize)>, String> {
///         Ok(proposals.iter().map(|one| (one.node.clone(), Vec::new(), 0)).collect())
///     }
///     fn bind(&self, _: &PodKey, _: &PodUid, _: &NodeName) -> Result<(), String> { Err("it does not".into()) }
/// }
///
/// let options = ExtenderOptions { filters: true, ..ExtenderOptions::default() };
/// let scheduler = Scheduler::default().extender(Letter(options, 'a'));
/// ```
pub trait Extender: Debug + Send + Sync + 'static {
    /// What messages call it; for one on the network its address.
    fn name(&self) -> &str;
    /// What it does, and for which pods.
    fn options(&self) -> &ExtenderOptions;
    /// Where whole objects have to be kept for it, if it needs them.
    fn originals(&self) -> Option<&Originals>;
    /// Which nodes pass.
    fn filter(&self, pod: &PodView, nodes: &[&NodeView]) -> Result<Passed, String>;
    /// Points for nodes, from 0 to 10 each.
    fn prioritize(&self, pod: &PodView, nodes: &[&NodeView]) -> Result<Vec<(String, i64)>, String>;
    /// The nodes on which room may be made, with the victims and how many of them a budget protects.
    fn preempt(
        &self,
        pod: &PodView,
        proposals: &[Proposal],
    ) -> Result<Vec<(NodeName, Vec<PodUid>, usize)>, String>;
    /// Binds a pod.
    fn bind(&self, pod: &PodKey, uid: &PodUid, node: &NodeName) -> Result<(), String>;
}

/// Whether an extender wants to be asked about a pod.
pub(crate) fn is_interested(extender: &dyn Extender, pod: &PodView) -> bool {
    let managed = &extender.options().managed;
    managed.is_empty() || managed.iter().any(|name| pod.demand.requests.scalars.contains_key(&**name))
}

#[cfg(test)]
mod tests;
