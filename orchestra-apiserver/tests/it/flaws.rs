//! Known classes of flaws of API servers, each tried.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use http::{Method, Request};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use orchestra_apiserver::{ApiServer, Body, User};
use serde_json::{Value, json};
use tower::{BoxError, ServiceExt};

use crate::harness::{self, get, post, server};

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";

async fn ask(server: &ApiServer, user: &User, method: Method, path: &str, body: Value) -> (u16, Value) {
    let text = if body.is_null() { String::new() } else { body.to_string() };
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", "application/json")
        .body(text)
        .unwrap();
    request.extensions_mut().insert(user.clone());
    harness::json(server.clone().oneshot(request).await.unwrap()).await
}

async fn make(server: &ApiServer, path: &str, object: Value) {
    let (code, made) = post(server, path, &object).await;
    assert_eq!(code, 201, "{made}");
}

/// Gives `jane` everything in the namespace `default`, or by a rule in the whole cluster.
async fn give(server: &ApiServer, rules: Option<Value>) -> User {
    let (kind, path, role) = match rules {
        None => ("RoleBinding", format!("{RBAC}/namespaces/default/rolebindings"), "cluster-admin"),
        Some(rules) => {
            let role = json!({
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
                "metadata": {"name": "given"}, "rules": rules,
            });
            make(server, &format!("{RBAC}/clusterroles"), role).await;
            ("ClusterRoleBinding", format!("{RBAC}/clusterrolebindings"), "given")
        }
    };
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": {"name": "given"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "jane"}],
    });
    make(server, &path, binding).await;
    // Lists, after which the watch cache, by which rights are decided, has what was written.
    for plural in ["clusterroles", "rolebindings", "clusterrolebindings"] {
        assert_eq!(get(server, &format!("{RBAC}/{plural}")).await.0, 200);
    }
    User::new("jane", [])
}

#[tokio::test]
async fn a_path_leads_nowhere_else_however_it_is_written() {
    let server = server().await;
    let jane = give(&server, None).await;
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}});
    make(&server, "/api/v1/namespaces/kube-system/secrets", secret).await;
    for path in [
        "/api/v1/namespaces/default/../kube-system/secrets/s",
        "/api/v1/namespaces/default/secrets/../../kube-system/secrets/s",
        "/api/v1/namespaces/default/secrets/%2e%2e%2f%2e%2e%2fkube-system%2fs",
        "/api/v1/namespaces/default/secrets/..%2Fkube-system%2Fs",
        "/api/v1/namespaces/default%2F..%2Fkube-system/secrets/s",
        "/api/v1/namespaces/default/secrets/..",
        "/api/v1/namespaces/default/secrets/%252e%252e",
        "/api/v1/namespaces//kube-system/secrets/s",
        "/api/v1/namespaces/default/configmaps/..%2Fsecrets%2Fs",
        "//api/v1/namespaces/kube-system/secrets/s",
        "/api/v1/watch/namespaces/kube-system/secrets/s",
        "/api/v1/namespaces/kube-system%00/secrets/s",
    ] {
        for method in [Method::GET, Method::DELETE] {
            let (code, answer) = ask(&server, &jane, method.clone(), path, Value::Null).await;
            assert!((400..=405).contains(&code), "{method} {path}: {code} {answer}");
            assert_eq!(answer["kind"], "Status", "{method} {path}: {answer}");
        }
    }
    assert_eq!(get(&server, "/api/v1/namespaces/kube-system/secrets/s").await.0, 200, "it is still there");
}

#[tokio::test]
async fn a_name_with_a_path_in_it_is_refused_even_to_the_administrator() {
    let server = server().await;
    for (path, message) in [
        ("/api/v1/namespaces/default/configmaps/..", "Name parameter invalid: \"..\": may not be '..'"),
        ("/api/v1/nodes/a%2Fb", "Name parameter invalid: \"a/b\": may not contain '/'"),
        ("/api/v1/nodes/a%25b", "Name parameter invalid: \"a%b\": may not contain '%'"),
        ("/api/v1/namespaces/%2e/configmaps", "Namespace parameter invalid: \".\": may not be '.'"),
    ] {
        let (code, answer) = get(&server, path).await;
        assert_eq!((code, answer["message"].as_str().unwrap()), (400, message));
    }
}

