//! Claims of devices: whose rights reach how far.

use http::{Method, Request};
use orchestra_apiserver::{ApiServer, User};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::harness::{self, patch, post, server};

const CLAIMS: &str = "/apis/resource.k8s.io/v1/namespaces/default/resourceclaims";
const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";

async fn patch_status(server: &ApiServer, user: &User, status: &Value) -> (u16, Value) {
    let request = Request::builder()
        .method(Method::PATCH)
        .uri(format!("{CLAIMS}/c/status"))
        .header("content-type", "application/merge-patch+json");
    let mut request = request.body(json!({"status": status}).to_string()).unwrap();
    request.extensions_mut().insert(user.clone());
    harness::json(server.clone().oneshot(request).await.unwrap()).await
}

/// Gives a user rights in the whole cluster, as rules of `resource.k8s.io`: resources, verbs, names.
async fn grant(server: &ApiServer, user: &str, rules: &[(&str, &[&str], &[&str])]) {
    let rules: Vec<Value> = rules
        .iter()
        .map(|(resource, verbs, names)| {
            json!({"apiGroups": ["resource.k8s.io"], "resources": [resource], "verbs": verbs, "resourceNames": names})
        })
        .collect();
    let name = user.rsplit(':').next().unwrap();
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": name}, "rules": rules});
    let (code, made) = post(server, &format!("{RBAC}/clusterroles"), &role).await;
    assert_eq!(code, 201, "{made}");
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
        "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": user}],
    });
    let (code, made) = post(server, &format!("{RBAC}/clusterrolebindings"), &binding).await;
    assert_eq!(code, 201, "{made}");
    // A rule counts once the watch cache has it.
    assert_eq!(harness::get(server, &format!("{RBAC}/clusterrolebindings")).await.0, 200);
    assert_eq!(harness::get(server, &format!("{RBAC}/clusterroles")).await.0, 200);
}

fn claim(name: &str, request: Value) -> Value {
    json!({"apiVersion": "resource.k8s.io/v1", "kind": "ResourceClaim", "metadata": {"name": name},
        "spec": {"devices": {"requests": [request]}}})
}

fn plain(name: &str) -> Value {
    json!({"name": name, "exactly": {"deviceClassName": "d"}})
}

