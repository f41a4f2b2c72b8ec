//! What a client may rely on while many write at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{
    DeleteParams, ListParams, ObjectMeta, Patch, PatchParams, PostParams, WatchEvent, WatchParams,
};
use kube::{Api, ResourceExt};
use orchestra_apiserver::ApiServer;
use orchestra_store::{DurableStore, MemoryStore, Store};
use serde_json::json;

const WRITERS: usize = 4;
const ROUNDS: usize = 25;

fn map(name: &str) -> ConfigMap {
    ConfigMap {
        metadata: ObjectMeta { name: Some(name.into()), ..ObjectMeta::default() },
        ..ConfigMap::default()
    }
}

/// Makes, changes and removes objects, ending with some that stay.
async fn write(api: Api<ConfigMap>, writer: usize) {
    for round in 0..ROUNDS {
        let name = format!("w{writer}-{round}");
        api.create(&PostParams::default(), &map(&name)).await.unwrap();
        let change = Patch::Merge(json!({"data": {"round": round.to_string()}}));
        api.patch(&name, &PatchParams::default(), &change).await.unwrap();
        // Everybody fights over this one; the server settles conflicts of patches by itself.
        let count = Patch::Merge(json!({"data": {format!("w{writer}"): round.to_string()}}));
        api.patch("shared", &PatchParams::default(), &count).await.unwrap();
        if round % 2 == 0 {
            api.delete(&name, &DeleteParams::default()).await.unwrap();
        }
    }
    api.create(&PostParams::default(), &map(&format!("done-{writer}"))).await.unwrap();
}

/// Follows until every writer is done, and returns what there should be.
async fn follow(api: Api<ConfigMap>, version: String) -> BTreeMap<String, String> {
    let mut state = BTreeMap::new();
    let mut last = 0;
    let mut done = 0;
    let mut events = api.watch(&WatchParams::default().timeout(60), &version).await.unwrap().boxed();
    while done < WRITERS {
        let event = events.next().await.unwrap().unwrap();
        let (object, there) = match event {
            WatchEvent::Added(object) => {
                assert!(!state.contains_key(&object.name_any()), "{} was there", object.name_any());
                done += usize::from(object.name_any().starts_with("done"));
                (object, true)
            }
            WatchEvent::Modified(object) => (object, true),
            WatchEvent::Deleted(object) => (object, false),
            other => panic!("{other:?}"),
        };
        let version = object.resource_version().unwrap();
        let number: u64 = version.parse().unwrap();
        assert!(number > last, "{number} after {last}");
        last = number;
        if there {
            state.insert(object.name_any(), version);
        } else {
            assert!(state.remove(&object.name_any()).is_some());
        }
    }
    state
}

async fn watchers_see_every_change_once(store: Arc<dyn Store>) {
    let server = ApiServer::builder(store.clone()).build().await.unwrap();
    // A second server on the same store, as in a cluster with several.
    let other = ApiServer::builder(store).build().await.unwrap();
    let api: Api<ConfigMap> = Api::default_namespaced(server.client("default"));
    let elsewhere: Api<ConfigMap> = Api::default_namespaced(other.client("default"));
    api.create(&PostParams::default(), &map("shared")).await.unwrap();
    let start = elsewhere.list(&ListParams::default()).await.unwrap();
    assert_eq!(start.items.len(), 1, "a list shows what another server has acknowledged");
    api.delete("shared", &DeleteParams::default()).await.unwrap();
    let version = api.list(&ListParams::default()).await.unwrap().metadata.resource_version.unwrap();
    let followers = [&api, &elsewhere].map(|api| tokio::spawn(follow(api.clone(), version.clone())));
    api.create(&PostParams::default(), &map("shared")).await.unwrap();
    let writers = (0..WRITERS).map(|n| write(if n % 2 == 0 { api.clone() } else { elsewhere.clone() }, n));
    futures::future::join_all(writers).await;
    let listed = api.list(&ListParams::default()).await.unwrap();
    let listed: BTreeMap<_, _> =
        listed.items.iter().map(|o| (o.name_any(), o.resource_version().unwrap())).collect();
    let shared = api.get("shared").await.unwrap().data.unwrap();
    assert_eq!(shared.len(), WRITERS, "no patch was lost");
    for follower in followers {
        assert_eq!(follower.await.unwrap(), listed);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watchers_see_every_change_once_in_memory() {
    watchers_see_every_change_once(Arc::new(MemoryStore::new())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watchers_see_every_change_once_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    let store = DurableStore::open(dir.path()).unwrap();
    watchers_see_every_change_once(Arc::new(store)).await;
}
