//! Who manages which field of an object that is written through several versions.

use orchestra_apiserver::ApiServer;
use serde_json::{Value, json};

use super::conversion::{DOORS, V1, V2, convert, converting, door, success, told};
use crate::harness::{delete, get, patch, post, put, server};
use crate::hook::Said;

const APPLY: &str = "application/apply-patch+yaml";
const MERGE: &str = "application/merge-patch+json";

async fn apply(server: &ApiServer, path: &str, manager: &str, spec: Value) -> (u16, Value) {
    let version = if path == V1 { "v1" } else { "v2" };
    let config = json!({"apiVersion": format!("example.com/{version}"), "kind": "Door", "metadata": {"name": "front"}, "spec": spec});
    patch(server, &format!("{path}/front?fieldManager={manager}"), APPLY, &config).await
}

/// Manager, version and fields of each entry, by manager: the entries themselves are in the order of their seconds.
fn account(object: &Value) -> Value {
    let entries = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let told = |entry: &Value| {
        let version = entry["apiVersion"].as_str().unwrap().rsplit('/').next().unwrap();
        json!([entry["manager"], version, entry["fieldsV1"]["f:spec"]])
    };
    let mut all: Vec<Value> = entries.iter().map(told).collect();
    all.sort_by_key(|entry| entry[0].as_str().unwrap().to_owned());
    all.into()
}

#[tokio::test]
async fn a_field_set_through_one_version_is_refused_through_the_other() {
    let (server, _hook) = converting().await;
    assert_eq!(apply(&server, V1, "one", json!({"hostPort": "a:1"})).await.0, 201);
    let (code, refused) = apply(&server, V2, "two", json!({"host": "b"})).await;
    assert_eq!((code, &refused["reason"]), (409, &json!("Conflict")), "{refused}");
    assert_eq!(
        refused["details"]["causes"],
        json!([{"reason": "FieldManagerConflict", "message": "conflict with \"one\"", "field": ".spec.hostPort"}])
    );
    let (code, shared) = apply(&server, V2, "two", json!({"host": "a"})).await;
    assert_eq!(
        (code, account(&shared)),
        (200, json!([["one", "v1", {"f:hostPort": {}}], ["two", "v2", {"f:host": {}}]]))
    );
    let (code, refused) = apply(&server, V1, "one", json!({"hostPort": "b:1"})).await;
    assert_eq!((code, &refused["details"]["causes"][0]["field"]), (409, &json!(".spec.host")), "{refused}");
    let (code, moved) = apply(&server, V1, "one", json!({"hostPort": "a:2"})).await;
    assert_eq!((code, &moved["spec"]["hostPort"]), (200, &json!("a:2")), "the port is nobody else's");
    let path = format!("{V2}?force=true");
    let config = json!({"apiVersion": "example.com/v2", "kind": "Door", "metadata": {"name": "front"}, "spec": {"host": "c"}});
    let forced = path.replace('?', "/front?fieldManager=three&");
    let (code, taken) = patch(&server, &forced, APPLY, &config).await;
    assert_eq!(
        (code, &taken["spec"], account(&taken)),
        (200, &json!({"host": "c", "port": "2"}), json!([["three", "v2", {"f:host": {}}]]))
    );
}

#[tokio::test]
async fn other_writes_take_what_they_change_in_every_version() {
    let (server, _hook) = converting().await;
    apply(&server, V2, "one", json!({"host": "a", "port": "1"})).await;
    let path = format!("{V1}/front?fieldManager=two");
    let (code, patched) = patch(&server, &path, MERGE, &json!({"spec": {"hostPort": "a:2"}})).await;
    assert_eq!(
        (code, account(&patched)),
        (200, json!([["one", "v2", {"f:host": {}}], ["two", "v1", {"f:hostPort": {}}]]))
    );
    let (_, mut object) = get(&server, &format!("{V2}/front")).await;
    object["spec"] = json!({"host": "b", "port": "2"});
    let (code, replaced) = put(&server, &format!("{V2}/front?fieldManager=three"), &object).await;
    assert_eq!((code, account(&replaced)), (200, json!([["three", "v2", {"f:host": {}}]])));
    let status = json!({"status": {"open": true}});
    let path = format!("{V1}/front/status?fieldManager=four");
    let (code, opened) = patch(&server, &path, MERGE, &status).await;
    assert_eq!(code, 200);
    assert_eq!(
        account(&opened),
        json!([["four", "v1", null], ["three", "v2", {"f:host": {}}]]),
        "a status written through another version takes nothing of the rest"
    );
}

