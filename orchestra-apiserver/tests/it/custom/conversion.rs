//! Conversion webhooks: a real server with TLS on loopback converts.

use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::StreamExt;
use http::Request;
use http_body_util::BodyExt;
use orchestra_apiserver::{ApiServer, Body};
use serde_json::{Value, json};

use super::{DEFINITIONS, define};
use crate::harness::{delete, get, patch, post, put, send, server};
use crate::hook::{Hook, Said};

/// How a webhook converts.
pub(super) type Way = Box<dyn Fn(&Value) -> Said + Send>;

pub(super) const V1: &str = "/apis/example.com/v1/namespaces/default/doors";
pub(super) const V2: &str = "/apis/example.com/v2/namespaces/default/doors";
pub(super) const DOORS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/doors.example.com";

/// Two forms of one thing: `spec.hostPort`, or `spec.host` and `spec.port`.
fn doors(hook: &Hook) -> Value {
    let version = |name: &str, storage: bool, fields: Value| {
        json!({"name": name, "served": true, "storage": storage, "subresources": {"status": {}},
            "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                "spec": {"type": "object", "properties": fields},
                "status": {"type": "object", "properties": {"open": {"type": "boolean"}}}}}}})
    };
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "doors.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced", "names": {"plural": "doors", "kind": "Door"},
            "versions": [
                version("v1", true, json!({"hostPort": {"type": "string"}})),
                version("v2", false, json!({"host": {"type": "string"}, "port": {"type": "string"}})),
            ],
            "conversion": {"strategy": "Webhook", "webhook": {
                "conversionReviewVersions": ["v1", "v1beta1"], "clientConfig": hook.by_url()}},
        },
    })
}

pub(super) fn door(name: &str, host_port: &str) -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Door", "metadata": {"name": name}, "spec": {"hostPort": host_port}})
}

fn converted(object: &Value, desired: &str) -> Value {
    let mut new = object.clone();
    new["apiVersion"] = desired.into();
    let text = |field: &str| object["spec"][field].as_str().unwrap_or_default().to_owned();
    new["spec"] = match desired {
        "example.com/v2" => {
            let all = text("hostPort");
            let (host, port) = all.split_once(':').unwrap_or((&all, ""));
            json!({"host": host, "port": port, "unknown": "pruned"})
        }
        _ => json!({"hostPort": format!("{}:{}", text("host"), text("port"))}),
    };
    new
}

pub(super) fn convert(asked: &Value) -> Vec<Value> {
    let desired = asked["desiredAPIVersion"].as_str().unwrap();
    asked["objects"].as_array().unwrap().iter().map(|object| converted(object, desired)).collect()
}

pub(super) fn success(objects: Vec<Value>) -> Said {
    Said::Response(json!({"result": {"status": "Success"}, "convertedObjects": objects}))
}

pub(super) async fn converting() -> (ApiServer, Hook) {
    let hook = Hook::start(&["127.0.0.1"], |asked| success(convert(asked))).await;
    let server = server().await;
    define(&server, &doors(&hook)).await;
    hook.take();
    (server, hook)
}

/// A server, and a webhook that answers as it is told at the moment.
pub(super) async fn told() -> (ApiServer, Arc<Mutex<Way>>) {
    let how: Arc<Mutex<Way>> = Arc::new(Mutex::new(Box::new(|asked: &Value| success(convert(asked)))));
    let told = how.clone();
    let hook = Hook::start(&["127.0.0.1"], move |asked| told.lock().unwrap()(asked)).await;
    let server = server().await;
    define(&server, &doors(&hook)).await;
    (server, how)
}

struct Events(Body, Vec<u8>);

impl Events {
    async fn open(server: &ApiServer, path: &str) -> Self {
        let response = send(server, Request::get(path), "").await;
        assert_eq!(response.status(), 200);
        Self(response.into_body(), Vec::new())
    }

    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.1.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.1.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            let mut frames = (&mut self.0).into_data_stream();
            self.1.extend_from_slice(&frames.next().await?.unwrap());
        }
    }
}

