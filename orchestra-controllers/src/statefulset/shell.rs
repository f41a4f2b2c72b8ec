//! StatefulSets: reads, asks the plan, writes.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet, StatefulSetStatus};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::Api;
use kube::api::Patch;
use serde_json::json;

use super::plan::{Action, Observed, Ownership, plan};
use crate::controller::{Next, Reconcile};
use crate::error::{Error, Result, unless_gone};
use crate::events::Mood;
use crate::expectations::Expectations;
use crate::family::{Known, members, watch_members, watch_owners};
use crate::history::template;
use crate::key::Key;
use crate::ownership::{adoption_patch, controller_reference, release_patch};
use crate::queue::Queue;
use crate::world::{World, exactly, patch_params, post_params};

const COMPONENT: &str = "statefulset-controller";

pub(crate) struct StatefulSets {
    world: Arc<World>,
    expectations: Arc<Expectations>,
    queue: Arc<Queue<Key>>,
}

/// Connects the controller to the world: which change concerns which StatefulSet.
pub(crate) fn setup(world: &Arc<World>) -> (Arc<StatefulSets>, Arc<Queue<Key>>) {
    let queue = Arc::new(Queue::new());
    let expectations = Arc::new(Expectations::default());
    world.claims.want();
    watch_owners::<StatefulSet>(world, &queue, &expectations);
    watch_members::<StatefulSet, Pod>(world, &queue, &expectations);
    watch_members::<StatefulSet, ControllerRevision>(world, &queue, &expectations);
    (Arc::new(StatefulSets { world: world.clone(), expectations, queue: queue.clone() }), queue)
}

impl Reconcile for StatefulSets {
    type Key = Key;

    fn name(&self) -> &'static str {
        "statefulset"
    }

    async fn reconcile(&self, key: &Key) -> Result<Next> {
        let Some(set) = self.world.stateful_sets.get(key) else {
            self.expectations.forget(key);
            return Ok(Next::Wait);
        };
        let settled = self.expectations.are_met(key);
        let pods = members::<StatefulSet, Pod>(&self.world, &set).await?;
        let revisions = members::<StatefulSet, ControllerRevision>(&self.world, &set).await?;
        let claims = self.world.claims.in_namespace(&key.namespace).into_iter();
        let claims = claims.filter_map(|claim| Some((claim.metadata.name.clone()?, claim))).collect();
        let now = self.world.clock.now();
        let observed =
            Observed { set: &set, pods: &pods, revisions: &revisions, claims: &claims, settled, now };
        for action in plan(&observed) {
            self.perform(key, &set, action).await?;
        }
        Ok(self.expectations.lapse(key))
    }
}

impl StatefulSets {
    fn claims(&self, key: &Key) -> Api<PersistentVolumeClaim> {
        Api::namespaced(self.world.client.clone(), &key.namespace)
    }

    async fn perform(&self, key: &Key, set: &StatefulSet, action: Action) -> Result<()> {
        let revisions = ControllerRevision::api(&self.world, &key.namespace);
        match action {
            Action::CreateRevision(revision) => {
                self.expectations.expect_creations(key, 1);
                match revisions.create(&post_params(), &revision).await.map_err(Error::from) {
                    Ok(_) => Ok(()),
                    Err(error) => {
                        self.expectations.creation_seen(key);
                        self.collide(set, &revision, error).await
                    }
                }
            }
            Action::RaiseRevision(revision, number) => {
                let patch = Patch::Merge(json!({"revision": number}));
                let raised = revisions.patch(revision.name(), &patch_params(), &patch).await?;
                self.world.revisions.observe(raised);
                Ok(())
            }
            Action::DeleteRevision(revision) => {
                let params = exactly(revision.uid());
                unless_gone(revisions.delete(revision.name(), &params).await).map(|_| ())
            }
            Action::Create(claims, pod) => {
                self.create_claims(key, set, pod.name(), claims).await?;
                self.create(key, set, &pod).await
            }
            Action::CreateClaims(claims) => self.create_claims(key, set, "", claims).await,
            Action::Label(pod, labels) => {
                let patch = Patch::Merge(json!({"metadata": {"uid": pod.uid(), "labels": labels}}));
                let api = Pod::api(&self.world, &key.namespace);
                if let Some(labelled) = unless_gone(api.patch(pod.name(), &patch_params(), &patch).await)? {
                    self.world.pods.observe(labelled);
                }
                Ok(())
            }
            Action::Delete(pod) => self.delete(key, set, &pod).await,
            Action::DeleteClaim(claim) => {
                let name = claim.metadata.name.as_deref().unwrap_or_default();
                let params = exactly(claim.metadata.uid.as_deref().unwrap_or_default());
                unless_gone(self.claims(key).delete(name, &params).await).map(|_| ())
            }
            Action::OwnClaim(claim, ownership) => {
                let patch = match ownership {
                    Ownership::Owned => adoption_patch(&claim.metadata, controller_reference(set), None),
                    Ownership::Free => release_patch(&claim.metadata, set.uid(), None),
                };
                let name = claim.metadata.name.as_deref().unwrap_or_default();
                let patched = self.claims(key).patch(name, &patch_params(), &Patch::Merge(patch)).await;
                if let Some(patched) = unless_gone(patched)? {
                    self.world.claims.observe(patched);
                }
                Ok(())
            }
            Action::SetStatus(status) => self.set_status(set, *status).await,
            Action::LookAgain(delay) => {
                self.queue.add_after(key.clone(), delay);
                Ok(())
            }
        }
    }

