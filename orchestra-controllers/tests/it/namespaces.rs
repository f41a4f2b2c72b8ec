use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, ServiceAccount};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use orchestra_controllers::{Controller, Controllers};
use serde_json::json;

use crate::cluster::{fingerprint, until};
use crate::world::Controlled;

async fn with_namespace() -> (Controlled, Api<Namespace>) {
    let cluster =
        Controlled::by(Controllers::only([Controller::Namespace, Controller::ServiceAccount])).await;
    let namespaces: Api<Namespace> = Api::all(cluster.client.clone());
    cluster.create(&namespaces, json!({"metadata": {"name": "shop"}})).await;
    let accounts: Api<ServiceAccount> = Api::namespaced(cluster.client.clone(), "shop");
    until(&accounts, "the default account", |all| all.len() == 1).await;
    (cluster, namespaces)
}

fn is_gone(namespaces: &[Namespace]) -> bool {
    namespaces.iter().all(|namespace| namespace.metadata.name.as_deref() != Some("shop"))
}

fn condition(namespaces: &[Namespace], type_: &str) -> Option<String> {
    let shop = namespaces.iter().find(|namespace| namespace.metadata.name.as_deref() == Some("shop"))?;
    let conditions = shop.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|c| c.type_ == type_ && c.status == "True")?.message.clone()
}

#[tokio::test]
async fn a_namespace_goes_with_all_it_holds() {
    let (cluster, namespaces) = with_namespace().await;
    let maps: Api<ConfigMap> = Api::namespaced(cluster.client.clone(), "shop");
    for name in ["a", "b"] {
        cluster.create(&maps, json!({"metadata": {"name": name}})).await;
    }
    namespaces.delete("shop", &DeleteParams::default()).await.unwrap();
    until(&namespaces, "no namespace", is_gone).await;
    assert!(!fingerprint(&cluster.client).await.iter().any(|line| line.contains(" shop ")));
}

#[tokio::test]
async fn a_namespace_waits_for_its_pods_and_they_go_before_the_rest() {
    let (cluster, namespaces) = with_namespace().await;
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), "shop");
    let spec = json!({"nodeName": "n", "containers": [{"name": "c", "image": "i"}]});
    cluster.create(&pods, json!({"metadata": {"name": "p"}, "spec": spec})).await;
    let maps: Api<ConfigMap> = Api::namespaced(cluster.client.clone(), "shop");
    cluster.create(&maps, json!({"metadata": {"name": "settings"}})).await;
    namespaces.delete("shop", &DeleteParams::default()).await.unwrap();
    let waits = |all: &[Namespace]| condition(all, "NamespaceContentRemaining").is_some();
    let held = until(&namespaces, "the condition", waits).await;
    let said = condition(&held, "NamespaceContentRemaining").unwrap();
    assert_eq!(said, "Some resources are remaining: pods. has 1 resource instances");
    assert_eq!(maps.get("settings").await.unwrap().metadata.deletion_timestamp, None);
    pods.delete("p", &DeleteParams::default().grace_period(0)).await.unwrap();
    until(&namespaces, "no namespace", is_gone).await;
}

#[tokio::test]
async fn a_namespace_names_the_finalizers_that_hold_it_and_goes_when_they_are_gone() {
    let (cluster, namespaces) = with_namespace().await;
    let maps: Api<ConfigMap> = Api::namespaced(cluster.client.clone(), "shop");
    cluster.create(&maps, json!({"metadata": {"name": "held", "finalizers": ["test/hold"]}})).await;
    namespaces.delete("shop", &DeleteParams::default()).await.unwrap();
    let waits = |all: &[Namespace]| condition(all, "NamespaceFinalizersRemaining").is_some();
    let held = until(&namespaces, "the condition", waits).await;
    assert_eq!(
        condition(&held, "NamespaceFinalizersRemaining").unwrap(),
        "Some content in the namespace has finalizers remaining: test/hold in 1 resource instances"
    );
    let free = json!({"metadata": {"finalizers": null}});
    maps.patch("held", &PatchParams::default(), &Patch::Merge(free)).await.unwrap();
    until(&namespaces, "no namespace", is_gone).await;
}
