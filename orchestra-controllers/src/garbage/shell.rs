//! Garbage collection: asks the server about what the graph finds unsettled, asks the plan, writes.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::try_join_all;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Api;
use kube::api::{DeleteParams, Patch, Preconditions, PropagationPolicy};
use serde_json::json;
use tracing::debug;

use super::plan::{Action, Dependent, Item, Policy, Standing, is_settled, plan};
use crate::census::{Kind, Node, Owner, Propagation, Sighting, Uid};
use crate::controller::{Next, Reconcile};
use crate::error::{Error, Result, unless_gone};
use crate::ownership::release_patch;
use crate::queue::Queue;
use crate::world::{World, patch_params};

/// When to look again at an object whose owner the server knows and the graph does not: the watch of the owner's kind
/// is late, or the kind cannot be watched.
const LATE: Duration = Duration::from_secs(30);
/// So many owners are remembered as gone for good.
const REMEMBERED: usize = 4096;

/// The uid by which an object is queued.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Subject(Uid);

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

pub(crate) struct Collector {
    world: Arc<World>,
    /// Owners that the server did not know under the namespace their dependents live in. A uid never comes back.
    absent: Mutex<HashSet<(Arc<str>, Uid)>>,
}

/// Connects the collector to the census.
pub(crate) fn setup(world: &Arc<World>) -> (Arc<Collector>, Arc<Queue<Subject>>) {
    let queue = Arc::new(Queue::new());
    world.census.on_touch({
        let queue = queue.clone();
        move |uid| queue.add(Subject(uid))
    });
    (Arc::new(Collector { world: world.clone(), absent: Mutex::default() }), queue)
}

impl Reconcile for Collector {
    type Key = Subject;

    fn name(&self) -> &'static str {
        "garbage"
    }

    async fn reconcile(&self, Subject(uid): &Subject) -> Result<Next> {
        let seen = self.world.census.read(|graph| {
            let node = graph.node(uid)?;
            (!is_settled(node, uid, graph)).then(|| node.clone())
        });
        let Some(node) = seen else { return Ok(Next::Wait) };
        let api = self.api(&node.kind, &node.namespace);
        let Some(live) = unless_gone(api.get(&node.name).await)? else { return Ok(Next::Wait) };
        let meta = live.metadata;
        if meta.uid.as_deref() != Some(uid) {
            return Ok(Next::Wait);
        }
        let now = Node::of(&node.kind, &meta);
        let item = self.item(uid, &now).await?;
        let action = plan(&item);
        if action == Action::Rest {
            return Ok(self.look_again(&now));
        }
        debug!(
            kind = now.kind.resource(),
            namespace = &*now.namespace,
            name = &*now.name,
            ?action,
            "collecting"
        );
        self.perform(&now, &meta, action).await?;
        Ok(Next::Wait)
    }
}

impl Collector {
    fn api(&self, kind: &Kind, namespace: &str) -> Api<Sighting> {
        let client = self.world.client.clone();
        if kind.namespaced {
            Api::namespaced_with(client, namespace, &kind.api)
        } else {
            Api::all_with(client, &kind.api)
        }
    }

    async fn item(&self, uid: &Uid, node: &Node) -> Result<Item> {
        let dependents = self.world.census.read(|graph| {
            let dependents = graph.dependents(uid).map(|(uid, dependent, owner)| Dependent {
                uid: uid.clone(),
                blocks: owner.blocks,
                waits: dependent.holds_for(Propagation::Foreground),
            });
            dependents.collect()
        });
        // What is going already has no use for its owners.
        let owners = if node.terminating { &[][..] } else { &node.owners };
        let standings = owners
            .iter()
            .map(|owner| async { Ok::<_, Error>((owner.uid.clone(), self.standing(owner, node).await?)) });
        let owners = try_join_all(standings).await?;
        Ok(Item { terminating: node.terminating, propagation: node.propagation, owners, dependents })
    }

    async fn standing(&self, owner: &Owner, node: &Node) -> Result<Standing> {
        let known_absent = (node.namespace.clone(), owner.uid.clone());
        if self.absent.lock().unwrap_or_else(PoisonError::into_inner).contains(&known_absent) {
            return Ok(Standing::Absent);
        }
        let Some(kind) = self.world.census.kind(&owner.group, &owner.kind) else {
            self.world.census.discover_again();
            let message = format!("the server knows no kind {} in the group {:?}", owner.kind, owner.group);
            return Err(Error::Malformed(message));
        };
        if kind.namespaced && !node.kind.namespaced {
            return Ok(Standing::Ambiguous);
        }
        let live = unless_gone(self.api(&kind, &node.namespace).get(&owner.name).await)?;
        let live = live.filter(|live| live.metadata.uid.as_deref() == Some(&*owner.uid));
        Ok(match live {
            None => {
                let mut absent = self.absent.lock().unwrap_or_else(PoisonError::into_inner);
                if absent.len() >= REMEMBERED {
                    absent.clear();
                }
                absent.insert(known_absent);
                Standing::Absent
            }
            Some(live) if Node::of(&kind, &live.metadata).holds_for(Propagation::Foreground) => {
                Standing::Waiting
            }
            Some(_) => Standing::Solid,
        })
    }

