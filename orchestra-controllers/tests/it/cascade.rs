use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::{Api, Client};
use orchestra_controllers::{Controller, Controllers};
use serde_json::{Value, json};

use crate::cluster::until;
use crate::world::Controlled;

async fn collected() -> Controlled {
    Controlled::by(Controllers::only([Controller::GarbageCollector])).await
}

fn maps(client: &Client) -> Api<ConfigMap> {
    Api::namespaced(client.clone(), "default")
}

fn owner(map: &ConfigMap) -> Value {
    let meta = &map.metadata;
    json!({"apiVersion": "v1", "kind": "ConfigMap", "name": meta.name, "uid": meta.uid, "blockOwnerDeletion": true})
}

impl Controlled {
    async fn map(&self, name: &str, owners: &[&ConfigMap]) -> ConfigMap {
        let owners: Vec<Value> = owners.iter().map(|map| owner(map)).collect();
        let object = json!({"metadata": {"name": name, "ownerReferences": owners}});
        self.create(&maps(&self.client), object).await
    }
}

fn has(maps: &[ConfigMap], name: &str) -> bool {
    maps.iter().any(|map| map.metadata.name.as_deref() == Some(name))
}

fn owners(maps: &[ConfigMap], name: &str) -> usize {
    let found = maps.iter().find(|map| map.metadata.name.as_deref() == Some(name));
    found.and_then(|map| map.metadata.owner_references.as_ref()).map_or(0, Vec::len)
}

#[tokio::test]
async fn in_the_background_a_whole_line_of_dependents_goes() {
    let cluster = collected().await;
    let a = cluster.map("a", &[]).await;
    let b = cluster.map("b", &[&a]).await;
    cluster.map("c", &[&b]).await;
    cluster.map("stranger", &[]).await;
    let api = maps(&cluster.client);
    api.delete("a", &DeleteParams::background()).await.unwrap();
    let left = until(&api, "b and c gone", |maps| !has(maps, "b") && !has(maps, "c")).await;
    assert!(has(&left, "stranger"));
}

#[tokio::test]
async fn a_dependent_with_another_owner_stays_and_forgets_the_one_that_went() {
    let cluster = collected().await;
    let (a, b) = (cluster.map("a", &[]).await, cluster.map("b", &[]).await);
    cluster.map("c", &[&a, &b]).await;
    let api = maps(&cluster.client);
    api.delete("a", &DeleteParams::background()).await.unwrap();
    until(&api, "one owner left", |maps| owners(maps, "c") == 1).await;
    api.delete("b", &DeleteParams::background()).await.unwrap();
    until(&api, "c gone", |maps| !has(maps, "c")).await;
}

#[tokio::test]
async fn in_the_foreground_the_owner_goes_last() {
    let cluster = collected().await;
    let api = maps(&cluster.client);
    let a = cluster.map("a", &[]).await;
    let b = cluster.map("b", &[&a]).await;
    let held =
        json!({"metadata": {"name": "c", "finalizers": ["test/hold"], "ownerReferences": [owner(&b)]}});
    cluster.create(&api, held).await;
    api.delete("a", &DeleteParams::foreground()).await.unwrap();
    let going = |maps: &[ConfigMap]| maps.iter().filter(|m| m.metadata.deletion_timestamp.is_some()).count();
    let left = until(&api, "all three on their way", |maps| going(maps) == 3).await;
    assert!(has(&left, "a") && has(&left, "b"));
    let free = json!({"metadata": {"finalizers": null}});
    api.patch("c", &PatchParams::default(), &Patch::Merge(free)).await.unwrap();
    until(&api, "all gone", |maps| !["a", "b", "c"].iter().any(|name| has(maps, name))).await;
}

#[tokio::test]
async fn a_circle_deleted_in_the_foreground_goes() {
    let cluster = collected().await;
    let api = maps(&cluster.client);
    let a = cluster.map("a", &[]).await;
    let b = cluster.map("b", &[&a]).await;
    let circle = json!({"metadata": {"ownerReferences": [owner(&b)]}});
    api.patch("a", &PatchParams::default(), &Patch::Merge(circle)).await.unwrap();
    api.delete("a", &DeleteParams::foreground()).await.unwrap();
    until(&api, "both gone", |maps| !has(maps, "a") && !has(maps, "b")).await;
}

#[tokio::test]
async fn orphans_stay_without_their_owner() {
    let cluster = collected().await;
    let api = maps(&cluster.client);
    let a = cluster.map("a", &[]).await;
    cluster.map("b", &[&a]).await;
    api.delete("a", &DeleteParams::orphan()).await.unwrap();
    let left = until(&api, "a gone", |maps| !has(maps, "a")).await;
    assert!(has(&left, "b"));
    assert_eq!(owners(&left, "b"), 0);
}

#[tokio::test]
async fn an_object_whose_owner_never_was_goes() {
    let cluster = collected().await;
    let api = maps(&cluster.client);
    let mut a = cluster.map("a", &[]).await;
    a.metadata.uid = Some("00000000-0000-0000-0000-000000000000".into());
    cluster.map("b", &[&a]).await;
    let left = until(&api, "b gone", |maps| !has(maps, "b")).await;
    assert!(has(&left, "a"));
}

#[tokio::test]
async fn what_lost_its_owner_while_nobody_looked_goes_after_a_start() {
    let cluster = collected().await;
    let a = cluster.map("a", &[]).await;
    cluster.map("b", &[&a]).await;
    let client = cluster.stop().await;
    let api = maps(&client);
    api.delete("a", &DeleteParams::background()).await.unwrap();
    let _cluster = Controlled::beside(client, Controllers::only([Controller::GarbageCollector]));
    until(&api, "b gone", |maps| !has(maps, "b")).await;
}
