//! The deletion of namespaces: empties, asks the plan, writes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use k8s_openapi::api::core::v1::{Namespace, NamespaceSpec, NamespaceStatus};
use kube::Api;
use kube::api::{DeleteParams, ListParams, PropagationPolicy};
use kube::core::{ObjectList, PartialObjectMeta, Request};
use serde::de::IgnoredAny;

use super::plan::{Action, Finding, Observed, Sweep, plan};
use crate::census::{Found, discover};
use crate::controller::{Next, Reconcile};
use crate::error::{Error, Result, unless_gone};
use crate::key::Key;
use crate::queue::Queue;
use crate::world::{World, post_params};

/// When to look again if nothing tells that the rest has gone.
const PATIENCE: Duration = Duration::from_secs(15);

pub(crate) struct Namespaces {
    world: Arc<World>,
}

/// Connects the controller to the world. A namespace is looked at when it changes, and when the census has lost the
/// last object of some kind in it.
pub(crate) fn setup(world: &Arc<World>) -> (Arc<Namespaces>, Arc<Queue<Key>>) {
    let queue = Arc::new(Queue::new());
    world.namespaces.on_change({
        let queue = queue.clone();
        move |change| {
            let going = change.new.filter(|namespace| namespace.metadata.deletion_timestamp.is_some());
            going.into_iter().for_each(|namespace| queue.add(Key::of(&namespace.metadata)));
        }
    });
    world.census.on_emptied({
        let (queue, world) = (queue.clone(), Arc::downgrade(world));
        move |namespace| {
            let key = Key::new("", namespace);
            let held = world.upgrade().and_then(|world| world.namespaces.get(&key));
            if held.is_some_and(|held| held.metadata.deletion_timestamp.is_some()) {
                queue.add(key);
            }
        }
    });
    (Arc::new(Namespaces { world: world.clone() }), queue)
}

impl Reconcile for Namespaces {
    type Key = Key;

    fn name(&self) -> &'static str {
        "namespace"
    }

    async fn reconcile(&self, key: &Key) -> Result<Next> {
        let Some(namespace) = self.world.namespaces.get(key) else { return Ok(Next::Wait) };
        let now = self.world.clock.now();
        let observed = Observed { namespace: &namespace, sweep: None, now };
        if plan(&observed).is_none() {
            return Ok(Next::Wait);
        }
        let sweep = self.sweep(&key.name).await;
        match plan(&Observed { sweep: Some(&sweep), ..observed }) {
            Some(Action::Finalize(kept)) => {
                self.finalize(&namespace, kept).await?;
                return Ok(Next::Wait);
            }
            Some(Action::SetStatus(status)) => self.set_status(&namespace, *status).await?,
            Some(Action::Sweep) | None => {}
        }
        match sweep.failures.first().or(sweep.undiscovered.as_ref()) {
            Some(failure) => Err(Error::Unavailable(failure.clone().into())),
            None => Ok(Next::After(PATIENCE)),
        }
    }
}

impl Namespaces {
    /// Deletes what a namespace holds. Pods go first and alone, as upstream has it since 1.33: what they use outlives
    /// them.
    async fn sweep(&self, namespace: &str) -> Sweep {
        let found = match discover(&self.world.client).await {
            Ok(found) => found,
            Err(error) => return Sweep { undiscovered: Some(error.said()), ..Sweep::default() },
        };
        let content = found.into_iter().filter(Found::is_content);
        let (pods, others): (Vec<_>, Vec<_>) =
            content.partition(|found| found.kind.api.group.is_empty() && found.kind.api.plural == "pods");
        let mut sweep = self.clear_all(namespace, &pods).await;
        if sweep.is_clean() {
            sweep = self.clear_all(namespace, &others).await;
        }
        sweep
    }

    async fn clear_all(&self, namespace: &str, resources: &[Found]) -> Sweep {
        let mut sweep = Sweep::default();
        let outcomes = join_all(resources.iter().map(|found| self.clear(namespace, found))).await;
        for outcome in outcomes {
            match outcome {
                Ok(finding) if finding.left == 0 => {}
                Ok(finding) => sweep.remaining.push(finding),
                Err(error) => sweep.failures.push(error.said()),
            }
        }
        sweep
    }

    /// Deletes all objects of one resource and says what is left.
    async fn clear(&self, namespace: &str, found: &Found) -> Result<Finding> {
        let api: Api<PartialObjectMeta> =
            Api::namespaced_with(self.world.client.clone(), namespace, &found.kind.api);
        let resource = found.kind.resource();
        let Some(list) = all(&api).await? else { return Ok(Finding { resource, ..Finding::default() }) };
        let fresh = list.items.iter().any(|object| object.metadata.deletion_timestamp.is_none());
        let left = if fresh {
            self.delete(&api, found, &list).await?;
            all(&api).await?
        } else {
            Some(list)
        };
        let mut finalizers = BTreeMap::new();
        let items = left.map(|left| left.items).unwrap_or_default();
        for finalizer in items.iter().flat_map(|object| object.metadata.finalizers.iter().flatten()) {
            *finalizers.entry(finalizer.clone()).or_default() += 1;
        }
        Ok(Finding { resource, left: items.len(), finalizers })
    }

    async fn delete(
        &self,
        api: &Api<PartialObjectMeta>,
        found: &Found,
        list: &ObjectList<PartialObjectMeta>,
    ) -> Result<()> {
        let background = DeleteParams {
            propagation_policy: Some(PropagationPolicy::Background),
            ..DeleteParams::default()
        };
        if found.has_delete_collection() {
            // The answer holds every object as it was, which nobody here looks at.
            let request = Request::new(api.resource_url())
                .delete_collection(&background, &ListParams::default())
                .map_err(kube::Error::BuildRequest)?;
            unless_gone(self.world.client.request::<IgnoredAny>(request).await)?;
            return Ok(());
        }
        let deletions = list.items.iter().map(|object| async {
            let name = object.metadata.name.as_deref().unwrap_or_default();
            unless_gone(api.delete(name, &background).await)
        });
        join_all(deletions).await.into_iter().collect::<Result<Vec<_>>>().map(|_| ())
    }

    async fn finalize(&self, namespace: &Namespace, kept: Vec<String>) -> Result<()> {
        let name = namespace.metadata.name.as_deref().unwrap_or_default();
        let spec = Some(NamespaceSpec { finalizers: Some(kept) });
        let new = Namespace { spec, ..namespace.clone() };
        let api: Api<Namespace> = Api::all(self.world.client.clone());
        unless_gone(api.replace_subresource("finalize", name, &post_params(), &new).await)?;
        Ok(())
    }

    async fn set_status(&self, namespace: &Namespace, status: NamespaceStatus) -> Result<()> {
        let api: Api<Namespace> = Api::all(self.world.client.clone());
        let name = namespace.metadata.name.as_deref().unwrap_or_default();
        let new = Namespace { status: Some(status), ..namespace.clone() };
        if let Some(written) = unless_gone(api.replace_status(name, &post_params(), &new).await)? {
            self.world.namespaces.observe(written);
        }
        Ok(())
    }
}

/// Everything there is; `None` for nothing, or if the resource is not served any more.
async fn all(api: &Api<PartialObjectMeta>) -> Result<Option<ObjectList<PartialObjectMeta>>> {
    let list = unless_gone(api.list(&ListParams::default()).await)?;
    Ok(list.filter(|list| !list.items.is_empty()))
}
