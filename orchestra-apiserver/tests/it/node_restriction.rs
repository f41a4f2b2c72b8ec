//! What of its own a node may write, to the word in which it is refused.

use http::Method;
use orchestra_apiserver::{ApiServer, User};
use serde_json::{Value, json};

use crate::harness;
use crate::nodes::{NAMESPACE, ask, cluster, make, seen};

const SLICES: &str = "/apis/resource.k8s.io/v1/resourceslices";
const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";

/// What a node is answered: the code, and the message of a refusal.
async fn told(server: &ApiServer, method: Method, path: &str, body: &Value) -> (u16, String) {
    let (code, answer) = ask(server, &User::node("n1"), &method, path, body).await;
    let message = if code < 300 { "" } else { answer["message"].as_str().unwrap() };
    (code, message.to_owned())
}

/// Lets the node `n1` do more than the rules for nodes do, so that what it writes is left to be judged.
async fn grant(server: &ApiServer, rules: Value) {
    let api = "rbac.authorization.k8s.io/v1";
    let role =
        json!({"apiVersion": api, "kind": "ClusterRole", "metadata": {"name": "more"}, "rules": rules});
    make(server, &format!("{RBAC}/clusterroles"), role).await;
    let group = "rbac.authorization.k8s.io";
    let binding = json!({
        "apiVersion": api, "kind": "ClusterRoleBinding", "metadata": {"name": "more"},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "more"},
        "subjects": [{"kind": "User", "apiGroup": group, "name": "system:node:n1"}],
    });
    make(server, &format!("{RBAC}/clusterrolebindings"), binding).await;
    for plural in ["clusterrolebindings", "clusterroles"] {
        assert_eq!(harness::get(server, &format!("{RBAC}/{plural}")).await.0, 200);
    }
}

async fn uid(server: &ApiServer, path: &str) -> String {
    harness::get(server, path).await.1["metadata"]["uid"].as_str().unwrap().to_owned()
}

/// A mirror of a pod that `n1` runs by itself.
async fn mirror(server: &ApiServer) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": "new", "annotations": {"kubernetes.io/config.mirror": "x"},
            "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": "n1",
                "uid": uid(server, "/api/v1/nodes/n1").await, "controller": true}],
        },
        "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "i"}]},
    })
}