/// Conformance: "Custom Resource Definition Conversion Webhook, conversion custom resource".
#[tokio::test]
async fn an_object_is_read_and_written_in_every_version() {
    let (server, hook) = converting().await;
    let (code, made) = post(&server, V1, &door("front", "a:1")).await;
    assert_eq!((code, &made["spec"]), (201, &json!({"hostPort": "a:1"})), "{made}");
    assert!(hook.take().is_empty(), "nobody is asked about the version that is stored");
    let (code, new) = get(&server, &format!("{V2}/front")).await;
    assert_eq!((code, &new["spec"]), (200, &json!({"host": "a", "port": "1"})), "{new}");
    for field in ["uid", "resourceVersion", "creationTimestamp", "name"] {
        assert_eq!(new["metadata"][field], made["metadata"][field], "{field}");
    }
    let asked = hook.take();
    assert_eq!(asked[0]["desiredAPIVersion"], "example.com/v2");
    assert_eq!(asked[0]["apiVersion"], "apiextensions.k8s.io/v1");
    assert_eq!(asked[0]["uri"], "/review?timeout=30s");
    assert_eq!(asked[0]["objects"][0]["metadata"].get("resourceVersion"), None);
    let mut changed = new.clone();
    changed["spec"]["port"] = "2".into();
    let (code, answer) = put(&server, &format!("{V2}/front"), &changed).await;
    assert_eq!((code, &answer["spec"]), (200, &json!({"host": "a", "port": "2"})), "{answer}");
    assert_ne!(answer["metadata"]["resourceVersion"], new["metadata"]["resourceVersion"]);
    assert_eq!(get(&server, &format!("{V1}/front")).await.1["spec"], json!({"hostPort": "a:2"}));
    let merge = json!({"spec": {"host": "b"}});
    let (code, answer) = patch(&server, &format!("{V2}/front"), "application/merge-patch+json", &merge).await;
    assert_eq!((code, &answer["spec"]), (200, &json!({"host": "b", "port": "2"})), "{answer}");
    let status = json!({"status": {"open": true}});
    let path = format!("{V2}/front/status");
    assert_eq!(patch(&server, &path, "application/merge-patch+json", &status).await.0, 200);
    let (_, old) = get(&server, &format!("{V1}/front")).await;
    assert_eq!((&old["spec"]["hostPort"], &old["status"]["open"]), (&json!("b:2"), &json!(true)));
    assert_eq!(delete(&server, &format!("{V2}/front")).await.0, 200);
    assert_eq!(get(&server, &format!("{V1}/front")).await.0, 404);
}

/// Conformance: "Custom Resource Definition Conversion Webhook, convert mixed version list".
#[tokio::test]
async fn a_list_of_objects_stored_in_two_versions_is_one_list() {
    let (server, hook) = converting().await;
    for name in ["a", "b", "c"] {
        post(&server, V1, &door(name, &format!("{name}:1"))).await;
    }
    let swap = json!([{"op": "replace", "path": "/spec/versions/0/storage", "value": false},
        {"op": "replace", "path": "/spec/versions/1/storage", "value": true}]);
    let (code, changed) = patch(&server, DOORS, "application/json-patch+json", &swap).await;
    assert_eq!((code, &changed["status"]["storedVersions"]), (200, &json!(["v1", "v2"])));
    post(&server, V1, &door("d", "d:1")).await;
    hook.take();
    let (_, list) = get(&server, V2).await;
    let hosts: Vec<&Value> =
        list["items"].as_array().unwrap().iter().map(|item| &item["spec"]["host"]).collect();
    assert_eq!(hosts, ["a", "b", "c", "d"]);
    assert!(list["items"].as_array().unwrap().iter().all(|item| item["apiVersion"] == "example.com/v2"));
    let asked = hook.take();
    assert_eq!(asked.len(), 1, "all are asked about together");
    assert_eq!(asked[0]["objects"].as_array().unwrap().len(), 3, "but for the one that lies in this version");
    let (_, list) = get(&server, &format!("{V1}?limit=2")).await;
    assert_eq!(list["items"][1]["spec"], json!({"hostPort": "b:1"}));
    let (_, rest) =
        get(&server, &format!("{V1}?limit=2&continue={}", list["metadata"]["continue"].as_str().unwrap()))
            .await;
    assert_eq!(rest["items"][1]["spec"], json!({"hostPort": "d:1"}), "{rest}");
    // A write that changes nothing brings an object into the new version; then the old one may be forgotten.
    for name in ["a", "b", "c"] {
        let path = format!("{V1}/{name}");
        let (_, object) = get(&server, &path).await;
        let (_, after) = put(&server, &path, &object).await;
        assert_ne!(after["metadata"]["resourceVersion"], object["metadata"]["resourceVersion"]);
        let (_, again) = put(&server, &path, &after).await;
        assert_eq!(after["metadata"]["resourceVersion"], again["metadata"]["resourceVersion"]);
    }
    let forget = json!({"status": {"storedVersions": ["v2"]}});
    let (code, answer) =
        patch(&server, &format!("{DOORS}/status"), "application/merge-patch+json", &forget).await;
    assert_eq!((code, &answer["status"]["storedVersions"]), (200, &json!(["v2"])));
}

