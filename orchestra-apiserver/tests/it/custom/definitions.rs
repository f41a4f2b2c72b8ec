//! Definitions: made, established, changed, withdrawn.

use http::Request;
use http_body_util::BodyExt;
use serde_json::{Value, json};

use super::{DEFINITIONS, LAMPS, condition, define, definition, lamp, lamps};
use crate::harness::{delete, get, json, patch, post, put, send, server};

/// Conformance: "Custom Resource Definition, create", "Custom Resource Definition, list".
#[tokio::test]
async fn a_definition_is_established_and_served_when_its_maker_gets_the_answer() {
    let server = server().await;
    define(&server, &lamps(json!({}))).await;
    let (code, made) = post(&server, LAMPS, &lamp("desk", json!({}))).await;
    assert_eq!(code, 201, "{made:#}");
    assert_eq!(made["spec"], json!({"watts": 60}));
    assert_eq!(made["metadata"]["generation"], 1);
    let crd = definition(&server).await;
    assert_eq!(condition(&crd, "NamesAccepted")["reason"], "NoConflicts");
    assert_eq!(condition(&crd, "Established")["status"], "True");
    assert_eq!(crd["status"]["storedVersions"], json!(["v1"]));
    assert_eq!(
        crd["status"]["acceptedNames"],
        json!({"plural": "lamps", "singular": "lamp", "kind": "Lamp", "listKind": "LampList",
            "shortNames": ["lm"], "categories": ["all"]})
    );
    let (_, list) = get(&server, LAMPS).await;
    assert_eq!((&list["kind"], list["items"].as_array().unwrap().len()), (&json!("LampList"), 1));
    let (_, all) = get(&server, DEFINITIONS).await;
    assert_eq!(all["items"].as_array().unwrap().len(), 1);
}

/// Conformance: "Custom Resource Definition, discovery", "Aggregated Discovery Interface CRDs",
/// "Aggregated Discovery Endpoint Accept Headers CRDs".
#[tokio::test]
async fn discovery_shows_a_custom_resource_at_once_and_not_a_moment_longer() {
    let server = server().await;
    assert_eq!(get(&server, "/apis/example.com/v1").await.0, 404);
    define(&server, &lamps(json!({"subresources": {"status": {}}}))).await;
    let (_, groups) = get(&server, "/apis").await;
    let found = groups["groups"].as_array().unwrap().iter().find(|g| g["name"] == "example.com").unwrap();
    assert_eq!(found["preferredVersion"]["groupVersion"], "example.com/v1");
    let (_, list) = get(&server, "/apis/example.com/v1").await;
    assert_eq!(
        list["resources"][0],
        json!({"name": "lamps", "singularName": "lamp", "namespaced": true, "kind": "Lamp", "shortNames": ["lm"],
            "categories": ["all"],
            "verbs": ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]})
    );
    assert_eq!(list["resources"][1]["name"], "lamps/status");
    let accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let aggregated = async || {
        let response = send(&server, Request::get("/apis").header("accept", accept), "").await;
        assert_eq!(response.headers()["content-type"], accept);
        json(response).await.1
    };
    let all = aggregated().await;
    let found =
        all["items"].as_array().unwrap().iter().find(|g| g["metadata"]["name"] == "example.com").unwrap();
    assert_eq!(found["versions"][0]["resources"][0]["resource"], "lamps");
    assert_eq!(delete(&server, &format!("{DEFINITIONS}/lamps.example.com")).await.0, 200);
    gone(&server).await;
    assert_eq!(get(&server, "/apis/example.com/v1").await.0, 404);
    assert!(!aggregated().await.to_string().contains("example.com"));
}

