//! Deployments: reads, asks the plan, writes.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::Patch;
use serde_json::{Map, Value, json};

use super::plan::{Action, Observed, SetChange, plan};
use super::set::{REVISION, same_template};
use crate::controller::{Next, Reconcile};
use crate::error::{Error, Result, unless_gone};
use crate::events::Mood;
use crate::expectations::Expectations;
use crate::family::{Known, members, owner_of, watch_members, watch_owners};
use crate::informer::{Change, Index};
use crate::key::Key;
use crate::ownership::is_controlled_by;
use crate::pod;
use crate::queue::Queue;
use crate::world::{World, exactly, patch_params, post_params};

const COMPONENT: &str = "deployment-controller";

pub(crate) struct Deployments {
    world: Arc<World>,
    expectations: Arc<Expectations>,
    queue: Arc<Queue<Key>>,
}

/// Connects the controller to the world: which change concerns which Deployment.
pub(crate) fn setup(world: &Arc<World>) -> (Arc<Deployments>, Arc<Queue<Key>>) {
    let queue = Arc::new(Queue::new());
    let expectations = Arc::new(Expectations::default());
    watch_owners::<Deployment>(world, &queue, &expectations);
    watch_members::<Deployment, ReplicaSet>(world, &queue, &expectations);
    world.pods.on_change({
        let (world, queue) = (Arc::downgrade(world), queue.clone());
        move |change| {
            if let Some(world) = world.upgrade() {
                pod_changed(&world, &queue, change);
            }
        }
    });
    (Arc::new(Deployments { world: world.clone(), expectations, queue: queue.clone() }), queue)
}

/// Only the strategy `Recreate` waits for pods, and only for their end.
fn pod_changed(world: &World, queue: &Queue<Key>, change: &Change<'_, Pod>) {
    if change.new.is_some_and(|pod| !pod::is_finished(pod)) {
        return;
    }
    let Some(pod) = change.object() else { return };
    let set = owner_of::<ReplicaSet, _>(world, pod.as_ref());
    let Some(deployment) = set.and_then(|set| owner_of::<Deployment, _>(world, set.as_ref())) else { return };
    if recreates(&deployment) {
        queue.add(deployment.key());
    }
}

fn recreates(deployment: &Deployment) -> bool {
    let strategy = deployment.spec.as_ref().and_then(|spec| spec.strategy.as_ref());
    strategy.and_then(|strategy| strategy.type_.as_deref()) == Some("Recreate")
}

impl Reconcile for Deployments {
    type Key = Key;

    fn name(&self) -> &'static str {
        "deployment"
    }

    async fn reconcile(&self, key: &Key) -> Result<Next> {
        let Some(deployment) = self.world.deployments.get(key) else {
            self.expectations.forget(key);
            return Ok(Next::Wait);
        };
        let settled = self.expectations.are_met(key);
        let sets = members::<Deployment, ReplicaSet>(&self.world, &deployment).await?;
        let uids = sets.iter().filter(|_| recreates(&deployment)).filter_map(|set| set.metadata.uid.clone());
        let pods: Vec<_> = uids.flat_map(|uid| self.world.pods.indexed(&Index::Owner(uid))).collect();
        let now = self.world.clock.now();
        let observed = Observed { deployment: &deployment, sets: &sets, pods: &pods, settled, now };
        for action in plan(&observed) {
            match action {
                Action::CreateSet(set) => self.create(key, &deployment, &set).await?,
                Action::ChangeSet(set, change) => self.change(key, &deployment, &set, change).await?,
                Action::DeleteSet(set) => self.delete(key, &set).await?,
                Action::SetStatus { status, revision } => {
                    self.set_status(&deployment, *status, revision).await?
                }
                Action::LookAgain(delay) => self.queue.add_after(key.clone(), delay),
            }
        }
        Ok(self.expectations.lapse(key))
    }
}

impl Deployments {
    fn sets(&self, key: &Key) -> Api<ReplicaSet> {
        Api::namespaced(self.world.client.clone(), &key.namespace)
    }

    fn deployments(&self, key: &Key) -> Api<Deployment> {
        Api::namespaced(self.world.client.clone(), &key.namespace)
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
        unless_gone(self.sets(key).delete(name_of(set), &exactly(set.uid())).await).map(|_| ())
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
