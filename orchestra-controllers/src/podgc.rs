//! Pods that nobody will ever end: those of nodes that no longer exist, and deleted ones that were never placed.
//!
//! A node may come back after its object was deleted by mistake, so its pods are left alone for 40 seconds, as
//! upstream; before anything is deleted the server itself is asked for the node.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::Api;
use kube::api::Patch;
use serde_json::json;

use crate::controller::{Next, Reconcile};
use crate::error::{Result, unless_gone};
use crate::family::Known;
use crate::informer::Index;
use crate::key::Key;
use crate::pod;
use crate::queue::Queue;
use crate::world::{World, exactly, patch_params};

const QUARANTINE: Duration = Duration::from_secs(40);

/// What is to be done about a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Its node does not exist: declare it failed if it has not ended, then remove it.
    RemoveOrphan,
    /// It was deleted before it had a node, so no node will confirm: remove it.
    RemoveUnplaced,
}

/// What to do about a pod, given whether its node exists.
pub fn plan(pod: &Pod, node_exists: bool) -> Option<Action> {
    match pod::node_name(pod) {
        None => pod::is_terminating(pod).then_some(Action::RemoveUnplaced),
        Some(_) => (!node_exists).then_some(Action::RemoveOrphan),
    }
}

pub(crate) struct PodCollector {
    world: Arc<World>,
}

/// Connects the controller to the world. A pod is queued only when it may have to go.
pub(crate) fn setup(world: &Arc<World>) -> (Arc<PodCollector>, Arc<Queue<Key>>) {
    let queue = Arc::new(Queue::new());
    world.nodes.on_change({
        let (weak, queue) = (Arc::downgrade(world), queue.clone());
        move |change| {
            let (Some(world), Some(gone), None) = (weak.upgrade(), change.old, change.new) else { return };
            let name = gone.metadata.name.clone().unwrap_or_default();
            for pod in world.pods.indexed(&Index::Node(name)) {
                queue.add_after(pod.key(), QUARANTINE);
            }
        }
    });
    world.pods.on_change({
        let (weak, queue) = (Arc::downgrade(world), queue.clone());
        move |change| {
            let (Some(world), Some(pod)) = (weak.upgrade(), change.new) else { return };
            match pod::node_name(pod) {
                None if pod::is_terminating(pod) => queue.add(pod.key()),
                Some(node) if world.nodes.get(&Key::new("", node)).is_none() => {
                    queue.add_after(pod.key(), QUARANTINE);
                }
                _ => {}
            }
        }
    });
    (Arc::new(PodCollector { world: world.clone() }), queue)
}

impl Reconcile for PodCollector {
    type Key = Key;

    fn name(&self) -> &'static str {
        "podgc"
    }

    async fn reconcile(&self, key: &Key) -> Result<Next> {
        let Some(pod) = self.world.pods.get(key) else { return Ok(Next::Wait) };
        let node = pod::node_name(&pod).map(|node| Key::new("", node));
        let known = node.as_ref().is_none_or(|node| self.world.nodes.get(node).is_some());
        let Some(action) = plan(&pod, known) else { return Ok(Next::Wait) };
        let api = Pod::api(&self.world, &key.namespace);
        if let (Action::RemoveOrphan, Some(node)) = (action, node) {
            let nodes: Api<Node> = Api::all(self.world.client.clone());
            if nodes.get_opt(&node.name).await?.is_some() {
                return Ok(Next::Wait);
            }
            if !pod::is_finished(&pod) {
                self.fail(&api, &pod).await?;
            }
        }
        let params = exactly(pod.uid()).grace_period(0);
        unless_gone(api.delete(&key.name, &params).await).map(|_| Next::Wait)
    }
}

impl PodCollector {
    async fn fail(&self, api: &Api<Pod>, pod: &Pod) -> Result<()> {
        let why = "PodGC: node no longer exists";
        let conditions = pod::disrupted(pod, "DeletionByPodGC", why, self.world.clock.now());
        let status =
            json!({"metadata": {"uid": pod.uid()}, "status": {"phase": "Failed", "conditions": conditions}});
        unless_gone(api.patch_status(pod.name(), &patch_params(), &Patch::Merge(status)).await).map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::pod_named;

    #[test]
    fn only_pods_that_nobody_will_end_are_removed() {
        assert_eq!(plan(&pod_named("a").on("n").build(), true), None);
        assert_eq!(plan(&pod_named("a").on("n").build(), false), Some(Action::RemoveOrphan));
        assert_eq!(plan(&pod_named("a").build(), false), None);
        assert_eq!(plan(&pod_named("a").terminating().build(), false), Some(Action::RemoveUnplaced));
    }
}
