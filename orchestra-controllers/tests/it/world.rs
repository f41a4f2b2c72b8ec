//! An API server and the controllers under test.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use kube::api::{ListParams, PostParams};
use kube::core::{DynamicObject, PartialObjectMeta};
use kube::discovery::{Discovery, verbs};
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, Resource};
use orchestra_apiserver::ApiServer;
use orchestra_controllers::Controllers;
use orchestra_store::MemoryStore;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Only a failing test waits this long.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct Controlled {
    pub(crate) client: Client,
    shutdown: DropGuard,
    running: JoinHandle<orchestra_controllers::Result<()>>,
}

impl Controlled {
    pub(crate) async fn by(controllers: Controllers) -> Self {
        let server = ApiServer::builder(Arc::new(MemoryStore::new())).build().await.unwrap();
        Self::beside(server.client("default"), controllers)
    }

    /// The same cluster under controllers that start afresh.
    pub(crate) fn beside(client: Client, controllers: Controllers) -> Self {
        let stop = CancellationToken::new();
        let running = tokio::spawn(controllers.run(client.clone(), stop.clone()));
        Self { client, shutdown: stop.drop_guard(), running }
    }

    /// Stops the controllers in order.
    pub(crate) async fn stop(self) -> Client {
        drop(self.shutdown);
        tokio::time::timeout(PATIENCE, self.running).await.unwrap().unwrap().unwrap();
        self.client
    }

    pub(crate) async fn create<K>(&self, api: &Api<K>, object: Value) -> K
    where
        K: Resource + Clone + Debug + Serialize + DeserializeOwned,
    {
        api.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap()
    }
}

/// Waits until the objects of a kind are as wished.
pub(crate) async fn until<K>(api: &Api<K>, what: &str, wished: impl Fn(&[K]) -> bool) -> Vec<K>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let mut held: BTreeMap<_, K> = BTreeMap::new();
    let values = |held: &BTreeMap<_, K>| held.values().cloned().collect::<Vec<_>>();
    let wait = async {
        let mut events = std::pin::pin!(watcher::watcher(api.clone(), watcher::Config::default()));
        let mut listed = false;
        while let Some(event) = events.next().await {
            let key = |object: &K| (object.meta().namespace.clone(), object.meta().name.clone());
            match event.unwrap() {
                Event::Init => held.clear(),
                Event::InitDone => listed = true,
                Event::InitApply(new) | Event::Apply(new) => drop(held.insert(key(&new), new)),
                Event::Delete(gone) => drop(held.remove(&key(&gone))),
            }
            if listed && wished(&values(&held)) {
                return;
            }
        }
    };
    if tokio::time::timeout(PATIENCE, wait).await.is_err() {
        panic!("never came to be: {what}; held {held:#?}");
    }
    values(&held)
}

/// Every object but events, with its version: equal twice if nothing was written in between.
pub(crate) async fn census(client: &Client) -> Vec<String> {
    let mut all = Vec::new();
    let discovery = Discovery::new(client.clone()).run_aggregated().await.unwrap();
    for (resource, capabilities) in discovery.groups().flat_map(|group| group.recommended_resources()) {
        if !capabilities.supports_operation(verbs::LIST) || resource.plural == "events" {
            continue;
        }
        let api: Api<PartialObjectMeta<DynamicObject>> = Api::all_with(client.clone(), &resource);
        for object in api.list(&ListParams::default()).await.unwrap() {
            let meta = object.metadata;
            all.push(format!(
                "{} {:?} {:?} {:?}",
                resource.plural, meta.namespace, meta.name, meta.resource_version
            ));
        }
    }
    all.sort();
    all
}
