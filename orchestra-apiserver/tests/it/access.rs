//! Who may do what: roles and bindings at work, and people who act as others.

use http::{Method, Request};
use k8s_openapi::api::core::v1::Pod;
use orchestra_apiserver::{ApiServer, User};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::harness::{self, server};

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";

async fn ask(
    server: &ApiServer,
    user: &User,
    method: Method,
    path: &str,
    body: Option<Value>,
) -> (u16, Value) {
    ask_as(server, user, &[], method, path, body).await
}

async fn ask_as(
    server: &ApiServer,
    user: &User,
    headers: &[(&str, &str)],
    method: Method,
    path: &str,
    body: Option<Value>,
) -> (u16, Value) {
    let mut request = Request::builder().method(method).uri(path).header("content-type", "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut request = request.body(body.map(|body| body.to_string()).unwrap_or_default()).unwrap();
    request.extensions_mut().insert(user.clone());
    harness::json(server.clone().oneshot(request).await.unwrap()).await
}

fn role(name: &str, verbs: Value) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": name},
        "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": verbs}],
    })
}

fn binding(name: &str, kind: &str, role: &str, user: &str) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role},
        "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": user}],
    })
}

/// Repeats a request until its code is `code`: a rule counts once the watch cache has it.
async fn until(code: u16, server: &ApiServer, user: &User, path: &str) -> Value {
    let attempt = async {
        loop {
            let (got, answer) = ask(server, user, Method::GET, path, None).await;
            if got == code {
                return answer;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), attempt).await.expect("the rule never counted")
}

#[tokio::test]
async fn a_role_counts_as_soon_as_it_is_bound_and_no_longer_than_it_is() {
    let (server, admin, jane) = (server().await, User::admin(), User::new("jane", []));
    let maps = "/api/v1/namespaces/default/configmaps";
    let (code, refusal) = ask(&server, &jane, Method::GET, maps, None).await;
    assert_eq!(code, 403);
    assert_eq!(
        refusal["message"],
        "configmaps is forbidden: User \"jane\" cannot list resource \"configmaps\" in API group \"\" in the namespace \"default\""
    );
    let roles = format!("{RBAC}/namespaces/default/roles");
    let bindings = format!("{RBAC}/namespaces/default/rolebindings");
    assert_eq!(ask(&server, &admin, Method::POST, &roles, Some(role("r", json!(["list"])))).await.0, 201);
    assert_eq!(
        ask(&server, &admin, Method::POST, &bindings, Some(binding("b", "Role", "r", "jane"))).await.0,
        201
    );
    until(200, &server, &jane, maps).await;
    assert_eq!(ask(&server, &jane, Method::GET, "/api/v1/configmaps", None).await.0, 403);
    assert_eq!(ask(&server, &admin, Method::DELETE, &format!("{bindings}/b"), None).await.0, 200);
    until(403, &server, &jane, maps).await;
}

#[tokio::test]
async fn nobody_gives_away_more_than_they_have() {
    let (server, admin, jane) = (server().await, User::admin(), User::new("jane", []));
    let bindings = format!("{RBAC}/namespaces/default/rolebindings");
    let roles = format!("{RBAC}/namespaces/default/roles");
    let made =
        ask(&server, &admin, Method::POST, &bindings, Some(binding("a", "ClusterRole", "admin", "jane")))
            .await;
    assert_eq!(made.0, 201);
    until(200, &server, &jane, &roles).await;
    // What an administrator of the namespace holds, they may pass on.
    assert_eq!(ask(&server, &jane, Method::POST, &roles, Some(role("mine", json!(["get"])))).await.0, 201);
    let (code, refusal) =
        ask(&server, &jane, Method::POST, &roles, Some(role("more", json!(["escalate", "get"])))).await;
    assert_eq!(code, 403);
    assert_eq!(
        refusal["message"],
        "roles.rbac.authorization.k8s.io \"more\" is forbidden: user \"jane\" (groups=[\"system:authenticated\"]) is \
         attempting to grant RBAC permissions not currently held:\n{APIGroups:[\"\"], Resources:[\"configmaps\"], \
         Verbs:[\"escalate\"]}"
    );
    let (code, _) = ask(
        &server,
        &jane,
        Method::POST,
        &bindings,
        Some(binding("b", "ClusterRole", "cluster-admin", "joe")),
    )
    .await;
    assert_eq!(code, 403);
    let (code, missing) =
        ask(&server, &jane, Method::POST, &bindings, Some(binding("c", "Role", "nowhere", "joe"))).await;
    assert_eq!((code, &missing["reason"]), (404, &json!("NotFound")));
    let (code, _) =
        ask(&server, &jane, Method::POST, &bindings, Some(binding("d", "ClusterRole", "view", "joe"))).await;
    assert_eq!(code, 201);
}

#[tokio::test]
async fn a_review_says_what_is_allowed_and_why() {
    let (server, admin, jane) = (server().await, User::admin(), User::new("jane", []));
    let bindings = format!("{RBAC}/namespaces/default/rolebindings");
    ask(&server, &admin, Method::POST, &bindings, Some(binding("v", "ClusterRole", "view", "jane"))).await;
    until(200, &server, &jane, "/api/v1/namespaces/default/configmaps").await;
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {"namespace": "default", "verb": "get", "resource": "pods"}},
    });
    let (code, answer) = ask(&server, &jane, Method::POST, path, Some(review)).await;
    assert_eq!(code, 201);
    assert_eq!(
        answer["status"],
        json!({
            "allowed": true,
            "reason": "RBAC: allowed by RoleBinding \"v/default\" of ClusterRole \"view\" to User \"jane\"",
        })
    );
    let path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews";
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview", "spec": {"namespace": "default"},
    });
    let (code, answer) = ask(&server, &jane, Method::POST, path, Some(review)).await;
    assert_eq!((code, &answer["status"]["incomplete"]), (201, &json!(false)));
    let rules = answer["status"]["resourceRules"].as_array().unwrap();
    assert!(rules.iter().any(|rule| rule["resources"].as_array().unwrap().contains(&json!("pods/log"))));
    let paths = answer["status"]["nonResourceRules"].as_array().unwrap();
    assert!(
        paths.iter().any(|rule| rule["nonResourceURLs"].as_array().unwrap().contains(&json!("/version")))
    );
}

