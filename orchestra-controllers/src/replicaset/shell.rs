//! ReplicaSets: reads, asks the plan, writes.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetStatus};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;

use super::plan::{Action, Failure, Observed, plan, status};
use crate::controller::{Next, Reconcile};
use crate::error::{Error, Result, unless_gone};
use crate::expectations::Expectations;
use crate::family::{members, watch_members, watch_owners};
use crate::informer::Index;
use crate::key::Key;
use crate::ownership::{controller_of, controller_reference};
use crate::pod;
use crate::pod_control::PodControl;
use crate::queue::Queue;
use crate::world::{World, post_params};

const COMPONENT: &str = "replicaset-controller";

pub(crate) struct ReplicaSets {
    world: Arc<World>,
    expectations: Arc<Expectations>,
    control: PodControl,
}

/// Connects the controller to the world: which change concerns which ReplicaSet.
pub(crate) fn setup(world: &Arc<World>) -> (Arc<ReplicaSets>, Arc<Queue<Key>>) {
    let queue = Arc::new(Queue::new());
    let expectations = Arc::new(Expectations::default());
    watch_owners::<ReplicaSet>(world, &queue, &expectations);
    watch_members::<ReplicaSet, Pod>(world, &queue, &expectations);
    let control =
        PodControl { world: world.clone(), expectations: expectations.clone(), component: COMPONENT };
    (Arc::new(ReplicaSets { world: world.clone(), expectations, control }), queue)
}

impl Reconcile for ReplicaSets {
    type Key = Key;

    fn name(&self) -> &'static str {
        "replicaset"
    }

    async fn reconcile(&self, key: &Key) -> Result<Next> {
        let Some(set) = self.world.replica_sets.get(key) else {
            self.expectations.forget(key);
            return Ok(Next::Wait);
        };
        let settled = self.expectations.are_met(key);
        let pods = members::<ReplicaSet, Pod>(&self.world, &set).await?;
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
                    let outcome = self.control.delete(&*set, &doomed).await;
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
        self.control.create(set, count, |_| Some(&new)).await
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
}
