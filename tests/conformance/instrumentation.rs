//! Events.

use serde_json::{Value, json};

use crate::kind::{Kind, items, names};
use crate::world::{World, world};

const CONSTANT: &str = "labelSelector=testevent-constant%3Dtrue";
const SET: &str = "labelSelector=testevent-set%3Dtrue";

fn core(world: &World) -> Kind<'_> {
    Kind::namespaced(world, "v1", "Event", "events")
}

fn newer(world: &World) -> Kind<'_> {
    Kind::namespaced(world, "events.k8s.io/v1", "Event", "events")
}

/// An event of the core group; it regards a namespace and nothing in it.
fn core_event(name: &str, label: &str) -> Value {
    json!({
        "metadata": { "name": name, "labels": { label: "true" } },
        "message": format!("This is {name}"),
        "reason": "Test",
        "type": "Normal",
        "count": 1,
        "involvedObject": { "namespace": "conformance" },
    })
}

/// An event of events.k8s.io.
fn newer_event(name: &str, label: &str) -> Value {
    json!({
        "metadata": { "name": name, "labels": { label: "true" } },
        "regarding": { "namespace": "conformance" },
        "eventTime": "2017-09-19T13:49:16.000000Z",
        "note": format!("This is {name}"),
        "action": "Do",
        "reason": "Test",
        "type": "Normal",
        "reportingController": "test-controller",
        "reportingInstance": "test-node",
    })
}

/// Without what the server sets at each write.
fn bare(mut event: Value) -> Value {
    let metadata = event["metadata"].as_object_mut().expect("metadata");
    metadata.remove("resourceVersion");
    metadata.remove("managedFields");
    event
}

#[tokio::test]
async fn events_should_manage_the_lifecycle_of_an_event() {
    let world = world().await;
    let kind = core(&world);
    kind.create(core_event("event-test", "testevent-constant")).await;
    assert_eq!(names(&kind.list_everywhere(CONSTANT).await), ["event-test"]);
    kind.strategic("event-test", json!({ "message": "This is a test event - patched" })).await;
    let found = kind.get("event-test").await;
    assert_eq!(found["message"], "This is a test event - patched");
    let mut changed = bare(found);
    changed["series"] = json!({ "count": 100, "lastObservedTime": "2017-09-19T13:49:16.000000Z" });
    // Without a version: an update of whatever is there.
    world.put(&kind.path("event-test"), changed.clone()).await;
    assert_eq!(bare(kind.get("event-test").await), changed);
    kind.delete("event-test").await;
    assert!(items(&kind.list_everywhere(CONSTANT).await).is_empty());
    world.end().await;
}

#[tokio::test]
async fn events_should_delete_a_collection_of_events() {
    let world = world().await;
    deletes_a_collection(&core(&world), core_event).await;
    world.end().await;
}

#[tokio::test]
async fn events_api_should_delete_a_collection_of_events() {
    let world = world().await;
    deletes_a_collection(&newer(&world), newer_event).await;
    world.end().await;
}

async fn deletes_a_collection(kind: &Kind<'_>, event: fn(&str, &str) -> Value) {
    for name in ["test-event-1", "test-event-2", "test-event-3"] {
        kind.create(event(name, "testevent-set")).await;
    }
    assert_eq!(kind.count(SET).await, 3);
    kind.delete_collection(SET).await;
    assert_eq!(kind.count(SET).await, 0);
}

#[tokio::test]
async fn events_api_should_ensure_that_an_event_can_be_fetched_patched_deleted_and_listed() {
    let world = world().await;
    let kind = newer(&world);
    kind.create(newer_event("event-test", "testevent-constant")).await;
    assert_eq!(names(&kind.list_everywhere(CONSTANT).await), ["event-test"]);
    assert_eq!(names(&kind.list(CONSTANT).await), ["event-test"]);
    // One event, two groups: what the newer calls its controller is the older's source.
    let selected = core(&world).list("fieldSelector=source%3Dtest-controller").await;
    assert_eq!(names(&selected), ["event-test"]);
    let selected = kind.list("fieldSelector=reportingController%3Dtest-controller").await;
    assert_eq!(names(&selected), ["event-test"]);

    let mut wanted = bare(kind.get("event-test").await);
    let patch = json!({ "note": "This is a test event - patched" });
    kind.strategic("event-test", patch).await;
    wanted["note"] = "This is a test event - patched".into();
    assert_eq!(bare(kind.get("event-test").await), wanted);
    wanted["series"] = json!({ "count": 100, "lastObservedTime": "2017-09-19T13:49:16.000000Z" });
    world.put(&kind.path("event-test"), wanted.clone()).await;
    assert_eq!(bare(kind.get("event-test").await), wanted);
    kind.delete("event-test").await;
    assert!(items(&kind.list_everywhere(CONSTANT).await).is_empty());
    assert!(items(&kind.list(CONSTANT).await).is_empty());
    world.end().await;
}