#[tokio::test]
async fn every_version_is_watched() {
    let (server, _hook) = converting().await;
    post(&server, V1, &door("a", "a:1")).await;
    let (_, list) = get(&server, V2).await;
    let from = list["metadata"]["resourceVersion"].as_str().unwrap();
    let mut new = Events::open(&server, &format!("{V2}?watch=true&resourceVersion={from}")).await;
    let mut old = Events::open(&server, &format!("{V1}?watch=true&resourceVersion={from}")).await;
    let (_, made) = post(&server, V1, &door("b", "b:1")).await;
    let (one, other) = (new.next().await.unwrap(), old.next().await.unwrap());
    assert_eq!((&one["type"], &one["object"]["spec"]), (&json!("ADDED"), &json!({"host": "b", "port": "1"})));
    assert_eq!(other["object"]["spec"], json!({"hostPort": "b:1"}));
    for event in [&one, &other] {
        assert_eq!(event["object"]["metadata"]["resourceVersion"], made["metadata"]["resourceVersion"]);
    }
    delete(&server, &format!("{V1}/b")).await;
    let gone = new.next().await.unwrap();
    assert_eq!((&gone["type"], &gone["object"]["spec"]["host"]), (&json!("DELETED"), &json!("b")));
    // From before this version's cache was there: the store's own history is converted.
    let mut all = Events::open(&server, &format!("{V2}?watch=true&resourceVersion=1")).await;
    let first = all.next().await.unwrap();
    assert_eq!(first["object"]["apiVersion"], "example.com/v2", "{first}");
}

