//! One resource, of whose objects only who owns them is read.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

use futures::StreamExt;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
use kube::core::{ApiResource, DynamicResourceScope};
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, Resource};
use serde::Deserialize;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::graph::{Kind, Uid};
use super::keeper::Census;
use crate::informer::pause;

/// So many failures in a row, and the others no longer wait for this monitor. Nothing is lost by that: every deletion
/// is checked with the server first.
const PATIENCE: u32 = 3;

/// An object as the census sees it. The rest is passed over while reading: not only the body, which is most of an object, but
/// also what its metadata says of who wrote which field.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "Whole")]
pub(crate) struct Sighting {
    pub(crate) metadata: ObjectMeta,
}

#[derive(Deserialize)]
struct Whole {
    #[serde(default)]
    metadata: Seen,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Seen {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    owner_references: Option<Vec<OwnerReference>>,
    finalizers: Option<Vec<String>>,
    deletion_timestamp: Option<Time>,
}

impl From<Whole> for Sighting {
    fn from(Whole { metadata: seen }: Whole) -> Self {
        let metadata = ObjectMeta {
            name: seen.name,
            namespace: seen.namespace,
            uid: seen.uid,
            resource_version: seen.resource_version,
            owner_references: seen.owner_references,
            finalizers: seen.finalizers,
            deletion_timestamp: seen.deletion_timestamp,
            ..ObjectMeta::default()
        };
        Self { metadata }
    }
}

impl Resource for Sighting {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn kind(of: &ApiResource) -> Cow<'_, str> {
        of.kind.as_str().into()
    }

    fn group(of: &ApiResource) -> Cow<'_, str> {
        of.group.as_str().into()
    }

    fn version(of: &ApiResource) -> Cow<'_, str> {
        of.version.as_str().into()
    }

    fn api_version(of: &ApiResource) -> Cow<'_, str> {
        of.api_version.as_str().into()
    }

    fn plural(of: &ApiResource) -> Cow<'_, str> {
        of.plural.as_str().into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// Follows `kind` until cancelled, or until it is no longer served. Tells `ready` when everything has been seen.
pub(super) async fn run(
    census: Arc<Census>,
    kind: Arc<Kind>,
    client: Client,
    ready: oneshot::Sender<()>,
    shutdown: CancellationToken,
) {
    let api: Api<Sighting> = Api::all_with(client, &kind.api);
    let mut events = std::pin::pin!(watcher::watcher(api, watcher::Config::default()));
    let mut ready = Some(ready);
    let mut listed: HashSet<Uid> = HashSet::new();
    let mut failures = 0_u32;
    loop {
        let event = tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            event = events.next() => event,
        };
        match event {
            None => return,
            Some(Ok(event)) => {
                failures = 0;
                if take(&census, &kind, event, &mut listed) {
                    ready.take().map(|ready| ready.send(()));
                }
            }
            Some(Err(error)) => {
                failures = failures.saturating_add(1);
                if failures > PATIENCE {
                    ready.take().map(|ready| ready.send(()));
                    if is_not_served(&error) {
                        debug!(kind = kind.resource(), "is not served any more");
                        let left: Vec<Uid> = census.read(|graph| graph.of_kind(&kind).cloned().collect());
                        left.iter().for_each(|uid| census.remove(uid));
                        return census.dismiss(&kind);
                    }
                    warn!(kind = kind.resource(), %error, "watching fails; trying again");
                }
                tokio::select! {
                    biased;
                    () = shutdown.cancelled() => return,
                    () = tokio::time::sleep(pause(failures)) => {}
                }
            }
        }
    }
}

/// Whether the event says that everything has been seen.
fn take(census: &Census, kind: &Arc<Kind>, event: Event<Sighting>, listed: &mut HashSet<Uid>) -> bool {
    match event {
        Event::Init => listed.clear(),
        Event::InitApply(object) => {
            listed.extend(object.metadata.uid.as_deref().map(Uid::from));
            census.observe(kind, &object.metadata);
        }
        Event::InitDone => {
            let gone: Vec<Uid> = census
                .read(|graph| graph.of_kind(kind).filter(|uid| !listed.contains(*uid)).cloned().collect());
            gone.iter().for_each(|uid| census.remove(uid));
            *listed = HashSet::new();
            return true;
        }
        Event::Apply(object) => census.observe(kind, &object.metadata),
        Event::Delete(object) => census.remove(object.metadata.uid.as_deref().unwrap_or_default()),
    }
    false
}

fn is_not_served(error: &watcher::Error) -> bool {
    let status = match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status)) => status,
        _ => return false,
    };
    matches!(status.code, 404 | 405)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn who_owns_an_object_is_read_and_the_rest_passed_over() {
        let owner = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "uid": "o", "controller": true});
        let seen = json!({
            "name": "p", "namespace": "n", "uid": "u", "resourceVersion": "7", "ownerReferences": [owner],
            "finalizers": ["orphan"], "deletionTimestamp": "2026-01-01T00:00:30Z",
        });
        let mut whole = seen.clone();
        whole["managedFields"] = json!([{"manager": "m", "fieldsV1": {"f:spec": {}}}]);
        whole["labels"] = json!({"a": "b"});
        let object =
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": whole, "spec": {"x": [1, {"y": null}]}});
        let sighting: Sighting = serde_json::from_value(object).unwrap();
        assert_eq!(serde_json::to_value(&sighting.metadata).unwrap(), seen);
    }
}