#[tokio::test]
async fn a_namespace_gives_no_rights_over_what_lies_in_none() {
    let server = server().await;
    let jane = give(&server, None).await;
    make(&server, "/api/v1/nodes", json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}}))
        .await;
    for below in
        ["nodes", "nodes/n", "nodes/n/status", "persistentvolumes", "namespaces", "namespaces/kube-system"]
    {
        for method in [Method::GET, Method::DELETE, Method::PUT] {
            let path = format!("/api/v1/namespaces/default/{below}");
            let (code, answer) = ask(&server, &jane, method.clone(), &path, json!({})).await;
            assert_eq!(code, 404, "{method} {path}: {answer}");
        }
    }
    assert_eq!(get(&server, "/api/v1/nodes/n").await.0, 200);
}

#[tokio::test]
async fn small_texts_do_not_grow_large() {
    let server = server().await;
    let mut bomb =
        String::from("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: bomb}\ndata:\n  a: &a0 lol\n");
    for level in 1..40 {
        let one = format!("*a{}", level - 1);
        bomb += &format!("  b{level}: &a{level} [{}]\n", [one.as_str(); 9].join(", "));
    }
    let nested = format!(
        "{{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{{\"name\":\"n\"}},\"data\":{}1{}}}",
        "[".repeat(200_000),
        "]".repeat(200_000)
    );
    for (media, text) in
        [("application/yaml", bomb), ("application/json", nested.clone()), ("application/yaml", nested)]
    {
        let request = Request::post("/api/v1/namespaces/default/configmaps").header("content-type", media);
        let answered =
            tokio::time::timeout(Duration::from_secs(20), harness::send(&server, request, text)).await;
        let (code, answer) = harness::json(answered.expect("it takes for ever")).await;
        assert_eq!(code, 400, "{answer}");
    }
}

#[tokio::test]
async fn roles_that_gather_others_are_no_way_to_more() {
    let server = server().await;
    let rules = json!([
        {"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["clusterroles"], "verbs": ["create", "update", "patch", "get"]},
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]},
    ]);
    let jane = give(&server, Some(rules)).await;
    let path = format!("{RBAC}/clusterroles");
    let role = |name: &str, more: Value| {
        let mut role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": name}});
        for (key, value) in more.as_object().unwrap() {
            role[key] = value.clone();
        }
        role
    };
    let secrets = json!([{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}]);
    let gathers = json!({"clusterRoleSelectors": [{"matchLabels": {"x": "y"}}]});
    let mut labelled = role("labelled", json!({"rules": secrets}));
    labelled["metadata"]["labels"] = json!({"rbac.authorization.k8s.io/aggregate-to-view": "true"});
    for (object, why) in [
        (labelled, "attempting to grant RBAC permissions not currently held"),
        (role("more", json!({"rules": secrets})), "attempting to grant RBAC permissions not currently held"),
        (
            role("gathers", json!({"aggregationRule": gathers})),
            "must have cluster-admin privileges to use an aggregationRule",
        ),
    ] {
        let (code, answer) = ask(&server, &jane, Method::POST, &path, object).await;
        assert_eq!(code, 403, "{answer}");
        assert!(answer["message"].as_str().unwrap().contains(why), "{answer}");
    }
    let held = json!([{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]}]);
    assert_eq!(ask(&server, &jane, Method::POST, &path, role("held", json!({"rules": held}))).await.0, 201);
}

