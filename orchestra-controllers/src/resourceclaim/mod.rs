//! Claims of devices: those that pods bring as templates are made, and what nobody uses any more is given back, as upstream's
//! `resourceclaim` controller (`pkg/controller/resourceclaim`) does it.
//!
//! The scheduler gives devices and notes the pod as their user; here users are taken out once they are done, and the last one's
//! devices with them.

mod plan;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use k8s_openapi::api::core::v1::{Pod, PodResourceClaim};
use k8s_openapi::api::resource::v1::{ResourceClaim, ResourceClaimConsumerReference};
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::controller::{Next, Reconcile};
use crate::error::{Error, Result, unless_gone};
use crate::events::Mood;
use crate::informer::{Change, Index};
use crate::key::Key;
use crate::pod;
use crate::queue::Queue;
use crate::world::{World, exactly, post_params};
use plan::Called;

const COMPONENT: &str = "resource_claim";
/// Who says in a pod's status how its claims are called.
const STATUS_MANAGER: &str = "ResourceClaimController";

/// What there may be to do for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Subject {
    /// A pod whose claims may have to be made.
    Pod(Key),
    /// A claim whose users may be done.
    Claim(Key),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pod(key) => write!(f, "pod {key}"),
            Self::Claim(key) => write!(f, "claim {key}"),
        }
    }
}

/// Which pods name a claim.
#[derive(Default)]
struct Namers(BTreeMap<Key, BTreeSet<String>>);

impl Namers {
    fn follow(&mut self, change: &Change<'_, Pod>) {
        for name in change.old.into_iter().flat_map(|pod| claims_of(pod)) {
            if let Some(pods) = self.0.get_mut(&name) {
                pods.remove(change.object().and_then(|pod| pod.metadata.name.as_deref()).unwrap_or_default());
                if pods.is_empty() {
                    self.0.remove(&name);
                }
            }
        }
        for name in change.new.into_iter().flat_map(|pod| claims_of(pod)) {
            self.0.entry(name).or_default().extend(change.object().and_then(|pod| pod.metadata.name.clone()));
        }
    }
}

/// The claims of a pod that have names.
fn claims_of(pod: &Pod) -> impl Iterator<Item = Key> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    plan::names(pod).map(move |name| Key::new(namespace, name))
}

/// The same, with the one that a scheduler made of extended resources.
fn all_claims_of(pod: &Pod) -> impl Iterator<Item = Key> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let made = plan::made_of_resources(pod).map(|name| Key::new(namespace, name));
    claims_of(pod).chain(made)
}

/// Claims that were made and not seen yet, by the pod's uid and its own name for the claim: a second is not made.
type Made = Mutex<HashMap<(String, String), Arc<ResourceClaim>>>;

pub(crate) struct Claims {
    world: Arc<World>,
    made: Arc<Made>,
}

/// Connects the controller to the world. Keys are pods and claims.
pub(crate) fn setup(world: &Arc<World>) -> (Arc<Claims>, Arc<Queue<Subject>>) {
    let queue = Arc::new(Queue::new());
    let (namers, made) = (Arc::new(Mutex::new(Namers::default())), Arc::new(Made::default()));
    world.claim_templates.want();
    world.pods.on_change({
        let (queue, namers) = (queue.clone(), namers.clone());
        move |change| {
            let Some(pod) = change.object() else { return };
            let wants = !plan::wanted(pod).is_empty();
            if wants {
                namers.lock().unwrap_or_else(PoisonError::into_inner).follow(change);
            }
            if change.new.is_none_or(|pod| plan::is_done(pod)) {
                all_claims_of(pod).for_each(|claim| queue.add(Subject::Claim(claim)));
            } else if wants {
                queue.add(Subject::Pod(Key::of(&pod.metadata)));
            }
        }
    });
    world.device_claims.on_change({
        let (queue, made) = (queue.clone(), made.clone());
        move |change| {
            let Some(claim) = change.object() else { return };
            // What is seen need not be remembered, and what was seen to go must not be.
            let mut made = made.lock().unwrap_or_else(PoisonError::into_inner);
            made.retain(|_, made| made.metadata.uid != claim.metadata.uid);
            drop(made);
            let key = Key::of(&claim.metadata);
            let namers = namers.lock().unwrap_or_else(PoisonError::into_inner);
            for pod in namers.0.get(&key).into_iter().flatten() {
                queue.add(Subject::Pod(Key::new(&key.namespace, pod)));
            }
            if change.new.is_some() {
                queue.add(Subject::Claim(key));
            }
        }
    });
    (Arc::new(Claims { world: world.clone(), made }), queue)
}

