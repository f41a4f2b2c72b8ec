//! The table of rights: every route and every verb, as everybody who is not the administrator.
//!
//! What is not in the table is refused. A kind that is new is refused to all of them, or somebody has thought about it.

use std::collections::BTreeSet;

use http::{Method, Request};
use orchestra_apiserver::{ApiServer, User};
use serde_json::json;
use tower::ServiceExt;

use crate::custom;
use crate::harness::{self, server};

/// What everybody may ask about themselves.
const SELF: &[&str] = &[
    "create authentication.k8s.io/selfsubjectreviews",
    "create authorization.k8s.io/selfsubjectaccessreviews",
    "create authorization.k8s.io/selfsubjectrulesreviews",
];
/// Beside what lies below their own name, which `nodes.rs` tries.
const NODE: &[&str] = &[
    "create authentication.k8s.io/tokenreviews",
    "create authorization.k8s.io/localsubjectaccessreviews",
    "create authorization.k8s.io/subjectaccessreviews",
    "create certificates.k8s.io/certificatesigningrequests",
    "get certificates.k8s.io/certificatesigningrequests",
    "list certificates.k8s.io/certificatesigningrequests",
    "watch certificates.k8s.io/certificatesigningrequests",
    "create /events",
    "patch /events",
    "update /events",
    "get /endpoints",
    "create /nodes",
    "patch /nodes",
    "update /nodes",
    "patch /nodes/status",
    "update /nodes/status",
    "create /pods",
    "delete /pods",
    "create /pods/eviction",
    "patch /pods/status",
    "update /pods/status",
    "get /services",
    "list /services",
    "watch /services",
    // Of which node it is, admission looks at.
    "create resource.k8s.io/resourceslices",
    "create storage.k8s.io/csinodes",
    "get storage.k8s.io/csidrivers",
    "list storage.k8s.io/csidrivers",
    "watch storage.k8s.io/csidrivers",
    "get node.k8s.io/runtimeclasses",
    "list node.k8s.io/runtimeclasses",
    "watch node.k8s.io/runtimeclasses",
];
const HEALTH: &[&str] = &["/healthz", "/livez", "/readyz", "/version"];
const DISCOVERY: &[&str] = &["/api", "/api/v1", "/apis", "/apis/apps/v1", "/openapi/v2", "/openapi/v3"];
const ISSUER: &[&str] = &["/.well-known/openid-configuration", "/openid/v1/jwks"];
/// Paths that are nobody's but the administrator's.
const INNER: &[&str] = &[
    "/metrics",
    "/metrics/slis",
    "/orchestra/v1/snapshot",
    "/orchestra/v1/encryption",
    "/logs",
    "/debug/pprof",
];

/// The people of the table: who, which verbs on resources, which paths.
fn people() -> Vec<(Option<User>, Vec<&'static str>, Vec<&'static str>)> {
    let account = User::new(
        "system:serviceaccount:elsewhere:bot",
        ["system:serviceaccounts".to_owned(), "system:serviceaccounts:elsewhere".to_owned()],
    );
    vec![
        (None, vec![], HEALTH.to_vec()),
        (Some(User::new("jane", [])), SELF.to_vec(), [HEALTH, DISCOVERY].concat()),
        (Some(account), SELF.to_vec(), [HEALTH, DISCOVERY, ISSUER].concat()),
        (Some(User::node("n1")), [SELF, NODE].concat(), [HEALTH, DISCOVERY].concat()),
    ]
}

struct Route {
    /// As the table names it: `VERB GROUP/RESOURCE`.
    line: String,
    method: Method,
    path: String,
}

/// Every verb of every resource that discovery tells of.
async fn routes(server: &ApiServer) -> Vec<Route> {
    let mut versions = vec![("".to_owned(), "/api/v1".to_owned())];
    for group in harness::get(server, "/apis").await.1["groups"].as_array().unwrap() {
        for version in group["versions"].as_array().unwrap() {
            let name = group["name"].as_str().unwrap().to_owned();
            versions.push((name, format!("/apis/{}", version["groupVersion"].as_str().unwrap())));
        }
    }
    let mut routes = Vec::new();
    for (group, base) in versions {
        for resource in harness::get(server, &base).await.1["resources"].as_array().unwrap() {
            let name = resource["name"].as_str().unwrap();
            let (plural, below) =
                name.split_once('/').map_or((name, None), |(plural, below)| (plural, Some(below)));
            let place = if resource["namespaced"] == json!(true) { "/namespaces/default" } else { "" };
            let collection = format!("{base}{place}/{plural}");
            let object = match below {
                Some(below) => format!("{collection}/x/{below}"),
                None => format!("{collection}/x"),
            };
            for verb in resource["verbs"].as_array().unwrap() {
                let verb = verb.as_str().unwrap();
                let (method, path) = match verb {
                    "create" if below.is_some() => (Method::POST, object.clone()),
                    "create" => (Method::POST, collection.clone()),
                    "list" => (Method::GET, collection.clone()),
                    "watch" => (Method::GET, format!("{collection}?watch=true&timeoutSeconds=1")),
                    "deletecollection" => (Method::DELETE, collection.clone()),
                    "get" => (Method::GET, object.clone()),
                    "update" => (Method::PUT, object.clone()),
                    "patch" => (Method::PATCH, object.clone()),
                    "delete" => (Method::DELETE, object.clone()),
                    other => panic!("{other} is a verb the table does not know"),
                };
                routes.push(Route { line: format!("{verb} {group}/{name}"), method, path });
            }
        }
    }
    routes
}