#[tokio::test]
async fn a_node_makes_only_mirrors_of_pods_that_are_its_own_and_need_nothing_of_the_api() {
    let server = cluster().await;
    let (good, pods) = (mirror(&server).await, format!("{NAMESPACE}/pods"));
    let own = uid(&server, "/api/v1/nodes/n1").await;
    let owner = |change: Value| {
        let mut pod = good.clone();
        for (field, value) in change.as_object().unwrap() {
            pod["metadata"]["ownerReferences"][0][field] = value.clone();
        }
        pod
    };
    let metadata = |field: &str, value: Value| {
        let mut pod = good.clone();
        pod["metadata"][field] = value;
        pod
    };
    let spec = |field: &str, value: Value| {
        let mut pod = good.clone();
        pod["spec"][field] = value;
        pod
    };
    let volume = |source: Value| {
        let mut volume = source;
        volume["name"] = "v".into();
        spec("volumes", json!([volume]))
    };
    let projected = |source: Value| volume(json!({"projected": {"sources": [source]}}));
    let two = [&good["metadata"]["ownerReferences"][0]; 2];
    let itself = "node \"n1\" can only create pods with an owner reference set to itself";
    let refers = |what: &str| format!("node \"n1\" can not create pods that reference {what}");
    for (pod, why) in [
        (
            metadata("annotations", json!({})),
            "pod does not have \"kubernetes.io/config.mirror\" annotation, node \"n1\" can only create mirror pods"
                .to_owned(),
        ),
        (
            spec("nodeName", "n2".into()),
            "node \"n1\" can only create pods with spec.nodeName set to itself".to_owned(),
        ),
        (
            metadata("ownerReferences", json!(two)),
            "node \"n1\" can only create pods with a single owner reference set to itself".to_owned(),
        ),
        (metadata("ownerReferences", json!([])), itself.to_owned()),
        (owner(json!({"name": "n2"})), itself.to_owned()),
        (owner(json!({"apiVersion": "apps/v1", "kind": "ReplicaSet"})), itself.to_owned()),
        (
            owner(json!({"controller": null})),
            "node \"n1\" can only create pods with a controller owner reference set to itself".to_owned(),
        ),
        (
            owner(json!({"blockOwnerDeletion": true})),
            "node \"n1\" must not set blockOwnerDeletion on an owner reference".to_owned(),
        ),
        (owner(json!({"uid": "other"})), format!("node n1 UID mismatch: expected {own} got other")),
        // These two are refused by ServiceAccount, which comes first.
        (spec("serviceAccountName", "its-n1".into()), "a mirror pod may not reference service accounts".to_owned()),
        (
            spec("imagePullSecrets", json!([{"name": "its-n2"}])),
            "a mirror pod may not reference secrets".to_owned(),
        ),
        (
            projected(json!({"serviceAccountToken": {"path": "t"}})),
            "a mirror pod may not use ServiceAccountToken volume projections".to_owned(),
        ),
        (volume(json!({"configMap": {"name": "its-n1"}})), refers("configmaps")),
        (spec("resourceClaims", json!([{"name": "r", "resourceClaimName": "c"}])), refers("resourceclaims")),
        (volume(json!({"csi": {"driver": "d.io"}})), refers("csidrivers (via CSI volumes)")),
        (volume(json!({"persistentVolumeClaim": {"claimName": "its-n1"}})), refers("persistentvolumeclaims")),
        (
            projected(json!({"clusterTrustBundle": {"name": "b", "path": "p"}})),
            refers("clustertrustbundles"),
        ),
        // What else is wrong with a pod is told after that.
        (
            {
                let mut pod = spec("containers", json!([]));
                pod["metadata"]["ownerReferences"] = json!([]);
                pod
            },
            itself.to_owned(),
        ),
    ] {
        let answer = told(&server, Method::POST, &pods, &pod).await;
        assert_eq!(answer, (403, format!("pods \"new\" is forbidden: {why}")), "{pod}");
    }
    assert_eq!(told(&server, Method::POST, &pods, &spec("containers", json!([]))).await.0, 422);
    assert_eq!(told(&server, Method::POST, &pods, &good).await.0, 201);
    // An administrator's mirror pods may need more.
    let mut other = volume(json!({"configMap": {"name": "its-n1"}}));
    other["metadata"]["name"] = "other".into();
    make(&server, &pods, other).await;

    harness::delete(&server, "/api/v1/nodes/n1").await;
    let mut late = good;
    late["metadata"]["name"] = "late".into();
    let missing = (404, "node \"n1\" not found".to_owned());
    assert_eq!(told(&server, Method::POST, &pods, &late).await, missing);
}

#[tokio::test]
async fn a_node_says_how_its_pods_do_and_neither_labels_them_nor_gives_them_devices() {
    let server = cluster().await;
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "labels": {"a": "b"}},
        "spec": {
            "nodeName": "n1", "serviceAccountName": "its-n1", "containers": [{"name": "c", "image": "i"}],
            "resourceClaims": [{"name": "gpu", "resourceClaimTemplateName": "t"}],
        },
    });
    make(&server, &format!("{NAMESPACE}/pods"), pod).await;
    let path = format!("{NAMESPACE}/pods/p/status");
    let media = "application/merge-patch+json";
    let extended = |claim: &str| {
        let maps = json!([{"containerName": "c", "requestName": "r", "resourceName": "x.io/gpu"}]);
        json!({"status": {"extendedResourceClaimStatus": {"resourceClaimName": claim, "requestMappings": maps}}})
    };
    let given = |claim: &str| json!({"status": {"resourceClaimStatuses": [{"name": "gpu", "resourceClaimName": claim}]}});
    for status in [given("one"), extended("one")] {
        let (code, answer) = harness::patch(&server, &path, media, &status).await;
        assert_eq!(code, 200, "{answer}");
    }
    let refused = |what: &str| (403, format!("pods \"p\" is forbidden: node \"n1\" cannot update {what}"));
    for (patch, answer) in [
        (json!({"metadata": {"labels": {"a": "c"}}}), refused("labels through pod status")),
        (json!({"metadata": {"labels": null}}), refused("labels through pod status")),
        (given("two"), refused("resource claim statues")),
        (json!({"status": {"resourceClaimStatuses": null}}), refused("resource claim statues")),
        (extended("two"), refused("extended resource claim status")),
        (json!({"status": {"extendedResourceClaimStatus": null}}), refused("extended resource claim status")),
        (given("one"), (200, String::new())),
        (json!({"status": {"phase": "Running"}}), (200, String::new())),
    ] {
        assert_eq!(told(&server, Method::PATCH, &path, &patch).await, answer, "{patch}");
    }
    let evict = |pod: &str| {
        let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod}});
        (format!("{NAMESPACE}/pods/{pod}/eviction"), eviction)
    };
    for (pod, answer) in [
        (
            "pod-n2",
            (
                403,
                "pods \"pod-n2\" is forbidden: node n1 can only evict pods with spec.nodeName set to itself",
            ),
        ),
        ("none", (404, "pod \"none\" not found")),
        ("p", (201, "")),
    ] {
        let (path, eviction) = evict(pod);
        let told = told(&server, Method::POST, &path, &eviction).await;
        assert_eq!((told.0, told.1.as_str()), answer, "{pod}");
    }
}

