//! ReplicaSets, and what else keeps a number of pods as they do: reads, asks the plan, writes.

use std::borrow::Cow;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetStatus};
use k8s_openapi::api::core::v1::Pod;
use serde::Serialize;

use super::plan::{Action, Failure, Observed, plan, rest, status, surplus};
use crate::controller::{Next, Reconcile};
use crate::error::{Error, Result, unless_gone};
use crate::expectations::Expectations;
use crate::family::{Owner, members, watch_members, watch_owners};
use crate::informer::Index;
use crate::key::Key;
use crate::ownership::{controller_of, controller_reference};
use crate::pod;
use crate::pod_control::PodControl;
use crate::queue::Queue;
use crate::world::{World, post_params};

/// A kind whose objects keep as many pods as they say.
pub(crate) trait Replicated: Owner + Serialize {
    /// Who reports the events.
    const COMPONENT: &'static str;
    /// For logs.
    const NAME: &'static str;

    /// The object as the plan of ReplicaSets understands it.
    fn form(&self) -> Cow<'_, ReplicaSet>;

    /// The object with a status, unless it says the same already.
    fn with_status(&self, status: &ReplicaSetStatus) -> Option<Self>;
}

impl Replicated for ReplicaSet {
    const COMPONENT: &'static str = "replicaset-controller";
    const NAME: &'static str = "replicaset";

    fn form(&self) -> Cow<'_, ReplicaSet> {
        Cow::Borrowed(self)
    }

    fn with_status(&self, status: &ReplicaSetStatus) -> Option<Self> {
        (self.status.as_ref() != Some(status)).then(|| Self { status: Some(status.clone()), ..self.clone() })
    }
}

pub(crate) struct Replicas<O> {
    world: Arc<World>,
    expectations: Arc<Expectations>,
    control: PodControl,
    queue: Arc<Queue<Key>>,
    kind: std::marker::PhantomData<fn() -> O>,
}

/// Connects the controller to the world: which change concerns which object.
pub(crate) fn setup<O: Replicated>(world: &Arc<World>) -> (Arc<Replicas<O>>, Arc<Queue<Key>>) {
    let queue = Arc::new(Queue::new());
    let expectations = Arc::new(Expectations::default());
    watch_owners::<O>(world, &queue, &expectations);
    watch_members::<O, Pod>(world, &queue, &expectations);
    let control =
        PodControl { world: world.clone(), expectations: expectations.clone(), component: O::COMPONENT };
    let kind = std::marker::PhantomData;
    let replicas = Replicas { world: world.clone(), expectations, control, queue: queue.clone(), kind };
    (Arc::new(replicas), queue)
}

impl<O: Replicated> Reconcile for Replicas<O> {
    type Key = Key;

    fn name(&self) -> &'static str {
        O::NAME
    }

    async fn reconcile(&self, key: &Key) -> Result<Next> {
        let Some(owner) = O::informer(&self.world).get(key) else {
            self.expectations.forget(key);
            return Ok(Next::Wait);
        };
        if !self.expectations.are_met(key) {
            return Ok(self.expectations.lapse(key));
        }
        let pods = members::<O, Pod>(&self.world, &owner).await?;
        let now = self.world.clock.now();
        let set = &owner.form();
        let related = if surplus(set, &pods) > 0 { self.related(&owner, &pods) } else { Vec::new() };
        let observed = Observed { set, pods: &pods, related: &related, settled: true, now };
        let actions = plan(&observed);
        if !actions.iter().any(|action| matches!(action, Action::Create(_) | Action::Delete(_))) {
            self.queue.rest(key, rest(pods.len()));
        }
        for action in actions {
            match action {
                Action::Create(count) => {
                    let outcome = self.create(key, &owner, set, count).await;
                    self.report(&owner, &observed, "FailedCreate", outcome).await?;
                }
                Action::Delete(doomed) => {
                    let outcome = self.control.delete(&*owner, &doomed).await;
                    self.report(&owner, &observed, "FailedDelete", outcome).await?;
                }
                Action::SetStatus(status) => self.set_status(&owner, &status).await?,
                Action::LookAgain(delay) => self.queue.add_after(key.clone(), delay),
            }
        }
        Ok(self.expectations.lapse(key))
    }
}

impl<O: Replicated> Replicas<O> {
    /// The pods of all objects with the same owner.
    fn related(&self, owner: &O, own: &[Arc<Pod>]) -> Vec<Arc<Pod>> {
        let Some(above) = controller_of(owner.meta()) else { return own.to_vec() };
        let siblings = O::informer(&self.world).indexed(&Index::Owner(above.uid.clone()));
        let uids = siblings.into_iter().filter_map(|sibling| sibling.meta().uid.clone());
        uids.flat_map(|uid| self.world.pods.indexed(&Index::Owner(uid))).collect()
    }

    async fn create(&self, key: &Key, owner: &O, set: &ReplicaSet, count: usize) -> Result<()> {
        let template = set.spec.as_ref().and_then(|spec| spec.template.as_ref());
        let Some(template) = template else {
            return Err(Error::Malformed(format!("a {} without a pod template", O::kind(&()))));
        };
        let mut new = pod::from_template(template, &key.namespace, controller_reference(owner));
        new.metadata.generate_name = Some(format!("{}-", key.name));
        self.control.create(owner, count, |_| Some(&new)).await
    }

    /// Lets a failure stand in the status, then passes it on to be retried.
    async fn report(
        &self,
        owner: &O,
        observed: &Observed<'_>,
        reason: &'static str,
        outcome: Result<()>,
    ) -> Result<()> {
        let Err(error) = outcome else { return Ok(()) };
        let failure = Failure { reason, message: error.said() };
        self.set_status(owner, &status(observed, Some(&failure))).await?;
        Err(error)
    }

    async fn set_status(&self, owner: &O, status: &ReplicaSetStatus) -> Result<()> {
        let Some(new) = owner.with_status(status) else { return Ok(()) };
        let key = owner.key();
        let api = O::api(&self.world, &key.namespace);
        if let Some(written) = unless_gone(api.replace_status(&key.name, &post_params(), &new).await)? {
            O::informer(&self.world).observe(written);
        }
        Ok(())
    }
}
