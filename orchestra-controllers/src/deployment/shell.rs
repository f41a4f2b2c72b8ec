//! Deployments: reads, asks the plan, writes.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{DeleteParams, Patch, Preconditions};
use serde_json::{Map, Value, json};

use super::plan::{Action, Observed, SetChange, plan};
use super::set::{REVISION, same_template};
use crate::controller::{Next, Reconcile};
use crate::error::{Error, Result, unless_gone};
use crate::events::Mood;
use crate::expectations::Expectations;
use crate::informer::{Change, Index};
use crate::key::Key;
use crate::ownership::{
    adoption_patch, claim, controller_of, controller_reference, is_controlled_by, release_patch, selector,
    selects,
};
use crate::pod;
use crate::queue::Queue;
use crate::world::{World, patch_params, post_params};

const COMPONENT: &str = "deployment-controller";

pub(crate) struct Deployments {
    world: Arc<World>,
    expectations: Arc<Expectations>,
}

/// Connects the controller to the world: which change concerns which Deployment.
pub(crate) fn setup(world: &Arc<World>) -> (Arc<Deployments>, Arc<Queue<Key>>) {
    let queue = Arc::new(Queue::new());
    let expectations = Arc::new(Expectations::default());
    world.deployments.on_change({
        let (queue, expectations) = (queue.clone(), expectations.clone());
        move |change| {
            let Some(deployment) = change.object() else { return };
            let key = Key::of(&deployment.metadata);
            if change.new.is_none()
                || change.old.is_some_and(|old| old.metadata.uid != deployment.metadata.uid)
            {
                expectations.forget(&key);
            }
            queue.add(key);
        }
    });
    world.replica_sets.on_change({
        let (world, queue, expectations) = (Arc::downgrade(world), queue.clone(), expectations.clone());
        move |change| {
            if let Some(world) = world.upgrade() {
                set_changed(&world, &queue, &expectations, change);
            }
        }
    });
    world.pods.on_change({
        let (world, queue) = (Arc::downgrade(world), queue.clone());
        move |change| {
            if let Some(world) = world.upgrade() {
                pod_changed(&world, &queue, change);
            }
        }
    });
    (Arc::new(Deployments { world: world.clone(), expectations }), queue)
}

fn owner_of(world: &World, set: &ReplicaSet) -> Option<Key> {
    let owner = controller_of(&set.metadata).filter(|owner| owner.kind == "Deployment")?;
    let key = Key::new(set.metadata.namespace.clone().unwrap_or_default(), &owner.name);
    let deployment = world.deployments.get(&key)?;
    (deployment.metadata.uid.as_ref() == Some(&owner.uid)).then_some(key)
}

