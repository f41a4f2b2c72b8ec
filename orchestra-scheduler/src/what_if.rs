//! What if: where would these pods go, what if that one were not there, how many more nodes would it take?
//!
//! A [`WhatIf`] is a fork of a cluster and a scheduler for it. Pods are placed and evicted in it, nodes come and go, and all of it
//! can be taken back. Nothing that is done there is seen by anyone else; a fork costs about as much as a look at the clock,
//! whatever the size of the cluster (`docs/what-if.md` says how to measure it).

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::engine::{Engine, Explanation, FastEngine};
use crate::outcome::Outcome;
use crate::plugin::Cycle;
use crate::profile::Profile;
use crate::view::{Bookmark, ClusterView, NodeFacts, NodeName, NodeView, PodUid, PodView};

/// A cluster as it might be, and who decides in it.
///
/// Decides as a scheduler with this profile would, from `PreFilter` to `Score`, and `PostFilter` where no node will do.
/// What comes after a decision (`Reserve`, `Permit`, binding) does not happen, so plugins that keep account outside of the
/// cluster's view hear nothing of what is done here, and devices and volumes that a pod would get are had by the next one, too.
///
/// ```
/// use std::sync::Arc;
///
/// use orchestra_scheduler::outcome::Outcome;
/// use orchestra_scheduler::view::{ClusterView, NodeFacts, PodView};
/// use orchestra_scheduler::{Profile, WhatIf};
/// use serde_json::{from_value, json};
///
/// let shape = |name: &str| {
///     let node = json!({"metadata": {"name": name},
///         "status": {"allocatable": {"cpu": "4", "memory": "16Gi", "pods": "110"}}});
///     Ok::<_, Box<dyn std::error::Error>>(Arc::new(NodeFacts::from_api(&from_value(node)?)?))
/// };
/// let pod = |name: &str| {
///     let pod = json!({"metadata": {"name": name, "namespace": "default", "uid": name}, "spec": {"containers": [
///         {"name": "c", "resources": {"requests": {"cpu": "3", "memory": "1Gi"}}}]}});
///     Ok::<_, Box<dyn std::error::Error>>(Arc::new(PodView::from_api(&from_value(pod)?)?))
/// };
/// let mut cluster = ClusterView::default();
/// cluster.set_node(shape("a")?);
/// cluster.set_node(shape("b")?);
///
/// let mut what_if = WhatIf::new(&cluster, Profile::default());
/// // Admission of a batch job: does this gang fit?
/// let gang = [pod("rank-0")?, pod("rank-1")?, pod("rank-2")?];
/// assert!(what_if.place_all(&gang).is_err());
/// // Autoscaling: how many more nodes of this shape would it need?
/// assert_eq!(what_if.nodes_needed(shape("new")?.as_ref(), &gang, 10).ok(), Some(1));
/// // What if somebody went?
/// assert!(matches!(what_if.place(&gang[0]), Outcome::Chosen(_)));
/// what_if.mark();
/// what_if.evict(&gang[0].uid);
/// assert!(what_if.place_all(&gang[1..]).is_ok());
/// what_if.undo();
/// assert_eq!(what_if.cluster().pod_count(), 1);
/// assert_eq!(cluster.pod_count(), 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct WhatIf {
    cluster: ClusterView,
    profile: Profile,
    engine: FastEngine,
    /// What there was at each mark.
    marks: Vec<(ClusterView, Bookmark)>,
}

/// The pod for which there is no room, and why.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("there is no room for {}", pod.key)]
pub struct NoRoom {
    /// The first of the pods that found no node.
    pub pod: Arc<PodView>,
    /// What became of it.
    pub outcome: Box<Outcome>,
}

impl WhatIf {
    /// A fork of `cluster`, in which a scheduler of this profile decides.
    #[must_use]
    pub fn new(cluster: &ClusterView, profile: Profile) -> Self {
        Self { cluster: cluster.clone(), profile, engine: FastEngine::seeded(0), marks: Vec::new() }
    }