#[tokio::test]
async fn who_may_impersonate_acts_as_the_other_and_nobody_else_does() {
    let (server, admin, jane) = (server().await, User::admin(), User::new("jane", []));
    let whoami = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let review = || Some(json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}));
    let as_bot = [("Impersonate-User", "system:serviceaccount:default:bot")];
    let (code, answer) = ask_as(&server, &admin, &as_bot, Method::POST, whoami, review()).await;
    assert_eq!(code, 201);
    assert_eq!(
        answer["status"]["userInfo"],
        json!({
            "username": "system:serviceaccount:default:bot",
            "groups": ["system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated"],
        })
    );
    let (code, _) =
        ask_as(&server, &admin, &as_bot, Method::GET, "/api/v1/namespaces/default/secrets", None).await;
    assert_eq!(code, 403, "the administrator's own rights are left behind");
    let as_admin = [("Impersonate-User", "root"), ("Impersonate-Group", "system:masters")];
    let (code, refusal) = ask_as(&server, &jane, &as_admin, Method::GET, "/api/v1/nodes", None).await;
    assert_eq!(code, 403);
    assert_eq!(
        refusal["message"],
        "users \"root\" is forbidden: User \"jane\" cannot impersonate resource \"users\" in API group \"\" at the cluster scope"
    );
}

#[tokio::test]
async fn the_default_roles_are_kept_right_at_every_start() {
    use orchestra_store::MemoryStore;
    use std::sync::Arc;
    let (store, admin) = (MemoryStore::new(), User::admin());
    let server = ApiServer::builder(Arc::new(store.clone())).build().await.unwrap();
    let path = format!("{RBAC}/clusterroles/system:basic-user");
    let (_, mut role) = ask(&server, &admin, Method::GET, &path, None).await;
    assert_eq!(role["metadata"]["labels"]["kubernetes.io/bootstrapping"], "rbac-defaults");
    let whole = role["rules"].clone();
    role["rules"].as_array_mut().unwrap().pop();
    assert_eq!(ask(&server, &admin, Method::PUT, &path, Some(role)).await.0, 200);
    drop(server);
    let server = ApiServer::builder(Arc::new(store)).build().await.unwrap();
    let (_, role) = ask(&server, &admin, Method::GET, &path, None).await;
    assert_eq!(role["rules"], whole);
    let pods: kube::Api<Pod> = kube::Api::all(server.client_as(User::new("jane", []), "default"));
    assert!(
        matches!(pods.list(&Default::default()).await, Err(kube::Error::Api(status)) if status.code == 403)
    );
}

