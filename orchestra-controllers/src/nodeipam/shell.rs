//! Ranges of nodes: listens, takes a piece, writes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::Patch;
use serde_json::json;

use super::pool::Pool;
use super::ranges::NodeRanges;
use crate::controller::{Next, Reconcile};
use crate::error::{Error, Result};
use crate::events::Mood;
use crate::key::Key;
use crate::queue::Queue;
use crate::world::{World, patch_params};

const COMPONENT: &str = "cidrAllocator";

pub(crate) struct Allocator {
    world: Arc<World>,
    pool: Arc<Mutex<Pool>>,
    /// What was taken for a node and may or may not have been written: nobody else gets it before that is known.
    pending: Mutex<HashMap<String, Vec<String>>>,
}

impl Allocator {
    /// What is to be written for a node: what was to be before, or something new.
    fn taken(&self, node: &str) -> Option<Vec<String>> {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(taken) = pending.get(node) {
            return Some(taken.clone());
        }
        let taken = lock(&self.pool).take()?;
        pending.insert(node.to_owned(), taken.clone());
        Some(taken)
    }

    /// It is known what became of it: what the node has is counted by what is seen of it.
    fn settled(&self, node: &str) {
        let taken = self.pending.lock().unwrap_or_else(PoisonError::into_inner).remove(node);
        lock(&self.pool).release(taken.iter().flatten());
    }
}

fn lock(pool: &Mutex<Pool>) -> MutexGuard<'_, Pool> {
    pool.lock().unwrap_or_else(PoisonError::into_inner)
}

fn ranges(node: &Node) -> &[String] {
    node.spec.as_ref().and_then(|spec| spec.pod_cidrs.as_deref()).unwrap_or_default()
}

/// Connects the controller to the world. Keys are nodes. What nodes have is counted from what is seen of them; a piece on its way to
/// a node is counted from when it is taken, and not again when it is seen there.
pub(crate) fn setup(world: &Arc<World>, of: &NodeRanges) -> (Arc<Allocator>, Arc<Queue<Key>>) {
    let queue = Arc::new(Queue::new());
    let pool = Arc::new(Mutex::new(Pool::new(of)));
    world.nodes.on_change({
        let (queue, pool) = (queue.clone(), pool.clone());
        move |change| {
            let held = |node: Option<&Arc<Node>>| node.map_or_else(Vec::new, |node| ranges(node).to_vec());
            let (old, new) = (held(change.old), held(change.new));
            if old != new {
                let mut pool = lock(&pool);
                pool.occupy(new.iter());
                pool.release(old.iter());
            }
            if let Some(node) = change.new.filter(|_| new.is_empty()) {
                queue.add(Key::of(&node.metadata));
            }
        }
    });
    (Arc::new(Allocator { world: world.clone(), pool, pending: Mutex::default() }), queue)
}

impl Reconcile for Allocator {
    type Key = Key;

    fn name(&self) -> &'static str {
        "node-ipam"
    }

    async fn reconcile(&self, key: &Key) -> Result<Next> {
        let Some(node) = self.world.nodes.get(key).filter(|node| ranges(node).is_empty()) else {
            self.settled(&key.name);
            return Ok(Next::Wait);
        };
        let Some(taken) = self.taken(&key.name) else {
            let text = format!("Node {} status is now: CIDRNotAvailable", key.name);
            self.world.recorder.record(COMPONENT, &*node, Mood::Normal, "CIDRNotAvailable", text);
            return Err(Error::Malformed("the cluster's ranges for pods are used up".to_owned()));
        };
        let spec = json!({"podCIDR": taken.first(), "podCIDRs": taken});
        let patch = Patch::Merge(json!({"metadata": {"uid": node.metadata.uid}, "spec": spec}));
        let api: Api<Node> = Api::all(self.world.client.clone());
        let written = api.patch(&key.name, &patch_params(), &patch).await;
        match written {
            Ok(node) => self.world.nodes.observe(node),
            // Somebody else was faster, or the node is gone: what is true will be seen.
            Err(kube::Error::Api(said)) if [404, 409, 422].contains(&said.code) => {}
            Err(problem) => return Err(problem.into()),
        }
        self.settled(&key.name);
        Ok(Next::Wait)
    }
}
