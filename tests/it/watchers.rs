//! Programs on `kube`'s runtime, against the real program over TLS: a controller, and watchers that
//! list by streaming.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{Api, Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::controller::{Action, Controller};
use kube::runtime::watcher;
use kube::{Client, Config, Resource as _, ResourceExt as _};
use serde_json::json;
use tokio::time::timeout;

use crate::harness::{Cluster, PATIENCE};

pub(crate) async fn client(cluster: &Cluster, address: Option<&str>) -> Client {
    let kubeconfig = Kubeconfig::read_from(cluster.folder.path().join("admin.kubeconfig")).unwrap();
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    if let Some(address) = address {
        config.cluster_url = format!("https://{address}").parse().unwrap();
    }
    Client::try_from(config).unwrap()
}

fn streaming() -> watcher::Config {
    watcher::Config::default().streaming_lists().labels("watched=yes")
}

fn make(cluster: &Cluster, name: &str) {
    cluster.kubectl(&["create", "configmap", name, "--from-literal=of=name"]);
    cluster.kubectl(&["label", "configmap", name, "watched=yes"]);
}

/// A secret for each labelled map, which is the map's own.
async fn reconcile(map: Arc<ConfigMap>, client: Arc<Client>) -> Result<Action, kube::Error> {
    let secrets: Api<Secret> = Api::default_namespaced(Client::clone(&client));
    let secret = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": { "name": map.name_any(), "ownerReferences": [map.controller_owner_ref(&())] },
        "stringData": map.data,
    });
    secrets.patch(&map.name_any(), &PatchParams::apply("maps").force(), &Patch::Apply(secret)).await?;
    Ok(Action::await_change())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_controller_keeps_what_its_objects_own() {
    let cluster = Cluster::start();
    let client = client(&cluster, None).await;
    make(&cluster, "one");
    let secrets = Api::<Secret>::default_namespaced(client.clone());
    let controller = Controller::new(Api::<ConfigMap>::default_namespaced(client.clone()), streaming())
        .owns(secrets, watcher::Config::default().streaming_lists());
    let again =
        |_: Arc<ConfigMap>, _: &kube::Error, _: Arc<Client>| Action::requeue(Duration::from_millis(50));
    let running = tokio::spawn(controller.run(reconcile, again, Arc::new(client)).for_each(|_| async {}));
    let secrets = |wanted: &'static str| {
        cluster.eventually(&["get", "secrets", "-o", "jsonpath={.items[*].metadata.name}"], move |names| {
            names == wanted
        });
    };
    secrets("one");
    make(&cluster, "two");
    secrets("one two");
    // What somebody takes away comes back; what is nobody's any more is collected.
    cluster.kubectl(&["delete", "secret", "one"]);
    secrets("one two");
    cluster.kubectl(&["patch", "configmap", "two", "-p", r#"{"data":{"of":"change"}}"#]);
    let of = ["get", "secret", "two", "-o", "jsonpath={.data.of}"];
    cluster.eventually(&of, |data| data == "Y2hhbmdl");
    cluster.kubectl(&["delete", "configmap", "two"]);
    secrets("one");
    running.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_streaming_list_brings_what_is_there_then_every_change() {
    let cluster = Cluster::start();
    for name in ["a", "b", "c"] {
        make(&cluster, name);
    }
    let maps: Api<ConfigMap> = Api::default_namespaced(client(&cluster, None).await);
    let mut events = std::pin::pin!(watcher(maps, streaming()));
    let mut next = async || timeout(PATIENCE, events.try_next()).await.unwrap().unwrap().unwrap();
    assert!(matches!(next().await, watcher::Event::Init));
    let mut found = BTreeSet::new();
    loop {
        match next().await {
            watcher::Event::InitApply(map) => found.insert(map.name_any()),
            watcher::Event::InitDone => break,
            other => panic!("{other:?} while listing"),
        };
    }
    assert_eq!(found, ["a", "b", "c"].map(str::to_owned).into());
    cluster.kubectl(&["patch", "configmap", "a", "-p", r#"{"data":{"of":"change"}}"#]);
    assert!(
        matches!(next().await, watcher::Event::Apply(map) if map.data.as_ref().unwrap()["of"] == "change")
    );
    cluster.kubectl(&["delete", "configmap", "b"]);
    assert!(matches!(next().await, watcher::Event::Delete(map) if map.name_any() == "b"));
    // One that does not fit the selector any more is gone for this watcher.
    cluster.kubectl(&["label", "configmap", "c", "watched-"]);
    assert!(matches!(next().await, watcher::Event::Delete(map) if map.name_any() == "c"));
}