#[tokio::test]
async fn what_is_no_answer_is_told_in_upstreams_words() {
    let (server, how) = told().await;
    post(&server, V1, &door("a", "a:1")).await;
    let head = "conversion webhook for example.com/v1, Kind=Door";
    let one = |change: fn(&mut Value)| {
        Box::new(move |asked: &Value| {
            let mut objects = convert(asked);
            change(&mut objects[0]);
            success(objects)
        }) as Box<dyn Fn(&Value) -> Said + Send>
    };
    let raw = |code: u16, text: &'static str| {
        Box::new(move |_: &Value| Said::Raw(code, text.to_owned())) as Box<dyn Fn(&Value) -> Said + Send>
    };
    let said = |response: Value| {
        Box::new(move |_: &Value| Said::Response(response.clone())) as Box<dyn Fn(&Value) -> Said + Send>
    };
    let huge = "x".repeat(17 << 20);
    let cases: Vec<(Way, String)> = vec![
        (raw(200, "<html>"), format!("{head} failed: couldn't get version/kind; json parse error: ")),
        (raw(200, ""), format!("{head} failed: 0-length response with status code: 200")),
        (raw(500, "no"), format!("{head} failed: an error on the server (\"no\")")),
        (
            Box::new(move |_| Said::Raw(200, huge.clone())),
            format!("{head} failed: Post \"https://127.0.0.1:"),
        ),
        (Box::new(|_| Said::Hangup), format!("{head} failed: Post \"https://127.0.0.1:")),
        (said(json!({"uid": "x"})), format!("{head} failed: expected response.uid=\"")),
        (
            said(json!({"result": {"status": "Failure", "message": "not today"}})),
            format!("{head} failed: not today"),
        ),
        (said(json!({"result": {}})), format!("{head} failed: response.result.status was '', not 'Success'")),
        (
            said(json!({"result": {"status": "Success"}, "convertedObjects": []})),
            format!("{head} returned 0 objects, expected 1"),
        ),
        (
            one(|o| o["metadata"]["name"] = "b".into()),
            format!("{head} returned invalid object: must have the same name: a != b"),
        ),
        (
            one(|o| o["metadata"]["uid"] = "b".into()),
            format!("{head} returned invalid object: must have the same UID: "),
        ),
        (
            one(|o| o["apiVersion"] = "example.com/v3".into()),
            format!(
                "{head} returned invalid object at index 0: invalid groupVersion (expected example.com/v2, received example.com/v3)"
            ),
        ),
        (
            one(|o| o["kind"] = "Window".into()),
            format!(
                "{head} returned invalid object at index 0: invalid kind (expected Door, received Window)"
            ),
        ),
        (
            one(|o| {
                o.as_object_mut().unwrap().remove("metadata");
            }),
            format!("{head} returned invalid object: must have the same name: a != "),
        ),
        (
            one(|o| o["metadata"]["labels"] = json!({"-": "x"})),
            format!("{head} returned invalid metadata: metadata.labels: Invalid value: \"-\""),
        ),
    ];
    for (reply, wanted) in cases {
        *how.lock().unwrap() = reply;
        for path in [format!("{V2}/a"), V2.to_owned()] {
            let (code, status) = get(&server, &path).await;
            let message = status["message"].as_str().unwrap_or_default().to_owned();
            assert!(code == 500 && message.starts_with(&wanted), "{path}: {code} {message}\n{wanted}");
        }
        let (code, _) = post(&server, V2, &json!({"metadata": {"name": "new"}, "spec": {"host": "h"}})).await;
        assert_eq!(code, 500);
        assert_eq!(get(&server, &format!("{V1}/new")).await.0, 404, "nothing is half-written");
    }
    *how.lock().unwrap() = Box::new(|asked| success(convert(asked)));
    assert_eq!(get(&server, V2).await.1["items"][0]["spec"]["host"], "a", "and then it works again");
}

