//! Disruption budgets: reads, asks the plan, writes.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetStatus};

use super::plan::{Action, Observed, Scale, plan};
use crate::controller::{Next, Reconcile};
use crate::error::{Result, unless_gone};
use crate::family::{Known, owner_of};
use crate::key::Key;
use crate::ownership::{controller_of, selector, selects};
use crate::queue::Queue;
use crate::world::{World, post_params};

const COMPONENT: &str = "controllermanager";

pub(crate) struct Budgets {
    world: Arc<World>,
}

/// Connects the controller to the world: which change concerns which budget.
pub(crate) fn setup(world: &Arc<World>) -> (Arc<Budgets>, Arc<Queue<Key>>) {
    let queue = Arc::new(Queue::new());
    world.replica_sets.want();
    world.deployments.want();
    world.stateful_sets.want();
    world.budgets.on_change({
        let queue = queue.clone();
        move |change| {
            if let Some(budget) = change.new {
                queue.add(budget.key());
            }
        }
    });
    world.pods.on_change({
        let (weak, queue) = (Arc::downgrade(world), queue.clone());
        move |change| {
            let (Some(world), Some(pod)) = (weak.upgrade(), change.object()) else { return };
            for budget in world.budgets.in_namespace(&pod.key().namespace) {
                let concerns = |pod: Option<&Arc<Pod>>| pod.is_some_and(|pod| covers(&budget, pod));
                if concerns(change.old) || concerns(change.new) {
                    queue.add(budget.key());
                }
            }
        }
    });
    (Arc::new(Budgets { world: world.clone() }), queue)
}

/// Whether a budget speaks of a pod. Without a selector it speaks of none.
fn covers(budget: &PodDisruptionBudget, pod: &Pod) -> bool {
    let wanted = budget.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    wanted.and_then(|wanted| selector(wanted).ok()).is_some_and(|wanted| selects(&wanted, &pod.metadata))
}

impl Reconcile for Budgets {
    type Key = Key;

    fn name(&self) -> &'static str {
        "disruption"
    }

    async fn reconcile(&self, key: &Key) -> Result<Next> {
        let Some(budget) = self.world.budgets.get(key) else { return Ok(Next::Wait) };
        let mut pods = self.world.pods.in_namespace(&key.namespace);
        pods.retain(|pod| covers(&budget, pod));
        let scales = self.scales(&pods);
        let now = self.world.clock.now();
        let observed = Observed { budget: &budget, pods: &pods, scales: &scales, now };
        let mut next = Next::Wait;
        for action in plan(&observed) {
            match action {
                Action::SetStatus(status) => self.set_status(&budget, *status).await?,
                Action::Tell(news) => {
                    let (mood, reason, message) = news.words(&budget);
                    self.world.recorder.record(COMPONENT, &*budget, mood, reason, message);
                }
                Action::LookAgain(delay) => next = Next::After(delay),
            }
        }
        Ok(next)
    }
}

impl Budgets {
    /// The scale behind each controller of these pods, as far as it is known.
    fn scales(&self, pods: &[Arc<Pod>]) -> BTreeMap<String, Scale> {
        let mut scales = BTreeMap::new();
        for pod in pods {
            if let Some(owner) = controller_of(&pod.metadata)
                && !scales.contains_key(&owner.uid)
                && let Some(scale) = self.scale(pod)
            {
                scales.insert(owner.uid.clone(), scale);
            }
        }
        scales
    }

    fn scale(&self, pod: &Pod) -> Option<Scale> {
        let known =
            |uid: &str, replicas: Option<i32>| Scale { uid: uid.to_owned(), replicas: replicas.unwrap_or(1) };
        if let Some(set) = owner_of::<ReplicaSet, Pod>(&self.world, pod) {
            if let Some(deployment) = owner_of::<Deployment, ReplicaSet>(&self.world, &set) {
                let replicas = deployment.spec.as_ref().and_then(|spec| spec.replicas);
                return Some(known(deployment.uid(), replicas));
            }
            return Some(known(set.uid(), set.spec.as_ref().and_then(|spec| spec.replicas)));
        }
        let set = owner_of::<StatefulSet, Pod>(&self.world, pod)?;
        Some(known(set.uid(), set.spec.as_ref().and_then(|spec| spec.replicas)))
    }

    async fn set_status(
        &self,
        budget: &PodDisruptionBudget,
        status: PodDisruptionBudgetStatus,
    ) -> Result<()> {
        let key = budget.key();
        let new = PodDisruptionBudget { status: Some(status), ..budget.clone() };
        let api = PodDisruptionBudget::api(&self.world, &key.namespace);
        // A conflict tells that the server has let something be evicted meanwhile, which must not be forgotten.
        if let Some(written) = unless_gone(api.replace_status(&key.name, &post_params(), &new).await)? {
            self.world.budgets.observe(written);
        }
        Ok(())
    }
}