    /// The name of a new revision is taken: by ourselves, and the copy is only behind; or by another template, and a
    /// raised collision count leads to another name.
    async fn collide(&self, set: &StatefulSet, revision: &ControllerRevision, error: Error) -> Result<()> {
        if error.is_namespace_terminating() {
            return Ok(());
        }
        if matches!(error, Error::AlreadyExists(_)) {
            let api = ControllerRevision::api(&self.world, &set.key().namespace);
            if template(&api.get(revision.name()).await?) == template(revision) {
                return Err(error);
            }
            let mut status = set.status.clone().unwrap_or_default();
            status.collision_count = Some(status.collision_count.unwrap_or(0).saturating_add(1));
            self.set_status(set, status).await?;
        }
        Err(error)
    }

    async fn create_claims(
        &self,
        key: &Key,
        set: &StatefulSet,
        pod: &str,
        claims: Vec<PersistentVolumeClaim>,
    ) -> Result<()> {
        for claim in claims {
            let name = claim.metadata.name.as_deref().unwrap_or_default();
            let what = format!("Claim {name} Pod {pod} in StatefulSet {}", key.name);
            match self.claims(key).create(&post_params(), &claim).await.map_err(Error::from) {
                Ok(_) => self.note(set, Mood::Normal, "SuccessfulCreate", format!("create {what} success")),
                Err(Error::AlreadyExists(_)) => {}
                Err(error) if error.is_namespace_terminating() => {}
                Err(error) => {
                    let message = format!("create {what} failed error: {}", error.said());
                    self.note(set, Mood::Warning, "FailedCreate", message);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    async fn create(&self, key: &Key, set: &StatefulSet, pod: &Pod) -> Result<()> {
        let what = format!("Pod {} in StatefulSet {}", pod.name(), key.name);
        self.expectations.expect_creations(key, 1);
        match Pod::api(&self.world, &key.namespace).create(&post_params(), pod).await.map_err(Error::from) {
            Ok(_) => {
                self.note(set, Mood::Normal, "SuccessfulCreate", format!("create {what} successful"));
                Ok(())
            }
            Err(error) => {
                self.expectations.creation_seen(key);
                if error.is_namespace_terminating() {
                    return Ok(());
                }
                let message = format!("create {what} failed error: {}", error.said());
                self.note(set, Mood::Warning, "FailedCreate", message);
                Err(error)
            }
        }
    }

    async fn delete(&self, key: &Key, set: &StatefulSet, pod: &Pod) -> Result<()> {
        let what = format!("Pod {} in StatefulSet {}", pod.name(), key.name);
        self.expectations.expect_deletions(key, [pod.uid().to_owned()]);
        let api = Pod::api(&self.world, &key.namespace);
        match api.delete(pod.name(), &exactly(pod.uid())).await.map_err(Error::from) {
            Ok(_) => {
                self.note(set, Mood::Normal, "SuccessfulDelete", format!("delete {what} successful"));
                Ok(())
            }
            Err(error) => {
                self.expectations.deletion_seen(key, pod.uid());
                if matches!(error, Error::NotFound(_) | Error::Conflict(_)) {
                    return Ok(());
                }
                let message = format!("delete {what} failed error: {}", error.said());
                self.note(set, Mood::Warning, "FailedDelete", message);
                Err(error)
            }
        }
    }

    async fn set_status(&self, set: &StatefulSet, status: StatefulSetStatus) -> Result<()> {
        let key = set.key();
        let new = StatefulSet { status: Some(status), ..set.clone() };
        let api = StatefulSet::api(&self.world, &key.namespace);
        if let Some(written) = unless_gone(api.replace_status(&key.name, &post_params(), &new).await)? {
            self.world.stateful_sets.observe(written);
        }
        Ok(())
    }

    fn note(&self, set: &StatefulSet, mood: Mood, reason: &'static str, message: String) {
        self.world.recorder.record(COMPONENT, set, mood, reason, message);
    }
}