#[tokio::test]
async fn controllers_accounts_have_their_roles_and_get_them_back_at_the_next_start() {
    use orchestra_store::MemoryStore;
    use std::sync::Arc;
    let (store, admin) = (MemoryStore::new(), User::admin());
    let account = User::new("system:serviceaccount:kube-system:deployment-controller", []);
    let (sets, secrets) =
        ("/apis/apps/v1/namespaces/default/replicasets", "/api/v1/namespaces/default/secrets");
    let binding = format!("{RBAC}/clusterrolebindings/system:controller:deployment-controller");
    let server = ApiServer::builder(Arc::new(store.clone())).build().await.unwrap();
    assert_eq!(ask(&server, &account, Method::GET, sets, None).await.0, 200);
    assert_eq!(ask(&server, &account, Method::GET, secrets, None).await.0, 403);
    assert_eq!(ask(&server, &admin, Method::DELETE, &binding, None).await.0, 200);
    until(403, &server, &account, sets).await;
    drop(server);
    let server = ApiServer::builder(Arc::new(store)).build().await.unwrap();
    assert_eq!(ask(&server, &account, Method::GET, sets, None).await.0, 200);
    let (_, roles) = ask(&server, &admin, Method::GET, &format!("{RBAC}/clusterroles"), None).await;
    let roles = roles["items"].as_array().unwrap();
    let named = |role: &&Value| role["metadata"]["name"].as_str().unwrap().starts_with("system:controller:");
    assert_eq!(roles.iter().filter(named).count(), 38);
}

#[tokio::test]
async fn rights_in_one_namespace_reach_no_other() {
    let (server, admin, jane) = (server().await, User::admin(), User::new("jane", []));
    let bindings = format!("{RBAC}/namespaces/default/rolebindings");
    ask(
        &server,
        &admin,
        Method::POST,
        &bindings,
        Some(binding("all", "ClusterRole", "cluster-admin", "jane")),
    )
    .await;
    until(200, &server, &jane, "/api/v1/namespaces/default/configmaps").await;
    assert_eq!(ask(&server, &jane, Method::GET, "/api/v1/namespaces/default", None).await.0, 200);
    for (method, path) in [
        (Method::GET, "/api/v1/namespaces/default/namespaces"),
        (Method::GET, "/api/v1/namespaces/default/namespaces/kube-system"),
        (Method::DELETE, "/api/v1/namespaces/default/namespaces/kube-system"),
    ] {
        assert_eq!(ask(&server, &jane, method, path, None).await.0, 404, "{path}");
    }
    assert_eq!(ask(&server, &admin, Method::GET, "/api/v1/namespaces/kube-system", None).await.0, 200);
    let review = |namespace: &str| {
        Some(json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "LocalSubjectAccessReview",
            "metadata": {"namespace": "default"},
            "spec": {"user": "x", "resourceAttributes": {"namespace": namespace, "verb": "get", "resource": "pods"}},
        }))
    };
    let reviews = "/apis/authorization.k8s.io/v1/namespaces/default/localsubjectaccessreviews";
    assert_eq!(ask(&server, &jane, Method::POST, reviews, review("default")).await.0, 201);
    assert_eq!(ask(&server, &jane, Method::POST, reviews, review("kube-system")).await.0, 400);
    let wide = "/apis/authorization.k8s.io/v1/namespaces/default/subjectaccessreviews";
    assert_eq!(ask(&server, &jane, Method::POST, wide, review("kube-system")).await.0, 404);
}

#[tokio::test]
async fn who_may_only_update_creates_nothing_by_a_put() {
    let (server, admin, jane) = (server().await, User::admin(), User::new("jane", []));
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "u"},
        "rules": [{"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "update"]}],
    });
    ask(&server, &admin, Method::POST, &format!("{RBAC}/namespaces/default/roles"), Some(role)).await;
    let bindings = format!("{RBAC}/namespaces/default/rolebindings");
    ask(&server, &admin, Method::POST, &bindings, Some(binding("u", "Role", "u", "jane"))).await;
    let path = "/apis/coordination.k8s.io/v1/namespaces/default/leases/l";
    until(404, &server, &jane, path).await;
    let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "l"}});
    let (code, refusal) = ask(&server, &jane, Method::PUT, path, Some(lease.clone())).await;
    assert_eq!(code, 403);
    assert!(refusal["message"].as_str().unwrap().contains("cannot create resource"), "{refusal}");
    assert_eq!(ask(&server, &admin, Method::PUT, path, Some(lease)).await.0, 201);
}
