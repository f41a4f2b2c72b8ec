//! ReplicaSets: reads, asks the plan, writes.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetStatus};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;

use super::plan::{Action, Failure, Observed, plan, status};
use crate::batch::slow_start;
use crate::controller::{Next, Reconcile};
use crate::error::{Error, Result, unless_gone};
use crate::events::Mood;
use crate::expectations::Expectations;
use crate::family::{Known, members, watch_members, watch_owners};
use crate::informer::Index;
use crate::key::Key;
use crate::ownership::{controller_of, controller_reference};
use crate::pod;
use crate::queue::Queue;
use crate::world::{World, exactly, post_params};

const COMPONENT: &str = "replicaset-controller";

pub(crate) struct ReplicaSets {
    world: Arc<World>,
    expectations: Arc<Expectations>,
}

/// Connects the controller to the world: which change concerns which ReplicaSet.
pub(crate) fn setup(world: &Arc<World>) -> (Arc<ReplicaSets>, Arc<Queue<Key>>) {
    let queue = Arc::new(Queue::new());
    let expectations = Arc::new(Expectations::default());
    watch_owners::<ReplicaSet>(world, &queue, &expectations);
    watch_members::<ReplicaSet, Pod>(world, &queue, &expectations);
    (Arc::new(ReplicaSets { world: world.clone(), expectations }), queue)
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
            match api.delete(name, &exactly(pod.uid())).await.map_err(Error::from) {
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
