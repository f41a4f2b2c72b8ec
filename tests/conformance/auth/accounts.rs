//! Service accounts.

use serde_json::{Value, json};

use crate::kind::{Kind, items};
use crate::world::{World, with, world};

const MOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// What tells of the cluster to those inside it is there where there is a socket to connect to.
async fn with_a_socket() -> World {
    let listen = "127.0.0.1:0".parse().expect("an address");
    with(orchestra::Cluster::builder().without_nodes().listen(listen)).await
}

fn accounts(world: &World) -> Kind<'_> {
    Kind::namespaced(world, "v1", "ServiceAccount", "serviceaccounts")
}

#[tokio::test]
async fn serviceaccounts_should_guarantee_kube_root_ca_crt_exist_in_any_namespace() {
    let world = with_a_socket().await;
    let maps = Kind::namespaced(&world, "v1", "ConfigMap", "configmaps");
    let first = maps.eventually("kube-root-ca.crt", |_| true).await;
    world.delete_with(&maps.path("kube-root-ca.crt"), json!({ "gracePeriodSeconds": 0 })).await;
    let uid = first["metadata"]["uid"].clone();
    maps.eventually("kube-root-ca.crt", |map| map["metadata"]["uid"] != uid).await;
    let emptied = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": { "name": "kube-root-ca.crt" },
        "data": { "ca.crt": "" },
    });
    world.put(&maps.path("kube-root-ca.crt"), emptied).await;
    let mended = maps.eventually("kube-root-ca.crt", |map| {
        map["data"]["ca.crt"].as_str().is_some_and(|ca| !ca.is_empty())
    });
    assert_eq!(mended.await["data"], first["data"]);
    world.end().await;
}

#[tokio::test]
async fn serviceaccounts_should_allow_opting_out_of_api_token_automount() {
    let world = with_a_socket().await;
    let kind = accounts(&world);
    kind.create(json!({ "metadata": { "name": "mount" }, "automountServiceAccountToken": true })).await;
    kind.create(json!({ "metadata": { "name": "nomount" }, "automountServiceAccountToken": false })).await;
    kind.eventually("default", |_| true).await;
    let pods = Kind::namespaced(&world, "v1", "Pod", "pods");
    for (account, by_account) in [("default", None), ("mount", Some(true)), ("nomount", Some(false))] {
        for by_pod in [None, Some(true), Some(false)] {
            let name =
                format!("pod-{account}-{}", by_pod.map_or("unsaid".to_owned(), |said| said.to_string()));
            let mut spec = json!({
                "serviceAccountName": account,
                "restartPolicy": "Never",
                "containers": [{ "name": "token-test", "image": "agnhost" }],
            });
            if let Some(said) = by_pod {
                spec["automountServiceAccountToken"] = said.into();
            }
            let created = pods.create(json!({ "metadata": { "name": name }, "spec": spec })).await;
            let mounts = created["spec"]["containers"][0]["volumeMounts"].as_array();
            let mounted = mounts.is_some_and(|mounts| mounts.iter().any(|one| one["mountPath"] == MOUNT));
            assert_eq!(mounted, by_pod.or(by_account).unwrap_or(true), "{name}: {created}");
        }
    }
    world.end().await;
}

#[tokio::test]
async fn serviceaccounts_should_run_through_the_lifecycle_of_a_serviceaccount() {
    let world = world().await;
    let kind = accounts(&world);
    let selector = "labelSelector=test-serviceaccount-static%3Dtrue";
    let labels = json!({ "test-serviceaccount-static": "true" });
    let created =
        kind.create(json!({ "metadata": { "name": "testserviceaccount", "labels": labels } })).await;
    assert_eq!(kind.get("testserviceaccount").await["metadata"]["uid"], created["metadata"]["uid"]);
    let path = format!("{}?watch=true&timeoutSeconds=180&{selector}", kind.collection());
    let mut watch = world.watch(&path).await;
    watch.expect_named("ADDED", "testserviceaccount").await;
    // A patch made from a whole ServiceAccount.
    let patch = json!({ "metadata": {}, "automountServiceAccountToken": false });
    kind.strategic("testserviceaccount", patch).await;
    watch.expect_named("MODIFIED", "testserviceaccount").await;
    let list = kind.list_everywhere(selector).await;
    assert_eq!(items(&list)[0]["automountServiceAccountToken"], false);
    // All of the namespace, `default` too, which comes back.
    kind.delete_collection("").await;
    watch.expect_named("DELETED", "testserviceaccount").await;
    kind.eventually("default", |_| true).await;
    world.end().await;
}

#[tokio::test]
async fn serviceaccounts_should_update_a_serviceaccount() {
    let world = world().await;
    let kind = accounts(&world);
    let created =
        kind.create(json!({ "metadata": { "name": "e2e-sa" }, "automountServiceAccountToken": false })).await;
    assert_eq!(created["automountServiceAccountToken"], false);
    let updated =
        kind.update("e2e-sa", |account| account["automountServiceAccountToken"] = true.into()).await;
    assert_eq!(updated["automountServiceAccountToken"], true);
    world.end().await;
}

#[tokio::test]
async fn serviceaccounts_should_create_a_serviceaccounttoken_and_ensure_a_successful_tokenreview() {
    let world = world().await;
    let kind = accounts(&world);
    kind.create(json!({ "metadata": { "name": "e2e-sa" } })).await;
    let request = json!({
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "metadata": {},
        "spec": { "audiences": null, "expirationSeconds": null, "boundObjectRef": null },
        "status": { "token": "", "expirationTimestamp": null },
    });
    let answer: Value = world.post(&kind.path("e2e-sa/token"), request).await;
    let token = answer["status"]["token"].as_str().expect("a token");
    assert!(!token.is_empty());
    let reviews = Kind::cluster(&world, "authentication.k8s.io/v1", "TokenReview", "tokenreviews");
    let review = reviews.create(json!({ "spec": { "token": token } })).await;
    assert_eq!(review["status"]["authenticated"], true, "{review}");
    assert!(review["status"]["error"].is_null(), "{review}");
    world.end().await;
}