/// Whether authorization lets a request in, whatever becomes of it then.
async fn is_let_in(server: &ApiServer, user: Option<&User>, method: &Method, path: &str) -> bool {
    let media = if method == Method::PATCH { "application/merge-patch+json" } else { "application/json" };
    let body = if matches!(*method, Method::GET | Method::DELETE) { "" } else { "{}" };
    let mut request = Request::builder().method(method.clone()).uri(path).header("content-type", media);
    if let Some(user) = user {
        request = request.extension(user.clone());
    }
    let response = server.clone().oneshot(request.body(body.to_owned()).unwrap()).await.unwrap();
    if response.status() != 403 {
        assert_ne!(response.status(), 401, "{method} {path}");
        return true;
    }
    let (_, refusal) = harness::json(response).await;
    !refusal["message"].as_str().unwrap().contains(" cannot ")
}

#[tokio::test]
async fn every_route_is_decided_as_the_table_says() {
    let server = server().await;
    let routes = routes(&server).await;
    assert!(routes.len() > 200, "discovery tells of {} routes", routes.len());
    let served: BTreeSet<&str> = routes.iter().map(|route| route.line.as_str()).collect();
    for (user, lines, paths) in people() {
        let name = user.as_ref().map_or("nobody", |user| &user.name);
        let wanted: BTreeSet<&str> = lines.into_iter().filter(|line| served.contains(line)).collect();
        let mut found = BTreeSet::new();
        for route in &routes {
            if is_let_in(&server, user.as_ref(), &route.method, &route.path).await {
                found.insert(route.line.as_str());
            }
        }
        assert_eq!(found, wanted, "{name}");
        for path in [HEALTH, DISCOVERY, ISSUER, INNER].concat() {
            let may = is_let_in(&server, user.as_ref(), &Method::GET, path).await;
            assert_eq!(may, paths.contains(&path), "{name} at {path}");
        }
        for path in ["/", "/apis/no.such/v1/things", "/api/v1/namespaces/default/nothings/x/y"] {
            let may = is_let_in(&server, user.as_ref(), &Method::GET, path).await;
            assert!(!may, "{name} at {path}");
        }
    }
}

#[tokio::test]
async fn the_administrator_may_everything() {
    let server = server().await;
    let admin = User::admin();
    for route in routes(&server).await {
        assert!(is_let_in(&server, Some(&admin), &route.method, &route.path).await, "{}", route.line);
    }
}

/// Every path of Kubernetes with its methods, and those of a kind made at run time, which discovery does not name: the
/// status and scale of custom objects, proxies and their tails, reviews, the issuer.
async fn paths(server: &ApiServer) -> Vec<(Method, String)> {
    let method = |name: &str| Method::from_bytes(name.to_uppercase().as_bytes()).unwrap();
    let mut paths = Vec::new();
    for line in include_str!("data/api-paths-1.36.tsv").lines().filter(|line| !line.starts_with('#')) {
        let (path, verbs) = line.split_once('\t').unwrap();
        let path = path.replace("{namespace}", "default").replace("{name}", "x").replace("{path}", "y");
        paths.extend(verbs.split(' ').map(|verb| (method(verb.split('=').next().unwrap()), path.clone())));
    }
    let lamps = custom::lamps(json!({"subresources": {
        "status": {}, "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"},
    }}));
    custom::define(server, &lamps).await;
    for below in ["", "/x", "/x/status", "/x/scale", "/x/other"] {
        let path = format!("{}{below}", custom::LAMPS);
        paths.extend(["get", "post", "put", "patch", "delete"].map(|name| (method(name), path.clone())));
    }
    paths.push((Method::GET, "/apis/example.com/v1/lamps?watch=true&timeoutSeconds=1".to_owned()));
    paths
}

/// What is open to whoever has a name, beside discovery.
const OPEN: &[&str] = &[
    "POST /apis/authentication.k8s.io/v1/selfsubjectreviews",
    "POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
    "POST /apis/authorization.k8s.io/v1/selfsubjectrulesreviews",
];

#[tokio::test]
async fn no_path_is_open_that_the_table_does_not_name() {
    let server = server().await;
    let paths = paths(&server).await;
    assert!(paths.len() > 650, "{} methods at paths", paths.len());
    let named = [Some(User::new("jane", [])), Some(User::new("system:serviceaccount:elsewhere:bot", []))];
    for user in [None].into_iter().chain(named) {
        let name = user.as_ref().map_or("nobody", |user| &user.name);
        for (method, path) in &paths {
            let is_discovery = *method == Method::GET && path.ends_with('/') && !path.starts_with("/openid");
            let line = format!("{method} {path}");
            let wanted = match user {
                None => path == "/version/",
                Some(_) => is_discovery || OPEN.contains(&line.as_str()),
            };
            assert_eq!(is_let_in(&server, user.as_ref(), method, path).await, wanted, "{name}: {line}");
        }
    }
}