fn set_changed(
    world: &World,
    queue: &Queue<Key>,
    expectations: &Expectations,
    change: &Change<'_, ReplicaSet>,
) {
    let before = change.old.and_then(|set| owner_of(world, set));
    let after = change.new.and_then(|set| owner_of(world, set));
    if let (Some(owner), None) = (&after, &before) {
        expectations.creation_seen(owner);
    }
    if let Some(set) = change.new.filter(|set| controller_of(&set.metadata).is_none()) {
        for deployment in
            world.deployments.in_namespace(set.metadata.namespace.as_deref().unwrap_or_default())
        {
            let wants = deployment.spec.as_ref().and_then(|spec| selector(&spec.selector).ok());
            if wants.is_some_and(|wants| selects(&wants, &set.metadata)) {
                queue.add(Key::of(&deployment.metadata));
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

/// Only the strategy `Recreate` waits for pods, and only for their end.
fn pod_changed(world: &World, queue: &Queue<Key>, change: &Change<'_, Pod>) {
    if change.new.is_some_and(|pod| !pod::is_finished(pod)) {
        return;
    }
    let Some(pod) = change.object() else { return };
    let Some(owner) = controller_of(&pod.metadata).filter(|owner| owner.kind == "ReplicaSet") else { return };
    let key = Key::new(pod.metadata.namespace.clone().unwrap_or_default(), &owner.name);
    let Some(deployment) = world.replica_sets.get(&key).and_then(|set| owner_of(world, &set)) else { return };
    let recreates = |deployment: &Deployment| {
        let strategy = deployment.spec.as_ref().and_then(|spec| spec.strategy.as_ref());
        strategy.and_then(|strategy| strategy.type_.as_deref()) == Some("Recreate")
    };
    if world.deployments.get(&deployment).is_some_and(|deployment| recreates(&deployment)) {
        queue.add(deployment);
    }
}

impl Reconcile for Deployments {
    fn name(&self) -> &'static str {
        "deployment"
    }

    async fn reconcile(&self, key: &Key) -> Result<Next> {
        let Some(deployment) = self.world.deployments.get(key) else {
            self.expectations.forget(key);
            return Ok(Next::Wait);
        };
        let settled = self.expectations.are_met(key);
        let sets = self.claim(&deployment).await?;
        let uids = sets.iter().filter_map(|set| set.metadata.uid.clone());
        let pods: Vec<_> = uids.flat_map(|uid| self.world.pods.indexed(&Index::Owner(uid))).collect();
        let now = self.world.clock.now();
        let observed = Observed { deployment: &deployment, sets: &sets, pods: &pods, settled, now };
        let mut next = Next::Wait;
        for action in plan(&observed) {
            match action {
                Action::CreateSet(set) => self.create(key, &deployment, &set).await?,
                Action::ChangeSet(set, change) => self.change(key, &deployment, &set, change).await?,
                Action::DeleteSet(set) => self.delete(key, &set).await?,
                Action::SetStatus { status, revision } => {
                    self.set_status(&deployment, *status, revision).await?
                }
                Action::LookAgain(delay) => next = Next::After(delay),
            }
        }
        Ok(next)
    }
}

impl Deployments {
    fn sets(&self, key: &Key) -> Api<ReplicaSet> {
        Api::namespaced(self.world.client.clone(), &key.namespace)
    }

    fn deployments(&self, key: &Key) -> Api<Deployment> {
        Api::namespaced(self.world.client.clone(), &key.namespace)
    }

    /// The sets of the Deployment, after those it should take or let go have changed hands.
    async fn claim(&self, deployment: &Deployment) -> Result<Vec<Arc<ReplicaSet>>> {
        let Some(spec) = &deployment.spec else {
            return Err(Error::Malformed("a Deployment without a spec".into()));
        };
        let key = Key::of(&deployment.metadata);
        let uid = deployment.metadata.uid.as_deref().unwrap_or_default();
        let candidates = self.world.replica_sets.owned_or_orphaned(uid, &key.namespace);
        let mut claims = claim(&deployment.metadata, &selector(&spec.selector)?, candidates);
        if !claims.adopt.is_empty() {
            // The copy may be behind: only a Deployment that still lives may adopt.
            let live = self.deployments(&key).get(&key.name).await?;
            if live.metadata.uid != deployment.metadata.uid || live.metadata.deletion_timestamp.is_some() {
                return Ok(claims.held);
            }
        }
        let api = self.sets(&key);
        for set in claims.adopt {
            let patch = adoption_patch(&set.metadata, controller_reference(deployment));
            let name = set.metadata.name.as_deref().unwrap_or_default();
            if let Some(adopted) = unless_gone(api.patch(name, &patch_params(), &Patch::Merge(patch)).await)?
            {
                claims.held.push(Arc::new(adopted.clone()));
                self.world.replica_sets.observe(adopted);
            }
        }
        for set in claims.release {
            let patch = release_patch(&set.metadata, uid);
            let name = set.metadata.name.as_deref().unwrap_or_default();
            if let Some(released) = unless_gone(api.patch(name, &patch_params(), &Patch::Merge(patch)).await)?
            {
                self.world.replica_sets.observe(released);
            }
        }
        Ok(claims.held)
    }

    async fn create(&self, key: &Key, deployment: &Deployment, set: &ReplicaSet) -> Result<()> {
        self.expectations.expect_creations(key, 1);
        let error = match self.sets(key).create(&post_params(), set).await.map_err(Error::from) {
            Ok(created) => {
                let size = created.spec.and_then(|spec| spec.replicas).unwrap_or(0);
                if size > 0 {
                    self.note_scaling(deployment, set, 0, size);
                }
                return Ok(());
            }
            Err(error) => error,
        };
        self.expectations.creation_seen(key);
        if error.is_namespace_terminating() {
            return Ok(());
        }
        if matches!(error, Error::AlreadyExists(_)) {
            return self.collide(key, deployment, set, error).await;
        }
        let message = format!("Failed to create new replica set \"{}\": {}", name_of(set), error.said());
        self.note(deployment, Mood::Warning, "ReplicaSetCreateError", message);
        Err(error)
    }

    /// A set of the wanted name exists. If it is ours the copy is only behind; if not, the name is taken for good, and
    /// a raised collision count leads to another one.
    async fn collide(
        &self,
        key: &Key,
        deployment: &Deployment,
        set: &ReplicaSet,
        error: Error,
    ) -> Result<()> {
        let held = self.sets(key).get(name_of(set)).await?;
        let template =
            |set: &ReplicaSet| set.spec.as_ref().and_then(|spec| spec.template.clone()).unwrap_or_default();
        if is_controlled_by(&held.metadata, &deployment.metadata)
            && same_template(&template(&held), &template(set))
        {
            return Err(error);
        }
        let mut status = deployment.status.clone().unwrap_or_default();
        status.collision_count = Some(status.collision_count.unwrap_or(0).saturating_add(1));
        self.set_status(deployment, status, None).await?;
        Err(error)
    }

    async fn change(
        &self,
        key: &Key,
        deployment: &Deployment,
        set: &ReplicaSet,
        change: SetChange,
    ) -> Result<()> {
        let mut spec = Map::new();
        if let Some(replicas) = change.replicas {
            spec.insert("replicas".into(), json!(replicas));
        }
        if let Some(seconds) = change.min_ready_seconds {
            spec.insert("minReadySeconds".into(), json!(seconds));
        }
        let mut patch = json!({"metadata": {
            "uid": set.metadata.uid, "resourceVersion": set.metadata.resource_version,
            "annotations": change.annotations,
        }});
        if let (false, Some(patch)) = (spec.is_empty(), patch.as_object_mut()) {
            patch.insert("spec".into(), Value::Object(spec));
        }
        let changed = self.sets(key).patch(name_of(set), &patch_params(), &Patch::Merge(patch)).await?;
        self.world.replica_sets.observe(changed);
        if let Some(to) = change.replicas {
            let from = set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
            self.note_scaling(deployment, set, from, to);
        }
        Ok(())
    }

    async fn delete(&self, key: &Key, set: &ReplicaSet) -> Result<()> {
        let preconditions = Preconditions { uid: set.metadata.uid.clone(), resource_version: None };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        unless_gone(self.sets(key).delete(name_of(set), &params).await).map(|_| ())
    }

    async fn set_status(
        &self,
        deployment: &Deployment,
        status: DeploymentStatus,
        revision: Option<String>,
    ) -> Result<()> {
        let key = Key::of(&deployment.metadata);
        let mut new = Deployment { status: Some(status), ..deployment.clone() };
        if let Some(revision) = revision {
            new.metadata.annotations.get_or_insert_default().insert(REVISION.into(), revision);
        }
        let written =
            unless_gone(self.deployments(&key).replace_status(&key.name, &post_params(), &new).await)?;
        if let Some(written) = written {
            self.world.deployments.observe(written);
        }
        Ok(())
    }

    fn note_scaling(&self, deployment: &Deployment, set: &ReplicaSet, from: i32, to: i32) {
        let way = if to > from { "up" } else { "down" };
        let message = format!("Scaled {way} replica set {} from {from} to {to}", name_of(set));
        self.note(deployment, Mood::Normal, "ScalingReplicaSet", message);
    }

    fn note(&self, deployment: &Deployment, mood: Mood, reason: &'static str, message: String) {
        self.world.recorder.record(COMPONENT, deployment, mood, reason, message);
    }
}

fn name_of(set: &ReplicaSet) -> &str {
    set.metadata.name.as_deref().unwrap_or_default()
}
