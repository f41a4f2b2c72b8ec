//! An API server and the controllers under test.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use kube::api::PostParams;
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