#[tokio::test]
async fn a_node_offers_devices_of_its_own_only() {
    let server = cluster().await;
    let slice = |name: &str, node: &str| {
        json!({"apiVersion": "resource.k8s.io/v1", "kind": "ResourceSlice", "metadata": {"name": name}, "spec": {
            "driver": "d.io", "nodeName": node, "pool": {"name": node, "generation": 1, "resourceSliceCount": 1}}})
    };
    let only = |does: &str| {
        format!(
            "resourceslices.resource.k8s.io \"s2\" is forbidden: can only {does} ResourceSlice with the same NodeName as the \
             requesting node"
        )
    };
    assert_eq!(told(&server, Method::POST, SLICES, &slice("s2", "n2")).await, (403, only("create")));
    assert_eq!(told(&server, Method::POST, SLICES, &slice("s1", "n1")).await.0, 201);
    make(&server, SLICES, slice("s2", "n2")).await;
    let more = json!({"spec": {"pool": {"generation": 2}}});
    for (method, body) in
        [(Method::GET, &Value::Null), (Method::PATCH, &more), (Method::DELETE, &Value::Null)]
    {
        let (code, message) = told(&server, method.clone(), &format!("{SLICES}/s2"), body).await;
        assert_eq!(code, 403, "{message}");
        assert!(message.ends_with("no relationship found between node 'n1' and this object"), "{message}");
        if method != Method::DELETE {
            assert_eq!(told(&server, method, &format!("{SLICES}/s1"), body).await.0, 200);
        }
    }
    let (code, message) = told(&server, Method::GET, SLICES, &Value::Null).await;
    let selector = "can only list/watch/deletecollection resourceslices with nodeName field selector";
    assert!(code == 403 && message.ends_with(selector), "{message}");
    let own = format!("{SLICES}?fieldSelector=spec.nodeName%3Dn1");
    assert_eq!(told(&server, Method::GET, &own, &Value::Null).await.0, 200);
    assert_eq!(told(&server, Method::DELETE, &own, &Value::Null).await.0, 200);
    assert_eq!(harness::get(&server, &format!("{SLICES}/s1")).await.0, 404);
    // Who may remove slices at all still removes none of another node.
    grant(&server, json!([{"apiGroups": ["resource.k8s.io"], "resources": ["*"], "verbs": ["*"]}])).await;
    for path in [format!("{SLICES}/s2"), SLICES.to_owned()] {
        assert_eq!(told(&server, Method::DELETE, &path, &Value::Null).await, (403, only("delete")));
    }
    assert_eq!(harness::get(&server, &format!("{SLICES}/s2")).await.0, 200);
}

