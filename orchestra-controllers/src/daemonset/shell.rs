//! DaemonSets: reads, asks the plan, writes.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet, DaemonSetStatus};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::Patch;
use serde_json::json;

use super::placement::fit;
use super::plan::{Action, Observed, plan};
use crate::controller::{Next, Reconcile};
use crate::error::{Error, Result, unless_gone};
use crate::expectations::Expectations;
use crate::family::{Known, members, watch_members, watch_owners};
use crate::history::template;
use crate::key::Key;
use crate::pod_control::PodControl;
use crate::queue::Queue;
use crate::world::{World, exactly, patch_params, post_params};

const COMPONENT: &str = "daemonset-controller";

pub(crate) struct DaemonSets {
    world: Arc<World>,
    expectations: Arc<Expectations>,
    control: PodControl,
    queue: Arc<Queue<Key>>,
}

/// Connects the controller to the world: which change concerns which DaemonSet.
pub(crate) fn setup(world: &Arc<World>) -> (Arc<DaemonSets>, Arc<Queue<Key>>) {
    let queue = Arc::new(Queue::new());
    let expectations = Arc::new(Expectations::default());
    watch_owners::<DaemonSet>(world, &queue, &expectations);
    watch_members::<DaemonSet, Pod>(world, &queue, &expectations);
    watch_members::<DaemonSet, ControllerRevision>(world, &queue, &expectations);
    world.nodes.on_change({
        let (weak, queue) = (Arc::downgrade(world), queue.clone());
        move |change| {
            let Some(world) = weak.upgrade() else { return };
            let fit_of = |set: &DaemonSet, node: Option<&Arc<Node>>| node.map(|node| fit(set, node));
            for set in world.daemon_sets.all() {
                if fit_of(&set, change.old) != fit_of(&set, change.new) {
                    queue.add(set.key());
                }
            }
        }
    });
    let control =
        PodControl { world: world.clone(), expectations: expectations.clone(), component: COMPONENT };
    (Arc::new(DaemonSets { world: world.clone(), expectations, control, queue: queue.clone() }), queue)
}

impl Reconcile for DaemonSets {
    type Key = Key;

    fn name(&self) -> &'static str {
        "daemonset"
    }

    async fn reconcile(&self, key: &Key) -> Result<Next> {
        let Some(set) = self.world.daemon_sets.get(key) else {
            self.expectations.forget(key);
            return Ok(Next::Wait);
        };
        let settled = self.expectations.are_met(key);
        let pods = members::<DaemonSet, Pod>(&self.world, &set).await?;
        let revisions = members::<DaemonSet, ControllerRevision>(&self.world, &set).await?;
        let nodes = self.world.nodes.all();
        let now = self.world.clock.now();
        let observed =
            Observed { set: &set, pods: &pods, revisions: &revisions, nodes: &nodes, settled, now };
        for action in plan(&observed) {
            self.perform(key, &set, action).await?;
        }
        Ok(self.expectations.lapse(key))
    }
}

impl DaemonSets {
    async fn perform(&self, key: &Key, set: &DaemonSet, action: Action) -> Result<()> {
        let revisions = ControllerRevision::api(&self.world, &key.namespace);
        match action {
            Action::CreateRevision(revision) => {
                self.expectations.expect_creations(key, 1);
                let created = revisions.create(&post_params(), &revision).await.map_err(Error::from);
                let Err(error) = created else { return Ok(()) };
                self.expectations.creation_seen(key);
                if error.is_namespace_terminating() {
                    return Ok(());
                }
                // Taken by ourselves, and the copy is only behind; or by another template, and a raised collision count
                // leads to another name.
                if matches!(error, Error::AlreadyExists(_))
                    && template(&revisions.get(revision.name()).await?) != template(&revision)
                {
                    let mut status = set.status.clone().unwrap_or_default();
                    status.collision_count = Some(status.collision_count.unwrap_or(0).saturating_add(1));
                    self.set_status(set, status).await?;
                }
                Err(error)
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
            Action::Create(pods) => self.control.create(set, pods.len(), |number| pods.get(number)).await,
            Action::Delete(pods) => self.control.delete(set, &pods).await,
            Action::SetStatus(status) => self.set_status(set, *status).await,
            Action::LookAgain(delay) => {
                self.queue.add_after(key.clone(), delay);
                Ok(())
            }
        }
    }

    async fn set_status(&self, set: &DaemonSet, status: DaemonSetStatus) -> Result<()> {
        let key = set.key();
        let new = DaemonSet { status: Some(status), ..set.clone() };
        let api = DaemonSet::api(&self.world, &key.namespace);
        if let Some(written) = unless_gone(api.replace_status(&key.name, &post_params(), &new).await)? {
            self.world.daemon_sets.observe(written);
        }
        Ok(())
    }
}
