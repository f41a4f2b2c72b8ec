//! EndpointSlices: reads, asks the plan, writes.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Api;
use kube::api::{DeleteParams, Preconditions};

use super::plan::{Action, MANAGED_BY, MANAGER, Observed, SERVICE_NAME, plan};
use crate::controller::{Next, Reconcile};
use crate::error::{Error, Result, unless_gone};
use crate::expectations::Expectations;
use crate::informer::Change;
use crate::key::Key;
use crate::pod;
use crate::queue::Queue;
use crate::world::{World, post_params};

pub(crate) struct EndpointSlices {
    world: Arc<World>,
    expectations: Arc<Expectations>,
}

/// Connects the controller to the world: which change concerns which Service.
pub(crate) fn setup(world: &Arc<World>) -> (Arc<EndpointSlices>, Arc<Queue<Key>>) {
    let queue = Arc::new(Queue::new());
    let expectations = Arc::new(Expectations::default());
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
    world.slices.on_change({
        let (queue, expectations) = (queue.clone(), expectations.clone());
        move |change| {
            let Some(slice) = change.object() else { return };
            let Some(service) = service_of(slice) else { return };
            if change.old.is_none() {
                expectations.creation_seen(&service);
            }
            if change.new.is_none() {
                expectations.deletion_seen(&service, slice.metadata.uid.as_deref().unwrap_or_default());
            }
            queue.add(service);
        }
    });
    (Arc::new(EndpointSlices { world: world.clone(), expectations }), queue)
}

/// The Service of a slice that this controller manages.
fn service_of(slice: &EndpointSlice) -> Option<Key> {
    let labels = slice.metadata.labels.as_ref()?;
    (labels.get(MANAGED_BY).map(String::as_str) == Some(MANAGER)).then_some(())?;
    Some(Key::new(slice.metadata.namespace.clone()?, labels.get(SERVICE_NAME)?))
}

fn selects(service: &Service, pod: &Pod) -> bool {
    let Some(selector) = service.spec.as_ref().and_then(|spec| spec.selector.as_ref()) else { return false };
    let has =
        |(key, value)| pod.metadata.labels.as_ref().is_some_and(|labels| labels.get(key) == Some(value));
    !selector.is_empty() && selector.iter().all(has)
}

fn pod_changed(world: &World, queue: &Queue<Key>, change: &Change<'_, Pod>) {
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
            self.expectations.forget(key);
            return Ok(Next::Wait);
        };
        let spec = service.spec.as_ref();
        let chooses =
            spec.and_then(|spec| spec.selector.as_ref()).is_some_and(|selector| !selector.is_empty());
        if !chooses || spec.and_then(|spec| spec.type_.as_deref()) == Some("ExternalName") {
            return Ok(Next::Wait);
        }
        let settled = self.expectations.are_met(key);
        let mut pods = self.world.pods.in_namespace(&key.namespace);
        pods.retain(|pod| selects(&service, pod));
        let mut slices = self.world.slices.in_namespace(&key.namespace);
        slices.retain(|slice| {
            service_of(slice).as_ref() == Some(key) && slice.metadata.deletion_timestamp.is_none()
        });
        let names: std::collections::BTreeSet<_> =
            pods.iter().filter_map(|pod| pod::node_name(pod)).collect();
        let node = |name: &str| Some((name.to_owned(), self.world.nodes.get(&Key::new("", name))?));
        let nodes: BTreeMap<_, _> = names.into_iter().filter_map(node).collect();
        let observed = Observed { service: &service, pods: &pods, slices: &slices, nodes: &nodes, settled };
        let outcome = async {
            for action in plan(&observed) {
                self.perform(key, action).await?;
            }
            Ok(Next::Wait)
        };
        let outcome = outcome.await;
        self.world.metrics.slices.synced(&outcome);
        outcome
    }
}

impl EndpointSlices {
    async fn perform(&self, key: &Key, action: Action) -> Result<()> {
        let api: Api<EndpointSlice> = Api::namespaced(self.world.client.clone(), &key.namespace);
        match action {
            Action::Create(slice) => {
                self.expectations.expect_creations(key, 1);
                if let Err(error) = api.create(&post_params(), &slice).await {
                    self.expectations.creation_seen(key);
                    let error = Error::from(error);
                    return if error.is_namespace_terminating() { Ok(()) } else { Err(error) };
                }
                self.world.metrics.slices.created.inc();
            }
            Action::Update(slice) => {
                let name = slice.metadata.name.as_deref().unwrap_or_default();
                if let Some(written) = unless_gone(api.replace(name, &post_params(), &slice).await)? {
                    self.world.metrics.slices.updated.inc();
                    self.world.slices.observe(written);
                }
            }
            Action::Delete(slice) => {
                let uid = slice.metadata.uid.clone();
                self.expectations.expect_deletions(key, uid.clone());
                let preconditions = Some(Preconditions { uid: uid.clone(), resource_version: None });
                let params = DeleteParams { preconditions, ..DeleteParams::default() };
                let name = slice.metadata.name.as_deref().unwrap_or_default();
                let deleted = unless_gone(api.delete(name, &params).await);
                if !matches!(deleted, Ok(Some(_))) {
                    self.expectations.deletion_seen(key, uid.as_deref().unwrap_or_default());
                }
                if deleted?.is_some() {
                    self.world.metrics.slices.deleted.inc();
                }
            }
        }
        Ok(())
    }
}
