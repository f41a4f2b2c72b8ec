//! What a simulation lives through: nodes, pods, and when they come and go.
//!
//! Pods that want the same are of one class and share one reading of it, so that a million of them fit in memory.

mod generate;
mod places;
mod pod;
mod spec;

use std::sync::Arc;

use orchestra_scheduler::view::{NodeFacts, PodKey, PodUid, PodView};

use crate::time::SimTime;

pub use generate::generate;
pub(crate) use pod::with_one_container;
pub use spec::GenerateSpec;

/// Everything that happens to a cluster, but for what its scheduler decides.
#[derive(Clone, Debug, Default)]
pub struct Workload {
    /// The nodes, in the order they come; the names are all different.
    pub nodes: Vec<NodePlan>,
    /// What pods want.
    pub classes: Vec<PodView>,
    /// The pods, in the order they are made; namespace and name are all different.
    pub pods: Vec<PodPlan>,
    /// Failures of nodes.
    pub outages: Vec<Outage>,
}

/// A node, and when it is there.
#[derive(Clone, Debug)]
pub struct NodePlan {
    /// What it says about itself.
    pub facts: Arc<NodeFacts>,
    /// When it comes.
    pub from: SimTime,
    /// When it goes for good.
    pub until: Option<SimTime>,
}

/// A pod, and when it comes.
#[derive(Clone, Debug)]
pub struct PodPlan {
    /// Its name.
    pub name: Box<str>,
    /// Its place in [`Workload::classes`].
    pub class: usize,
    /// When it is made.
    pub at: SimTime,
    /// How long it is there.
    pub stay: Stay,
}

/// How long a pod is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stay {
    /// To the end of the simulation.
    Forever,
    /// It runs this long once it has a node, and ends.
    For(SimTime),
    /// It is deleted at this time, whether it has a node or not.
    Until(SimTime),
}

/// A node that fails: it is gone for a while, and the pods on it for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outage {
    /// Its place in [`Workload::nodes`].
    pub node: usize,
    /// When it fails.
    pub at: SimTime,
    /// How long it is gone.
    pub lasts: SimTime,
}

impl Workload {
    /// The last time the workload names.
    #[must_use]
    pub fn horizon(&self) -> SimTime {
        let nodes = self.nodes.iter().map(|node| node.until.unwrap_or(node.from));
        let outages = self.outages.iter().map(|outage| outage.at.plus(outage.lasts));
        let pods = self.pods.iter().map(|pod| match pod.stay {
            Stay::Forever => pod.at,
            Stay::For(time) => pod.at.plus(time),
            Stay::Until(time) => time,
        });
        nodes.chain(outages).chain(pods).max().unwrap_or_default()
    }

    /// The pod of a plan, as it looks when it is made.
    #[must_use]
    pub fn pod(&self, plan: &PodPlan) -> Option<PodView> {
        Some(named(self.classes.get(plan.class)?, &plan.name))
    }
}

/// A pod of a class, under a name; its uid is namespace and name.
pub(crate) fn named(class: &PodView, name: &str) -> PodView {
    let mut pod = class.clone();
    pod.key = PodKey { namespace: class.key.namespace.clone(), name: name.into() };
    pod.uid = PodUid::from(pod.key.to_string().as_str());
    pod
}
