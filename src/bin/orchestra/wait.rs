//! Waiting until a cluster does what its manifests say, and saying meanwhile what is missing.

use std::collections::BTreeMap;
use std::fmt::Debug;

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{Node, Service};
use k8s_openapi::{Metadata, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;

use crate::failure::Failure;
use crate::manifests::Document;

/// Waits until every node that registered is Ready, and at least one is there.
pub(crate) async fn for_nodes(client: &Client) -> Result<(), Failure> {
    until(client, None, "nodes", |nodes: &BTreeMap<String, Node>| {
        if nodes.is_empty() {
            return Some("a node to register".into());
        }
        let waiting = nodes.values().find(|node| !is_ready(node));
        waiting.map(|node| format!("node {} to become Ready", node.name_any()))
    })
    .await
}

/// Waits until the workloads among `documents` have all their pods; returns where their services answer, as
/// `NAMESPACE/NAME=http://ADDRESS:PORT`.
pub(crate) async fn for_documents(client: &Client, documents: &[Document]) -> Result<Vec<String>, Failure> {
    for (namespace, name) in of_kind(documents, "StatefulSet") {
        until_ready(client, &namespace, &name, "statefulset", |set: &StatefulSet| {
            let spec = set.spec.as_ref()?;
            let status = set.status.as_ref()?;
            let up_to_date = status.observed_generation >= set.metadata.generation;
            Some((up_to_date, status.ready_replicas.unwrap_or(0), spec.replicas.unwrap_or(1)))
        })
        .await?;
    }
    for (namespace, name) in of_kind(documents, "Deployment") {
        until_ready(client, &namespace, &name, "deployment", |deployment: &Deployment| {
            let spec = deployment.spec.as_ref()?;
            let status = deployment.status.as_ref()?;
            let up_to_date = status.observed_generation >= deployment.metadata.generation;
            Some((up_to_date, status.available_replicas.unwrap_or(0), spec.replicas.unwrap_or(1)))
        })
        .await?;
    }
    for (namespace, name) in of_kind(documents, "DaemonSet") {
        until_ready(client, &namespace, &name, "daemonset", |set: &DaemonSet| {
            let status = set.status.as_ref()?;
            let up_to_date = status.observed_generation >= set.metadata.generation;
            Some((up_to_date, status.number_ready, status.desired_number_scheduled))
        })
        .await?;
    }
    let mut addresses = Vec::new();
    for (namespace, name) in of_kind(documents, "Service") {
        let api: Api<Service> = Api::namespaced(client.clone(), &namespace);
        let service = api.get(&name).await.map_err(|problem| Failure::of(problem.to_string()))?;
        let spec = service.spec.unwrap_or_default();
        let port = spec.ports.unwrap_or_default().first().map(|port| port.port);
        if let (Some(address), Some(port)) = (spec.cluster_ip.filter(|address| address != "None"), port) {
            addresses.push(format!("{namespace}/{name}=http://{address}:{port}"));
        }
    }
    Ok(addresses)
}

fn of_kind(documents: &[Document], kind: &str) -> Vec<(String, String)> {
    let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
    documents
        .iter()
        .filter(|document| document.value["kind"] == kind)
        .filter_map(|document| {
            let metadata = &document.value["metadata"];
            Some((text(&metadata["namespace"]).unwrap_or_else(|| "default".into()), text(&metadata["name"])?))
        })
        .collect()
}

fn is_ready(node: &Node) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// Waits for one workload; `progress` tells whether its status is current, and how many of how many pods are ready.
async fn until_ready<K>(
    client: &Client,
    namespace: &str,
    name: &str,
    kind: &str,
    progress: impl Fn(&K) -> Option<(bool, i32, i32)>,
) -> Result<(), Failure>
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Metadata<Ty = ObjectMeta>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + 'static,
{
    until(client, Some((namespace, name)), kind, |found: &BTreeMap<String, K>| {
        let seen = found.get(name).and_then(&progress);
        match seen {
            Some((true, ready, wanted)) if ready >= wanted => None,
            Some((_, ready, wanted)) => Some(format!("{kind} {namespace}/{name}: {ready} of {wanted} ready")),
            None => Some(format!("{kind} {namespace}/{name}")),
        }
    })
    .await
}

/// Watches a kind until `missing` has nothing to say; prints each new thing it says.
async fn until<K>(
    client: &Client,
    one: Option<(&str, &str)>,
    what: &str,
    missing: impl Fn(&BTreeMap<String, K>) -> Option<String>,
) -> Result<(), Failure>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    // A watch of one object is a watch of its kind with a field selector; the namespace is told apart by it as well.
    let mut config = watcher::Config::default();
    if let Some((namespace, name)) = one {
        config = config.fields(&format!("metadata.name={name},metadata.namespace={namespace}"));
    }
    let mut events = watcher(Api::<K>::all(client.clone()), config).default_backoff().boxed();
    let mut found: BTreeMap<String, K> = BTreeMap::new();
    let mut said = String::new();
    loop {
        let event = events
            .try_next()
            .await
            .map_err(|problem| Failure::of(format!("cannot watch {what}: {problem}")))?;
        let Some(event) = event else { return Err(Failure::of(format!("the watch of {what} ended"))) };
        match event {
            watcher::Event::Init => found.clear(),
            watcher::Event::InitApply(object) | watcher::Event::Apply(object) => {
                found.insert(object.name_any(), object);
            }
            watcher::Event::Delete(object) => {
                found.remove(&object.name_any());
            }
            watcher::Event::InitDone => {}
        }
        match missing(&found) {
            None => return Ok(()),
            Some(now) if now != said => {
                eprintln!("waiting for {now}");
                said = now;
            }
            Some(_) => {}
        }
    }
}
