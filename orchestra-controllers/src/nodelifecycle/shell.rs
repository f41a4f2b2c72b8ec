//! Nodes: listens, asks the plan, writes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use kube::Api;
use kube::api::Patch;
use kube::runtime::watcher;
use serde_json::{Value, json};

use super::health::{READY, condition, is_ready};
use super::plan::{Action, Observed, asks_pace, plan};
use super::zones::{Pace, Zone, Zones};
use crate::controller::{Next, Reconcile};
use crate::error::{Result, unless_gone};
use crate::events::Mood;
use crate::family::Known;
use crate::informer::{Change, Index};
use crate::key::Key;
use crate::pod;
use crate::queue::Queue;
use crate::world::{World, patch_params};

const COMPONENT: &str = "node-controller";
/// Where the agents of nodes keep their Leases.
const LEASES: &str = "metadata.namespace=kube-node-lease";

pub(crate) struct Nodes {
    world: Arc<World>,
    roll: Arc<Mutex<Roll>>,
    queue: Arc<Queue<Key>>,
}

/// What was heard of the nodes. It need not survive: who starts afresh listens again.
#[derive(Default)]
struct Roll {
    signs: HashMap<String, Sign>,
    zones: Zones,
}

/// The last sign of life of a node.
struct Sign {
    heartbeat: Option<Time>,
    renewal: Option<MicroTime>,
    heard: Timestamp,
}

impl Roll {
    fn sign(&mut self, node: &str, now: Timestamp) -> &mut Sign {
        let fresh = || Sign { heartbeat: None, renewal: None, heard: now };
        self.signs.entry(node.to_owned()).or_insert_with(fresh)
    }
}

fn lock(roll: &Mutex<Roll>) -> MutexGuard<'_, Roll> {
    roll.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Connects the controller to the world. A renewed Lease is only noted: the node is looked at when it would be late.
pub(crate) fn setup(world: &Arc<World>) -> (Arc<Nodes>, Arc<Queue<Key>>) {
    let queue = Arc::new(Queue::new());
    let roll = Arc::new(Mutex::new(Roll::default()));
    world.leases.narrow(watcher::Config::default().fields(LEASES));
    world.leases.on_change({
        let (roll, clock) = (roll.clone(), world.clock.clone());
        move |change: &Change<'_, Lease>| {
            let Some(lease) = change.new else { return };
            let renewal = lease.spec.as_ref().and_then(|spec| spec.renew_time.clone());
            let (now, mut roll) = (clock.now(), lock(&roll));
            let sign = roll.sign(lease.metadata.name.as_deref().unwrap_or_default(), now);
            if sign.renewal != renewal {
                (sign.renewal, sign.heard) = (renewal, now);
            }
        }
    });
    world.nodes.on_change({
        let (roll, queue, weak) = (roll.clone(), queue.clone(), Arc::downgrade(world));
        move |change| {
            if let Some(world) = weak.upgrade() {
                node_changed(&world, &mut lock(&roll), &queue, change);
            }
        }
    });
    world.pods.on_change({
        let (queue, weak) = (queue.clone(), Arc::downgrade(world));
        move |change| {
            let (Some(world), Some(pod)) = (weak.upgrade(), change.new) else { return };
            let node = pod::node_name(pod).map(|node| Key::new("", node));
            let Some(key) = node.filter(|_| pod::is_ready(pod)) else { return };
            if world.nodes.get(&key).is_some_and(|node| !is_ready(&node)) {
                queue.add(key);
            }
        }
    });
    (Arc::new(Nodes { world: world.clone(), roll, queue: queue.clone() }), queue)
}

