//! Disruption budgets: reads, asks the plan, writes.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::Selector;

use super::plan::{Action, Observed, Scale, plan};
use crate::controller::{Next, Reconcile};
use crate::error::{Result, unless_gone};
use crate::family::{Known, owner_of};
use crate::informer::Change;
use crate::key::Key;
use crate::ownership::{controller_of, selector, selects};
use crate::pod;
use crate::queue::Queue;
use crate::world::{World, post_params};

const COMPONENT: &str = "controllermanager";

pub(crate) struct Budgets {
    world: Arc<World>,
    selectors: Arc<Selectors>,
    queue: Arc<Queue<Key>>,
}

/// What each budget chooses, read once for each change of the budget and not for each of a pod.
#[derive(Default)]
struct Selectors(RwLock<BTreeMap<Key, (LabelSelector, Arc<Selector>)>>);

impl Selectors {
    /// Keeps up with a change of a budget. One without a selector, or with one that cannot be read, chooses no pod.
    fn follow(&self, change: &Change<'_, PodDisruptionBudget>) {
        let Some(key) = change.object().map(|budget| budget.key()) else { return };
        let wanted = change.new.and_then(|budget| budget.spec.as_ref()?.selector.as_ref());
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if wanted.is_some() && all.get(&key).map(|(held, _)| held) == wanted {
            return;
        }
        match wanted.and_then(|wanted| Some((wanted.clone(), Arc::new(selector(wanted).ok()?)))) {
            Some(read) => all.insert(key, read),
            None => all.remove(&key),
        };
    }

    fn of(&self, budget: &Key) -> Option<Arc<Selector>> {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        all.get(budget).map(|(_, selector)| selector.clone())
    }

    /// The budgets of a namespace that choose one of these pods.
    fn covering(&self, namespace: &str, pods: &[&Arc<Pod>]) -> Vec<Key> {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let of_namespace =
            all.range(Key::new(namespace, "")..).take_while(|(key, _)| key.namespace == namespace);
        let chooses = |selector: &Selector| pods.iter().any(|pod| selects(selector, &pod.metadata));
        of_namespace.filter(|(_, (_, selector))| chooses(selector)).map(|(key, _)| key.clone()).collect()
    }
}

/// Connects the controller to the world: which change concerns which budget.
pub(crate) fn setup(world: &Arc<World>) -> (Arc<Budgets>, Arc<Queue<Key>>) {
    let queue = Arc::new(Queue::new());
    let selectors = Arc::new(Selectors::default());
    world.replica_sets.want();
    world.deployments.want();
    world.stateful_sets.want();
    world.budgets.on_change({
        let (queue, selectors) = (queue.clone(), selectors.clone());
        move |change| {
            selectors.follow(change);
            if let Some(budget) = change.new {
                queue.add(budget.key());
            }
        }
    });
    world.pods.on_change({
        let (queue, selectors) = (queue.clone(), selectors.clone());
        move |change| {
            let Some(pod) = change.object() else { return };
            if change.old.map(|pod| matters(pod)) == change.new.map(|pod| matters(pod)) {
                return;
            }
            let pods: Vec<_> = [change.old, change.new].into_iter().flatten().collect();
            for budget in selectors.covering(&pod.key().namespace, &pods) {
                queue.add(budget);
            }
        }
    });
    (Arc::new(Budgets { world: world.clone(), selectors, queue: queue.clone() }), queue)
}

/// What of a pod a budget counts by, and can change.
fn matters(pod: &Pod) -> impl PartialEq {
    let owner = controller_of(&pod.metadata).map(|owner| owner.uid.clone());
    let (uid, labels) = (pod.metadata.uid.clone(), pod.metadata.labels.clone());
    (uid, labels, owner, pod.metadata.deletion_timestamp.clone(), pod::is_finished(pod), pod::is_ready(pod))
}

impl Reconcile for Budgets {
    type Key = Key;

    fn name(&self) -> &'static str {
        "disruption"
    }

    async fn reconcile(&self, key: &Key) -> Result<Next> {
        let Some(budget) = self.world.budgets.get(key) else { return Ok(Next::Wait) };
        let wanted = self.selectors.of(key);
        let mut pods = self.world.pods.in_namespace(&key.namespace);
        pods.retain(|pod| wanted.as_ref().is_some_and(|wanted| selects(wanted, &pod.metadata)));
        let scales = self.scales(&pods);
        let now = self.world.clock.now();
        let observed = Observed { budget: &budget, pods: &pods, scales: &scales, now };
        for action in plan(&observed) {
            match action {
                Action::SetStatus(status) => self.set_status(&budget, *status).await?,
                Action::Tell(news) => {
                    let (mood, reason, message) = news.words(&budget);
                    self.world.recorder.record(COMPONENT, &*budget, mood, reason, message);
                }
                Action::LookAgain(delay) => self.queue.add_after(key.clone(), delay),
            }
        }
        Ok(Next::Wait)
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