impl Reconcile for Claims {
    type Key = Subject;

    fn name(&self) -> &'static str {
        "resource_claim"
    }

    async fn reconcile(&self, subject: &Subject) -> Result<Next> {
        match subject {
            Subject::Pod(key) => self.serve(key).await?,
            Subject::Claim(key) => self.give_back(key).await?,
        }
        Ok(Next::Wait)
    }
}

impl Claims {
    fn api(&self, namespace: &str) -> Api<ResourceClaim> {
        Api::namespaced(self.world.client.clone(), namespace)
    }

    /// Makes a pod's claims, tells it their names, and notes it as their user where no scheduler did.
    async fn serve(&self, key: &Key) -> Result<()> {
        let Some(pod) = self.world.pods.get(key) else { return Ok(()) };
        if pod::is_terminating(&pod) || plan::is_done(&pod) {
            return Ok(());
        }
        let (mut names, mut has_news) = (BTreeMap::new(), false);
        for wanted in plan::wanted(&pod) {
            let called = plan::called(&pod, wanted);
            let template = wanted.resource_claim_template_name.as_deref();
            match (template, called) {
                (None, _) => {}
                (Some(_), Called::NotNeeded) => drop(names.insert(&wanted.name, None)),
                (Some(_), Called::Name(name)) if self.is_there(key, &pod, wanted, name) => {
                    names.insert(&wanted.name, Some(name.to_owned()));
                }
                (Some(template), Called::Name(_) | Called::Unmade) => {
                    let claim = self.claim_of(key, &pod, wanted, template).await.inspect_err(|problem| {
                        if !problem.is_namespace_terminating() {
                            let text = format!("PodResourceClaim {}: {}", wanted.name, problem.said());
                            let reason = "FailedResourceClaimCreation";
                            self.world.recorder.record(COMPONENT, &*pod, Mood::Warning, reason, text);
                        }
                    });
                    let claim = match claim {
                        Err(problem) if problem.is_namespace_terminating() => return Ok(()),
                        claim => claim?,
                    };
                    names.insert(&wanted.name, claim.metadata.name.clone());
                    has_news = true;
                }
            }
        }
        if has_news {
            self.tell(key, &names).await?;
        }
        if pod::node_name(&pod).is_none() {
            return Ok(());
        }
        for name in plan::names(&pod) {
            let held = self.world.device_claims.get(&Key::new(&key.namespace, name));
            if let Some(next) = held.and_then(|held| plan::reserved(&held, &pod)) {
                let answer = self.api(&key.namespace).replace_status(name, &post_params(), &next).await;
                unless_gone(answer)?.into_iter().for_each(|claim| self.world.device_claims.observe(claim));
            }
        }
        Ok(())
    }

    fn is_there(&self, key: &Key, pod: &Pod, wanted: &PodResourceClaim, name: &str) -> bool {
        let held = self.world.device_claims.get(&Key::new(&key.namespace, name));
        held.or_else(|| self.unseen(pod, wanted)).is_some_and(|held| plan::is_made_for(&held, pod, wanted))
    }

    /// The claim that was made for this one of a pod's and has not been seen yet.
    fn unseen(&self, pod: &Pod, wanted: &PodResourceClaim) -> Option<Arc<ResourceClaim>> {
        let made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        made.get(&made_for(pod, wanted)).cloned()
    }

