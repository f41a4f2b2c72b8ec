//! Server-side apply and the account of fields, through `kube::Api` and on the wire.

use http::Request;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use orchestra_apiserver::ApiServer;
use serde_json::{Value, json};

use crate::harness::{get, patch, post, put, send, server};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const WEB: &str = "/apis/apps/v1/namespaces/default/deployments/web";
const MEDIA: &str = "application/apply-patch+yaml";

fn map(data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "data": data})
}

fn web(replicas: u32) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "c", "image": "nginx", "ports": [{"containerPort": 80}]}]},
            },
        },
    })
}

async fn apply(server: &ApiServer, path: &str, manager: &str, config: &Value) -> (u16, Value) {
    patch(server, &format!("{path}?fieldManager={manager}"), MEDIA, config).await
}

fn managers(object: &Value) -> Vec<String> {
    let entries = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let name = |entry: &Value| {
        let text = |field: &str| entry[field].as_str().unwrap_or_default().to_owned();
        format!("{} {} {}", text("manager"), text("operation"), text("subresource")).trim_end().to_owned()
    };
    entries.iter().map(name).collect()
}

#[tokio::test]
async fn kube_applies_forces_and_gives_up() {
    let server = server().await;
    let maps: Api<ConfigMap> = Api::default_namespaced(server.client("default"));
    let made =
        maps.patch("x", &PatchParams::apply("me"), &Patch::Apply(map(json!({"a": "1"})))).await.unwrap();
    assert!(made.uid().is_some());
    let again =
        maps.patch("x", &PatchParams::apply("me"), &Patch::Apply(map(json!({"a": "1"})))).await.unwrap();
    assert_eq!(again, made, "the same again is no write");

    let other = Patch::Apply(map(json!({"a": "2"})));
    let refused = maps.patch("x", &PatchParams::apply("you"), &other).await.unwrap_err();
    let kube::Error::Api(status) = refused else { panic!("{refused}") };
    assert_eq!((status.code, status.reason.as_str()), (409, "Conflict"));
    assert_eq!(status.message, "Apply failed with 1 conflict: conflict with \"me\": .data.a");
    let cause = &status.details.unwrap().causes[0];
    assert_eq!(
        (cause.reason.as_str(), cause.message.as_str(), cause.field.as_str()),
        ("FieldManagerConflict", "conflict with \"me\"", ".data.a")
    );

    let forced = maps.patch("x", &PatchParams::apply("you").force(), &other).await.unwrap();
    assert_eq!(forced.data.unwrap()["a"], "2");
    let dropped = maps.patch("x", &PatchParams::apply("you"), &Patch::Apply(map(json!({})))).await.unwrap();
    assert_eq!(dropped.data.unwrap_or_default().len(), 0);
}

#[tokio::test]
async fn an_absent_object_is_made() {
    let server = server().await;
    let (code, made) = apply(&server, WEB, "me", &web(2)).await;
    assert_eq!(code, 201, "{made}");
    assert_eq!(made["spec"]["progressDeadlineSeconds"], 600);
    assert_eq!(managers(&made), ["me Apply"]);
    let (code, again) = apply(&server, WEB, "me", &web(2)).await;
    assert_eq!((code, &again), (200, &made));
    let (code, dry) = patch(&server, &format!("{WEB}?fieldManager=me&dryRun=All"), MEDIA, &web(5)).await;
    assert_eq!((code, &dry["spec"]["replicas"]), (200, &json!(5)));
    assert_eq!(get(&server, WEB).await.1, made);
    let (code, _) = apply(
        &server,
        &format!("{WEB}/status"),
        "me",
        &json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        }),
    )
    .await;
    assert_eq!(code, 200);
}

#[tokio::test]
async fn yaml_is_taken_as_well() {
    let server = server().await;
    let body = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: x\ndata:\n  a: \"1\"\n";
    let request = Request::patch(format!("{MAPS}/x?fieldManager=me")).header("content-type", MEDIA);
    let (code, made) = crate::harness::json(send(&server, request, body).await).await;
    assert_eq!((code, &made["data"]), (201, &json!({"a": "1"})));
}

#[tokio::test]
async fn bad_applies_are_refused_in_upstreams_words() {
    let server = server().await;
    let x = format!("{MAPS}/x");
    let by_me = format!("{x}?fieldManager=me");
    let mut managed = map(json!({}));
    managed["metadata"]["managedFields"] = json!([]);
    let mut elsewhere = map(json!({}));
    elsewhere["metadata"]["name"] = "y".into();
    let long = format!("{x}?fieldManager={}", "m".repeat(129));
    for (path, config, code, message) in [
        (
            x.as_str(),
            map(json!({})),
            422,
            "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch",
        ),
        (
            long.as_str(),
            map(json!({})),
            422,
            "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Too long: may not be more than 128 bytes",
        ),
        (by_me.as_str(), managed, 400, "metadata.managedFields must be nil"),
        (by_me.as_str(), elsewhere, 400, "the name of the object (y) does not match the name on the URL (x)"),
        (
            by_me.as_str(),
            json!({"apiVersion": "v1", "kind": "Pod"}),
            400,
            "invalid object type: /v1, Kind=Pod",
        ),
        (
            by_me.as_str(),
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "foo": 1}),
            500,
            "failed to create typed patch object (/x; /v1, Kind=ConfigMap): .foo: field not declared in schema",
        ),
    ] {
        let (found, status) = patch(&server, path, MEDIA, &config).await;
        assert_eq!((found, status["message"].as_str().unwrap()), (code, message));
    }
    let (code, status) =
        patch(&server, &format!("{x}?force=true"), "application/merge-patch+json", &json!({})).await;
    assert_eq!(code, 422, "{status}");
    let request = Request::patch(&by_me).header("content-type", MEDIA);
    assert_eq!(crate::harness::json(send(&server, request, "{a: [").await).await.0, 400);
}