#[tokio::test]
async fn what_is_left_out_of_a_configuration_goes_in_whichever_version_it_was_applied() {
    let (server, _hook) = converting().await;
    apply(&server, V1, "one", json!({"hostPort": "a:1"})).await;
    let (code, same) = apply(&server, V2, "one", json!({"host": "a", "port": "1"})).await;
    assert_eq!(
        (code, account(&same)),
        (200, json!([["one", "v2", {"f:host": {}, "f:port": {}}]])),
        "who applies has one entry whatever the version"
    );
    let (_, shared) = apply(&server, V1, "two", json!({"hostPort": "a:1"})).await;
    assert_eq!(account(&shared).as_array().unwrap().len(), 2);
    let (code, kept) = apply(&server, V2, "one", json!({})).await;
    assert_eq!((code, &kept["spec"]), (200, &json!({"host": "a", "port": "1"})), "the other has both");
}

#[tokio::test]
async fn who_cannot_convert_hinders_applying_and_no_other_write() {
    let (server, how) = told().await;
    apply(&server, V2, "one", json!({"host": "a", "port": "1"})).await;
    *how.lock().unwrap() = Box::new(|_| Said::Raw(503, String::new()));
    let (code, refused) = apply(&server, V1, "two", json!({"hostPort": "b:1"})).await;
    let message = refused["message"].as_str().unwrap_or_default();
    assert!(
        code == 500 && message.starts_with("conversion webhook for example.com/v1, Kind=Door failed: "),
        "{refused}"
    );
    let path = format!("{V1}/front?fieldManager=two");
    let (code, patched) = patch(&server, &path, MERGE, &json!({"spec": {"hostPort": "b:1"}})).await;
    assert_eq!(
        (code, account(&patched)),
        (200, json!([["one", "v2", {"f:host": {}, "f:port": {}}], ["two", "v1", {"f:hostPort": {}}]]))
    );
    *how.lock().unwrap() = Box::new(|asked| success(convert(asked)));
    assert_eq!(apply(&server, V1, "two", json!({"hostPort": "b:1"})).await.0, 200);
}

#[tokio::test]
async fn the_entries_of_a_version_that_is_no_more_go_with_the_next_write() {
    let (server, _hook) = converting().await;
    post(
        &server,
        &format!("{V2}?fieldManager=one"),
        &json!({"metadata": {"name": "front"}, "spec": {"host": "a", "port": "1"}}),
    )
    .await;
    apply(&server, V1, "two", json!({"hostPort": "a:1"})).await;
    let drop = json!([{"op": "remove", "path": "/spec/versions/1"}]);
    assert_eq!(patch(&server, DOORS, "application/json-patch+json", &drop).await.0, 200);
    let (code, left) = apply(&server, V1, "two", json!({"hostPort": "b:1"})).await;
    assert_eq!((code, account(&left)), (200, json!([["two", "v1", {"f:hostPort": {}}]])), "{left}");
    assert_eq!(delete(&server, &format!("{V1}/front")).await.0, 200);
}

#[tokio::test]
async fn an_object_made_in_one_version_is_its_makers_though_a_status_comes_through_another() {
    let (server, _hook) = converting().await;
    let (_, made) = post(&server, &format!("{V1}?fieldManager=one"), &door("front", "a:1")).await;
    let path = format!("{V2}/front/status?fieldManager=two");
    let (code, after) = patch(&server, &path, MERGE, &json!({"status": {"open": true}})).await;
    assert_eq!(code, 200);
    assert_eq!(account(&made)[0], account(&after)[0]);
}

/// Built-in kinds have versions with other fields, too.
#[tokio::test]
async fn an_autoscaler_has_its_managers_in_both_versions() {
    let server = server().await;
    let path = |version: &str, manager: &str| {
        format!(
            "/apis/autoscaling/{version}/namespaces/default/horizontalpodautoscalers/web?fieldManager={manager}"
        )
    };
    let scaler = |version: &str, more: Value| {
        let mut spec = json!({"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}, "maxReplicas": 3});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"apiVersion": format!("autoscaling/{version}"), "kind": "HorizontalPodAutoscaler", "metadata": {"name": "web"}, "spec": spec})
    };
    let first = scaler("v1", json!({"targetCPUUtilizationPercentage": 50}));
    assert_eq!(patch(&server, &path("v1", "one"), APPLY, &first).await.0, 201);
    let other = scaler(
        "v2",
        json!({"metrics": [{"type": "Resource", "resource": {"name": "cpu",
        "target": {"type": "Utilization", "averageUtilization": 70}}}]}),
    );
    let (code, refused) = patch(&server, &path("v2", "two"), APPLY, &other).await;
    assert_eq!(
        (code, &refused["details"]["causes"][0]["field"]),
        (409, &json!(".spec.targetCPUUtilizationPercentage")),
        "{refused}"
    );
    let fewer = json!({"spec": {"maxReplicas": 2}});
    let (code, patched) = patch(&server, &path("v2", "three"), MERGE, &fewer).await;
    let entry = &patched["metadata"]["managedFields"][0];
    assert_eq!((code, &entry["manager"]), (200, &json!("one")));
    assert_eq!(entry["fieldsV1"]["f:spec"].get("f:maxReplicas"), None, "{patched}");
    assert!(entry["fieldsV1"]["f:spec"].get("f:targetCPUUtilizationPercentage").is_some(), "{patched}");
}
