//! Endpoints: reads, asks the plan, writes.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Endpoints;
use kube::Api;

use super::plan::{Action, Observed, is_ours, plan};
use crate::controller::{Next, Reconcile};
use crate::endpointslice::{pod_changed, selects};
use crate::error::{Error, Result, unless_gone};
use crate::events::Mood;
use crate::key::Key;
use crate::queue::Queue;
use crate::world::{World, exactly, post_params};

const COMPONENT: &str = "endpoint-controller";

pub(crate) struct EndpointsOfServices {
    world: Arc<World>,
}

/// Connects the controller to the world: which change concerns which Service. Endpoints that people made are looked at only
/// for the sake of their Service; so those that never had one stay.
pub(crate) fn setup(world: &Arc<World>) -> (Arc<EndpointsOfServices>, Arc<Queue<Key>>) {
    let queue = Arc::new(Queue::new());
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
    world.endpoints.on_change({
        let (weak, queue) = (Arc::downgrade(world), queue.clone());
        move |change| {
            let (Some(world), Some(endpoints)) = (weak.upgrade(), change.object()) else { return };
            let key = Key::of(&endpoints.metadata);
            if is_ours(endpoints) || world.services.get(&key).is_some() {
                queue.add(key);
            }
        }
    });
    (Arc::new(EndpointsOfServices { world: world.clone() }), queue)
}

impl Reconcile for EndpointsOfServices {
    type Key = Key;

    fn name(&self) -> &'static str {
        "endpoints"
    }

    async fn reconcile(&self, key: &Key) -> Result<Next> {
        let service = self.world.services.get(key);
        let held = self.world.endpoints.get(key);
        let mut pods = self.world.pods.in_namespace(&key.namespace);
        pods.retain(|pod| service.as_ref().is_some_and(|service| selects(service, pod)));
        let observed = Observed { service: service.as_deref(), pods: &pods, held: held.as_deref() };
        let api: Api<Endpoints> = Api::namespaced(self.world.client.clone(), &key.namespace);
        match plan(&observed) {
            None => {}
            Some(Action::Create(new)) => match api.create(&post_params(), &new).await.map_err(Error::from) {
                Err(error) if error.is_namespace_terminating() => {}
                // The copy is behind; what it lacks comes as an event.
                Err(Error::AlreadyExists(_)) => return Ok(Next::Wait),
                outcome => drop(self.told(&new, "FailedToCreateEndpoint", "create", outcome)?),
            },
            Some(Action::Update(new)) => {
                let outcome = unless_gone(api.replace(&key.name, &post_params(), &new).await);
                if let Some(written) = self.told(&new, "FailedToUpdateEndpoint", "update", outcome)? {
                    self.world.endpoints.observe(written);
                }
            }
            Some(Action::Delete) => {
                let uid = held.as_ref().and_then(|held| held.metadata.uid.as_deref());
                unless_gone(api.delete(&key.name, &exactly(uid.unwrap_or_default())).await)?;
            }
        }
        Ok(Next::Wait)
    }
}

impl EndpointsOfServices {
    fn told<T>(&self, about: &Endpoints, reason: &'static str, verb: &str, outcome: Result<T>) -> Result<T> {
        if let Err(error) = &outcome
            && !matches!(error, Error::Conflict(_))
        {
            let key = Key::of(&about.metadata);
            let message = format!("Failed to {verb} endpoint {key}: {}", error.said());
            self.world.recorder.record(COMPONENT, about, Mood::Warning, reason, message);
        }
        outcome
    }
}
