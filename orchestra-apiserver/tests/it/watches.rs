//! Following collections.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use http::Request;
use http_body_util::BodyExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{WatchEvent, WatchParams};
use orchestra_apiserver::{ApiServer, Body, Limits, RuntimeClock};
use orchestra_store::MemoryStore;
use serde_json::{Value, json};
use tokio::time::{Duration, Instant};

use crate::harness::{delete, get, patch, post, send, server};

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// The events of a watch, one JSON object each.
struct Events {
    body: Body,
    buffer: Vec<u8>,
}

impl Events {
    async fn open(server: &ApiServer, query: &str) -> Self {
        let response = send(server, Request::get(format!("{CONFIG_MAPS}?watch=true&{query}")), "").await;
        assert_eq!(response.status(), 200);
        Self { body: response.into_body(), buffer: Vec::new() }
    }

    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.buffer.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            let frame = self.body.frame().await?.unwrap();
            self.buffer.extend_from_slice(&frame.into_data().unwrap());
        }
    }

    /// The next event's type and name.
    async fn brief(&mut self) -> (String, String) {
        let event = self.next().await.unwrap();
        let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
        (text(&event["type"]), text(&event["object"]["metadata"]["name"]))
    }
}

fn pair(kind: &str, name: &str) -> (String, String) {
    (kind.to_owned(), name.to_owned())
}

async fn make(server: &ApiServer, name: &str, labels: Value) -> Value {
    post(server, CONFIG_MAPS, &json!({"metadata": {"name": name, "labels": labels}})).await.1
}

#[tokio::test]
async fn kube_sees_what_happens() {
    let server = server().await;
    let maps: Api<ConfigMap> = Api::default_namespaced(server.client("default"));
    make(&server, "a", json!({})).await;
    let mut events = maps.watch(&WatchParams::default(), "0").await.unwrap().boxed();
    assert!(
        matches!(events.try_next().await.unwrap(), Some(WatchEvent::Added(m)) if m.metadata.name.as_deref() == Some("a"))
    );
    make(&server, "b", json!({})).await;
    assert!(matches!(events.try_next().await.unwrap(), Some(WatchEvent::Added(_))));
    delete(&server, &format!("{CONFIG_MAPS}/a")).await;
    assert!(matches!(events.try_next().await.unwrap(), Some(WatchEvent::Deleted(_))));
}

#[tokio::test]
async fn a_watch_resumes_from_the_version_of_a_write() {
    let server = server().await;
    let made = make(&server, "a", json!({})).await;
    // Writes elsewhere move the store on before anybody reads config maps.
    post(&server, "/api/v1/namespaces", &json!({"metadata": {"name": "n"}})).await;
    make(&server, "b", json!({})).await;
    let version = made["metadata"]["resourceVersion"].as_str().unwrap();
    let mut events = Events::open(&server, &format!("resourceVersion={version}")).await;
    assert_eq!(events.brief().await, pair("ADDED", "b"));
    make(&server, "c", json!({})).await;
    assert_eq!(events.brief().await, pair("ADDED", "c"));
}

#[tokio::test]
async fn an_object_that_stops_matching_is_deleted_for_the_watcher() {
    let server = server().await;
    let mut events = Events::open(&server, "labelSelector=x%3Dy").await;
    make(&server, "a", json!({"x": "z"})).await;
    let label = |value: &str| json!({"metadata": {"labels": {"x": value}}});
    let path = format!("{CONFIG_MAPS}/a");
    patch(&server, &path, "application/merge-patch+json", &label("y")).await;
    assert_eq!(events.brief().await, pair("ADDED", "a"));
    let (_, left) = patch(&server, &path, "application/merge-patch+json", &label("z")).await;
    let event = events.next().await.unwrap();
    assert_eq!(event["type"], "DELETED");
    assert_eq!(event["object"]["metadata"]["labels"]["x"], "y");
    assert_eq!(event["object"]["metadata"]["resourceVersion"], left["metadata"]["resourceVersion"]);
}