fn node_changed(world: &World, roll: &mut Roll, queue: &Queue<Key>, change: &Change<'_, Node>) {
    let (old, new) = (change.old.map(|old| &**old), change.new.map(|new| &**new));
    let Some(name) = change.object().and_then(|node| node.metadata.name.clone()) else { return };
    match new {
        None => {
            roll.signs.remove(&name);
        }
        Some(new) => {
            let now = world.clock.now();
            let heartbeat = condition(new, READY).and_then(|ready| ready.last_heartbeat_time.clone());
            let sign = roll.sign(&name, now);
            // Only its agent says anything else of a node that was given up, with or without a time.
            let knows = |node: &Node| condition(node, READY).is_some_and(|ready| ready.status != "Unknown");
            let is_back = old.is_some_and(|old| !knows(old)) && knows(new);
            if sign.heartbeat != heartbeat || is_back {
                (sign.heartbeat, sign.heard) = (heartbeat, now);
            }
            queue.add(Key::new("", &*name));
        }
    }
    if roll.zones.note(old, new) {
        world.metrics.nodes.zones(roll.zones.counts());
        // Whether pods are driven from one node depends on how many others are down.
        roll.zones.down().for_each(|down| queue.add(Key::new("", down)));
        if let (Some(true), Some(node)) = (old.map(is_ready), new.filter(|new| !is_ready(new))) {
            let message = format!("Node {name} status is now: NodeNotReady");
            world.recorder.record(COMPONENT, node, Mood::Normal, "NodeNotReady", message);
        }
    }
}

impl Reconcile for Nodes {
    type Key = Key;

    fn name(&self) -> &'static str {
        "nodelifecycle"
    }

    async fn reconcile(&self, key: &Key) -> Result<Next> {
        let Some(node) = self.world.nodes.get(key) else { return Ok(Next::Wait) };
        let pods = self.world.pods.indexed(&Index::Node(key.name.clone()));
        let now = self.world.clock.now();
        let (heard, all_down, pace) = {
            let mut roll = lock(&self.roll);
            let heard = roll.sign(&key.name, now).heard;
            let all_down = roll.zones.are_all_down();
            let pace = if asks_pace(&node, all_down) {
                let (zone, pace) = (Zone::of(&node), roll.zones.give_up(&Zone::of(&node), now));
                if pace == Pace::Now {
                    self.world.metrics.nodes.evicted(zone.to_string());
                }
                pace
            } else {
                Pace::Now
            };
            (heard, all_down, pace)
        };
        for action in plan(&Observed { node: &node, pods: &pods, heard, all_down, pace, now }) {
            match action {
                Action::SetConditions(conditions) => {
                    let patch = self.patch(&node, "status", json!({"conditions": conditions}));
                    let api: Api<Node> = Api::all(self.world.client.clone());
                    let written = unless_gone(api.patch_status(&key.name, &patch_params(), &patch).await)?;
                    written.into_iter().for_each(|written| self.world.nodes.observe(written));
                }
                Action::SetTaints(taints) => {
                    let patch = self.patch(&node, "spec", json!({"taints": taints}));
                    let api: Api<Node> = Api::all(self.world.client.clone());
                    let written = unless_gone(api.patch(&key.name, &patch_params(), &patch).await)?;
                    written.into_iter().for_each(|written| self.world.nodes.observe(written));
                }
                Action::MarkPods(pods) => {
                    for pod in pods {
                        self.mark(&pod, now).await?;
                    }
                }
                Action::LookAgain(delay) => self.queue.add_after(key.clone(), delay),
            }
        }
        Ok(Next::Wait)
    }
}

impl Nodes {
    /// A change of the node as it was seen, and of no other.
    fn patch(&self, node: &Node, part: &str, change: Value) -> Patch<Value> {
        let meta = json!({"uid": node.metadata.uid, "resourceVersion": node.metadata.resource_version});
        Patch::Merge(json!({"metadata": meta, part: change}))
    }

    async fn mark(&self, pod: &Pod, now: Timestamp) -> Result<()> {
        let mut conditions =
            pod.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
        for ready in conditions.iter_mut().filter(|condition| condition.type_ == READY) {
            ready.status = "False".into();
            ready.last_transition_time = Some(Time(now));
        }
        let patch = Patch::Merge(json!({
            "metadata": {"uid": pod.uid(), "resourceVersion": pod.metadata.resource_version},
            "status": {"conditions": conditions},
        }));
        let api = Pod::api(&self.world, pod.metadata.namespace.as_deref().unwrap_or_default());
        if let Some(marked) = unless_gone(api.patch_status(pod.name(), &patch_params(), &patch).await)? {
            self.world.recorder.record(
                COMPONENT,
                pod,
                Mood::Warning,
                "NodeNotReady",
                "Node is not ready".into(),
            );
            self.world.pods.observe(marked);
        }
        Ok(())
    }
}
