//! Pods that leave a node because it repels them, at once or when their patience (`tolerationSeconds`) is at an end.
//!
//! The time runs from when the taint was put on, where the taint says so, and so goes on when this controller starts
//! afresh; otherwise from when it was first seen.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod, Taint, Toleration};
use kube::api::Patch;
use serde_json::json;

use crate::controller::{Next, Reconcile};
use crate::error::{Result, unless_gone};
use crate::events::Mood;
use crate::family::Known;
use crate::informer::{Change, Index};
use crate::key::Key;
use crate::pod;
use crate::queue::Queue;
use crate::toleration::{NO_EXECUTE, taints, tolerates};
use crate::world::{World, exactly, patch_params};

const COMPONENT: &str = "taint-eviction-controller";

/// A taint that drives pods out, and since when.
#[derive(Clone, Debug, PartialEq)]
pub struct Expelling {
    /// The taint.
    pub taint: Taint,
    /// Since when it counts.
    pub since: Timestamp,
}

/// How long a pod may stay under these taints: `None` for ever, zero if it must go.
pub fn patience(tolerations: &[Toleration], expelling: &[Expelling], now: Timestamp) -> Option<Duration> {
    expelling.iter().filter_map(|one| stay(tolerations, one, now)).min()
}

fn stay(tolerations: &[Toleration], expelling: &Expelling, now: Timestamp) -> Option<Duration> {
    let toleration = tolerations.iter().find(|toleration| tolerates(toleration, &expelling.taint));
    let Some(toleration) = toleration else { return Some(Duration::ZERO) };
    let allowed = Duration::from_secs(u64::try_from(toleration.toleration_seconds?).unwrap_or(0));
    let passed = Duration::try_from(now.duration_since(expelling.since)).unwrap_or(Duration::ZERO);
    Some(allowed.saturating_sub(passed))
}

fn expelling(node: &Node) -> impl Iterator<Item = &Taint> {
    taints(node).iter().filter(|taint| taint.effect == NO_EXECUTE)
}

/// When taints that do not say it were first seen, by node.
type Seen = Mutex<HashMap<String, Vec<Expelling>>>;

fn lock(seen: &Seen) -> MutexGuard<'_, HashMap<String, Vec<Expelling>>> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) struct Evictor {
    world: Arc<World>,
    seen: Arc<Seen>,
}

/// Connects the controller to the world. A pod is looked at when it comes to a node with such taints, and when these
/// change.
pub(crate) fn setup(world: &Arc<World>) -> (Arc<Evictor>, Arc<Queue<Key>>) {
    let queue = Arc::new(Queue::new());
    let seen = Arc::new(Seen::default());
    world.nodes.on_change({
        let (seen, queue, weak) = (seen.clone(), queue.clone(), Arc::downgrade(world));
        move |change| {
            if let Some(world) = weak.upgrade() {
                node_changed(&world, &mut lock(&seen), &queue, change);
            }
        }
    });
    world.pods.on_change({
        let (seen, queue) = (seen.clone(), queue.clone());
        move |change| {
            let tolerations = |pod: &Arc<Pod>| pod.spec.as_ref().and_then(|spec| spec.tolerations.clone());
            let Some((pod, node)) = change.new.and_then(|pod| Some((pod, pod::node_name(pod)?))) else {
                return;
            };
            let same = change
                .old
                .is_some_and(|old| pod::node_name(old) == Some(node) && tolerations(old) == tolerations(pod));
            if !same && lock(&seen).contains_key(node) {
                queue.add(pod.key());
            }
        }
    });
    (Arc::new(Evictor { world: world.clone(), seen }), queue)
}