    /// The claim for one of a pod's: the one that was made before and is not told yet, or a new one.
    async fn claim_of(
        &self,
        key: &Key,
        pod: &Pod,
        wanted: &PodResourceClaim,
        template: &str,
    ) -> Result<Arc<ResourceClaim>> {
        let owned = Index::Owner(pod.metadata.uid.clone().unwrap_or_default());
        let seen = self.world.device_claims.indexed(&owned);
        let living = seen.into_iter().chain(self.unseen(pod, wanted));
        if let Some(claim) = living.into_iter().find(|claim| plan::is_made_for(claim, pod, wanted)) {
            return Ok(claim);
        }
        let held = self.world.claim_templates.get(&Key::new(&key.namespace, template));
        let held = held.ok_or_else(|| {
            let missing = format!("resourceclaimtemplate.resource.k8s.io {template:?} not found");
            Error::Malformed(format!("resource claim template {template:?}: {missing}"))
        })?;
        let made = self.api(&key.namespace).create(&post_params(), &plan::made(pod, wanted, &held)).await?;
        let made = Arc::new(made);
        let mut all = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(made_for(pod, wanted), made.clone());
        Ok(made)
    }

    /// Writes into a pod's status how its claims are called.
    async fn tell(&self, key: &Key, names: &BTreeMap<&String, Option<String>>) -> Result<()> {
        let statuses: Vec<_> = names
            .iter()
            .map(|(own, name)| match name {
                Some(name) => json!({"name": own, "resourceClaimName": name}),
                None => json!({"name": own}),
            })
            .collect();
        let status = json!({
            "apiVersion": "v1", "kind": "Pod", "status": {"resourceClaimStatuses": statuses},
        });
        let pods: Api<Pod> = Api::namespaced(self.world.client.clone(), &key.namespace);
        let params = PatchParams::apply(STATUS_MANAGER).force();
        let answer = unless_gone(pods.patch_status(&key.name, &params, &Patch::Apply(status)).await)?;
        answer.into_iter().for_each(|pod| self.world.pods.observe(pod));
        Ok(())
    }

    /// Takes users that are done out of a claim, and what it keeps with the last of them.
    async fn give_back(&self, key: &Key) -> Result<()> {
        let Some(mut claim) = self.world.device_claims.get(key) else { return Ok(()) };
        let mut stays = BTreeSet::new();
        for user in plan::users(&claim) {
            if self.uses(key, user).await? {
                stays.insert(user.uid.clone());
            }
        }
        let mut was_written = false;
        if let Some(next) = plan::released(&claim, |user| stays.contains(&user.uid)) {
            let answer = self.api(&key.namespace).replace_status(&key.name, &post_params(), &next).await;
            let Some(next) = unless_gone(answer)? else { return Ok(()) };
            claim = Arc::new(next);
            was_written = true;
        }
        if !plan::users(&claim).is_empty() {
            return Ok(());
        }
        // A scheduler sets the guard before it gives devices: it is taken from nobody else.
        if (was_written || claim.metadata.deletion_timestamp.is_some())
            && let Some(next) = plan::unguarded(&claim)
        {
            let answer = self.api(&key.namespace).replace(&key.name, &post_params(), &next).await;
            let Some(next) = unless_gone(answer)? else { return Ok(()) };
            claim = Arc::new(next);
        }
        let owner = plan::owner(&claim).and_then(|name| self.world.pods.get(&Key::new(&key.namespace, name)));
        // Where the pod is gone altogether, the garbage collector sees to it.
        if owner.is_some_and(|pod| plan::is_left_over(&claim, &pod)) {
            let uid = claim.metadata.uid.as_deref().unwrap_or_default();
            unless_gone(self.api(&key.namespace).delete(&key.name, &exactly(uid)).await)?;
        }
        Ok(())
    }

    /// Whether a user still needs a claim. One that was not seen may be new: then the server is asked.
    async fn uses(&self, claim: &Key, user: &ResourceClaimConsumerReference) -> Result<bool> {
        if !plan::is_pod(user) {
            return Ok(true);
        }
        let known = self.world.pods.get(&Key::new(&claim.namespace, &user.name));
        if let Some(pod) = known {
            return Ok(pod.metadata.uid.as_deref() == Some(&user.uid) && !plan::is_done(&pod));
        }
        let pods: Api<Pod> = Api::namespaced(self.world.client.clone(), &claim.namespace);
        let found = pods.get_metadata_opt(&user.name).await?;
        Ok(found.is_some_and(|pod| pod.metadata.uid.as_deref() == Some(&user.uid)))
    }
}

fn made_for(pod: &Pod, wanted: &PodResourceClaim) -> (String, String) {
    (pod.metadata.uid.clone().unwrap_or_default(), wanted.name.clone())
}
