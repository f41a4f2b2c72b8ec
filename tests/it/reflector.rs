//! A reflector of `kube` whose place in the history is gone: it is told so, lists again, and goes on.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::StreamExt as _;
use http::Request;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, DeleteParams, PostParams};
use kube::client::Body;
use kube::runtime::{WatchStreamExt as _, reflector, watcher};
use kube::{Client, ResourceExt as _};
use orchestra_apiserver::{ApiServer, User};
use orchestra_store::{MemoryStore, Store as _};
use serde_json::json;
use tokio::sync::watch;
use tokio::time::timeout;
use tower::ServiceExt as _;

use crate::harness::PATIENCE;

/// More changes than the server keeps of a resource, so that the history between them is gone.
const MANY: usize = 1100;

/// A client whose requests to watch wait while the gate is closed, as they do where the network is gone for a while.
fn behind_a_gate(server: &ApiServer, open: watch::Receiver<bool>, waiting: Arc<AtomicUsize>) -> Client {
    let server = server.clone();
    let service = tower::service_fn(move |mut request: Request<Body>| {
        let (server, mut open, waiting) = (server.clone(), open.clone(), waiting.clone());
        request.extensions_mut().insert(User::admin());
        async move {
            if request.uri().query().is_some_and(|query| query.contains("watch=true")) {
                waiting.fetch_add(1, Ordering::SeqCst);
                open.wait_for(|open| *open).await.unwrap();
                waiting.fetch_sub(1, Ordering::SeqCst);
            }
            server.oneshot(request).await
        }
    });
    Client::new(service, "default")
}

fn map(name: &str, of: usize) -> ConfigMap {
    let map =
        json!({"metadata": {"name": name, "labels": {"watched": "yes"}}, "data": {"of": of.to_string()}});
    serde_json::from_value(map).unwrap()
}

#[tokio::test]
async fn one_that_missed_too_much_is_told_so_and_finds_its_way_back() {
    let store = Arc::new(MemoryStore::new());
    let server = ApiServer::builder(store.clone()).seed(1).build().await.unwrap();
    let maps: Api<ConfigMap> = Api::default_namespaced(server.client("default"));
    for name in ["goes", "stays"] {
        maps.create(&PostParams::default(), &map(name, 0)).await.unwrap();
    }
    let (gate, open) = watch::channel(true);
    let waiting = Arc::new(AtomicUsize::new(0));
    let behind: Api<ConfigMap> = Api::default_namespaced(behind_a_gate(&server, open, waiting.clone()));
    let (reader, writer) = reflector::store();
    let config = watcher::Config::default().labels("watched=yes").timeout(1);
    let (told, mut errors) = tokio::sync::mpsc::unbounded_channel();
    let events = reflector(writer, watcher(behind, config)).default_backoff();
    let running = tokio::spawn(events.for_each(move |event| {
        if let Err(error) = event {
            told.send(error).unwrap();
        }
        futures::future::ready(())
    }));
    reader.wait_until_ready().await.unwrap();
    let names = || reader.state().iter().map(|map| map.name_any()).collect::<BTreeSet<_>>();
    assert_eq!(names(), ["goes", "stays"].map(str::to_owned).into());

    // The watch ends by itself, and the next one does not get through until much has happened and is forgotten.
    gate.send_replace(false);
    until(|| waiting.load(Ordering::SeqCst) == 1).await;
    maps.delete("goes", &DeleteParams::default()).await.unwrap();
    for of in 1..=MANY {
        let mut next = map("stays", of);
        next.metadata.resource_version = None;
        maps.replace("stays", &PostParams::default(), &next).await.unwrap();
    }
    maps.create(&PostParams::default(), &map("new", 0)).await.unwrap();
    store.compact(store.status().await.unwrap().revision).await.unwrap();
    gate.send_replace(true);

    let error = timeout(PATIENCE, errors.recv()).await.unwrap().unwrap();
    assert!(
        matches!(&error, watcher::Error::WatchError(status) if status.code == 410 && status.reason == "Expired"),
        "{error:?}"
    );
    until(|| names() == ["new", "stays"].map(str::to_owned).into()).await;
    let held = reader.get(&reflector::ObjectRef::new("stays").within("default")).unwrap();
    assert_eq!(held.data.as_ref().unwrap()["of"], MANY.to_string());
    // And it hears what happens from then on.
    maps.create(&PostParams::default(), &map("newest", 0)).await.unwrap();
    until(|| names().contains("newest")).await;
    running.abort();
}

/// Looks again and again until it is so.
async fn until(is_so: impl Fn() -> bool) {
    let waited = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, waited).await.unwrap();
}