/// Waits until the definition is gone, by watching it.
async fn gone(server: &orchestra_apiserver::ApiServer) {
    let path = format!("{DEFINITIONS}?watch=1&fieldSelector=metadata.name%3Dlamps.example.com");
    let mut body = send(server, Request::get(path), "").await.into_body();
    while get(server, &format!("{DEFINITIONS}/lamps.example.com")).await.0 == 200 {
        body.frame().await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_definition_that_goes_takes_its_objects_along_and_waits_for_their_finalizers() {
    let server = server().await;
    define(&server, &lamps(json!({}))).await;
    post(&server, LAMPS, &lamp("desk", json!({}))).await;
    let mut held = lamp("held", json!({}));
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    post(&server, LAMPS, &held).await;
    let (code, going) = delete(&server, &format!("{DEFINITIONS}/lamps.example.com")).await;
    assert_eq!(code, 200);
    assert_eq!(condition(&going, "Terminating")["reason"], "InstanceDeletionPending");
    assert_eq!(going["metadata"]["finalizers"], json!(["customresourcecleanup.apiextensions.k8s.io"]));
    let (code, refused) = post(&server, LAMPS, &lamp("late", json!({}))).await;
    assert_eq!((code, &refused["reason"]), (403, &json!("Forbidden")), "{refused}");
    while get(&server, &format!("{LAMPS}/desk")).await.0 == 200 {
        tokio::task::yield_now().await;
    }
    let (_, left) = get(&server, &format!("{LAMPS}/held")).await;
    assert!(left["metadata"]["deletionTimestamp"].is_string(), "{left}");
    let free = json!({"metadata": {"finalizers": null}});
    assert_eq!(patch(&server, &format!("{LAMPS}/held"), "application/merge-patch+json", &free).await.0, 200);
    gone(&server).await;
    assert_eq!(get(&server, LAMPS).await.0, 404);
    define(&server, &lamps(json!({}))).await;
    let (_, list) = get(&server, LAMPS).await;
    assert_eq!(list["items"], json!([]));
}

/// Conformance: "Custom Resource Definition, status sub-resource".
#[tokio::test]
async fn the_status_of_a_definition_is_read_updated_and_patched() {
    let server = server().await;
    define(&server, &lamps(json!({}))).await;
    let path = format!("{DEFINITIONS}/lamps.example.com/status");
    let (code, mut crd) = get(&server, &path).await;
    assert_eq!(code, 200);
    let added = json!({"type": "Tested", "status": "True", "lastTransitionTime": null, "reason": "E2E", "message": "m"});
    crd["status"]["conditions"].as_array_mut().unwrap().push(added);
    let (code, updated) = put(&server, &path, &crd).await;
    assert_eq!(code, 200, "{updated}");
    assert_eq!(condition(&updated, "Tested")["reason"], "E2E");
    let patched = json!({"metadata": {"labels": {"a": "b"}}, "status": {"conditions": updated["status"]["conditions"]}});
    assert_eq!(patch(&server, &path, "application/merge-patch+json", &patched).await.0, 200);
}

#[tokio::test]
async fn names_that_clash_are_refused_until_they_are_free() {
    let server = server().await;
    define(&server, &lamps(json!({}))).await;
    let mut other = lamps(json!({}));
    other["metadata"]["name"] = "lights.example.com".into();
    other["spec"]["names"] = json!({"plural": "lights", "kind": "Light", "shortNames": ["lm"]});
    define(&server, &other).await;
    let lights = format!("{DEFINITIONS}/lights.example.com");
    let (_, crd) = get(&server, &lights).await;
    assert_eq!(condition(&crd, "NamesAccepted")["reason"], "ShortNamesConflict");
    assert_eq!(condition(&crd, "NamesAccepted")["message"], "\"lm\" is already in use");
    assert_eq!(condition(&crd, "Established")["status"], "False");
    assert_eq!(get(&server, "/apis/example.com/v1/lights").await.0, 404);
    delete(&server, &format!("{DEFINITIONS}/lamps.example.com")).await;
    gone(&server).await;
    assert_eq!(get(&server, "/apis/example.com/v1/lights").await.0, 200);
}

/// A custom resource beside a built-in one of the same name would reach its objects in the store.
#[tokio::test]
async fn a_definition_cannot_take_the_place_of_built_in_objects() {
    let server = server().await;
    for (group, plural, kind) in [
        ("networking.k8s.io", "ingresses", "Other"),
        ("events.k8s.io", "pods", "Pod"),
        ("events.k8s.io", "secrets", "Secret"),
    ] {
        let mut crd = lamps(json!({}));
        crd["metadata"] = json!({"name": format!("{plural}.{group}"), "annotations": {"api-approved.kubernetes.io": "unapproved"}});
        crd["spec"]["group"] = group.into();
        crd["spec"]["names"] = json!({"plural": plural, "kind": kind});
        crd["spec"]["versions"][0]["name"] = "v9".into();
        let (code, made) = post(&server, DEFINITIONS, &crd).await;
        assert_eq!(code, 201, "{made}");
    }
    post(&server, "/api/v1/namespaces/default/secrets", &json!({"metadata": {"name": "s"}})).await;
    assert_eq!(get(&server, "/apis/networking.k8s.io/v9/ingresses").await.0, 404);
    let (code, list) = get(&server, "/apis/events.k8s.io/v9/secrets").await;
    assert_eq!((code, &list["items"]), (200, &json!([])));
    delete(&server, &format!("{DEFINITIONS}/secrets.events.k8s.io")).await;
    assert_eq!(get(&server, "/api/v1/namespaces/default/secrets/s").await.0, 200);
}

#[tokio::test]
async fn a_watch_ends_when_its_definition_changes_or_goes() {
    let server = server().await;
    define(&server, &lamps(json!({}))).await;
    let watch = async || {
        let mut body =
            send(&server, Request::get(format!("{LAMPS}?watch=1&resourceVersion=0")), "").await.into_body();
        move || async move { while body.frame().await.is_some() {} }
    };
    let ended = watch().await;
    let column = json!([{"op": "add", "path": "/spec/versions/0/additionalPrinterColumns",
        "value": [{"name": "Watts", "type": "integer", "jsonPath": ".spec.watts"}]}]);
    let (code, changed) =
        patch(&server, &format!("{DEFINITIONS}/lamps.example.com"), "application/json-patch+json", &column)
            .await;
    assert_eq!(code, 200, "{changed}");
    ended().await;
    let ended = watch().await;
    delete(&server, &format!("{DEFINITIONS}/lamps.example.com")).await;
    ended().await;
}

/// Conformance: "Custom Resource Definition, watch".
#[tokio::test]
async fn custom_resources_are_watched() {
    let server = server().await;
    define(&server, &lamps(json!({}))).await;
    let mut body = send(&server, Request::get(format!("{LAMPS}?watch=1")), "").await.into_body();
    post(&server, LAMPS, &lamp("a", json!({}))).await;
    patch(&server, &format!("{LAMPS}/a"), "application/merge-patch+json", &json!({"spec": {"watts": 5}}))
        .await;
    delete(&server, &format!("{LAMPS}/a")).await;
    let mut text = String::new();
    while text.matches('\n').count() < 3 {
        let frame = body.frame().await.unwrap().unwrap();
        text.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
    }
    let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let seen: Vec<(&str, &Value)> =
        events.iter().map(|e| (e["type"].as_str().unwrap(), &e["object"]["spec"]["watts"])).collect();
    assert_eq!(seen, [("ADDED", &json!(60)), ("MODIFIED", &json!(5)), ("DELETED", &json!(5))]);
}

#[tokio::test]
async fn definitions_are_served_again_after_a_restart() {
    use std::sync::Arc;
    let store: Arc<dyn orchestra_store::Store> = Arc::new(orchestra_store::MemoryStore::new());
    let first = orchestra_apiserver::ApiServer::builder(store.clone()).build().await.unwrap();
    define(&first, &lamps(json!({}))).await;
    post(&first, LAMPS, &lamp("desk", json!({}))).await;
    drop(first);
    let second = orchestra_apiserver::ApiServer::builder(store.clone()).build().await.unwrap();
    assert_eq!(get(&second, &format!("{LAMPS}/desk")).await.0, 200);
    // Another server on the same store sees what this one is told.
    let third = orchestra_apiserver::ApiServer::builder(store).build().await.unwrap();
    delete(&third, &format!("{DEFINITIONS}/lamps.example.com")).await;
    gone(&third).await;
    assert_eq!(get(&second, "/apis/example.com/v1").await.0, 404);
}
