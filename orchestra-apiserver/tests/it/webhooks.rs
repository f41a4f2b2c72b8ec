//! Webhooks of admission: a real server with TLS on loopback answers.

use std::sync::Arc;

use http::Request;
use http_body_util::BodyExt;
use orchestra_apiserver::{ApiServer, ApiServerBuilder, WebhookTargets};
use orchestra_store::MemoryStore;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::harness::{delete, get, json as answer, patch, post, put, send};
use crate::hook::{Hook, Said, allow, patched};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const HOOKS: &str = "/apis/admissionregistration.k8s.io/v1";

fn builder() -> ApiServerBuilder {
    ApiServer::builder(Arc::new(MemoryStore::new())).seed(1)
}

/// A webhook about ConfigMaps, with more or other fields.
fn about_maps(name: &str, client: Value, more: Value) -> Value {
    let mut hook = json!({
        "name": name, "clientConfig": client, "sideEffects": "None", "admissionReviewVersions": ["v1"],
        "timeoutSeconds": 5,
        "rules": [{"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}],
    });
    hook.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    hook
}

async fn configure(server: &ApiServer, plural: &str, name: &str, hooks: Vec<Value>) {
    let configuration = json!({"metadata": {"name": name}, "webhooks": hooks});
    let (code, made) = post(server, &format!("{HOOKS}/{plural}"), &configuration).await;
    assert_eq!(code, 201, "{made}");
}

const MUTATING: &str = "mutatingwebhookconfigurations";
const VALIDATING: &str = "validatingwebhookconfigurations";

fn map(name: &str) -> Value {
    json!({"metadata": {"name": name}})
}

#[tokio::test]
async fn a_webhook_is_asked_with_all_there_is_to_know_and_its_patch_is_taken() {
    let hook = Hook::start(&["127.0.0.1"], |asked| match asked["operation"].as_str() {
        Some("DELETE") => allow(),
        _ => patched(&json!([{"op": "add", "path": "/metadata/labels", "value": {"by": "hook"}}])),
    })
    .await;
    let server = builder().build().await.unwrap();
    configure(&server, MUTATING, "m", vec![about_maps("a.example.com", hook.by_url(), json!({}))]).await;
    let (code, made) = post(&server, &format!("{MAPS}?fieldManager=me"), &map("m")).await;
    assert_eq!((code, &made["metadata"]["labels"]), (201, &json!({"by": "hook"})), "{made}");
    let seen = hook.take();
    assert_eq!(seen.len(), 1, "{seen:?}");
    let asked = &seen[0];
    assert_eq!(asked["apiVersion"], "admission.k8s.io/v1");
    assert_eq!(asked["uri"], "/review?timeout=5s");
    assert_eq!(asked["kind"], json!({"group": "", "version": "v1", "kind": "ConfigMap"}));
    assert_eq!(asked["requestResource"], json!({"group": "", "version": "v1", "resource": "configmaps"}));
    assert_eq!((&asked["name"], &asked["namespace"]), (&json!("m"), &json!("default")));
    assert_eq!((&asked["operation"], &asked["dryRun"]), (&json!("CREATE"), &json!(false)));
    assert_eq!(asked["userInfo"]["username"], "system:admin");
    assert_eq!(asked["object"]["metadata"]["name"], "m");
    assert_eq!(asked["object"]["kind"], "ConfigMap");
    assert_eq!(asked["oldObject"], Value::Null);
    assert_eq!(asked["options"]["kind"], "CreateOptions");
    assert_eq!(asked["options"]["fieldManager"], "me");
    assert_eq!(delete(&server, &format!("{MAPS}/m")).await.0, 200);
    let asked = &hook.take()[0];
    assert_eq!((&asked["operation"], &asked["object"]), (&json!("DELETE"), &Value::Null));
    assert_eq!(asked["oldObject"]["metadata"]["labels"], json!({"by": "hook"}));
    assert_eq!(asked["options"]["kind"], "DeleteOptions");
    // One connection for all of it.
    assert_eq!(*hook.connections.lock().unwrap(), 1);
}

#[tokio::test]
async fn a_refusal_is_the_webhooks_own_in_upstreams_words() {
    let hook = Hook::start(&["127.0.0.1"], |asked| {
        Said::Response(match asked["name"].as_str() {
            Some("told") => json!({"allowed": false, "status": {"message": "not here", "code": 418, "reason": "Teapot", "details": {"causes": [{"field": "spec.x", "message": "m"}]}}}),
            Some("reason") => json!({"allowed": false, "status": {"reason": "Forbidden", "code": 403}}),
            Some("silent") => json!({"allowed": false}),
            _ => json!({"allowed": true, "warnings": ["look out"], "auditAnnotations": {"k": "v"}}),
        })
    })
    .await;
    let server = builder().build().await.unwrap();
    configure(&server, VALIDATING, "v", vec![about_maps("a.example.com", hook.by_url(), json!({}))]).await;
    let (code, status) = post(&server, MAPS, &map("told")).await;
    assert_eq!((code, &status["reason"]), (418, &json!("Teapot")), "{status}");
    assert_eq!(status["message"], "admission webhook \"a.example.com\" denied the request: not here");
    assert_eq!(status["details"]["causes"], json!([{"field": "spec.x", "message": "m"}]));
    let (code, status) = post(&server, MAPS, &map("reason")).await;
    assert_eq!(
        (code, &status["message"]),
        (403, &json!("admission webhook \"a.example.com\" denied the request: Forbidden"))
    );
    let (code, status) = post(&server, MAPS, &map("silent")).await;
    assert_eq!(
        (code, &status["message"]),
        (400, &json!("admission webhook \"a.example.com\" denied the request without explanation"))
    );
    let request = Request::post(MAPS).header("content-type", "application/json");
    let made = send(&server, request, map("fine").to_string()).await;
    assert_eq!(made.headers()["warning"], "299 - \"look out\"");
    assert_eq!(answer(made).await.0, 201);
    let (_, metrics) = metrics(&server).await;
    for line in [
        "apiserver_admission_webhook_rejection_count{error_type=\"no_error\",name=\"a.example.com\",operation=\"CREATE\",rejection_code=\"418\",type=\"validating\"} 1",
        "apiserver_admission_webhook_request_total{code=\"200\",name=\"a.example.com\",operation=\"CREATE\",rejected=\"false\",type=\"validating\"} 1",
        "apiserver_admission_webhook_admission_duration_seconds_count{name=\"a.example.com\",operation=\"CREATE\",rejected=\"true\",type=\"validating\"} 3",
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
}

async fn metrics(server: &ApiServer) -> (u16, String) {
    let response = send(server, Request::get("/metrics"), "").await;
    let code = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (code, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn what_cannot_be_asked_refuses_or_is_passed_over_as_its_policy_says() {
    // Nobody listens there.
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let client = json!({"url": format!("https://{gone}/x")});
    let server = builder().build().await.unwrap();
    let ignored = about_maps("ignored.example.com", client.clone(), json!({"failurePolicy": "Ignore"}));
    configure(&server, VALIDATING, "ignored", vec![ignored]).await;
    assert_eq!(post(&server, MAPS, &map("a")).await.0, 201);
    let (_, text) = metrics(&server).await;
    let line =
        "apiserver_admission_webhook_fail_open_count{name=\"ignored.example.com\",type=\"validating\"} 1";
    assert!(text.contains(line), "{text}");
    configure(&server, VALIDATING, "needed", vec![about_maps("needed.example.com", client, json!({}))]).await;
    let (code, status) = post(&server, MAPS, &map("b")).await;
    assert_eq!((code, &status["reason"]), (500, &json!("InternalError")));
    assert_eq!(
        status["message"],
        format!(
            "Internal error occurred: failed calling webhook \"needed.example.com\": failed to call webhook: Post \
             \"https://{gone}/x?timeout=5s\": dial tcp {gone}: connect: connection refused"
        )
    );
    // Nobody is asked about configurations, so this one can be taken away.
    assert_eq!(delete(&server, &format!("{HOOKS}/{VALIDATING}/needed")).await.0, 200);
    assert_eq!(post(&server, MAPS, &map("b")).await.0, 201);
}

#[tokio::test]
async fn whoever_answers_garbage_too_much_never_or_hangs_up_fails_its_request_alone() {
    let hook = Hook::start(&["127.0.0.1"], |asked| match asked["name"].as_str().unwrap_or_default() {
        "garbage" => Said::Raw(200, "<html>".to_owned()),
        "binary" => Said::Raw(200, "\u{0}\u{1}".to_owned()),
        "empty" => Said::Raw(200, String::new()),
        "deep" => Said::Raw(200, "[".repeat(100_000)),
        "large" => Said::Raw(200, format!("\"{}\"", "x".repeat(17 << 20))),
        "moved" => Said::Raw(302, String::new()),
        "broken" => Said::Raw(500, "oh no".to_owned()),
        "uid" => Said::Response(json!({"uid": "x", "allowed": true})),
        "kind" => patched(&json!([{"op": "replace", "path": "/kind", "value": "Secret"}])),
        "path" => patched(&json!([{"op": "remove", "path": "/none"}])),
        "type" => patched(&json!([{"op": "add", "path": "/data", "value": {"a": 1}}])),
        "other" => {
            patched(&json!([{"op": "replace", "path": "/metadata/namespace", "value": "kube-system"}]))
        }
        "nothing" => patched(&json!([{"op": "replace", "path": "", "value": null}])),
        "hangup" => Said::Hangup,
        "never" => Said::Silence,
        _ => allow(),
    })
    .await;
    let server = builder().build().await.unwrap();
    let one = about_maps("a.example.com", hook.by_url(), json!({"timeoutSeconds": 1}));
    configure(&server, MUTATING, "m", vec![one]).await;
    for (name, said) in [
        ("garbage", "failed to call webhook: couldn't get version/kind; json parse error"),
        ("binary", "failed to call webhook: couldn't get version/kind; json parse error"),
        (
            "empty",
            "failed to call webhook: 0-length response with status code: 200 and content type: application/json",
        ),
        ("deep", "json parse error"),
        ("large", "length limit exceeded"),
        ("moved", "the server responded with the status code 302 but did not return more information"),
        ("broken", "an error on the server (\"oh no\") has prevented the request from succeeding"),
        ("uid", "received invalid webhook response: expected response.uid="),
        ("kind", "made another kind of object"),
        ("path", "Internal error occurred"),
        ("type", "cannot unmarshal number"),
        ("nothing", "Internal error occurred"),
        ("hangup", "failed to call webhook: Post"),
        ("never", "context deadline exceeded"),
    ] {
        let (code, status) = post(&server, MAPS, &map(name)).await;
        assert_eq!(code, 500, "{name}: {status}");
        let message = status["message"].as_str().unwrap();
        assert!(message.contains(said), "{name}: {message}");
        assert_eq!(get(&server, &format!("{MAPS}/{name}")).await.0, 404, "{name}");
    }
    let (code, status) = post(&server, MAPS, &map("other")).await;
    assert_eq!(code, 400, "{status}");
    assert_eq!(get(&server, "/api/v1/namespaces/kube-system/configmaps/other").await.0, 404);
    assert_eq!(post(&server, MAPS, &map("fine")).await.0, 201);
}

#[tokio::test]
async fn who_is_not_whom_the_configuration_trusts_is_not_asked() {
    let (hook, other) =
        (Hook::start(&["127.0.0.1"], |_| allow()).await, Hook::start(&["127.0.0.1"], |_| allow()).await);
    let elsewhere = Hook::start(&["other.example.com"], |_| allow()).await;
    let server = builder().build().await.unwrap();
    let mut client = hook.by_url();
    client["caBundle"] = json!(other.ca);
    configure(&server, VALIDATING, "v", vec![about_maps("a.example.com", client, json!({}))]).await;
    let (code, status) = post(&server, MAPS, &map("m")).await;
    let message = status["message"].as_str().unwrap();
    assert_eq!(code, 500);
    assert!(
        message.ends_with("tls: failed to verify certificate: x509: certificate signed by unknown authority"),
        "{message}"
    );
    let configuration = json!({"metadata": {"name": "v"}, "webhooks": [about_maps("a.example.com", elsewhere.by_url(), json!({}))]});
    assert_eq!(put(&server, &format!("{HOOKS}/{VALIDATING}/v"), &configuration).await.0, 200);
    let (code, status) = post(&server, MAPS, &map("m")).await;
    assert_eq!(code, 500);
    assert!(status["message"].as_str().unwrap().contains("tls: failed to verify certificate"), "{status}");
    assert!(hook.take().is_empty() && elsewhere.take().is_empty());
}

#[tokio::test]
async fn rules_and_selectors_choose_what_a_webhook_is_asked_about() {
    let hook = Hook::start(&["127.0.0.1"], |_| allow()).await;
    let server = builder().build().await.unwrap();
    let rules = json!({
        "rules": [
            {"operations": ["UPDATE"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/status", "secrets"]},
            {"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps", "namespaces"], "scope": "Namespaced"},
        ],
        "namespaceSelector": {"matchLabels": {"watched": "yes"}},
        "objectSelector": {"matchExpressions": [{"key": "free", "operator": "DoesNotExist"}]},
    });
    configure(&server, VALIDATING, "v", vec![about_maps("a.example.com", hook.by_url(), rules)]).await;
    let namespaces = "/api/v1/namespaces";
    let watched = json!({"metadata": {"name": "w", "labels": {"watched": "yes"}}});
    assert_eq!(post(&server, namespaces, &watched).await.0, 201);
    assert!(hook.take().is_empty(), "a namespace lies in none");
    assert_eq!(post(&server, MAPS, &map("m")).await.0, 201);
    assert!(hook.take().is_empty(), "another namespace");
    let maps = "/api/v1/namespaces/w/configmaps";
    let free = json!({"metadata": {"name": "free", "labels": {"free": "yes"}}});
    assert_eq!(post(&server, maps, &free).await.0, 201);
    assert!(hook.take().is_empty(), "an object that is not selected");
    assert_eq!(post(&server, maps, &map("m")).await.0, 201);
    assert_eq!(hook.take().len(), 1);
    assert_eq!(put(&server, &format!("{maps}/m"), &map("m")).await.0, 200);
    assert!(hook.take().is_empty(), "another operation");
    let pods = "/api/v1/namespaces/w/pods";
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let (_, mut made) = post(&server, pods, &pod).await;
    made["status"]["phase"] = json!("Running");
    assert_eq!(put(&server, &format!("{pods}/p/status"), &made).await.0, 200);
    let seen = hook.take();
    assert_eq!((seen.len(), &seen[0]["subResource"]), (1, &json!("status")), "{seen:?}");
    let change = json!({"metadata": {"labels": {"a": "b"}}});
    assert_eq!(
        patch(&server, &format!("{namespaces}/w/status"), "application/merge-patch+json", &change).await.0,
        200
    );
    let seen = hook.take();
    assert_eq!((seen.len(), &seen[0]["namespace"]), (1, &json!("w")), "{seen:?}");
}

#[tokio::test]
async fn whoever_was_asked_before_a_change_is_asked_again_if_it_wants() {
    let label = |key: &'static str| {
        move |asked: &Value| {
            let mut labels = asked["object"]["metadata"]["labels"].clone();
            if labels.is_null() {
                labels = json!({});
            }
            let n = labels[key].as_str().map_or(0, |n| n.parse::<u32>().unwrap()) + 1;
            labels[key] = n.to_string().into();
            patched(&json!([{"op": "add", "path": "/metadata/labels", "value": labels}]))
        }
    };
    let (first, second, third) = (
        Hook::start(&["127.0.0.1"], label("first")).await,
        Hook::start(&["127.0.0.1"], label("second")).await,
        Hook::start(&["127.0.0.1"], |_| allow()).await,
    );
    let server = builder().build().await.unwrap();
    let again = json!({"reinvocationPolicy": "IfNeeded"});
    let hooks = vec![
        about_maps("first.example.com", first.by_url(), again.clone()),
        about_maps("second.example.com", second.by_url(), json!({})),
        about_maps("third.example.com", third.by_url(), again),
    ];
    configure(&server, MUTATING, "m", hooks).await;
    let (code, made) = post(&server, MAPS, &map("m")).await;
    // The third came after all changes of the first round, but the first changes once more.
    assert_eq!((code, &made["metadata"]["labels"]), (201, &json!({"first": "2", "second": "1"})), "{made}");
    assert_eq!([first.take().len(), second.take().len(), third.take().len()], [2, 1, 2]);
}

#[tokio::test]
async fn a_dry_run_asks_only_those_that_it_does_no_harm_with() {
    let hook = Hook::start(&["127.0.0.1"], |_| allow()).await;
    let server = builder().build().await.unwrap();
    configure(
        &server,
        VALIDATING,
        "v",
        vec![about_maps("a.example.com", hook.by_url(), json!({"sideEffects": "NoneOnDryRun"}))],
    )
    .await;
    assert_eq!(post(&server, &format!("{MAPS}?dryRun=All"), &map("m")).await.0, 201);
    let seen = hook.take();
    assert_eq!((&seen[0]["dryRun"], &seen[0]["options"]["dryRun"]), (&json!(true), &json!(["All"])));
}

#[tokio::test]
async fn connections_bindings_and_evictions_are_asked_about() {
    let hook = Hook::start(&["127.0.0.1"], |asked| match asked["subResource"].as_str() {
        Some("binding" | "scale") => allow(),
        _ => Said::Response(json!({"allowed": false, "status": {"message": "no"}})),
    })
    .await;
    let server = builder().build().await.unwrap();
    let rules = json!({"rules": [{"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["pods/*", "deployments/scale"]}]});
    let pods = "/api/v1/namespaces/default/pods";
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    assert_eq!(post(&server, pods, &pod).await.0, 201);
    configure(&server, VALIDATING, "v", vec![about_maps("a.example.com", hook.by_url(), rules)]).await;
    let binding = json!({"target": {"kind": "Node", "name": "n"}});
    assert_eq!(post(&server, &format!("{pods}/p/binding"), &binding).await.0, 201);
    let seen = hook.take();
    assert_eq!(seen[0]["kind"], json!({"group": "", "version": "v1", "kind": "Binding"}));
    assert_eq!(seen[0]["object"]["target"]["name"], "n");
    let (code, status) = post(&server, &format!("{pods}/p/exec?command=ls&stdout=true"), &json!({})).await;
    assert_eq!(
        (code, &status["message"]),
        (400, &json!("admission webhook \"a.example.com\" denied the request: no"))
    );
    let seen = hook.take();
    assert_eq!(
        (&seen[0]["operation"], &seen[0]["kind"]["kind"]),
        (&json!("CONNECT"), &json!("PodExecOptions"))
    );
    assert_eq!(seen[0]["object"]["command"], json!(["ls"]));
    assert_eq!(post(&server, &format!("{pods}/p/eviction"), &json!({})).await.0, 400);
    assert_eq!(hook.take()[0]["kind"], json!({"group": "policy", "version": "v1", "kind": "Eviction"}));
    assert_eq!(get(&server, &format!("{pods}/p")).await.0, 200);
}

#[tokio::test]
async fn a_scale_is_shown_as_a_scale_and_may_be_changed_as_one() {
    let hook = Hook::start(&["127.0.0.1"], |_| {
        patched(&json!([{"op": "replace", "path": "/spec/replicas", "value": 3}]))
    })
    .await;
    let server = builder().build().await.unwrap();
    let rules = json!({"rules": [{"operations": ["UPDATE"], "apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments/scale"]}]});
    let deployments = "/apis/apps/v1/namespaces/default/deployments";
    let template =
        json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let deployment = json!({"metadata": {"name": "d"}, "spec": {"replicas": 1, "selector": {"matchLabels": {"a": "b"}}, "template": template}});
    assert_eq!(post(&server, deployments, &deployment).await.0, 201);
    configure(&server, MUTATING, "m", vec![about_maps("a.example.com", hook.by_url(), rules)]).await;
    let path = format!("{deployments}/d/scale");
    let wish = json!({"spec": {"replicas": 9}});
    let (code, scaled) = patch(&server, &path, "application/merge-patch+json", &wish).await;
    assert_eq!((code, &scaled["spec"]["replicas"]), (200, &json!(3)), "{scaled}");
    let seen = hook.take();
    let asked = &seen[0];
    let kind = json!({"group": "autoscaling", "version": "v1", "kind": "Scale"});
    assert_eq!((&asked["kind"], &asked["requestKind"]), (&kind, &kind));
    assert_eq!(asked["resource"], json!({"group": "apps", "version": "v1", "resource": "deployments"}));
    assert_eq!((&asked["subResource"], &asked["requestSubResource"]), (&json!("scale"), &json!("scale")));
    assert_eq!(
        (&asked["object"]["kind"], &asked["object"]["spec"]["replicas"]),
        (&json!("Scale"), &json!(9))
    );
    assert_eq!(asked["oldObject"]["spec"]["replicas"], 1);
}

#[tokio::test]
async fn a_webhook_behind_a_service_is_found_by_its_endpoints() {
    let hook = Hook::start(&["hook.default.svc"], |_| allow()).await;
    let server = builder().allow_loopback_endpoints(true).build().await.unwrap();
    let service = json!({"metadata": {"name": "hook"}, "spec": {"ports": [{"name": "https", "port": 443}]}});
    assert_eq!(post(&server, "/api/v1/namespaces/default/services", &service).await.0, 201);
    let client =
        json!({"service": {"namespace": "default", "name": "hook", "path": "/in/here"}, "caBundle": hook.ca});
    configure(&server, VALIDATING, "v", vec![about_maps("a.example.com", client, json!({}))]).await;
    let (code, status) = post(&server, MAPS, &map("m")).await;
    assert_eq!(code, 500);
    assert_eq!(
        status["message"],
        "Internal error occurred: failed calling webhook \"a.example.com\": failed to call webhook: Post \
         \"https://hook.default.svc:443/in/here?timeout=5s\": no endpoints available for service \"hook\""
    );
    let slice = json!({
        "metadata": {"name": "hook-1", "labels": {"kubernetes.io/service-name": "hook"}}, "addressType": "IPv4",
        "ports": [{"name": "https", "port": hook.address.port()}],
        "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": true}}],
    });
    let slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
    let (code, made) = post(&server, slices, &slice).await;
    assert_eq!(code, 201, "{made}");
    // The cache has it when a list shows it.
    assert_eq!(get(&server, slices).await.0, 200);
    let (code, made) = post(&server, MAPS, &map("m")).await;
    assert_eq!(code, 201, "{made}");
    assert_eq!(hook.take()[0]["uri"], "/in/here?timeout=5s");
}

#[tokio::test]
async fn addresses_of_the_machine_and_its_link_are_asked_only_where_that_is_allowed() {
    let hook = Hook::start(&["127.0.0.1"], |_| allow()).await;
    let server = builder().webhook_targets(WebhookTargets::new().loopback(false)).build().await.unwrap();
    configure(&server, VALIDATING, "v", vec![about_maps("a.example.com", hook.by_url(), json!({}))]).await;
    let (code, status) = post(&server, MAPS, &map("m")).await;
    assert_eq!(code, 500);
    assert!(status["message"].as_str().unwrap().ends_with("address not allowed"), "{status}");
    assert!(hook.take().is_empty());
    let server = builder().build().await.unwrap();
    let client = json!({"url": "https://169.254.169.254/latest/meta-data"});
    configure(&server, VALIDATING, "v", vec![about_maps("a.example.com", client, json!({}))]).await;
    let (code, status) = post(&server, MAPS, &map("m")).await;
    assert_eq!(code, 500);
    assert!(
        status["message"].as_str().unwrap().ends_with("dial tcp 169.254.169.254:443: address not allowed"),
        "{status}"
    );
}

#[tokio::test]
async fn a_webhook_that_wants_another_version_of_a_resource_gets_that() {
    let hook = Hook::start(&["127.0.0.1"], |_| allow()).await;
    let server = builder().build().await.unwrap();
    let version = |name: &str, storage: bool| json!({"name": name, "served": true, "storage": storage, "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}});
    let definition = json!({
        "metadata": {"name": "toys.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced", "names": {"plural": "toys", "kind": "Toy"},
            "versions": [version("v1", true), version("v2", false)],
        },
    });
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    assert_eq!(post(&server, definitions, &definition).await.0, 201);
    let rules = |policy: &str| {
        let rule = json!([{"operations": ["CREATE"], "apiGroups": ["example.com"], "apiVersions": ["v1"], "resources": ["toys"]}]);
        json!({"rules": rule, "matchPolicy": policy})
    };
    let hooks = vec![
        about_maps("exact.example.com", hook.by_url(), rules("Exact")),
        about_maps("equivalent.example.com", hook.by_url(), rules("Equivalent")),
    ];
    configure(&server, VALIDATING, "v", hooks).await;
    let toy = json!({"apiVersion": "example.com/v2", "kind": "Toy", "metadata": {"name": "t"}});
    let (code, made) = post(&server, "/apis/example.com/v2/namespaces/default/toys", &toy).await;
    assert_eq!(code, 201, "{made}");
    let seen = hook.take();
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert_eq!(
        (&seen[0]["kind"]["version"], &seen[0]["requestKind"]["version"]),
        (&json!("v1"), &json!("v2"))
    );
    assert_eq!(seen[0]["resource"]["version"], "v1");
    assert_eq!(seen[0]["object"]["apiVersion"], "example.com/v1");
}
