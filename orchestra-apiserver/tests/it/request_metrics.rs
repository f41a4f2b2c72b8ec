//! What the server counts of its own work, read at `/metrics` as monitoring reads it.

use std::collections::BTreeMap;
use std::time::Duration;

use http::Request;
use http_body_util::BodyExt;
use orchestra_apiserver::{ApiServer, User};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::harness::{delete, get, patch, post, send, server};
use crate::metrics::metrics;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}})
}

/// Labels of a request about ConfigMaps, in the order in which they are shown.
fn labels(dry_run: &str, scope: &str, verb: &str) -> String {
    format!(
        r#"component="apiserver",dry_run="{dry_run}",group="",resource="configmaps",scope="{scope}",subresource="",verb="{verb}",version="v1""#
    )
}

fn requests(found: &BTreeMap<String, f64>, code: u16, labels: &str) -> f64 {
    let name = format!(r#"apiserver_request_total{{code="{code}",{labels}}}"#);
    found.get(&name).copied().unwrap_or_default()
}

#[tokio::test]
async fn requests_are_counted_under_the_labels_of_upstream() {
    let server = server().await;
    assert_eq!(post(&server, MAPS, &map("a")).await.0, 201);
    assert_eq!(post(&server, MAPS, &map("a")).await.0, 409);
    assert_eq!(post(&server, &format!("{MAPS}?dryRun=All"), &map("b")).await.0, 201);
    assert_eq!(get(&server, &format!("{MAPS}/a")).await.0, 200);
    assert_eq!(get(&server, &format!("{MAPS}/absent")).await.0, 404);
    assert_eq!(get(&server, MAPS).await.0, 200);
    assert_eq!(get(&server, "/api/v1/configmaps").await.0, 200);
    let apply = "application/apply-patch+yaml";
    let path = format!("{MAPS}/a?fieldManager=me");
    assert_eq!(patch(&server, &path, apply, &map("a")).await.0, 200);
    assert_eq!(delete(&server, &format!("{MAPS}/a")).await.0, 200);
    let found = metrics(&server).await;
    for (code, dry_run, scope, verb) in [
        (201, "", "resource", "POST"),
        (409, "", "resource", "POST"),
        (201, "All", "resource", "POST"),
        (200, "", "resource", "GET"),
        (404, "", "resource", "GET"),
        (200, "", "namespace", "LIST"),
        (200, "", "cluster", "LIST"),
        (200, "", "resource", "APPLY"),
        (200, "", "resource", "DELETE"),
    ] {
        assert_eq!(requests(&found, code, &labels(dry_run, scope, verb)), 1.0, "{code} {verb} {scope}");
    }
    let posts = labels("", "resource", "POST");
    assert_eq!(found[&format!("apiserver_request_duration_seconds_count{{{posts}}}")], 2.0);
    assert_eq!(found[&format!(r#"apiserver_request_duration_seconds_bucket{{le="60",{posts}}}"#)], 2.0);
    let listed = labels("", "namespace", "LIST").replace(r#"dry_run="","#, "");
    let (count, sum) = ("apiserver_response_sizes_count", "apiserver_response_sizes_sum");
    assert_eq!(found[&format!("{count}{{{listed}}}")], 1.0);
    assert!(found[&format!("{sum}{{{listed}}}")] > 100.0);
    assert!(found[r#"apiserver_current_inflight_requests{request_kind="mutating"}"#] >= 1.0);
    assert!(found["process_resident_memory_bytes"] > 1e6);
    assert!(found.keys().any(|name| name.starts_with("kubernetes_build_info{")));
}

#[tokio::test]
async fn a_watch_counts_while_it_is_open_and_when_it_ends() {
    let server = server().await;
    tokio::time::pause();
    let response = send(&server, Request::get(format!("{MAPS}?watch=true&resourceVersion=0")), "").await;
    let mut body = response.into_body();
    let open = r#"apiserver_longrunning_requests{component="apiserver",group="",resource="configmaps",scope="namespace",subresource="",verb="WATCH",version="v1"}"#;
    assert_eq!(metrics(&server).await[open], 1.0);
    assert_eq!(post(&server, MAPS, &map("a")).await.0, 201);
    let mut seen = String::new();
    while !seen.contains("\"a\"") {
        let frame = body.frame().await.unwrap().unwrap().into_data().unwrap();
        seen.push_str(std::str::from_utf8(&frame).unwrap());
    }
    tokio::time::advance(Duration::from_secs(45)).await;
    drop(body);
    let found = metrics(&server).await;
    assert_eq!(found[open], 0.0);
    let watches = labels("", "namespace", "WATCH");
    assert_eq!(requests(&found, 200, &watches), 1.0);
    assert!(found[&format!("apiserver_request_duration_seconds_sum{{{watches}}}")] >= 45.0);
    let resource = r#"group="",resource="configmaps",version="v1""#;
    let events = found[&format!("apiserver_watch_events_total{{{resource}}}")];
    assert!(events >= 1.0, "{events}");
    assert_eq!(found[&format!("apiserver_watch_events_sizes_count{{{resource}}}")], events);
    let cache = r#"group="",resource="configmaps""#;
    assert_eq!(found[&format!("apiserver_watch_cache_events_received_total{{{cache}}}")], 1.0);
    assert_eq!(found[&format!("apiserver_watch_cache_initializations_total{{{cache}}}")], 1.0);
    assert!(found[&format!("apiserver_watch_cache_resource_version{{{cache}}}")] > 1.0);
}

#[tokio::test]
async fn who_asks_and_what_admission_says_is_counted() {
    let server = server().await;
    let somebody = User::new("ann@example.com", ["readers".to_owned()]);
    let ask = async |user: Option<User>| {
        let request = match user {
            Some(user) => Request::get(MAPS).extension(user),
            None => Request::get(MAPS).header("authorization", "Bearer nonsense"),
        };
        server.clone().oneshot(request.body(String::new()).unwrap()).await.unwrap().status().as_u16()
    };
    assert_eq!((ask(None).await, ask(Some(somebody)).await), (401, 403));
    let lost = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}});
    assert_eq!(post(&server, "/api/v1/namespaces/absent/configmaps", &lost).await.0, 404);
    let found = metrics(&server).await;
    assert_eq!(found[r#"authentication_attempts{result="failure"}"#], 1.0);
    assert_eq!(found[r#"authenticated_user_requests{username="email_id"}"#], 1.0);
    assert_eq!(found[r#"authorization_attempts_total{result="no-opinion"}"#], 1.0);
    assert!(found[r#"authorization_attempts_total{result="allowed"}"#] >= 1.0);
    assert!(found[r#"authentication_duration_seconds_count{result="success"}"#] >= 2.0);
    let rejected = r#"name="NamespaceLifecycle",operation="CREATE",rejected="true""#;
    let refused: f64 = found
        .iter()
        .filter(|(name, _)| {
            name.starts_with("apiserver_admission_controller_admission_duration_seconds_count")
                && name.contains(rejected)
        })
        .map(|(_, count)| count)
        .sum();
    assert_eq!(refused, 1.0);
    // Refused before any handler saw it: upstream does not count such a request either.
    assert_eq!(requests(&found, 403, &labels("", "namespace", "LIST")), 0.0);
}

/// Sends whatever a stranger or an administrator may make up.
async fn make_up(server: &ApiServer, n: usize) {
    for (method, path) in [
        ("GET", format!("/api/v1/namespaces/default/things{n}")),
        ("GET", format!("/apis/group{n}.example.com/v1/things")),
        ("GET", format!("/apis/apps/v9{n}/deployments")),
        ("GET", format!("/api/v1/namespaces/default/pods/web/sub{n}")),
        ("GET", format!("/healthz/{n}")),
        ("GET", format!("{MAPS}?dryRun={n}")),
        ("GET", format!("/made/up/{n}")),
        ("POST", format!("/apis/group{n}.example.com/v1/things")),
    ] {
        let request = Request::builder().method(method).uri(path);
        send(server, request, "").await;
    }
    let verb = format!("VERB{n}");
    send(server, Request::builder().method(verb.as_str()).uri(MAPS), "").await;
    let stranger = User::new(format!("stranger-{n}"), []);
    let request = Request::get(MAPS).extension(stranger).body(String::new()).unwrap();
    server.clone().oneshot(request).await.unwrap();
}

#[tokio::test]
async fn whoever_makes_things_up_makes_no_series() {
    let server = server().await;
    make_up(&server, 0).await;
    let before = metrics(&server).await;
    for n in 1..50 {
        make_up(&server, n).await;
    }
    let after = metrics(&server).await;
    let new: Vec<&String> = after.keys().filter(|name| !before.contains_key(*name)).collect();
    assert!(new.is_empty(), "{new:#?}");
}
