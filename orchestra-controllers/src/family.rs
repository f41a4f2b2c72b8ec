//! What all controllers of owners and members (ReplicaSets and pods, Deployments and ReplicaSets …) share: which
//! change concerns which owner, and the taking and letting go of members.

use std::borrow::Cow;
use std::fmt::Debug;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{Pod, ReplicationController};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::{Metadata, NamespaceResourceScope};
use kube::api::Patch;
use kube::{Api, Resource};
use serde::de::DeserializeOwned;

use crate::error::{Error, Result, unless_gone};
use crate::expectations::Expectations;
use crate::informer::{Change, Informer};
use crate::key::Key;
use crate::ownership::{
    adoption_patch, claim, controller_of, controller_reference, release_patch, selector, selects,
};
use crate::pod;
use crate::queue::Queue;
use crate::world::{World, patch_params};

/// A namespaced kind that the world keeps a copy of.
pub(crate) trait Known:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Metadata<Ty = ObjectMeta>
    + Clone
    + Debug
    + DeserializeOwned
    + Send
    + Sync
    + 'static
{
    fn informer(world: &World) -> &Informer<Self>;

    fn api(world: &World, namespace: &str) -> Api<Self> {
        Api::namespaced(world.client.clone(), namespace)
    }

    fn key(&self) -> Key {
        Key::of(self.meta())
    }

    fn uid(&self) -> &str {
        self.meta().uid.as_deref().unwrap_or_default()
    }

    fn name(&self) -> &str {
        self.meta().name.as_deref().unwrap_or_default()
    }
}

/// A kind that controls members chosen by a selector.
pub(crate) trait Owner: Known {
    /// Put on members that are taken, and off those that are let go.
    const FINALIZER: Option<&'static str> = None;

    fn selector(&self) -> Option<Cow<'_, LabelSelector>>;
}

/// A kind that can be controlled.
pub(crate) trait Member: Known {
    /// Whether an owner may take it when nobody has it.
    fn is_free(&self) -> bool {
        self.meta().deletion_timestamp.is_none()
    }
}

macro_rules! known {
    ($($kind:ty => $field:ident),*) => {$(
        impl Known for $kind {
            fn informer(world: &World) -> &Informer<Self> {
                &world.$field
            }
        }
    )*};
}

macro_rules! owner {
    ($($kind:ty),*) => {$(
        impl Owner for $kind {
            fn selector(&self) -> Option<Cow<'_, LabelSelector>> {
                self.spec.as_ref().map(|spec| Cow::Borrowed(&spec.selector))
            }
        }
    )*};
}

known!(Pod => pods, ReplicaSet => replica_sets, Deployment => deployments, StatefulSet => stateful_sets,
    DaemonSet => daemon_sets, ControllerRevision => revisions, Job => jobs, CronJob => cron_jobs,
    PodDisruptionBudget => budgets, ReplicationController => replication_controllers,
    HorizontalPodAutoscaler => autoscalers);
owner!(ReplicaSet, Deployment, StatefulSet, DaemonSet);

impl Owner for Job {
    const FINALIZER: Option<&'static str> = Some(crate::job::FINALIZER);

    fn selector(&self) -> Option<Cow<'_, LabelSelector>> {
        self.spec.as_ref()?.selector.as_ref().map(Cow::Borrowed)
    }
}

/// Chooses by a plain map of labels.
impl Owner for ReplicationController {
    fn selector(&self) -> Option<Cow<'_, LabelSelector>> {
        let match_labels = self.spec.as_ref()?.selector.clone();
        Some(Cow::Owned(LabelSelector { match_labels, ..LabelSelector::default() }))
    }
}

/// Takes nothing that it has not made.
impl Owner for CronJob {
    fn selector(&self) -> Option<Cow<'_, LabelSelector>> {
        None
    }
}

impl Member for Job {}
impl Member for Pod {
    fn is_free(&self) -> bool {
        pod::is_active(self)
    }
}
impl Member for ReplicaSet {}
impl Member for ControllerRevision {}

/// Queues owners of kind `O` when they change.
pub(crate) fn watch_owners<O: Owner>(world: &World, queue: &Arc<Queue<Key>>, orders: &Arc<Expectations>) {
    let (queue, orders) = (queue.clone(), orders.clone());
    O::informer(world).on_change(move |change| {
        let Some(owner) = change.object() else { return };
        if change.new.is_none() || change.old.is_some_and(|old| old.uid() != owner.uid()) {
            orders.forget(&owner.key());
        }
        queue.add(owner.key());
    });
}