/// Devices of a driver on a node, given to a pod.
fn allocation() -> Value {
    json!({
        "devices": {"results": [{"request": "r", "driver": "d.io", "pool": "p", "device": "one"}]},
        "nodeSelector": {"nodeSelectorTerms": [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n"]}]}]},
    })
}

fn state_of_device(ready: &str) -> Value {
    json!({"devices": [{"driver": "d.io", "pool": "p", "device": "one", "conditions": [
        {"type": "Ready", "status": ready, "reason": "r", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}]})
}

#[tokio::test]
async fn who_writes_a_claims_status_needs_a_right_for_each_part_of_it() {
    let server = server().await;
    assert_eq!(post(&server, CLAIMS, &claim("c", plain("r"))).await.0, 201);
    let status: (&str, &[&str], &[&str]) = ("resourceclaims/status", &["patch", "update"], &[]);
    grant(&server, "nobody", &[status]).await;
    grant(&server, "allocator", &[status, ("resourceclaims/binding", &["patch"], &[])]).await;
    grant(&server, "everywhere", &[status, ("resourceclaims/driver", &["arbitrary-node:patch"], &["d.io"])])
        .await;
    let here = "system:serviceaccount:default:driver";
    grant(&server, here, &[status, ("resourceclaims/driver", &["associated-node:patch"], &["d.io"])]).await;
    let on = |name: &str, node: &str| {
        let mut user = User::new(name, []);
        user.extra.insert("authentication.kubernetes.io/node-name".to_owned(), vec![node.to_owned()]);
        user
    };

    // Devices and users are the allocator's.
    let allocated = json!({"allocation": allocation()});
    let (code, refusal) = patch_status(&server, &User::new("nobody", []), &allocated).await;
    assert_eq!(code, 422, "{refusal}");
    assert_eq!(
        refusal["message"],
        "ResourceClaim.resource.k8s.io \"c\" is invalid: status: Forbidden: changing status.allocation or status.reservedFor \
         requires resource=\"resourceclaims/binding\", verb=\"patch\" permission: resourceclaims.resource.k8s.io is forbidden: \
         User \"nobody\" cannot patch resource \"resourceclaims/binding\" in API group \"resource.k8s.io\" at the cluster scope"
    );
    assert_eq!(patch_status(&server, &on(here, "n"), &allocated).await.0, 422);
    let (code, taken) = patch_status(&server, &User::new("allocator", []), &allocated).await;
    assert_eq!(code, 200, "{taken}");
    let reserved = json!({"reservedFor": [{"resource": "pods", "name": "p", "uid": "u"}]});
    assert_eq!(patch_status(&server, &User::new("everywhere", []), &reserved).await.0, 422);
    assert_eq!(patch_status(&server, &User::new("allocator", []), &reserved).await.0, 200);
    // Who changes nothing needs no more than before.
    assert_eq!(patch_status(&server, &User::new("nobody", []), &reserved).await.0, 200);

    // What becomes of devices is their driver's, on their node or everywhere.
    let (code, refusal) = patch_status(&server, &on(here, "m"), &state_of_device("True")).await;
    assert_eq!(code, 422, "{refusal}");
    assert_eq!(
        refusal["details"]["causes"][0],
        json!({"reason": "FieldValueForbidden", "field": "status.devices", "message":
            "Forbidden: changing status.devices requires resource=\"resourceclaims/driver\", verb=\"[arbitrary-node:patch]\" \
             permission: resourceclaims.resource.k8s.io \"d.io\" is forbidden: User \"system:serviceaccount:default:driver\" \
             cannot arbitrary-node:patch resource \"resourceclaims/driver\" in API group \"resource.k8s.io\" in the namespace \"default\""})
    );
    assert_eq!(patch_status(&server, &User::new("allocator", []), &state_of_device("True")).await.0, 422);
    // A name like an account's is none of its own.
    assert_eq!(patch_status(&server, &on("nobody", "n"), &state_of_device("True")).await.0, 422);
    let (code, taken) = patch_status(&server, &on(here, "n"), &state_of_device("True")).await;
    assert_eq!(code, 200, "{taken}");
    assert_eq!(patch_status(&server, &User::new("everywhere", []), &state_of_device("False")).await.0, 200);
    let (_, refusal) =
        patch_status(&server, &on("system:serviceaccount:default:other", "n"), &json!({})).await;
    assert_eq!(refusal["code"], 403, "without the right to the status there is none to its parts: {refusal}");
}

#[tokio::test]
async fn devices_are_an_administrators_in_namespaces_that_say_so() {
    let server = server().await;
    let wanted = json!({"name": "r", "exactly": {"deviceClassName": "d", "adminAccess": true}});
    let template = |request: Value| {
        json!({"apiVersion": "resource.k8s.io/v1", "kind": "ResourceClaimTemplate", "metadata": {"name": "t"},
            "spec": {"spec": {"devices": {"requests": [plain("first"), request]}}}})
    };
    let templates = CLAIMS.replace("resourceclaims", "resourceclaimtemplates");
    let why = "Forbidden: admin access to devices requires the `resource.kubernetes.io/admin-access: true` label on the \
               containing namespace";
    for (path, object, field) in [
        (CLAIMS, claim("a", wanted.clone()), "spec.devices.requests[0].adminAccess"),
        (&*templates, template(wanted.clone()), "spec.devices.requests[1].adminAccess"),
    ] {
        let (code, refusal) = post(&server, path, &object).await;
        let causes = json!([{"reason": "FieldValueForbidden", "field": field, "message": why}]);
        assert_eq!((code, &refusal["details"]["causes"]), (422, &causes), "{refusal}");
    }
    // Nor can it be had by way of the status.
    assert_eq!(post(&server, CLAIMS, &claim("c", plain("r"))).await.0, 201);
    let mut granted = allocation();
    granted["devices"]["results"][0]["adminAccess"] = true.into();
    let (code, refusal) = patch_status(&server, &User::admin(), &json!({"allocation": granted})).await;
    let field = "status.allocation.devices.results[0].adminAccess";
    assert_eq!((code, &refusal["details"]["causes"][0]["field"]), (422, &json!(field)), "{refusal}");

    let label = json!({"metadata": {"labels": {"resource.kubernetes.io/admin-access": "true"}}});
    let media = "application/merge-patch+json";
    assert_eq!(patch(&server, "/api/v1/namespaces/default", media, &label).await.0, 200);
    assert_eq!(post(&server, CLAIMS, &claim("a", wanted.clone())).await.0, 201);
    assert_eq!(post(&server, &templates, &template(wanted)).await.0, 201);
    let (code, taken) = patch_status(&server, &User::admin(), &json!({"allocation": granted})).await;
    assert_eq!(code, 200, "{taken}");
}

#[tokio::test]
async fn a_device_has_a_state_when_it_was_given_and_a_class_stands_for_a_resource_of_others() {
    let server = server().await;
    assert_eq!(post(&server, CLAIMS, &claim("c", plain("r"))).await.0, 201);
    let admin = User::admin();
    let causes = |field: &str, message: &str| {
        (
            422,
            json!([{"reason": "FieldValueInvalid", "field": field, "message": format!("Invalid value: {message}")}]),
        )
    };
    let refused = |answer: (u16, Value)| (answer.0, answer.1["details"]["causes"].clone());
    // Before anything is given, and of what was not.
    let own = r#"{"Driver":"d.io","Pool":"p","Device":"one","ShareID":""}"#;
    let not_given = format!("{own}: must be an allocated device in the claim");
    let state = state_of_device("True");
    let answer = patch_status(&server, &admin, &state).await;
    assert_eq!(refused(answer), causes("status.devices[0]", &not_given));
    let mut odd = allocation();
    odd["devices"]["results"][0]["request"] = "other".into();
    let reference = "\"other\": must be the name of a request in the claim or the name of a request and a subrequest separated by '/'";
    let answer = patch_status(&server, &admin, &json!({"allocation": odd})).await;
    assert_eq!(refused(answer), causes("status.allocation.devices.results[0].request", reference));

    assert_eq!(patch_status(&server, &admin, &json!({"allocation": allocation()})).await.0, 200);
    let (code, taken) = patch_status(&server, &admin, &state).await;
    assert_eq!(code, 200, "{taken}");
    let mut network = state.clone();
    network["devices"][0]["networkData"] = json!({"ips": ["10.0.0.1"]});
    let answer = patch_status(&server, &admin, &network).await;
    assert_eq!(
        refused(answer),
        causes(
            "status.devices[0].networkData.ips[0]",
            "\"10.0.0.1\": must be a valid address in CIDR form, (e.g. 10.9.8.7/24 or 2001:db8::1/64)"
        )
    );

    let class = |name: &str, resource: &str| {
        json!({"apiVersion": "resource.k8s.io/v1", "kind": "DeviceClass", "metadata": {"name": name},
            "spec": {"extendedResourceName": resource}})
    };
    let classes = "/apis/resource.k8s.io/v1/deviceclasses";
    assert_eq!(post(&server, classes, &class("a", "d.io/gpu")).await.0, 201);
    let implicit = "deviceclass.resource.kubernetes.io/a";
    assert_eq!(
        refused(post(&server, classes, &class("b", implicit)).await),
        causes("spec.extendedResourceName", &format!("{implicit:?}: must be a valid extended resource name"))
    );
}

#[tokio::test]
async fn devices_count_for_quotas_of_their_class_and_of_the_resource_that_it_stands_for() {
    let server = server().await;
    let class = json!({"apiVersion": "resource.k8s.io/v1", "kind": "DeviceClass", "metadata": {"name": "gpu"},
        "spec": {"extendedResourceName": "x.io/gpu"}});
    assert_eq!(post(&server, "/apis/resource.k8s.io/v1/deviceclasses", &class).await.0, 201);
    let (by_class, number) =
        ("gpu.deviceclass.resource.k8s.io/devices", "count/resourceclaims.resource.k8s.io");
    let (implicit, resource) = ("requests.deviceclass.resource.kubernetes.io/gpu", "requests.x.io/gpu");
    let hard = json!({by_class: "4", number: "9", implicit: "9", resource: "4"});
    let quotas = "/api/v1/namespaces/default/resourcequotas";
    let quota = json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q"}, "spec": {"hard": hard}});
    assert_eq!(post(&server, quotas, &quota).await.0, 201);
    let none = json!({by_class: "0", number: "0", implicit: "0", resource: "0"});
    let status = json!({"status": {"hard": hard, "used": none}});
    let media = "application/merge-patch+json";
    assert_eq!(patch(&server, &format!("{quotas}/q/status"), media, &status).await.0, 200);
    let used = async || {
        let (_, quota) = harness::get(&server, &format!("{quotas}/q")).await;
        [by_class, number, implicit, resource]
            .map(|name| quota["status"]["used"][name].as_str().unwrap().to_owned())
    };
    let devices = |name: &str, count: i64| {
        claim(name, json!({"name": "r", "exactly": {"deviceClassName": "gpu", "count": count}}))
    };
    assert_eq!(post(&server, CLAIMS, &devices("a", 2)).await.0, 201);
    assert_eq!(used().await, ["2", "1", "2", "2"]);
    let (code, refusal) = post(&server, CLAIMS, &devices("b", 3)).await;
    assert_eq!(code, 403);
    assert_eq!(
        refusal["message"],
        "resourceclaims.resource.k8s.io \"b\" is forbidden: exceeded quota: q, requested: \
         gpu.deviceclass.resource.k8s.io/devices=3,requests.x.io/gpu=3, used: \
         gpu.deviceclass.resource.k8s.io/devices=2,requests.x.io/gpu=2, limited: \
         gpu.deviceclass.resource.k8s.io/devices=4,requests.x.io/gpu=4"
    );
    // A pod that asks for the resource, and the claim that a scheduler makes for it, are charged once for it.
    let list = json!({"x.io/gpu": "2"});
    let resources = json!({"requests": list, "limits": list});
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
        "spec": {"containers": [{"name": "c", "image": "i", "resources": resources}]}});
    let (code, made) = post(&server, "/api/v1/namespaces/default/pods", &pod).await;
    assert_eq!(code, 201, "{made}");
    assert_eq!(used().await, ["2", "1", "2", "4"]);
    let for_pod = |name: &str| {
        let mut claim = devices(name, 2);
        claim["metadata"]["annotations"] = json!({"resource.kubernetes.io/extended-resource-claim": "true"});
        claim["metadata"]["ownerReferences"] = json!([{"apiVersion": "v1", "kind": "Pod", "name": "p",
            "uid": made["metadata"]["uid"], "controller": true}]);
        claim
    };
    let (code, answer) = post(&server, CLAIMS, &for_pod("c")).await;
    assert_eq!(code, 201, "{answer}");
    assert_eq!(used().await, ["4", "2", "4", "4"]);
    // Another that says the same is charged as any.
    assert_eq!(post(&server, CLAIMS, &for_pod("d")).await.0, 403);
}
