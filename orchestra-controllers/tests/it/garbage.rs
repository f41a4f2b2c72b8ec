use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, ServiceAccount};
use kube::Api;
use kube::api::DeleteParams;
use serde_json::json;

use crate::cluster::{TestCluster, until};
use crate::deployment::{rolled_out, web};

#[tokio::test]
async fn deleting_a_deployment_in_the_background_takes_everything_along() {
    let cluster = TestCluster::start().await;
    cluster.create::<Deployment>(web(2, "a")).await;
    rolled_out(&cluster.api(), 2).await;
    cluster.api::<Deployment>().delete("web", &DeleteParams::background()).await.unwrap();
    until(&cluster.api::<ReplicaSet>(), "no sets", |sets| sets.is_empty()).await;
    until(&cluster.api::<Pod>(), "no pods", |pods| pods.is_empty()).await;
}

#[tokio::test]
async fn deleting_in_the_foreground_removes_the_owner_last() {
    let cluster = TestCluster::start().await;
    cluster.create::<Deployment>(web(2, "a")).await;
    rolled_out(&cluster.api(), 2).await;
    cluster.api::<Deployment>().delete("web", &DeleteParams::foreground()).await.unwrap();
    until(&cluster.api::<Deployment>(), "no deployment", |all| all.is_empty()).await;
    assert!(cluster.api::<Pod>().list(&Default::default()).await.unwrap().items.is_empty());
    assert!(cluster.api::<ReplicaSet>().list(&Default::default()).await.unwrap().items.is_empty());
}

#[tokio::test]
async fn orphaned_sets_stay_and_are_adopted_by_a_new_deployment() {
    let cluster = TestCluster::start().await;
    cluster.create::<Deployment>(web(2, "a")).await;
    rolled_out(&cluster.api(), 2).await;
    let before = cluster.api::<Pod>().list(&Default::default()).await.unwrap().items;
    cluster.api::<Deployment>().delete("web", &DeleteParams::orphan()).await.unwrap();
    until(&cluster.api::<Deployment>(), "no deployment", |all| all.is_empty()).await;
    let free = |set: &ReplicaSet| set.metadata.owner_references.as_ref().is_none_or(Vec::is_empty);
    until(&cluster.api::<ReplicaSet>(), "a free set", |sets| sets.iter().any(free)).await;
    cluster.create::<Deployment>(web(2, "a")).await;
    rolled_out(&cluster.api(), 2).await;
    until(&cluster.api::<ReplicaSet>(), "an adopted set", |sets| sets.len() == 1 && !free(&sets[0])).await;
    let after = cluster.api::<Pod>().list(&Default::default()).await.unwrap().items;
    let names = |pods: &[Pod]| {
        let mut names: Vec<_> = pods.iter().map(|pod| pod.metadata.name.clone()).collect();
        names.sort();
        names
    };
    assert_eq!(names(&before), names(&after));
}

#[tokio::test]
async fn a_namespace_goes_with_all_it_holds_and_every_new_one_gets_its_account() {
    let cluster = TestCluster::start().await;
    let namespaces: Api<Namespace> = Api::all(cluster.client.clone());
    let namespace = serde_json::from_value(json!({"metadata": {"name": "shop"}})).unwrap();
    namespaces.create(&Default::default(), &namespace).await.unwrap();
    let accounts: Api<ServiceAccount> = Api::namespaced(cluster.client.clone(), "shop");
    until(&accounts, "the default account", |all| all.len() == 1).await;
    let deployments: Api<Deployment> = Api::namespaced(cluster.client.clone(), "shop");
    deployments.create(&Default::default(), &serde_json::from_value(web(2, "a")).unwrap()).await.unwrap();
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), "shop");
    until(&pods, "two pods", |pods| pods.len() == 2).await;
    let maps: Api<ConfigMap> = Api::namespaced(cluster.client.clone(), "shop");
    let map = serde_json::from_value(json!({"metadata": {"name": "settings"}})).unwrap();
    maps.create(&Default::default(), &map).await.unwrap();
    namespaces.delete("shop", &Default::default()).await.unwrap();
    until(&namespaces, "no namespace", |all| {
        all.iter().all(|ns| ns.metadata.name.as_deref() != Some("shop"))
    })
    .await;
    assert!(pods.list(&Default::default()).await.unwrap().items.is_empty());
}
