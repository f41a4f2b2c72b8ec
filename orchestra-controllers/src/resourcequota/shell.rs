//! Resource quotas: reads, asks the plan, writes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, ResourceQuota};
use kube::Api;
use orchestra_core::quota::{Measure, measure};

use super::plan::{Action, Observed, plan};
use crate::controller::{Next, Reconcile};
use crate::error::{Result, unless_gone};
use crate::key::Key;
use crate::pod;
use crate::queue::Queue;
use crate::world::{World, post_params};

/// Changes within this time are counted together: a count reads the whole namespace.
const PAUSE: Duration = Duration::from_millis(100);

pub(crate) struct Quotas {
    world: Arc<World>,
}

/// Connects the controller to the world: which change concerns which quota.
pub(crate) fn setup(world: &Arc<World>) -> (Arc<Quotas>, Arc<Queue<Key>>) {
    let queue = Arc::new(Queue::new());
    world.quotas.on_change({
        let queue = queue.clone();
        move |change| {
            if let Some(quota) = change.new {
                queue.add(Key::of(&quota.metadata));
            }
        }
    });
    world.pods.on_change({
        let (weak, queue) = (Arc::downgrade(world), queue.clone());
        move |change| {
            let (Some(world), Some(object)) = (weak.upgrade(), change.object()) else { return };
            if change.old.map(|pod| matters(pod)) != change.new.map(|pod| matters(pod)) {
                queue_measured(&world, &queue, object.metadata.namespace.as_deref(), Measure::Pods);
            }
        }
    });
    world.claims.on_change({
        let (weak, queue) = (Arc::downgrade(world), queue.clone());
        move |change| {
            let (Some(world), Some(object)) = (weak.upgrade(), change.object()) else { return };
            queue_measured(&world, &queue, object.metadata.namespace.as_deref(), Measure::Claims);
        }
    });
    world.services.on_change({
        let (weak, queue) = (Arc::downgrade(world), queue.clone());
        move |change| {
            let (Some(world), Some(object)) = (weak.upgrade(), change.object()) else { return };
            queue_measured(&world, &queue, object.metadata.namespace.as_deref(), Measure::Services);
        }
    });
    world.census.on_count({
        let (weak, queue) = (Arc::downgrade(world), queue.clone());
        move |resource, namespace| {
            let Some(world) = weak.upgrade() else { return };
            queue_measured(&world, &queue, Some(namespace), Measure::Number(resource));
        }
    });
    (Arc::new(Quotas { world: world.clone() }), queue)
}

/// What of a pod a quota counts, and can change.
fn matters(pod: &Pod) -> impl PartialEq {
    let held = pod.status.as_ref().map(|status| {
        let held = status.container_statuses.iter().chain(&status.init_container_statuses).flatten();
        held.map(|status| (status.resources.clone(), status.allocated_resources.clone())).collect::<Vec<_>>()
    });
    let deleted = pod.metadata.deletion_timestamp.clone();
    (pod.metadata.uid.clone(), pod::is_finished(pod), deleted, pod.metadata.generation, held)
}

fn queue_measured(world: &World, queue: &Queue<Key>, namespace: Option<&str>, wanted: Measure<'_>) {
    for quota in world.quotas.in_namespace(namespace.unwrap_or_default()) {
        if hard(&quota).any(|name| measure(name) == Some(wanted)) {
            queue.add_after(Key::of(&quota.metadata), PAUSE);
        }
    }
}

fn hard(quota: &ResourceQuota) -> impl Iterator<Item = &String> {
    quota.spec.iter().flat_map(|spec| spec.hard.iter().flat_map(BTreeMap::keys))
}

impl Reconcile for Quotas {
    type Key = Key;

    fn name(&self) -> &'static str {
        "resourcequota"
    }

    async fn reconcile(&self, key: &Key) -> Result<Next> {
        let Some(quota) = self.world.quotas.get(key) else { return Ok(Next::Wait) };
        let counted = hard(&quota).filter_map(|name| match measure(name) {
            Some(Measure::Number(resource)) => Some(resource.to_owned()),
            _ => None,
        });
        let counted: Vec<String> = counted.collect();
        // Before the census has seen everything its numbers say nothing.
        if !counted.is_empty() && !self.world.census.is_complete() {
            return Ok(Next::After(PAUSE));
        }
        let number = |resource: String| {
            let count = self.world.census.count(&resource, &key.namespace)?;
            Some((resource, count))
        };
        let numbers: BTreeMap<_, _> = counted.into_iter().filter_map(number).collect();
        let observed = Observed {
            quota: &quota,
            pods: &self.world.pods.in_namespace(&key.namespace),
            claims: &self.world.claims.in_namespace(&key.namespace),
            services: &self.world.services.in_namespace(&key.namespace),
            numbers: &numbers,
            now: self.world.clock.now(),
        };
        let mut next = Next::Wait;
        for action in plan(&observed) {
            match action {
                Action::LookAgain(delay) => next = Next::After(delay),
                Action::SetStatus(status) => {
                    let api: Api<ResourceQuota> = Api::namespaced(self.world.client.clone(), &key.namespace);
                    // Refused if it was charged meanwhile: then it is counted again.
                    let new = ResourceQuota { status: Some(*status), ..ResourceQuota::clone(&quota) };
                    let written = unless_gone(api.replace_status(&key.name, &post_params(), &new).await)?;
                    if let Some(written) = written {
                        self.world.quotas.observe(written);
                    }
                }
            }
        }
        Ok(next)
    }
}