    /// An owner that lives but was not seen may go unseen, too.
    fn look_again(&self, node: &Node) -> Next {
        if node.terminating {
            return Next::Wait;
        }
        let unseen = self
            .world
            .census
            .read(|graph| node.owners.iter().any(|owner| graph.owner(owner, &node.namespace).is_none()));
        if unseen { Next::After(LATE) } else { Next::Wait }
    }

    async fn perform(&self, node: &Node, meta: &ObjectMeta, action: Action) -> Result<()> {
        match action {
            Action::Rest => Ok(()),
            Action::Release(lost) => {
                let keep = |owner: &OwnerReference| !lost.iter().any(|uid| **uid == *owner.uid);
                let kept: Vec<_> =
                    meta.owner_references.iter().flatten().filter(|owner| keep(owner)).cloned().collect();
                self.patch_owners(node, meta, &kept).await.map(|_| ())
            }
            Action::Delete { policy, unblock } => self.delete(node, meta, policy, unblock).await,
            Action::Orphan(dependents) => {
                let releases = dependents.iter().map(|dependent| self.orphan(dependent, meta));
                try_join_all(releases).await?;
                self.remove_finalizer(node, meta, Propagation::Orphan).await
            }
            Action::Finish => self.remove_finalizer(node, meta, Propagation::Foreground).await,
        }
    }

    async fn delete(&self, node: &Node, meta: &ObjectMeta, policy: Policy, unblock: bool) -> Result<()> {
        let mut version = meta.resource_version.clone();
        if unblock {
            let freed = meta.owner_references.iter().flatten().cloned();
            let freed: Vec<_> =
                freed.map(|owner| OwnerReference { block_owner_deletion: Some(false), ..owner }).collect();
            let Some(written) = self.patch_owners(node, meta, &freed).await? else { return Ok(()) };
            version = written.metadata.resource_version;
        }
        let policy = match policy {
            Policy::Orphan => PropagationPolicy::Orphan,
            Policy::Background => PropagationPolicy::Background,
            Policy::Foreground => PropagationPolicy::Foreground,
        };
        let params = DeleteParams {
            propagation_policy: Some(policy),
            // The version, too: whoever gives the object a new owner in this moment saves it.
            preconditions: Some(Preconditions { uid: meta.uid.clone(), resource_version: version }),
            ..DeleteParams::default()
        };
        unless_gone(self.api(&node.kind, &node.namespace).delete(&node.name, &params).await)?;
        Ok(())
    }

    async fn patch_owners(
        &self,
        node: &Node,
        meta: &ObjectMeta,
        owners: &[OwnerReference],
    ) -> Result<Option<Sighting>> {
        let patch = json!({"metadata": {
            "uid": meta.uid, "resourceVersion": meta.resource_version, "ownerReferences": owners,
        }});
        let api = self.api(&node.kind, &node.namespace);
        unless_gone(api.patch(&node.name, &patch_params(), &Patch::Merge(patch)).await)
    }

    /// Takes `owner` from the owners of a dependent.
    async fn orphan(&self, dependent: &Uid, owner: &ObjectMeta) -> Result<()> {
        let Some(node) = self.world.census.read(|graph| graph.node(dependent).cloned()) else {
            return Ok(());
        };
        let api = self.api(&node.kind, &node.namespace);
        let Some(live) = unless_gone(api.get(&node.name).await)? else { return Ok(()) };
        let uid = owner.uid.as_deref().unwrap_or_default();
        let owned = live.metadata.owner_references.iter().flatten().any(|reference| reference.uid == uid);
        if owned && live.metadata.uid.as_deref() == Some(&**dependent) {
            let patch = Patch::Merge(release_patch(&live.metadata, uid, None));
            unless_gone(api.patch(&node.name, &patch_params(), &patch).await)?;
        }
        Ok(())
    }

    async fn remove_finalizer(&self, node: &Node, meta: &ObjectMeta, done: Propagation) -> Result<()> {
        let kept: Vec<_> =
            meta.finalizers.iter().flatten().filter(|held| *held != done.finalizer()).collect();
        let patch = json!({"metadata": {
            "uid": meta.uid, "resourceVersion": meta.resource_version, "finalizers": kept,
        }});
        let api = self.api(&node.kind, &node.namespace);
        unless_gone(api.patch(&node.name, &patch_params(), &Patch::Merge(patch)).await)?;
        Ok(())
    }
}
