//! The slices that one controller manages: which they are, what was ordered of them, and the writing.

use std::sync::Arc;

use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Api;
use prometheus_client::metrics::counter::Counter;

use super::plan::{Action, MANAGED_BY, SERVICE_NAME};
use crate::controller::Next;
use crate::error::{Error, Result, unless_gone};
use crate::expectations::Expectations;
use crate::key::Key;
use crate::metrics::EndpointSliceMetrics;
use crate::queue::Queue;
use crate::world::{World, exactly, post_params};

/// How a controller of slices finds and orders its own.
pub(crate) struct SliceControl {
    world: Arc<World>,
    expectations: Arc<Expectations>,
    manager: &'static str,
    /// Where writes are counted, if they are.
    metrics: Option<EndpointSliceMetrics>,
}

/// The Service of a slice that `manager` manages.
fn service_of(slice: &EndpointSlice, manager: &str) -> Option<Key> {
    let labels = slice.metadata.labels.as_ref()?;
    (labels.get(MANAGED_BY).map(String::as_str) == Some(manager)).then_some(())?;
    Some(Key::new(slice.metadata.namespace.clone()?, labels.get(SERVICE_NAME)?))
}

impl SliceControl {
    /// Queues the Service of a slice that changes, and settles what was ordered.
    pub(crate) fn new(world: &Arc<World>, queue: &Arc<Queue<Key>>, manager: &'static str) -> Self {
        let expectations = Arc::new(Expectations::default());
        world.slices.on_change({
            let (queue, expectations) = (queue.clone(), expectations.clone());
            move |change| {
                let Some(slice) = change.object() else { return };
                let Some(service) = service_of(slice, manager) else { return };
                if change.old.is_none() {
                    expectations.creation_seen(&service);
                }
                if change.new.is_none() {
                    expectations.deletion_seen(&service, slice.metadata.uid.as_deref().unwrap_or_default());
                }
                queue.add(service);
            }
        });
        Self { world: world.clone(), expectations, manager, metrics: None }
    }

    /// Counts writes.
    pub(crate) fn counting(mut self, metrics: EndpointSliceMetrics) -> Self {
        self.metrics = Some(metrics);
        self
    }

    /// The slices of a Service that this controller manages.
    pub(crate) fn slices(&self, service: &Key) -> Vec<Arc<EndpointSlice>> {
        let mut slices = self.world.slices.in_namespace(&service.namespace);
        slices.retain(|slice| {
            service_of(slice, self.manager).as_ref() == Some(service)
                && slice.metadata.deletion_timestamp.is_none()
        });
        slices
    }

    /// Whether everything ordered has arrived.
    pub(crate) fn is_settled(&self, service: &Key) -> bool {
        self.expectations.are_met(service)
    }

    /// When to look again if what was ordered never shows.
    pub(crate) fn lapse(&self, service: &Key) -> Next {
        self.expectations.lapse(service)
    }

    /// The Service is gone.
    pub(crate) fn forget(&self, service: &Key) {
        self.expectations.forget(service);
    }

    /// Carries out what a plan says.
    pub(crate) async fn perform(&self, key: &Key, action: Action) -> Result<()> {
        let api: Api<EndpointSlice> = Api::namespaced(self.world.client.clone(), &key.namespace);
        match action {
            Action::Create(slice) => {
                self.expectations.expect_creations(key, 1);
                if let Err(error) = api.create(&post_params(), &slice).await {
                    self.expectations.creation_seen(key);
                    let error = Error::from(error);
                    return if error.is_namespace_terminating() { Ok(()) } else { Err(error) };
                }
                self.count(|metrics| &metrics.created);
            }
            Action::Update(slice) => {
                let name = slice.metadata.name.as_deref().unwrap_or_default();
                if let Some(written) = unless_gone(api.replace(name, &post_params(), &slice).await)? {
                    self.count(|metrics| &metrics.updated);
                    self.world.slices.observe(written);
                }
            }
            Action::Delete(slice) => {
                let uid = slice.metadata.uid.clone().unwrap_or_default();
                self.expectations.expect_deletions(key, [uid.clone()]);
                let name = slice.metadata.name.as_deref().unwrap_or_default();
                let deleted = unless_gone(api.delete(name, &exactly(&uid)).await);
                if !matches!(deleted, Ok(Some(_))) {
                    self.expectations.deletion_seen(key, &uid);
                }
                if deleted?.is_some() {
                    self.count(|metrics| &metrics.deleted);
                }
            }
        }
        Ok(())
    }

    fn count(&self, of: fn(&EndpointSliceMetrics) -> &Counter) {
        if let Some(metrics) = &self.metrics {
            of(metrics).inc();
        }
    }
}