#[tokio::test]
async fn initial_events_end_with_a_bookmark() {
    let server = server().await;
    make(&server, "a", json!({})).await;
    let query = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut events = Events::open(&server, query).await;
    let mut last = events.next().await.unwrap();
    while last["type"] == "ADDED" {
        last = events.next().await.unwrap();
    }
    assert_eq!(last["type"], "BOOKMARK");
    assert_eq!(last["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
}

#[tokio::test(start_paused = true)]
async fn bookmarks_come_and_the_timeout_ends_the_watch() {
    let server = server().await;
    let (_, list) = get(&server, CONFIG_MAPS).await;
    let version = list["metadata"]["resourceVersion"].as_str().unwrap();
    let query = format!("resourceVersion={version}&allowWatchBookmarks=true&timeoutSeconds=90");
    let mut events = Events::open(&server, &query).await;
    assert_eq!(events.next().await.unwrap()["type"], "BOOKMARK");
    assert_eq!(events.next().await.unwrap()["type"], "BOOKMARK");
    assert_eq!(events.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn watchers_are_woken_at_once_and_then_not_before_the_pace() {
    const PACE: Duration = Duration::from_secs(5);
    let mut limits = Limits::default();
    limits.watch_pace = PACE;
    let server = ApiServer::builder(Arc::new(MemoryStore::new())).limits(limits).build().await.unwrap();
    let mut events = Events::open(&server, "resourceVersion=0").await;
    // Whatever was written while the server began has been told.
    tokio::time::sleep(PACE * 2).await;
    let start = Instant::now();
    make(&server, "first", json!({})).await;
    assert_eq!(events.brief().await, pair("ADDED", "first"));
    assert!(start.elapsed() < PACE, "{:?}", start.elapsed());
    for name in ["second", "third"] {
        make(&server, name, json!({})).await;
    }
    for name in ["second", "third"] {
        assert_eq!(events.brief().await, pair("ADDED", name));
        // The clock stands still but for what somebody waits for: both came with one waking.
        assert!(start.elapsed() >= PACE && start.elapsed() < PACE * 2, "{:?}", start.elapsed());
    }
}

#[tokio::test]
async fn who_shares_what_is_sent_sees_all_of_it_once_and_nothing_else() {
    let server = server().await;
    let all = CONFIG_MAPS.replace("/namespaces/default", "");
    let (_, list) = get(&server, &all).await;
    let begin = list["metadata"]["resourceVersion"].as_str().unwrap();
    let whole = send(&server, Request::get(format!("{all}?watch=true&resourceVersion={begin}")), "").await;
    let mut others = vec![Events { body: whole.into_body(), buffer: Vec::new() }];
    let other_place = CONFIG_MAPS.replace("default", "other");
    post(&server, "/api/v1/namespaces", &json!({"metadata": {"name": "other"}})).await;
    let whole = send(&server, Request::get(format!("{other_place}?watch=true&resourceVersion=0")), "").await;
    others.push(Events { body: whole.into_body(), buffer: Vec::new() });
    let mut alike = Vec::new();
    let mut expected = Vec::new();
    for round in 0..4 {
        // One more each time, which begins with the state.
        let mut late = Events::open(&server, "").await;
        let mut there: Vec<_> = expected.iter().map(|(_, name): &(String, String)| name.clone()).collect();
        there.dedup();
        there.retain(|name| expected.iter().filter(|(_, of)| of == name).all(|(kind, _)| kind != "DELETED"));
        for name in there {
            assert_eq!(late.brief().await, pair("ADDED", &name));
        }
        alike.push((late, expected.len()));
        let (kept, gone) = (format!("kept-{round}"), format!("gone-{round}"));
        for name in [&kept, &gone] {
            make(&server, name, json!({})).await;
            post(&server, &other_place, &json!({"metadata": {"name": name}})).await;
        }
        delete(&server, &format!("{CONFIG_MAPS}/{gone}")).await;
        expected.extend([pair("ADDED", &kept), pair("ADDED", &gone), pair("DELETED", &gone)]);
        for (events, seen) in &mut alike {
            for event in &expected[*seen..] {
                assert_eq!(events.brief().await, *event);
            }
            *seen = expected.len();
        }
        for name in [&kept, &gone] {
            assert_eq!(others[1].brief().await, pair("ADDED", name));
            assert_eq!(others[0].brief().await, pair("ADDED", name));
            assert_eq!(others[0].brief().await, pair("ADDED", name));
        }
        assert_eq!(others[0].brief().await, pair("DELETED", &gone));
    }
}

#[tokio::test]
async fn a_lost_history_is_an_error_event() {
    use std::sync::Arc;

    use orchestra_store::{MemoryStore, Revision, Store};

    let store = Arc::new(MemoryStore::new());
    let server = ApiServer::builder(store.clone()).build().await.unwrap();
    let made = make(&server, "a", json!({})).await;
    make(&server, "b", json!({})).await;
    let at: u64 = made["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
    store.compact(Revision(at + 1)).await.unwrap();
    let mut events = Events::open(&server, "resourceVersion=1").await;
    let event = events.next().await.unwrap();
    assert_eq!(event["type"], "ERROR");
    assert_eq!((&event["object"]["code"], &event["object"]["reason"]), (&json!(410), &json!("Expired")));
    assert_eq!(events.next().await, None);
}

#[tokio::test]
async fn a_watch_can_be_a_table() {
    let server = server().await;
    make(&server, "a", json!({})).await;
    let request = Request::get(format!("{CONFIG_MAPS}?watch=true"))
        .header("accept", "application/json;as=Table;v=v1;g=meta.k8s.io,application/json");
    let mut events = Events { body: send(&server, request, "").await.into_body(), buffer: Vec::new() };
    let event = events.next().await.unwrap();
    assert_eq!(event["object"]["kind"], "Table");
    assert_eq!(event["object"]["columnDefinitions"][0]["name"], "Name");
    assert_eq!(event["object"]["rows"][0]["cells"][0], "a");
    assert_eq!(event["object"]["rows"][0]["object"]["kind"], "PartialObjectMetadata");
}

#[tokio::test(start_paused = true)]
async fn ages_in_a_watched_table_are_those_of_the_moment() {
    let clock = RuntimeClock::starting_at(Timestamp::UNIX_EPOCH);
    let server = ApiServer::builder(Arc::new(MemoryStore::new())).clock(clock).build().await.unwrap();
    make(&server, "old", json!({})).await;
    let request = Request::get(format!("{CONFIG_MAPS}?watch=true"))
        .header("accept", "application/json;as=Table;v=v1;g=meta.k8s.io,application/json");
    let mut events = Events { body: send(&server, request, "").await.into_body(), buffer: Vec::new() };
    assert_eq!(events.next().await.unwrap()["object"]["rows"][0]["cells"][2], "0s");
    tokio::time::advance(std::time::Duration::from_secs(90)).await;
    make(&server, "new", json!({})).await;
    assert_eq!(events.next().await.unwrap()["object"]["rows"][0]["cells"][2], "0s");
    patch(
        &server,
        &format!("{CONFIG_MAPS}/old"),
        "application/merge-patch+json",
        &json!({"data": {"a": "b"}}),
    )
    .await;
    assert_eq!(events.next().await.unwrap()["object"]["rows"][0]["cells"][2], "90s");
}

#[tokio::test]
async fn one_object_can_be_watched_by_its_path() {
    let server = server().await;
    let request = Request::get(format!("{CONFIG_MAPS}/b?watch=true"));
    let mut events = Events { body: send(&server, request, "").await.into_body(), buffer: Vec::new() };
    make(&server, "a", json!({})).await;
    make(&server, "b", json!({})).await;
    assert_eq!(events.brief().await, pair("ADDED", "b"));
}

#[tokio::test]
async fn a_watcher_that_falls_behind_reads_on_from_the_store() {
    let server = server().await;
    let mut events = Events::open(&server, "resourceVersion=0").await;
    // More than a collection remembers, written before the watcher looks.
    let count = 1500;
    for n in 0..count {
        make(&server, &format!("m{n}"), json!({})).await;
    }
    for n in 0..count {
        assert_eq!(events.brief().await, pair("ADDED", &format!("m{n}")));
    }
}

#[tokio::test]
async fn watches_end_when_the_server_stops() {
    let server = server().await;
    let mut events = Events::open(&server, "").await;
    make(&server, "a", json!({})).await;
    assert_eq!(events.brief().await, pair("ADDED", "a"));
    server.stop_watches();
    assert_eq!(events.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn a_watch_without_a_timeout_lasts_half_an_hour_to_an_hour() {
    let server = server().await;
    let began = tokio::time::Instant::now();
    // `timeout` is for other requests.
    let mut events = Events::open(&server, "resourceVersion=1&timeout=5s").await;
    while events.next().await.is_some() {}
    let lasted = began.elapsed().as_secs();
    assert!((1800..3600).contains(&lasted), "{lasted}");
}

#[tokio::test(start_paused = true)]
async fn a_watch_from_the_future_is_silent_until_it_comes() {
    let server = server().await;
    let made = make(&server, "a", json!({})).await;
    let at: u64 = made["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
    let mut events = Events::open(&server, &format!("resourceVersion={}&timeoutSeconds=60", at + 2)).await;
    for name in ["b", "c", "d"] {
        make(&server, name, json!({})).await;
    }
    assert_eq!(events.brief().await, pair("ADDED", "d"));
    assert_eq!(events.next().await, None);
}

#[tokio::test]
async fn a_watch_of_nothing_in_particular_begins_with_what_is_there() {
    let server = server().await;
    make(&server, "a", json!({})).await;
    for query in ["", "resourceVersion=0", "sendInitialEvents=true&resourceVersionMatch=NotOlderThan"] {
        let mut events = Events::open(&server, query).await;
        assert_eq!(events.brief().await, pair("ADDED", "a"), "{query}");
    }
    let query = "sendInitialEvents=false&resourceVersionMatch=NotOlderThan";
    let mut events = Events::open(&server, query).await;
    make(&server, "b", json!({})).await;
    assert_eq!(events.brief().await, pair("ADDED", "b"));
}

#[tokio::test]
async fn the_end_of_the_initial_events_names_the_version_they_are_of() {
    let server = server().await;
    let made = make(&server, "a", json!({})).await;
    let query = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&labelSelector=none";
    let mut events = Events::open(&server, query).await;
    let bookmark = events.next().await.unwrap();
    assert_eq!((&bookmark["type"], &bookmark["object"]["kind"]), (&json!("BOOKMARK"), &json!("ConfigMap")));
    let at = |object: &Value| object["metadata"]["resourceVersion"].as_str().unwrap().parse::<u64>().unwrap();
    assert!(at(&bookmark["object"]) >= at(&made));
    // What comes behind it is whatever happens later, in the form of a change.
    make(&server, "b", json!({"none": "x"})).await;
    assert_eq!(events.brief().await, pair("ADDED", "b"));
}

#[tokio::test]
async fn all_watchers_see_the_same_order() {
    let server = server().await;
    let mut first = Events::open(&server, "resourceVersion=0").await;
    for n in 0..20 {
        make(&server, &format!("m{n}"), json!({})).await;
    }
    let mut second = Events::open(&server, "resourceVersion=1").await;
    let mut orders = [Vec::new(), Vec::new()];
    for (events, order) in [&mut first, &mut second].into_iter().zip(&mut orders) {
        while order.len() < 20 {
            let (_, name) = events.brief().await;
            if name.starts_with('m') {
                order.push(name);
            }
        }
    }
    assert_eq!(orders[0], orders[1]);
}

/// Who watches one value of a field has a box of his own and must miss nothing by it.
#[tokio::test]
async fn a_watcher_of_one_value_sees_what_comes_to_it_and_what_leaves_it() {
    let server = server().await;
    let pods = "/api/v1/namespaces/default/pods";
    post(&server, "/api/v1/namespaces/default/serviceaccounts", &json!({"metadata": {"name": "default"}}))
        .await;
    let open = async |node: &str| {
        let path = format!("{pods}?watch=true&fieldSelector=spec.nodeName%3D{node}");
        let response = send(&server, Request::get(path), "").await;
        Events { body: response.into_body(), buffer: Vec::new() }
    };
    let (mut nowhere, mut first, mut second) = (open("").await, open("n1").await, open("n2").await);
    for (name, node) in [("a", "n1"), ("b", "n2"), ("c", "n1")] {
        let pod = json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
        assert_eq!(post(&server, pods, &pod).await.0, 201);
        let binding = json!({"metadata": {"name": name}, "target": {"kind": "Node", "name": node}});
        assert_eq!(post(&server, &format!("{pods}/{name}/binding"), &binding).await.0, 201);
    }
    delete(&server, &format!("{pods}/c?gracePeriodSeconds=0")).await;
    for name in ["a", "b", "c"] {
        assert_eq!(nowhere.brief().await, pair("ADDED", name));
        assert_eq!(nowhere.brief().await, pair("DELETED", name));
    }
    assert_eq!(first.brief().await, pair("ADDED", "a"));
    assert_eq!(first.brief().await, pair("ADDED", "c"));
    assert_eq!(first.brief().await, pair("DELETED", "c"));
    assert_eq!(second.brief().await, pair("ADDED", "b"));
}

#[tokio::test]
async fn a_watcher_of_one_value_who_does_not_come_for_long_misses_nothing() {
    let server = server().await;
    make(&server, "a", json!({})).await;
    let mut events = Events::open(&server, "fieldSelector=metadata.name%3Da&resourceVersion=0").await;
    assert_eq!(events.brief().await, pair("ADDED", "a"));
    // More than its box holds, and more than the history of the collection.
    for round in 0..1500 {
        let label = json!({"metadata": {"labels": {"round": round.to_string()}}});
        patch(&server, &format!("{CONFIG_MAPS}/a"), "application/merge-patch+json", &label).await;
        if round % 10 == 0 {
            make(&server, &format!("other-{round}"), json!({})).await;
        }
    }
    for round in 0..1500 {
        let event = events.next().await.unwrap();
        assert_eq!(
            (&event["type"], &event["object"]["metadata"]["labels"]["round"]),
            (&json!("MODIFIED"), &json!(round.to_string()))
        );
    }
}

#[tokio::test]
async fn a_watcher_of_one_value_resumes_from_before_it_came() {
    let server = server().await;
    let made = make(&server, "a", json!({})).await;
    let version = made["metadata"]["resourceVersion"].as_str().unwrap();
    make(&server, "b", json!({})).await;
    delete(&server, &format!("{CONFIG_MAPS}/a")).await;
    let query = format!("fieldSelector=metadata.name%3Da&resourceVersion={version}");
    let mut events = Events::open(&server, &query).await;
    make(&server, "a", json!({})).await;
    assert_eq!(events.brief().await, pair("DELETED", "a"));
    assert_eq!(events.brief().await, pair("ADDED", "a"));
}