#[tokio::test]
async fn how_the_webhook_answers_is_counted() {
    let (server, how) = told().await;
    post(&server, V1, &door("a", "a:1")).await;
    assert_eq!(get(&server, &format!("{V2}/a")).await.0, 200);
    *how.lock().unwrap() = Box::new(|_| Said::Raw(500, "no".to_owned()));
    assert_eq!(get(&server, &format!("{V2}/a")).await.0, 500);
    *how.lock().unwrap() = Box::new(|_| success(Vec::new()));
    assert_eq!(get(&server, &format!("{V2}/a")).await.0, 500);
    let response = send(&server, Request::get("/metrics"), "").await;
    let text = response.into_body().collect().await.unwrap().to_bytes();
    let text = String::from_utf8_lossy(&text);
    for line in [
        r#"apiserver_conversion_webhook_request_total{failure_type="",result="success"} 1"#,
        r#"apiserver_conversion_webhook_request_total{failure_type="conversion_webhook_call_failure",result="failure"} 1"#,
        r#"apiserver_conversion_webhook_request_total{failure_type="conversion_webhook_partial_response_failure",result="failure"} 1"#,
        r#"apiserver_conversion_webhook_duration_seconds_count{failure_type="",result="success"} 1"#,
        r#"apiserver_crd_conversion_webhook_duration_seconds_count{crd_name="doors.example.com",from_version="v1",succeeded="true",to_version="v2"} 1"#,
        r#"apiserver_crd_conversion_webhook_duration_seconds_count{crd_name="doors.example.com",from_version="v1",succeeded="false",to_version="v2"} 2"#,
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
}

#[tokio::test]
async fn only_labels_and_annotations_of_the_metadata_are_the_webhooks() {
    let (server, how) = told().await;
    let mut object = door("a", "a:1");
    object["metadata"]["labels"] = json!({"old": "1"});
    object["metadata"]["finalizers"] = json!(["example.com/keep"]);
    let (_, made) = post(&server, V1, &object).await;
    *how.lock().unwrap() = Box::new(|asked| {
        let mut objects = convert(asked);
        for object in &mut objects {
            object["metadata"]["labels"] = json!({"new": "1"});
            object["metadata"]["annotations"] = json!({"by": "webhook"});
            object["metadata"]["finalizers"] = json!([]);
            object["metadata"]["generation"] = json!(99);
            object["metadata"]["creationTimestamp"] = json!("1990-01-01T00:00:00Z");
        }
        success(objects)
    });
    let (_, new) = get(&server, &format!("{V2}/a")).await;
    assert_eq!(new["metadata"]["labels"], json!({"new": "1"}));
    assert_eq!(new["metadata"]["annotations"], json!({"by": "webhook"}));
    for field in ["finalizers", "generation", "creationTimestamp", "managedFields"] {
        assert_eq!(new["metadata"][field], made["metadata"][field], "{field}");
    }
    let (_, list) = get(&server, &format!("{V2}?labelSelector=new%3D1")).await;
    assert_eq!(list["items"].as_array().unwrap().len(), 1, "selectors see what the version shows");
    let (_, list) = get(&server, &format!("{V2}?labelSelector=old%3D1")).await;
    assert_eq!(list["items"], json!([]));
}

#[tokio::test]
async fn who_decides_over_one_version_sees_all_requests_in_it() {
    let (server, _hook) = converting().await;
    let judge = Hook::start(&["127.0.0.1"], |_| {
        let patch = STANDARD.encode(r#"[{"op":"replace","path":"/spec/port","value":"443"}]"#);
        Said::Response(json!({"allowed": true, "patch": patch, "patchType": "JSONPatch"}))
    })
    .await;
    let configuration = json!({"metadata": {"name": "m"}, "webhooks": [{
        "name": "m.example.com", "clientConfig": judge.by_url(), "sideEffects": "None",
        "admissionReviewVersions": ["v1"], "matchPolicy": "Equivalent",
        "rules": [{"operations": ["*"], "apiGroups": ["example.com"], "apiVersions": ["v2"], "resources": ["doors"]}],
    }]});
    let configurations = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";
    assert_eq!(post(&server, configurations, &configuration).await.0, 201);
    let (code, made) = post(&server, V1, &door("a", "a:1")).await;
    assert_eq!((code, &made["spec"]), (201, &json!({"hostPort": "a:443"})), "{made}");
    let asked = judge.take();
    assert_eq!(asked[0]["kind"]["version"], "v2");
    assert_eq!(asked[0]["requestKind"]["version"], "v1");
    assert_eq!(asked[0]["object"]["spec"], json!({"host": "a", "port": "1"}));
}

#[tokio::test]
async fn a_definition_goes_with_all_its_objects_though_nobody_can_convert_them() {
    let (server, how) = told().await;
    post(&server, V1, &door("a", "a:1")).await;
    let swap = json!([{"op": "replace", "path": "/spec/versions/0/storage", "value": false},
        {"op": "replace", "path": "/spec/versions/1/storage", "value": true}]);
    assert_eq!(patch(&server, DOORS, "application/json-patch+json", &swap).await.0, 200);
    *how.lock().unwrap() = Box::new(|_| Said::Hangup);
    assert_eq!(get(&server, V2).await.0, 500);
    let mut definitions = Events::open(&server, &format!("{DEFINITIONS}?watch=true")).await;
    delete(&server, DOORS).await;
    while definitions.next().await.unwrap()["type"] != "DELETED" {}
    assert_eq!(get(&server, V1).await.0, 404);
}

#[tokio::test]
async fn a_watch_whose_objects_cannot_be_converted_any_more_is_told_so() {
    let (server, how) = told().await;
    post(&server, V1, &door("a", "a:1")).await;
    let mut events = Events::open(&server, &format!("{V2}?watch=true")).await;
    assert_eq!(events.next().await.unwrap()["object"]["spec"]["host"], "a");
    *how.lock().unwrap() = Box::new(|_| Said::Raw(503, String::new()));
    post(&server, V1, &door("b", "b:1")).await;
    let event = events.next().await.unwrap();
    assert_eq!((&event["type"], &event["object"]["code"]), (&json!("ERROR"), &json!(500)), "{event}");
    assert!(events.next().await.is_none());
}