/// Queues owners of kind `O` when their members, or objects they could take, change; settles what was ordered.
pub(crate) fn watch_members<O: Owner, M: Member>(
    world: &Arc<World>,
    queue: &Arc<Queue<Key>>,
    orders: &Arc<Expectations>,
) {
    let (queue, orders, weak) = (queue.clone(), orders.clone(), Arc::downgrade(world));
    M::informer(world).on_change(move |change| {
        if let Some(world) = weak.upgrade() {
            member_changed::<O, M>(&world, &queue, &orders, change);
        }
    });
}

/// The owner of kind `O` that controls a member, if it is (still) there.
pub(crate) fn owner_of<O: Owner, M: Member>(world: &World, member: &M) -> Option<Arc<O>> {
    let reference = controller_of(member.meta()).filter(|reference| reference.kind == O::kind(&()))?;
    let key = Key::new(member.meta().namespace.clone().unwrap_or_default(), &reference.name);
    O::informer(world).get(&key).filter(|owner| owner.uid() == reference.uid)
}

fn member_changed<O: Owner, M: Member>(
    world: &World,
    queue: &Queue<Key>,
    orders: &Expectations,
    change: &Change<'_, M>,
) {
    let key_of = |member: &Arc<M>| owner_of::<O, M>(world, member).map(|owner| owner.key());
    let before = change.old.and_then(key_of);
    let after = change.new.and_then(key_of);
    if let (Some(owner), None) = (&after, &before) {
        orders.creation_seen(owner);
    }
    let going = change.new.is_none_or(|member| member.meta().deletion_timestamp.is_some());
    if let (true, Some(owner), Some(member)) = (going, after.as_ref().or(before.as_ref()), change.object()) {
        orders.deletion_seen(owner, member.uid());
    }
    if let Some(orphan) =
        change.new.filter(|member| controller_of(member.meta()).is_none() && member.is_free())
    {
        let namespace = orphan.meta().namespace.as_deref().unwrap_or_default();
        for owner in O::informer(world).in_namespace(namespace) {
            let wants = owner.selector().and_then(|wanted| selector(&wanted).ok());
            if wants.is_some_and(|wants| selects(&wants, orphan.meta())) {
                queue.add(owner.key());
            }
        }
    }
    if let Some(owner) = before.filter(|before| after.as_ref() != Some(before)) {
        queue.add_rested(owner);
    }
    if let Some(owner) = after {
        queue.add_rested(owner);
    }
}

/// The members of `owner`, after those it should take or let go have changed hands.
pub(crate) async fn members<O: Owner, M: Member>(world: &World, owner: &O) -> Result<Vec<Arc<M>>> {
    let Some(wanted) = owner.selector() else {
        return Err(Error::Malformed(format!("a {} without a spec", O::kind(&()))));
    };
    let key = owner.key();
    let candidates = M::informer(world).owned_or_orphaned(owner.uid(), &key.namespace);
    let mut claims = claim(owner.meta(), &selector(&wanted)?, candidates);
    claims.adopt.retain(|member| member.is_free());
    if !claims.adopt.is_empty() {
        // The copy may be behind: only an owner that still lives may adopt.
        let live = O::api(world, &key.namespace).get(&key.name).await?;
        if live.uid() != owner.uid() || live.meta().deletion_timestamp.is_some() {
            claims.adopt.clear();
        }
    }
    let api = M::api(world, &key.namespace);
    for member in claims.adopt {
        let patch = Patch::Merge(adoption_patch(member.meta(), controller_reference(owner), O::FINALIZER));
        if let Some(adopted) = unless_gone(api.patch(member.name(), &patch_params(), &patch).await)? {
            claims.held.push(Arc::new(adopted.clone()));
            M::informer(world).observe(adopted);
        }
    }
    for member in claims.release {
        let patch = Patch::Merge(release_patch(member.meta(), owner.uid(), O::FINALIZER));
        if let Some(released) = unless_gone(api.patch(member.name(), &patch_params(), &patch).await)? {
            M::informer(world).observe(released);
        }
    }
    Ok(claims.held)
}