#[tokio::test]
async fn every_write_is_on_the_account_of_its_author() {
    let server = server().await;
    let deployments = "/apis/apps/v1/namespaces/default/deployments";
    let (_, made) = post(&server, &format!("{deployments}?fieldManager=maker"), &web(2)).await;
    assert_eq!(managers(&made), ["maker Update"]);
    let fields = &made["metadata"]["managedFields"][0]["fieldsV1"];
    assert_eq!(fields["f:spec"]["f:strategy"]["f:rollingUpdate"]["f:maxSurge"], json!({}));
    assert_eq!(fields.get("f:status"), None);
    assert!(made["metadata"]["managedFields"][0]["time"].is_string());

    let status = json!({"status": {"observedGeneration": 1, "replicas": 2}, "spec": {"replicas": 9}});
    let path = format!("{WEB}/status?fieldManager=controller");
    let (_, seen) = patch(&server, &path, "application/merge-patch+json", &status).await;
    assert!(managers(&seen).contains(&"controller Update status".to_owned()), "{seen}");

    let scaled = json!({"spec": {"replicas": 5}});
    let path = format!("{WEB}/scale?fieldManager=scaler");
    patch(&server, &path, "application/merge-patch+json", &scaled).await;
    let (_, seen) = get(&server, WEB).await;
    assert!(managers(&seen).contains(&"scaler Update scale".to_owned()), "{seen}");
    let refused = apply(&server, WEB, "me", &web(3)).await;
    assert_eq!(
        refused.1["message"],
        "Apply failed with 1 conflict: conflict with \"scaler\" with subresource \"scale\" using apps/v1: .spec.replicas"
    );
    let (_, again) = put(&server, &format!("{WEB}?fieldManager=idle"), &seen).await;
    assert_eq!(again, seen, "who changes nothing manages nothing");
}

#[tokio::test]
async fn status_and_scale_are_applied() {
    let server = server().await;
    apply(&server, WEB, "me", &web(2)).await;
    let status = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "status": {"observedGeneration": 7}, "spec": {"replicas": 9},
    });
    let (code, seen) = apply(&server, &format!("{WEB}/status"), "watcher", &status).await;
    assert_eq!((code, &seen["status"]["observedGeneration"]), (200, &json!(7)), "{seen}");
    assert_eq!(seen["spec"]["replicas"], 2);
    assert!(managers(&seen).contains(&"watcher Apply status".to_owned()));

    let scale = json!({
        "apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "web"}, "spec": {"replicas": 4},
    });
    let (code, refused) = apply(&server, &format!("{WEB}/scale"), "hpa", &scale).await;
    assert_eq!((code, &refused["reason"]), (409, &json!("Conflict")), "{refused}");
    let path = format!("{WEB}/scale?fieldManager=hpa&force=true");
    let (code, scaled) = patch(&server, &path, MEDIA, &scale).await;
    assert_eq!((code, &scaled["spec"]["replicas"]), (200, &json!(4)), "{scaled}");
    let (_, seen) = get(&server, WEB).await;
    assert_eq!(managers(&seen), ["hpa Apply scale", "me Apply", "watcher Apply status"]);
}

#[tokio::test]
async fn an_account_can_be_wiped_and_is_not_kept_then() {
    let server = server().await;
    post(&server, MAPS, &map(json!({"a": "1"}))).await;
    let wipe = json!([{"op": "replace", "path": "/metadata/managedFields", "value": [{}]}]);
    let path = format!("{MAPS}/x");
    let (code, wiped) = patch(&server, &path, "application/json-patch+json", &wipe).await;
    assert_eq!((code, managers(&wiped).len()), (200, 0), "{wiped}");
    let change = json!({"data": {"a": "2"}});
    let (_, changed) = patch(&server, &path, "application/merge-patch+json", &change).await;
    assert_eq!(managers(&changed).len(), 0);
    let (_, applied) = apply(&server, &path, "me", &map(json!({"b": "3"}))).await;
    assert_eq!(managers(&applied), ["me Apply", "before-first-apply Update"]);
}

#[tokio::test]
async fn who_names_no_manager_goes_by_the_user_agent() {
    let server = server().await;
    let request = Request::post(MAPS)
        .header("content-type", "application/json")
        .header("user-agent", "my-tool/1.2 (linux)");
    let (_, made) = crate::harness::json(send(&server, request, map(json!({})).to_string()).await).await;
    assert_eq!(managers(&made).len(), 0, "an object without fields has no managers");
    let request = Request::patch(format!("{MAPS}/x"))
        .header("content-type", "application/merge-patch+json")
        .header("user-agent", "my-tool/1.2 (linux)");
    let change = json!({"data": {"a": "1"}}).to_string();
    let (_, changed) = crate::harness::json(send(&server, request, change).await).await;
    assert_eq!(managers(&changed).len(), 0, "and stays so until it is applied to");
    let maps: Api<ConfigMap> = Api::default_namespaced(server.client("default"));
    let mut other: ConfigMap = serde_json::from_value(map(json!({"a": "1"}))).unwrap();
    other.metadata.name = Some("y".into());
    let post = PostParams { field_manager: Some("typed".into()), ..PostParams::default() };
    let made = maps.create(&post, &other).await.unwrap();
    assert_eq!(made.managed_fields()[0].manager.as_deref(), Some("typed"));
}