fn node_changed(
    world: &World,
    seen: &mut HashMap<String, Vec<Expelling>>,
    queue: &Queue<Key>,
    change: &Change<'_, Node>,
) {
    let Some(name) = change.object().and_then(|node| node.metadata.name.clone()) else { return };
    let now = world.clock.now();
    let before = seen.remove(&name).unwrap_or_default();
    let after: Vec<_> = change
        .new
        .into_iter()
        .flat_map(|node| expelling(node))
        .map(|taint| {
            let told = taint.time_added.as_ref().map(|time| time.0);
            let known = before.iter().find(|known| known.taint == *taint).map(|known| known.since);
            Expelling { taint: taint.clone(), since: told.or(known).unwrap_or(now) }
        })
        .collect();
    if before != after {
        let pods = world.pods.indexed(&Index::Node(name.clone()));
        pods.iter().for_each(|pod| queue.add(pod.key()));
    }
    if !after.is_empty() {
        seen.insert(name, after);
    }
}

impl Reconcile for Evictor {
    type Key = Key;

    fn name(&self) -> &'static str {
        "tainteviction"
    }

    async fn reconcile(&self, key: &Key) -> Result<Next> {
        let Some(pod) = self.world.pods.get(key).filter(|pod| !pod::is_terminating(pod)) else {
            return Ok(Next::Wait);
        };
        let Some(node) = pod::node_name(&pod) else { return Ok(Next::Wait) };
        let expelling = lock(&self.seen).get(node).cloned().unwrap_or_default();
        let tolerations = pod.spec.as_ref().and_then(|spec| spec.tolerations.as_deref()).unwrap_or_default();
        match patience(tolerations, &expelling, self.world.clock.now()) {
            None => Ok(Next::Wait),
            Some(left) if !left.is_zero() => Ok(Next::After(left)),
            Some(_) => self.evict(key, &pod).await.map(|()| Next::Wait),
        }
    }
}

impl Evictor {
    async fn evict(&self, key: &Key, pod: &Pod) -> Result<()> {
        let api = Pod::api(&self.world, &key.namespace);
        let why = "Taint manager: deleting due to NoExecute taint";
        let conditions = pod::disrupted(pod, "DeletionByTaintManager", why, self.world.clock.now());
        if pod.status.as_ref().and_then(|status| status.conditions.as_ref()) != Some(&conditions) {
            let meta = json!({"uid": pod.uid(), "resourceVersion": pod.metadata.resource_version});
            let patch = Patch::Merge(json!({"metadata": meta, "status": {"conditions": conditions}}));
            if unless_gone(api.patch_status(pod.name(), &patch_params(), &patch).await)?.is_none() {
                return Ok(());
            }
        }
        let message = format!("Marking for deletion Pod {key}");
        self.world.recorder.record(COMPONENT, pod, Mood::Normal, "TaintManagerEviction", message);
        unless_gone(api.delete(&key.name, &exactly(pod.uid())).await).map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn left(tolerations: Value, taints: &[&str]) -> Option<u64> {
        let tolerations: Vec<Toleration> = serde_json::from_value(tolerations).unwrap();
        let expelling: Vec<_> = taints
            .iter()
            .map(|key| Expelling {
                taint: Taint { key: (*key).into(), effect: NO_EXECUTE.into(), ..Taint::default() },
                since: Timestamp::from_second(100).unwrap(),
            })
            .collect();
        let now = Timestamp::from_second(130).unwrap();
        patience(&tolerations, &expelling, now).map(|left| left.as_secs())
    }

    #[test]
    fn a_pod_stays_as_long_as_it_tolerates_every_taint() {
        let patient =
            json!({"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300});
        let always = json!({"key": "b", "operator": "Exists"});
        assert_eq!(left(json!([patient]), &[]), None);
        assert_eq!(left(json!([patient]), &["a"]), Some(270));
        assert_eq!(left(json!([always]), &["b"]), None);
        assert_eq!(left(json!([patient, always]), &["a", "b"]), Some(270));
        assert_eq!(left(json!([patient]), &["a", "b"]), Some(0));
        assert_eq!(left(json!([{"operator": "Exists", "tolerationSeconds": -1}]), &["a"]), Some(0));
        assert_eq!(left(json!([{"operator": "Exists", "tolerationSeconds": 20}]), &["a"]), Some(0));
    }
}