#[tokio::test]
async fn impersonation_gives_no_group_that_was_not_given() {
    let server = server().await;
    let rules = json!([{"apiGroups": [""], "resources": ["users"], "verbs": ["impersonate"], "resourceNames": ["joe"]}]);
    let jane = give(&server, Some(rules)).await;
    for (headers, code) in [
        (vec![("impersonate-user", "joe")], 201),
        (vec![("impersonate-user", "ann")], 403),
        (vec![("impersonate-user", "joe"), ("impersonate-group", "system:masters")], 403),
        (vec![("impersonate-user", "system:node:n1"), ("impersonate-group", "system:nodes")], 403),
        (vec![("impersonate-user", "joe"), ("impersonate-extra-a", "b")], 403),
        (vec![("impersonate-user", "system:serviceaccount:kube-system:default")], 403),
    ] {
        let mut request = Request::post("/apis/authentication.k8s.io/v1/selfsubjectreviews")
            .header("content-type", "application/json")
            .extension(jane.clone());
        for (name, value) in &headers {
            request = request.header(*name, *value);
        }
        let answered = server.clone().oneshot(request.body("{}".to_owned()).unwrap()).await.unwrap();
        assert_eq!(answered.status(), code, "{headers:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_sends_nothing_more_is_answered_in_the_end() {
    let server = server().await;
    let first =
        futures::stream::iter([Ok::<_, BoxError>(Frame::data(Bytes::from_static(b"{\"apiVersion\":")))]);
    let body: Body = StreamBody::new(first.chain(futures::stream::pending())).boxed_unsync();
    let mut request = Request::post("/api/v1/namespaces/default/configmaps").body(body).unwrap();
    request.headers_mut().insert("content-type", "application/json".parse().unwrap());
    request.extensions_mut().insert(User::admin());
    let begun = tokio::time::Instant::now();
    let (code, answer) = harness::json(server.oneshot(request).await.unwrap()).await;
    assert_eq!((code, &answer["reason"]), (504, &json!("Timeout")));
    assert_eq!(begun.elapsed().as_secs(), 60);
}

#[tokio::test]
async fn patches_and_accounts_cost_no_more_than_their_size() {
    let server = server().await;
    let long: Vec<String> = (0..20_000).map(|at| at.to_string()).collect();
    let maps = "/api/v1/namespaces/default/configmaps";
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m", "annotations": {"a": "x".repeat(1000)}}});
    make(&server, maps, map.clone()).await;
    let path = format!("{maps}/m");
    // Each copy doubles what there is.
    let doubling: Vec<Value> = (0..40)
        .map(|at| json!({"op": "copy", "from": "/metadata", "path": format!("/metadata/k{at}")}))
        .collect();
    let (code, answer) =
        harness::patch(&server, &path, "application/json-patch+json", &doubling.into()).await;
    assert_eq!((code, &answer["reason"]), (422, &json!("Invalid")), "{answer}");
    // Each operation moves a long list by one place.
    let mut shifting = vec![json!({"op": "add", "path": "/metadata/finalizers", "value": long})];
    shifting
        .extend((0..9_000).map(|_| json!({"op": "add", "path": "/metadata/finalizers/0", "value": "x/y"})));
    let (code, answer) =
        harness::patch(&server, &path, "application/json-patch+json", &shifting.into()).await;
    assert_eq!((code, &answer["reason"]), (422, &json!("Invalid")), "{answer}");
    // Lists that are merged, long ones on both sides.
    let merged = json!({"metadata": {"finalizers": long, "$deleteFromPrimitiveList/finalizers": long}});
    let strategic = "application/strategic-merge-patch+json";
    let (code, answer) = harness::patch(&server, &path, strategic, &merged).await;
    assert!((200..500).contains(&code), "{code} {answer}");
    // An account with thousands of managers, all of their own version.
    let mut claimed = map;
    claimed["metadata"]["managedFields"] = (0..8_000)
        .map(|at| {
            json!({
                "manager": format!("m{at}"), "operation": "Update", "apiVersion": format!("v{at}"),
                "fieldsType": "FieldsV1", "fieldsV1": {"f:data": {format!("f:k{at}"): {}}},
            })
        })
        .collect();
    let (code, answer) = harness::put(&server, &path, &claimed).await;
    assert!((200..500).contains(&code), "{code} {}", answer["message"]);
}

#[tokio::test]
async fn messages_that_nest_too_deep_are_refused() {
    let server = server().await;
    let within = |tag: &[u8], message: Vec<u8>| {
        let mut out = tag.to_vec();
        let mut length = message.len();
        while length >= 0x80 {
            out.push(length as u8 | 0x80);
            length >>= 7;
        }
        out.push(length as u8);
        out.extend(message);
        out
    };
    // `not` is field 28 of a schema and holds another.
    let schema = (0..5_000).fold(Vec::new(), |schema, _| within(&[0xe2, 0x01], schema));
    // spec, versions, schema, openAPIV3Schema.
    let definition = [0x0a, 0x22, 0x3a, 0x12].iter().fold(schema, |message, tag| within(&[*tag], message));
    let body = [b"k8s\0".to_vec(), within(&[0x12], definition)].concat();
    let mut request = Request::post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions")
        .header("content-type", "application/vnd.kubernetes.protobuf")
        .body(http_body_util::Full::new(Bytes::from(body)))
        .unwrap();
    request.extensions_mut().insert(User::admin());
    let (code, answer) = harness::json(server.oneshot(request).await.unwrap()).await;
    assert_eq!((code, &answer["reason"]), (400, &json!("BadRequest")), "{answer}");
}
