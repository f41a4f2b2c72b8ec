//! Resource quotas: reads, asks the plan, writes.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, ResourceQuota};
use k8s_openapi::api::resource::v1::DeviceClass;
use kube::Api;
use orchestra_core::quota::{Classes, Measure, measure};
use tokio::time::Instant;

use super::plan::{Action, Observed, plan};
use crate::controller::{Next, Reconcile};
use crate::error::{Result, unless_gone};
use crate::key::Key;
use crate::pod;
use crate::queue::Queue;
use crate::world::{World, post_params};

/// Changes within this time are counted together: a count reads the whole namespace.
const PAUSE: Duration = Duration::from_millis(100);
/// A quota is charged before what it is charged for is stored, and long before that is seen here. A count in between would give
/// back what is about to be used, so none is taken until nobody has charged for this long. A quota that is full is not charged.
const QUIET: Duration = Duration::from_secs(1);

pub(crate) struct Quotas {
    world: Arc<World>,
    charges: Arc<Charges>,
    queue: Arc<Queue<Key>>,
}

/// When each quota was charged last, as seen here.
#[derive(Debug, Default)]
struct Charges(Mutex<HashMap<Key, Instant>>);

impl Charges {
    fn times(&self) -> MutexGuard<'_, HashMap<Key, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long it is until the quota may be counted, if it may not be now.
    fn quiet_in(&self, key: &Key) -> Option<Duration> {
        let charged = *self.times().get(key)?;
        QUIET.checked_sub(charged.elapsed()).filter(|left| !left.is_zero())
    }
}

/// Connects the controller to the world: which change concerns which quota.
pub(crate) fn setup(world: &Arc<World>) -> (Arc<Quotas>, Arc<Queue<Key>>) {
    let (queue, charges) = (Arc::new(Queue::new()), Arc::new(Charges::default()));
    world.quotas.on_change({
        let (queue, charges) = (queue.clone(), charges.clone());
        move |change| {
            let used =
                |quota: &Arc<ResourceQuota>| quota.status.as_ref().and_then(|status| status.used.clone());
            match (change.old, change.new) {
                (Some(old), Some(new)) if used(old).is_some() && used(old) != used(new) => {
                    charges.times().insert(Key::of(&new.metadata), Instant::now());
                    queue.add_after(Key::of(&new.metadata), QUIET);
                }
                (_, Some(new)) => queue.add(Key::of(&new.metadata)),
                (Some(old), None) => {
                    charges.times().remove(&Key::of(&old.metadata));
                }
                (None, None) => {}
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
    world.device_claims.on_change({
        let (weak, queue) = (Arc::downgrade(world), queue.clone());
        move |change| {
            let (Some(world), Some(object)) = (weak.upgrade(), change.object()) else { return };
            // What becomes of a claim takes up no more; only what there is of it counts.
            if change.old.is_none() || change.new.is_none() {
                let classes = classes(&world);
                let namespace = object.metadata.namespace.as_deref();
                queue_where(&world, &queue, namespace, |name| classes.measure(name));
            }
        }
    });
    world.device_classes.on_change({
        let (weak, queue) = (Arc::downgrade(world), queue.clone());
        move |change| {
            let Some(world) = weak.upgrade() else { return };
            let resource = |class: &Arc<DeviceClass>| class.spec.extended_resource_name.clone();
            if change.old.map(resource) != change.new.map(resource) {
                // Of any resource of pods, claims may count for it now or no more.
                let counts = |name: &str| name.contains('/') && measure(name) == Some(Measure::Pods);
                queue_where(&world, &queue, None, counts);
            }
        }
    });
    world.census.on_count({
        let (weak, queue) = (Arc::downgrade(world), queue.clone());
        move |resource, namespace| {
            let Some(world) = weak.upgrade() else { return };
            queue_measured(&world, &queue, Some(namespace), Measure::Number(resource));
        }
    });
    (Arc::new(Quotas { world: world.clone(), charges, queue: queue.clone() }), queue)
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
    let namespace = Some(namespace.unwrap_or_default());
    queue_where(world, queue, namespace, |name| measure(name) == Some(wanted));
}

/// Queues the quotas of a namespace, or of all, that speak of something wanted.
fn queue_where(world: &World, queue: &Queue<Key>, namespace: Option<&str>, wanted: impl Fn(&str) -> bool) {
    let quotas = match namespace {
        Some(namespace) => world.quotas.in_namespace(namespace),
        None => world.quotas.all(),
    };
    for quota in quotas {
        if hard(&quota).any(|name| wanted(name)) {
            queue.add_after(Key::of(&quota.metadata), PAUSE);
        }
    }
}

fn classes(world: &World) -> Classes {
    let classes = world.device_classes.all();
    Classes::of(classes.iter().map(|class| {
        let name = class.metadata.name.as_deref().unwrap_or_default();
        (name, class.spec.extended_resource_name.as_deref())
    }))
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
        if let Some(left) = self.charges.quiet_in(key) {
            return Ok(Next::After(left));
        }
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
            device_claims: &self.world.device_claims.in_namespace(&key.namespace),
            classes: &classes(&self.world),
            numbers: &numbers,
            now: self.world.clock.now(),
        };
        for action in plan(&observed) {
            match action {
                Action::LookAgain(delay) => self.queue.add_after(key.clone(), delay),
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
        Ok(Next::Wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_quota_that_was_just_charged_is_counted_when_nobody_has_charged_for_a_while() {
        let (charges, key) = (Charges::default(), Key::new("a", "q"));
        assert_eq!(charges.quiet_in(&key), None);
        charges.times().insert(key.clone(), Instant::now());
        tokio::time::advance(QUIET / 4).await;
        assert_eq!(charges.quiet_in(&key), Some(QUIET * 3 / 4));
        tokio::time::advance(QUIET * 3 / 4).await;
        assert_eq!(charges.quiet_in(&key), None);
    }
}