    /// A fork of this one, without its marks.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self::new(&self.cluster, self.profile.clone())
    }

    /// The cluster as it would be.
    #[must_use]
    pub fn cluster(&self) -> &ClusterView {
        &self.cluster
    }

    /// Where a pod would go. Changes nothing.
    pub fn ask(&mut self, pod: &PodView) -> Outcome {
        self.engine.place(&self.profile, &mut Cycle::new(&self.cluster), pod)
    }

    /// Why it would go there.
    #[must_use]
    pub fn explain<'a>(&'a self, pod: &'a PodView) -> Explanation<'a> {
        self.engine.explain(&self.profile, &self.cluster, pod)
    }

    /// Puts a pod on the node where it would go, if there is one.
    pub fn place(&mut self, pod: &Arc<PodView>) -> Outcome {
        let outcome = self.ask(pod);
        if let Outcome::Chosen(choice) = &outcome {
            self.put(pod.clone(), &choice.node);
        }
        outcome
    }

    /// Puts all of these pods on nodes, one after the other, or none.
    ///
    /// # Errors
    /// When there is no room for one of them; nothing has changed then.
    pub fn place_all(&mut self, pods: &[Arc<PodView>]) -> Result<Vec<NodeName>, NoRoom> {
        self.mark();
        let mut nodes = Vec::with_capacity(pods.len());
        for pod in pods {
            match self.place(pod) {
                Outcome::Chosen(choice) => nodes.push(choice.node),
                outcome => {
                    self.undo();
                    return Err(NoRoom { pod: pod.clone(), outcome: Box::new(outcome) });
                }
            }
        }
        self.keep();
        Ok(nodes)
    }

    /// How many more nodes of this shape it would take to place all of these pods, one after the other, a node being added
    /// whenever one finds no room. Changes nothing.
    ///
    /// # Errors
    /// When a pod has no room even then, or more than `most` nodes would be needed.
    pub fn nodes_needed(
        &mut self,
        shape: &NodeFacts,
        pods: &[Arc<PodView>],
        most: usize,
    ) -> Result<usize, NoRoom> {
        self.mark();
        let counted = self.add_as_needed(shape, pods, most);
        self.undo();
        counted
    }

    fn add_as_needed(
        &mut self,
        shape: &NodeFacts,
        pods: &[Arc<PodView>],
        most: usize,
    ) -> Result<usize, NoRoom> {
        let mut added = 0;
        for pod in pods {
            let outcome = self.place(pod);
            if matches!(outcome, Outcome::Chosen(_)) {
                continue;
            }
            if added == most {
                return Err(NoRoom { pod: pod.clone(), outcome: Box::new(outcome) });
            }
            self.set_node(Arc::new(self.another(shape)));
            added += 1;
            let outcome = self.place(pod);
            if !matches!(outcome, Outcome::Chosen(_)) {
                return Err(NoRoom { pod: pod.clone(), outcome: Box::new(outcome) });
            }
        }
        Ok(added)
    }

    /// A node of this shape under a name that nobody has.
    fn another(&self, shape: &NodeFacts) -> NodeFacts {
        const HOSTNAME: &str = "kubernetes.io/hostname";
        let mut facts = shape.clone();
        let names = (self.cluster.node_count()..).map(|number| format!("{}-{number}", shape.name));
        if let Some(name) = names.into_iter().find(|name| self.cluster.node(name).is_none()) {
            facts.name = NodeName::from(name.as_str());
            facts.labels.insert(HOSTNAME.to_owned(), name);
        }
        facts
    }

    /// Puts a pod on a node, whatever the scheduler thinks of it; a pod that was elsewhere moves.
    pub fn put(&mut self, pod: Arc<PodView>, node: &NodeName) {
        self.cluster.withdraw(&pod);
        self.cluster.place(pod, node);
    }

    /// Takes a pod off its node; `None` if it has none.
    pub fn evict(&mut self, pod: &PodUid) -> Option<Arc<PodView>> {
        self.cluster.take(pod)
    }

    /// Takes all pods off a node, and the node out of the cluster; the pods that want another place, in the order they were there.
    pub fn drain(&mut self, node: &str) -> Vec<Arc<PodView>> {
        let there = self.cluster.node(node).map(|node| node.pods().to_vec()).unwrap_or_default();
        for pod in &there {
            self.cluster.take(&pod.uid);
        }
        self.cluster.remove_node(node);
        there
    }

    /// Adds a node, or changes what it says.
    pub fn set_node(&mut self, facts: Arc<NodeFacts>) {
        self.cluster.set_node(facts);
    }

    /// Takes a node out; pods on it stay bound to it.
    pub fn remove_node(&mut self, name: &str) -> Option<Arc<NodeView>> {
        self.cluster.remove_node(name)
    }

    /// Remembers what there is, for [`WhatIf::undo`]. Marks nest.
    pub fn mark(&mut self) {
        self.marks.push((self.cluster.clone(), self.cluster.bookmark()));
    }

    /// Takes back everything since the last mark, and the mark; false if there is none.
    pub fn undo(&mut self) -> bool {
        let Some((earlier, bookmark)) = self.marks.pop() else { return false };
        self.cluster.go_back(earlier, bookmark);
        true
    }

    /// Forgets the last mark and leaves everything as it is; false if there is none.
    pub fn keep(&mut self) -> bool {
        self.marks.pop().is_some()
    }

    /// The pods that have to go so that `pod` finds room, as preemption would choose them; `None` if it has room without, or
    /// if nothing helps.
    pub fn victims(&mut self, pod: &PodView) -> Option<(NodeName, BTreeSet<PodUid>)> {
        match self.ask(pod) {
            Outcome::Rejected(diagnosis) => {
                let victims = diagnosis.victims.iter().map(|victim| victim.uid.clone()).collect();
                diagnosis.nominated.map(|node| (node, victims))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
