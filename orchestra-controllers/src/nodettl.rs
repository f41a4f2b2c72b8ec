//! Tells nodes for how long they may keep what they have read of ConfigMaps and Secrets: the annotation `node.alpha.kubernetes.io/ttl`,
//! longer in larger clusters, as upstream's `ttl` controller writes it.

use std::sync::{Arc, Mutex, PoisonError};

use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::Patch;
use serde_json::json;

use crate::controller::{Next, Reconcile};
use crate::error::{Result, unless_gone};
use crate::key::Key;
use crate::queue::Queue;
use crate::world::{World, patch_params};

const TTL: &str = "node.alpha.kubernetes.io/ttl";

/// Up to how many nodes a time holds, from how many on, and the time in seconds. They overlap, so that a cluster at a border does not
/// change its mind with every node.
const STEPS: [(usize, usize, u32); 5] =
    [(0, 100, 0), (90, 500, 15), (450, 1000, 30), (900, 2000, 60), (1800, usize::MAX, 300)];

/// Where in the table a cluster is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Step(usize);

impl Step {
    /// The step of a cluster of so many nodes that was at this one.
    #[must_use]
    pub fn of(self, nodes: usize) -> Self {
        let mut at = self.0;
        while STEPS.get(at).is_some_and(|(_, most, _)| nodes > *most) {
            at += 1;
        }
        while STEPS.get(at).is_some_and(|(least, _, _)| nodes < *least) {
            at -= 1;
        }
        Self(at)
    }

    /// For how long nodes may keep what they have read.
    pub fn seconds(self) -> u32 {
        STEPS.get(self.0).map_or(0, |(_, _, seconds)| *seconds)
    }
}

pub(crate) struct Lifetimes {
    world: Arc<World>,
    step: Mutex<Step>,
}

/// Connects the controller to the world. Keys are nodes.
pub(crate) fn setup(world: &Arc<World>) -> (Arc<Lifetimes>, Arc<Queue<Key>>) {
    let queue = Arc::new(Queue::new());
    world.nodes.on_change({
        let queue = queue.clone();
        // Nodes tell of themselves every few minutes, so all learn of a new time without being asked for it.
        move |change| {
            if let Some(node) = change.new {
                queue.add(Key::of(&node.metadata));
            }
        }
    });
    (Arc::new(Lifetimes { world: world.clone(), step: Mutex::default() }), queue)
}

impl Reconcile for Lifetimes {
    type Key = Key;

    fn name(&self) -> &'static str {
        "ttlcontroller"
    }

    async fn reconcile(&self, key: &Key) -> Result<Next> {
        let Some(node) = self.world.nodes.get(key) else { return Ok(Next::Wait) };
        let seconds = {
            let mut step = self.step.lock().unwrap_or_else(PoisonError::into_inner);
            *step = step.of(self.world.nodes.count());
            step.seconds().to_string()
        };
        let held = node.metadata.annotations.as_ref().and_then(|annotations| annotations.get(TTL));
        if held == Some(&seconds) {
            return Ok(Next::Wait);
        }
        let patch = Patch::Merge(json!({"metadata": {"annotations": {TTL: seconds}}}));
        let api: Api<Node> = Api::all(self.world.client.clone());
        unless_gone(api.patch(&key.name, &patch_params(), &patch).await).map(|_| Next::Wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_larger_cluster_keeps_longer_and_one_at_a_border_stays_as_it_was() {
        let mut step = Step::default();
        let seen: Vec<u32> = [1, 100, 101, 95, 89, 500, 501, 5000, 1800, 1799, 0]
            .into_iter()
            .map(|nodes| {
                step = step.of(nodes);
                step.seconds()
            })
            .collect();
        assert_eq!(seen, [0, 0, 15, 15, 0, 15, 30, 300, 300, 60, 0]);
    }
}
