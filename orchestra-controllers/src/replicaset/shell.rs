//! ReplicaSets: reads, asks the plan, writes.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetStatus};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, Patch, Preconditions};
use kube::{Api, Resource};

use super::plan::{Action, Failure, Observed, plan, status};
use crate::batch::slow_start;
use crate::controller::{Next, Reconcile};
use crate::error::{Error, Result, unless_gone};
use crate::events::Mood;
use crate::expectations::Expectations;
use crate::informer::{Change, Index};
use crate::key::Key;
use crate::ownership::{
    adoption_patch, claim, controller_of, controller_reference, release_patch, selector, selects,
};
use crate::pod;
use crate::queue::Queue;
use crate::world::{World, patch_params, post_params};

const COMPONENT: &str = "replicaset-controller";

pub(crate) struct ReplicaSets {
    world: Arc<World>,
    expectations: Arc<Expectations>,
}

/// Connects the controller to the world: which change concerns which ReplicaSet.
pub(crate) fn setup(world: &Arc<World>) -> (Arc<ReplicaSets>, Arc<Queue<Key>>) {
    let queue = Arc::new(Queue::new());
    let expectations = Arc::new(Expectations::default());
    world.replica_sets.on_change({
        let (queue, expectations) = (queue.clone(), expectations.clone());
        move |change| {
            let Some(set) = change.object() else { return };
            let key = Key::of(&set.metadata);
            if change.new.is_none() || change.old.is_some_and(|old| old.metadata.uid != set.metadata.uid) {
                expectations.forget(&key);
            }
            queue.add(key);
        }
    });
    world.pods.on_change({
        let (world, queue, expectations) = (Arc::downgrade(world), queue.clone(), expectations.clone());
        move |change| {
            if let Some(world) = world.upgrade() {
                pod_changed(&world, &queue, &expectations, change);
            }
        }
    });
    (Arc::new(ReplicaSets { world: world.clone(), expectations }), queue)
}

fn owner_of(world: &World, pod: &Pod) -> Option<Key> {
    let owner = controller_of(&pod.metadata).filter(|owner| owner.kind == "ReplicaSet")?;
    let key = Key::new(pod.metadata.namespace.clone().unwrap_or_default(), &owner.name);
    let set = world.replica_sets.get(&key)?;
    (set.metadata.uid.as_ref() == Some(&owner.uid)).then_some(key)
}

fn pod_changed(world: &World, queue: &Queue<Key>, expectations: &Expectations, change: &Change<'_, Pod>) {
    let before = change.old.and_then(|pod| owner_of(world, pod));
    let after = change.new.and_then(|pod| owner_of(world, pod));
    if let (Some(owner), None) = (&after, &before) {
        expectations.creation_seen(owner);
    }
    let going = change.new.is_none_or(|pod| pod::is_terminating(pod));
    if let (true, Some(owner), Some(pod)) = (going, after.as_ref().or(before.as_ref()), change.object()) {
        expectations.deletion_seen(owner, pod.metadata.uid.as_deref().unwrap_or_default());
    }
    let orphan = change.new.filter(|pod| controller_of(&pod.metadata).is_none() && !pod::is_terminating(pod));
    if let Some(pod) = orphan {
        for set in world.replica_sets.in_namespace(pod.metadata.namespace.as_deref().unwrap_or_default()) {
            let wants = set.spec.as_ref().and_then(|spec| selector(&spec.selector).ok());
            if wants.is_some_and(|wants| selects(&wants, &pod.metadata)) {
                queue.add(Key::of(&set.metadata));
            }
        }
    }
    if let Some(owner) = before.filter(|before| after.as_ref() != Some(before)) {
        queue.add(owner);
    }
    if let Some(owner) = after {
        queue.add(owner);
    }
}

impl Reconcile for ReplicaSets {
    fn name(&self) -> &'static str {
        "replicaset"
    }

    async fn reconcile(&self, key: &Key) -> Result<Next> {
        let Some(set) = self.world.replica_sets.get(key) else {
            self.expectations.forget(key);
            return Ok(Next::Wait);
        };
        let settled = self.expectations.are_met(key);
        let pods = self.claim(&set).await?;
        let related = self.related(&set, &pods);
        let now = self.world.clock.now();
        let observed = Observed { set: &set, pods: &pods, related: &related, settled, now };
        let mut next = Next::Wait;
        for action in plan(&observed) {
            match action {
                Action::Create(count) => {
                    let outcome = self.create(key, &set, count).await;
                    self.report(&observed, "FailedCreate", outcome).await?;
                }
                Action::Delete(doomed) => {
                    let outcome = self.delete(key, &set, &doomed).await;
                    self.report(&observed, "FailedDelete", outcome).await?;
                }
                Action::SetStatus(status) => self.set_status(&set, *status).await?,
                Action::LookAgain(delay) => next = Next::After(delay),
            }
        }
        Ok(next)
    }
}

impl ReplicaSets {
    fn pods(&self, key: &Key) -> Api<Pod> {
        Api::namespaced(self.world.client.clone(), &key.namespace)
    }