#[tokio::test]
async fn a_node_does_not_say_what_it_belongs_to_nor_whence_it_takes_orders() {
    let server = cluster().await;
    let path = "/api/v1/nodes/n1";
    let source = |name: &str| json!({"spec": {"configSource": {"configMap": {"name": name, "namespace": "kube-system", "kubeletConfigKey": "k"}}}});
    let refused = |why: &str| (403, format!("nodes \"n1\" is forbidden: {why}"));
    let owners = json!([{"apiVersion": "v1", "kind": "Node", "name": "n2", "uid": "u"}]);
    for (patch, answer) in [
        (
            json!({"metadata": {"ownerReferences": owners}}),
            refused("node \"n1\" is not allowed to modify ownerReferences"),
        ),
        (
            source("a"),
            refused("node \"n1\" is not allowed to update configSource to a new non-nil configSource"),
        ),
        (
            json!({"spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]}}),
            refused("node \"n1\" is not allowed to modify taints"),
        ),
        (
            json!({"metadata": {"labels": {"b.k8s.io/x": "", "a.kubernetes.io/x": "", "node.kubernetes.io/x": ""}}}),
            refused("is not allowed to modify labels: a.kubernetes.io/x, b.k8s.io/x"),
        ),
        (json!({"metadata": {"labels": {"node.kubernetes.io/x": ""}}}), (200, String::new())),
    ] {
        assert_eq!(told(&server, Method::PATCH, path, &patch).await, answer, "{patch}");
    }
    harness::delete(&server, path).await;
    let node = |more: Value| {
        let mut node = more;
        node["apiVersion"] = "v1".into();
        node["kind"] = "Node".into();
        node["metadata"]["name"] = "n1".into();
        node
    };
    for (object, answer) in [
        (node(source("a")), refused("node \"n1\" is not allowed to create pods with a non-nil configSource")),
        (
            node(json!({"metadata": {"labels": {"kubernetes.io/x": ""}}})),
            refused("node \"n1\" is not allowed to set the following labels: kubernetes.io/x"),
        ),
        // As upstream: an owner that it begins with is let through.
        (node(json!({"metadata": {"ownerReferences": owners}})), (201, String::new())),
    ] {
        assert_eq!(told(&server, Method::POST, "/api/v1/nodes", &object).await, answer, "{object}");
    }
    // It may go, where somebody gave it the right to.
    grant(&server, json!([{"apiGroups": [""], "resources": ["nodes"], "verbs": ["delete"]}])).await;
    assert_eq!(told(&server, Method::DELETE, path, &Value::Null).await.0, 200);
}

#[tokio::test]
async fn a_node_says_of_a_claim_how_large_it_is_and_nothing_else() {
    let server = cluster().await;
    let claim = format!("{NAMESPACE}/persistentvolumeclaims/its-n1");
    let refused = |why: &str| (403, format!("persistentvolumeclaims \"its-n1\" is forbidden: {why}"));
    let only = |paths: &str| {
        refused(&format!(
            "node \"n1\" is not allowed to update fields other than status.quantity and status.conditions: {paths}"
        ))
    };
    let condition = json!({"type": "Resizing", "status": "True"});
    for (patch, answer) in [
        (json!({"status": {"capacity": {"storage": "2Gi"}}}), (200, String::new())),
        (json!({"status": {"conditions": [condition]}}), (200, String::new())),
        (json!({"status": {"allocatedResources": {"storage": "2Gi"}}}), (200, String::new())),
        (json!({"status": {"phase": "Lost"}}), only("status.phase")),
        (
            json!({"metadata": {"labels": {"a": "b"}}, "spec": {"resources": {"requests": {"storage": "9Gi"}}}}),
            only("metadata.labels, spec.resources.requests.storage"),
        ),
    ] {
        assert_eq!(told(&server, Method::PATCH, &format!("{claim}/status"), &patch).await, answer, "{patch}");
    }
    grant(
        &server,
        json!([{"apiGroups": [""], "resources": ["persistentvolumeclaims", "pods"], "verbs": ["*"]}]),
    )
    .await;
    let label = json!({"metadata": {"labels": {"a": "b"}}});
    for method in [Method::PATCH, Method::DELETE] {
        assert_eq!(told(&server, method, &claim, &label).await, refused("may only update PVC status"));
    }
    assert_eq!(
        told(&server, Method::PATCH, &format!("{NAMESPACE}/pods/pod-n1"), &label).await,
        (
            403,
            "pods \"pod-n1\" is forbidden: unexpected operation \"UPDATE\", node \"n1\" can only create and delete mirror pods"
                .to_owned()
        )
    );
}

/// What a node is told that wants a token for audiences, of a pod with such volumes.
async fn for_audiences(server: &ApiServer, name: &str, volumes: Value, audiences: &[&str]) -> (u16, String) {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"nodeName": "n1", "serviceAccountName": "its-n1", "containers": [{"name": "c", "image": "i"}],
            "volumes": volumes, "automountServiceAccountToken": false},
    });
    let path = format!("{NAMESPACE}/pods/{name}");
    make(server, &format!("{NAMESPACE}/pods"), pod).await;
    seen(server).await;
    let bound = json!({"apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid(server, &path).await});
    let request = json!({"spec": {"audiences": audiences, "boundObjectRef": bound}});
    told(server, Method::POST, &format!("{NAMESPACE}/serviceaccounts/its-n1/token"), &request).await
}

#[tokio::test]
async fn a_node_gets_tokens_for_those_whom_its_pods_name() {
    let server = cluster().await;
    let storage = "/apis/storage.k8s.io/v1";
    for driver in ["d.io", "file.csi.azure.com"] {
        let object = json!({"apiVersion": "storage.k8s.io/v1", "kind": "CSIDriver", "metadata": {"name": driver},
            "spec": {"tokenRequests": [{"audience": "vault"}]}});
        make(&server, &format!("{storage}/csidrivers"), object).await;
    }
    for (name, source) in [
        ("csi", json!({"csi": {"driver": "d.io", "volumeHandle": "h"}})),
        ("lost", json!({"csi": {"driver": "lost.io", "volumeHandle": "h"}})),
        ("path", json!({"hostPath": {"path": "/x"}})),
    ] {
        let mut volume = json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name},
            "spec": {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}}});
        for (field, value) in source.as_object().unwrap() {
            volume["spec"][field] = value.clone();
        }
        make(&server, "/api/v1/persistentvolumes", volume).await;
        for claim in [name.to_owned(), format!("ephemeral-{name}-v")] {
            let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": claim},
                "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, "volumeName": name}});
            make(&server, &format!("{NAMESPACE}/persistentvolumeclaims"), claim).await;
        }
    }
    let projected = |audience: &str| json!([{"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "t", "audience": audience}}]}}]);
    let claim = |name: &str| json!({"name": name, "persistentVolumeClaim": {"claimName": name}});
    let inline = |driver: &str| json!([{"name": "v", "csi": {"driver": driver}}]);
    let template =
        json!({"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
    let ephemeral = json!([{"name": "v", "ephemeral": {"volumeClaimTemplate": template}}]);
    let azure = json!([{"name": "v", "azureFile": {"secretName": "s", "shareName": "s"}}]);
    let given = || (201, String::new());
    let refused = |why: &str| (403, format!("serviceaccounts \"its-n1\" is forbidden: {why}"));
    let unknown = |audience: &str| {
        refused(&format!(
            "audience {audience:?} not found in pod spec volume, system:node:n1 is not authorized to request tokens for this \
             audience"
        ))
    };
    let problem = |what: &str| refused(&format!("error validating audience \"vault\": {what}"));
    for (name, volumes, audiences, answer) in [
        ("a", projected("vault"), &["vault"][..], given()),
        ("b", projected("vault"), &["other"], unknown("other")),
        // Without an audience it is for the server.
        ("c", projected("vault"), &[], unknown("")),
        ("d", projected(""), &[], given()),
        ("e", projected("vault"), &["vault", "other"], refused("node may only request 0 or 1 audiences")),
        ("f", inline("d.io"), &["vault"], given()),
        ("g", inline("d.io"), &["other"], unknown("other")),
        ("h", inline("lost.io"), &["vault"], problem("csidriver.storage.k8s.io \"lost.io\" not found")),
        ("i", json!([claim("csi")]), &["vault"], given()),
        ("j", json!([claim("path")]), &["vault"], unknown("vault")),
        ("k", json!([claim("none")]), &["vault"], problem("persistentvolumeclaim \"none\" not found")),
        (
            "l",
            json!([claim("none"), claim("lost"), claim("its-n1")]),
            &["vault"],
            problem(
                "[persistentvolumeclaim \"none\" not found, csidriver.storage.k8s.io \"lost.io\" not found, persistentvolume \
                 \"\" not found]",
            ),
        ),
        ("m", json!([claim("none"), claim("csi")]), &["vault"], given()),
        ("n", azure, &["vault"], given()),
        ("o", ephemeral.clone(), &["vault"], problem("persistentvolumeclaim \"o-v\" not found")),
        ("ephemeral-csi", ephemeral, &["vault"], given()),
    ] {
        assert_eq!(
            for_audiences(&server, name, volumes.clone(), audiences).await,
            answer,
            "{name} {volumes}"
        );
    }
    // Whom no pod names, somebody may have allowed for an account.
    let right = "request-serviceaccounts-token-audience";
    grant(
        &server,
        json!([{"apiGroups": [""], "resources": ["registry"], "verbs": [right], "resourceNames": ["its-n1"]}]),
    )
    .await;
    assert_eq!(for_audiences(&server, "x", json!([]), &["registry"]).await, given());
    assert_eq!(for_audiences(&server, "y", json!([]), &["other"]).await, unknown("other"));
}
