//! The built-in rules about writes.

use serde_json::{Value, json};

use crate::harness::{patch, post, put, server};

async fn make(server: &orchestra_apiserver::ApiServer, path: &str, object: Value) -> Value {
    let (code, made) = post(server, path, &object).await;
    assert_eq!(code, 201, "{made}");
    made
}

#[tokio::test]
async fn an_ingress_without_a_class_gets_the_default_one() {
    let server = server().await;
    let class = |name: &str, default: &str| {
        json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "IngressClass",
            "metadata": {"name": name, "annotations": {"ingressclass.kubernetes.io/is-default-class": default}},
            "spec": {"controller": "example.com/c"},
        })
    };
    let ingress = |name: &str, annotations: Value| {
        json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
            "metadata": {"name": name, "annotations": annotations},
            "spec": {"defaultBackend": {"service": {"name": "s", "port": {"number": 80}}}},
        })
    };
    let (classes, ingresses) = (
        "/apis/networking.k8s.io/v1/ingressclasses",
        "/apis/networking.k8s.io/v1/namespaces/default/ingresses",
    );
    let none = make(&server, ingresses, ingress("none", json!({}))).await;
    assert_eq!(none["spec"]["ingressClassName"], Value::Null);
    make(&server, classes, class("other", "false")).await;
    make(&server, classes, class("chosen", "true")).await;
    let some = make(&server, ingresses, ingress("some", json!({}))).await;
    assert_eq!(some["spec"]["ingressClassName"], "chosen");
    let old = make(&server, ingresses, ingress("old", json!({"kubernetes.io/ingress.class": "x"}))).await;
    assert_eq!(old["spec"]["ingressClassName"], Value::Null);
}

#[tokio::test]
async fn a_claim_grows_only_where_its_class_lets_it() {
    let server = server().await;
    for (name, grows) in [("fixed", false), ("growing", true)] {
        let class = json!({
            "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": name},
            "provisioner": "example.com/p", "allowVolumeExpansion": grows,
        });
        make(&server, "/apis/storage.k8s.io/v1/storageclasses", class).await;
        let claims = "/api/v1/namespaces/default/persistentvolumeclaims";
        let claim = json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name},
            "spec": {
                "accessModes": ["ReadWriteOnce"], "storageClassName": name,
                "resources": {"requests": {"storage": "1Gi"}},
            },
        });
        let mut claim = make(&server, claims, claim).await;
        claim["status"] = json!({"phase": "Bound", "capacity": {"storage": "1Gi"}});
        assert_eq!(put(&server, &format!("{claims}/{name}/status"), &claim).await.0, 200);
        let more = json!({"spec": {"resources": {"requests": {"storage": "2Gi"}}}});
        let media = "application/merge-patch+json";
        let (code, answer) = patch(&server, &format!("{claims}/{name}"), media, &more).await;
        if grows {
            assert_eq!(code, 200, "{answer}");
        } else {
            assert_eq!(code, 403);
            assert_eq!(
                answer["message"],
                "persistentvolumeclaims \"fixed\" is forbidden: only dynamically provisioned pvc can be resized and the \
                 storageclass that provisions the pvc must support resize"
            );
        }
    }
}