    /// The pods of the set, after those it should take or let go have changed hands.
    async fn claim(&self, set: &ReplicaSet) -> Result<Vec<Arc<Pod>>> {
        let Some(spec) = &set.spec else {
            return Err(Error::Malformed("a ReplicaSet without a spec".into()));
        };
        let key = Key::of(set.meta());
        let uid = set.metadata.uid.as_deref().unwrap_or_default();
        let candidates = self.world.pods.owned_or_orphaned(uid, &key.namespace);
        let mut claims = claim(&set.metadata, &selector(&spec.selector)?, candidates);
        let api = self.pods(&key);
        claims.adopt.retain(|pod| pod::is_active(pod));
        if !claims.adopt.is_empty() {
            // The copy may be behind: only a set that still lives may adopt.
            let sets: Api<ReplicaSet> = Api::namespaced(self.world.client.clone(), &key.namespace);
            let live = sets.get(&key.name).await?;
            if live.metadata.uid != set.metadata.uid || live.metadata.deletion_timestamp.is_some() {
                return Ok(claims.held);
            }
        }
        for pod in claims.adopt {
            let patch = adoption_patch(&pod.metadata, controller_reference(set));
            let name = pod.metadata.name.as_deref().unwrap_or_default();
            if let Some(adopted) = unless_gone(api.patch(name, &patch_params(), &Patch::Merge(patch)).await)?
            {
                claims.held.push(Arc::new(adopted.clone()));
                self.world.pods.observe(adopted);
            }
        }
        for pod in claims.release {
            let patch = release_patch(&pod.metadata, uid);
            let name = pod.metadata.name.as_deref().unwrap_or_default();
            if let Some(released) = unless_gone(api.patch(name, &patch_params(), &Patch::Merge(patch)).await)?
            {
                self.world.pods.observe(released);
            }
        }
        Ok(claims.held)
    }

    /// The pods of all sets with the same owner.
    fn related(&self, set: &ReplicaSet, own: &[Arc<Pod>]) -> Vec<Arc<Pod>> {
        let Some(owner) = controller_of(&set.metadata) else { return own.to_vec() };
        let siblings = self.world.replica_sets.indexed(&Index::Owner(owner.uid.clone()));
        let uids = siblings.into_iter().filter_map(|sibling| sibling.metadata.uid.clone());
        uids.flat_map(|uid| self.world.pods.indexed(&Index::Owner(uid))).collect()
    }

    async fn create(&self, key: &Key, set: &ReplicaSet, count: usize) -> Result<()> {
        let template = set.spec.as_ref().and_then(|spec| spec.template.as_ref());
        let Some(template) = template else {
            return Err(Error::Malformed("a ReplicaSet without a pod template".into()));
        };
        let mut new = pod::from_template(template, &key.namespace, controller_reference(set));
        new.metadata.generate_name = Some(format!("{}-", key.name));
        let (api, new) = (self.pods(key), &new);
        self.expectations.expect_creations(key, count);
        let outcome = slow_start(count, |_| async {
            match api.create(&post_params(), new).await.map_err(Error::from) {
                Ok(created) => {
                    let name = created.metadata.name.unwrap_or_default();
                    self.note(set, Mood::Normal, "SuccessfulCreate", format!("Created pod: {name}"));
                    Ok(())
                }
                Err(error) => {
                    self.expectations.creation_seen(key);
                    if error.is_namespace_terminating() {
                        return Ok(());
                    }
                    self.note(
                        set,
                        Mood::Warning,
                        "FailedCreate",
                        format!("Error creating: {}", error.said()),
                    );
                    Err(error)
                }
            }
        })
        .await;
        for _ in 0..outcome.skipped {
            self.expectations.creation_seen(key);
        }
        outcome.failure.map_or(Ok(()), Err)
    }

    async fn delete(&self, key: &Key, set: &ReplicaSet, doomed: &[Arc<Pod>]) -> Result<()> {
        let api = self.pods(key);
        let uids = doomed.iter().filter_map(|pod| pod.metadata.uid.clone());
        self.expectations.expect_deletions(key, uids);
        let deletions = doomed.iter().map(|pod| async {
            let name = pod.metadata.name.as_deref().unwrap_or_default();
            let preconditions = Preconditions { uid: pod.metadata.uid.clone(), resource_version: None };
            let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
            match api.delete(name, &params).await.map_err(Error::from) {
                Ok(_) => {
                    self.note(set, Mood::Normal, "SuccessfulDelete", format!("Deleted pod: {name}"));
                    Ok(())
                }
                Err(error) => {
                    self.expectations.deletion_seen(key, pod.metadata.uid.as_deref().unwrap_or_default());
                    if matches!(error, Error::NotFound(_) | Error::Conflict(_)) {
                        return Ok(());
                    }
                    let message = format!("Error deleting: {}", error.said());
                    self.note(set, Mood::Warning, "FailedDelete", message);
                    Err(error)
                }
            }
        });
        futures::future::join_all(deletions).await.into_iter().collect()
    }

    /// Lets a failure stand in the status, then passes it on to be retried.
    async fn report(&self, observed: &Observed<'_>, reason: &'static str, outcome: Result<()>) -> Result<()> {
        let Err(error) = outcome else { return Ok(()) };
        let failure = Failure { reason, message: error.said() };
        let status = status(observed, Some(&failure));
        if Some(&status) != observed.set.status.as_ref() {
            self.set_status(observed.set, status).await?;
        }
        Err(error)
    }

    async fn set_status(&self, set: &ReplicaSet, status: ReplicaSetStatus) -> Result<()> {
        let key = Key::of(&set.metadata);
        let api: Api<ReplicaSet> = Api::namespaced(self.world.client.clone(), &key.namespace);
        let new = ReplicaSet { status: Some(status), ..set.clone() };
        if let Some(written) = unless_gone(api.replace_status(&key.name, &post_params(), &new).await)? {
            self.world.replica_sets.observe(written);
        }
        Ok(())
    }

    fn note(&self, set: &ReplicaSet, mood: Mood, reason: &'static str, message: String) {
        self.world.recorder.record(COMPONENT, set, mood, reason, message);
    }
}
