//! EndpointSlices: reads, asks the plan, writes.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Pod, Service};

use super::control::SliceControl;
use super::plan::{MANAGER, Observed, plan};
use crate::controller::{Next, Reconcile};
use crate::error::Result;
use crate::informer::Change;
use crate::key::Key;
use crate::pod;
use crate::queue::Queue;
use crate::world::World;

pub(crate) struct EndpointSlices {
    world: Arc<World>,
    control: SliceControl,
}

/// Connects the controller to the world: which change concerns which Service.
pub(crate) fn setup(world: &Arc<World>) -> (Arc<EndpointSlices>, Arc<Queue<Key>>) {
    let queue = Arc::new(Queue::new());
    world.nodes.want();
    world.services.on_change({
        let queue = queue.clone();
        move |change| {
            if let Some(service) = change.object() {
                queue.add(Key::of(&service.metadata));
            }
        }
    });
    world.pods.on_change({
        let (weak, queue) = (Arc::downgrade(world), queue.clone());
        move |change| {
            if let Some(world) = weak.upgrade() {
                pod_changed(&world, &queue, change);
            }
        }
    });
    let control = SliceControl::new(world, &queue, MANAGER).counting(world.metrics.slices.clone());
    (Arc::new(EndpointSlices { world: world.clone(), control }), queue)
}

/// Whether a Service chooses a pod.
pub(crate) fn selects(service: &Service, pod: &Pod) -> bool {
    let Some(selector) = service.spec.as_ref().and_then(|spec| spec.selector.as_ref()) else { return false };
    let has =
        |(key, value)| pod.metadata.labels.as_ref().is_some_and(|labels| labels.get(key) == Some(value));
    !selector.is_empty() && selector.iter().all(has)
}

/// Queues the Services that a change of a pod concerns.
pub(crate) fn pod_changed(world: &World, queue: &Queue<Key>, change: &Change<'_, Pod>) {
    if let (Some(old), Some(new)) = (change.old, change.new)
        && matters(old) == matters(new)
        && old.metadata.labels == new.metadata.labels
    {
        return;
    }
    let Some(pod) = change.object() else { return };
    for service in world.services.in_namespace(pod.metadata.namespace.as_deref().unwrap_or_default()) {
        if [change.old, change.new].into_iter().flatten().any(|pod| selects(&service, pod)) {
            queue.add(Key::of(&service.metadata));
        }
    }
}

/// What of a pod shows in a slice, and can change.
fn matters(pod: &Pod) -> impl PartialEq {
    let ips = pod.status.as_ref().map(|status| (status.pod_ip.clone(), status.pod_ips.clone()));
    let node = pod::node_name(pod).map(str::to_owned);
    (ips, node, pod::is_ready(pod), pod::is_terminating(pod), pod::is_finished(pod), pod.metadata.uid.clone())
}

impl Reconcile for EndpointSlices {
    type Key = Key;

    fn name(&self) -> &'static str {
        "endpointslice"
    }

    async fn reconcile(&self, key: &Key) -> Result<Next> {
        let Some(service) = self.world.services.get(key) else {
            // The slices are the Service's dependents: garbage collection removes them.
            self.control.forget(key);
            return Ok(Next::Wait);
        };
        let spec = service.spec.as_ref();
        let chooses =
            spec.and_then(|spec| spec.selector.as_ref()).is_some_and(|selector| !selector.is_empty());
        if !chooses || spec.and_then(|spec| spec.type_.as_deref()) == Some("ExternalName") {
            return Ok(Next::Wait);
        }
        let settled = self.control.is_settled(key);
        let mut pods = self.world.pods.in_namespace(&key.namespace);
        pods.retain(|pod| selects(&service, pod));
        let slices = self.control.slices(key);
        let names: std::collections::BTreeSet<_> =
            pods.iter().filter_map(|pod| pod::node_name(pod)).collect();
        let node = |name: &str| Some((name.to_owned(), self.world.nodes.get(&Key::new("", name))?));
        let nodes: BTreeMap<_, _> = names.into_iter().filter_map(node).collect();
        let observed = Observed { service: &service, pods: &pods, slices: &slices, nodes: &nodes, settled };
        let outcome = async {
            for action in plan(&observed) {
                self.control.perform(key, action).await?;
            }
            Ok(self.control.lapse(key))
        };
        let outcome = outcome.await;
        self.world.metrics.slices.synced(&outcome);
        outcome
    }
}
