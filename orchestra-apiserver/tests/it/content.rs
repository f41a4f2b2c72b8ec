//! What objects are written as: protobuf, YAML, compressed, for people.

use std::io::Read;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use orchestra_apiserver::{ApiServer, Body, User};
use orchestra_core::protobuf::{self, Envelope};
use orchestra_core::{gvk::GroupVersion, kind::Scope, kinds::Registry, schema};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::harness::{get, patch, post, send, server};

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

async fn accept(server: &ApiServer, path: &str, accept: &str) -> Response<Body> {
    send(server, Request::get(path).header("accept", accept), "").await
}

async fn body(response: Response<Body>) -> Bytes {
    response.into_body().collect().await.unwrap().to_bytes()
}

/// The object in a protobuf response.
async fn read(response: Response<Body>) -> (u16, Value) {
    assert_eq!(response.headers()["content-type"], PROTOBUF);
    let code = response.status().as_u16();
    (code, protobuf::decode_envelope(&body(response).await).unwrap())
}

/// A JSON object with nothing in it that protobuf cannot tell from absence.
fn lean(mut object: Value) -> Value {
    let gv = GroupVersion::parse(object["apiVersion"].as_str().unwrap()).unwrap();
    let ty = schema::of_kind(&gv, object["kind"].as_str().unwrap()).unwrap();
    schema::conform(&mut object, ty).unwrap();
    object
}

async fn send_bytes(server: &ApiServer, request: http::request::Builder, bytes: Vec<u8>) -> Response<Body> {
    let body = http_body_util::Full::new(Bytes::from(bytes));
    server.clone().oneshot(request.extension(User::admin()).body(body).unwrap()).await.unwrap()
}

fn deployment() -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "namespace": "default"},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"a": "b"}}, "template": {
            "metadata": {"labels": {"a": "b"}},
            "spec": {"containers": [{"name": "c", "image": "i", "resources": {"limits": {"cpu": "100m"}}}]}}},
    })
}

#[tokio::test]
async fn an_object_goes_in_and_out_as_protobuf() {
    let server = server().await;
    let path = "/apis/apps/v1/namespaces/default/deployments";
    let request = Request::post(path)
        .header("content-type", PROTOBUF)
        .header("accept", "application/vnd.kubernetes.protobuf,application/json");
    let bytes = protobuf::encode_envelope(&deployment()).unwrap();
    let (code, made) = read(send_bytes(&server, request, bytes).await).await;
    assert_eq!((code, &made["spec"]["replicas"]), (201, &json!(2)));
    let (_, shown) = get(&server, &format!("{path}/d")).await;
    assert_eq!(lean(shown), made);
    assert_eq!(read(accept(&server, &format!("{path}/d"), PROTOBUF).await).await.1, made);
    let (code, scale) = read(accept(&server, &format!("{path}/d/scale"), PROTOBUF).await).await;
    assert_eq!((code, &scale["spec"]), (200, &json!({"replicas": 2})));
    let delete =
        Request::delete(format!("{path}/d")).header("accept", PROTOBUF).header("content-type", PROTOBUF);
    let options = json!({"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"});
    let (code, status) =
        read(send_bytes(&server, delete, protobuf::encode_envelope(&options).unwrap()).await).await;
    assert_eq!((code, &status["status"]), (200, &json!("Success")));
}

#[tokio::test]
async fn refusals_and_reviews_are_protobuf_too() {
    let server = server().await;
    let (code, status) = read(accept(&server, &format!("{CONFIG_MAPS}/none"), PROTOBUF).await).await;
    assert_eq!((code, &status["kind"], &status["reason"]), (404, &json!("Status"), &json!("NotFound")));
    assert_eq!(status["details"], json!({"name": "none", "kind": "configmaps"}));
    let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}}});
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let request = Request::post(path).header("content-type", PROTOBUF).header("accept", PROTOBUF);
    let (code, answer) =
        read(send_bytes(&server, request, protobuf::encode_envelope(&review).unwrap()).await).await;
    assert_eq!((code, &answer["status"]["allowed"]), (201, &json!(true)));
    let table = Request::post(path).header("accept", "application/json;as=Table;v=v1;g=meta.k8s.io");
    let response = send(&server, table, review.to_string()).await;
    assert_eq!(response.status(), 406);
    let (code, groups) = read(accept(&server, "/apis", PROTOBUF).await).await;
    assert_eq!((code, &groups["kind"]), (200, &json!("APIGroupList")));
    let (_, resources) = read(accept(&server, "/apis/apps/v1", PROTOBUF).await).await;
    assert_eq!(resources, lean(get(&server, "/apis/apps/v1").await.1));
}

#[tokio::test]
async fn every_built_in_list_is_the_same_in_protobuf() {
    let server = server().await;
    post(&server, CONFIG_MAPS, &json!({"metadata": {"name": "m"}, "data": {"a": "b"}})).await;
    post(&server, "/apis/apps/v1/namespaces/default/deployments", &deployment()).await;
    for kind in Registry::builtin().iter() {
        let d = kind.description();
        if d.only.is_some_and(|only| !only.contains(&"list")) {
            continue;
        }
        let root = if d.gv.group.is_empty() { "/api".to_owned() } else { format!("/apis/{}", d.gv.group) };
        let space = if d.scope == Scope::Namespaced { "/namespaces/default" } else { "" };
        let path = format!("{root}/{}{space}/{}", d.gv.version, d.plural);
        let (code, list) = read(accept(&server, &path, PROTOBUF).await).await;
        assert_eq!(code, 200, "{path}");
        let (_, plain) = get(&server, &path).await;
        assert_eq!(list, lean(plain), "{path}");
    }
}

#[tokio::test]
async fn metadata_alone_can_be_protobuf_and_tables_cannot() {
    let server = server().await;
    post(&server, CONFIG_MAPS, &json!({"metadata": {"name": "m", "labels": {"a": "b"}}, "data": {"a": "b"}}))
        .await;
    let partial = format!("{PROTOBUF};as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json");
    let (_, list) = read(accept(&server, CONFIG_MAPS, &partial).await).await;
    assert_eq!(list["kind"], "PartialObjectMetadataList");
    assert_eq!(list["items"][0]["metadata"]["labels"], json!({"a": "b"}));
    assert_eq!(list["items"][0].get("data"), None);
    let old = format!("{PROTOBUF};as=PartialObjectMetadataList;g=meta.k8s.io;v=v1beta1");
    let (_, list) = read(accept(&server, CONFIG_MAPS, &old).await).await;
    assert_eq!(
        (&list["apiVersion"], &list["items"][0]["metadata"]["name"]),
        (&json!("meta.k8s.io/v1beta1"), &json!("m"))
    );
    let refusal = async |path: &str, form: &str| {
        let response = accept(&server, path, form).await;
        assert_eq!(response.status(), 406);
        let bytes = body(response).await;
        serde_json::from_slice::<Value>(&bytes).or_else(|_| protobuf::decode_envelope(&bytes)).unwrap()["message"].clone()
    };
    assert_eq!(
        refusal(CONFIG_MAPS, &format!("{PROTOBUF};as=Table;g=meta.k8s.io;v=v1")).await,
        "only the following media types are accepted: application/json, application/yaml, application/vnd.kubernetes.protobuf"
    );
    assert_eq!(
        refusal(CONFIG_MAPS, "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1").await,
        "you requested PartialObjectMetadata, but the requested object is a list (*core.ConfigMapList)"
    );
    assert_eq!(
        refusal(
            &format!("{CONFIG_MAPS}/m"),
            "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
        )
        .await,
        "you requested PartialObjectMetadataList, but the requested object is not a list (*core.ConfigMap)"
    );
}

/// The frames of a protobuf watch.
struct Frames {
    body: Body,
    buffer: Vec<u8>,
}

impl Frames {
    async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            if let Some(length) =
                self.buffer.first_chunk::<4>().map(|head| u32::from_be_bytes(*head) as usize)
                && self.buffer.len() >= 4 + length
            {
                let frame: Vec<u8> = self.buffer.drain(..4 + length).skip(4).collect();
                let ty = schema::by_name("io.k8s.apimachinery.pkg.apis.meta.v1.WatchEvent").unwrap();
                // The object is raw bytes, which stand behind the type: an envelope to the end of the frame.
                let at = frame.windows(4).position(|window| window == b"k8s\0").unwrap();
                assert!(ty.field("object").is_some());
                let kind = String::from_utf8(frame[2..2 + usize::from(frame[1])].to_vec()).unwrap();
                return Some((kind, protobuf::decode_envelope(&frame[at..]).unwrap()));
            }
            let data = self.body.frame().await?.unwrap();
            self.buffer.extend_from_slice(&data.into_data().unwrap());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_in_protobuf_is_frames_with_lengths() {
    let server = server().await;
    let made = post(&server, CONFIG_MAPS, &json!({"metadata": {"name": "m"}})).await.1;
    let path = format!(
        "{CONFIG_MAPS}?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&timeoutSeconds=30"
    );
    let request = Request::get(&path)
        .header("accept", "application/vnd.kubernetes.protobuf;stream=watch")
        .header("accept-encoding", "gzip");
    let response = send(&server, request, "").await;
    assert_eq!(response.headers()["content-type"], "application/vnd.kubernetes.protobuf;stream=watch");
    assert_eq!(response.headers().get("content-encoding"), None);
    let mut frames = Frames { body: response.into_body(), buffer: Vec::new() };
    let mut seen = Vec::new();
    loop {
        let (kind, object) = frames.next().await.unwrap();
        if kind == "BOOKMARK" {
            assert_eq!(object["kind"], "ConfigMap");
            assert_eq!(object["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
            break;
        }
        assert_eq!(kind, "ADDED");
        seen.push(object);
    }
    assert!(seen.contains(&lean(made)));
    let merge = "application/merge-patch+json";
    let (_, now) = patch(&server, &format!("{CONFIG_MAPS}/m"), merge, &json!({"data": {"a": "b"}})).await;
    assert_eq!(frames.next().await.unwrap(), ("MODIFIED".to_owned(), lean(now)));
    crate::harness::delete(&server, &format!("{CONFIG_MAPS}/m")).await;
    let (kind, gone) = frames.next().await.unwrap();
    assert_eq!((kind.as_str(), &gone["data"]), ("DELETED", &json!({"a": "b"})));
    assert_eq!(frames.next().await.unwrap().0, "BOOKMARK");
    assert_eq!(frames.next().await, None);
}

#[tokio::test]
async fn a_watch_is_never_yaml() {
    let server = server().await;
    let response = accept(&server, &format!("{CONFIG_MAPS}?watch=true"), "application/yaml").await;
    assert_eq!(response.status(), 406);
    let status: Value = serde_yaml::from_slice(&body(response).await).unwrap();
    assert_eq!(
        status["message"],
        "only the following media types are accepted: application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch"
    );
}

#[tokio::test]
async fn yaml_and_line_breaks_are_there_for_people() {
    let server = server().await;
    let (_, made) = post(&server, CONFIG_MAPS, &json!({"metadata": {"name": "m"}, "data": {"a": "1"}})).await;
    let path = format!("{CONFIG_MAPS}/m");
    let response = accept(&server, &path, "application/yaml").await;
    assert_eq!(response.headers()["content-type"], "application/yaml");
    let yaml: Value = serde_yaml::from_slice(&body(response).await).unwrap();
    assert_eq!(yaml, made);
    let list: Value =
        serde_yaml::from_slice(&body(accept(&server, CONFIG_MAPS, "application/yaml").await).await).unwrap();
    assert_eq!(list["kind"], "ConfigMapList");
    let pretty = send(&server, Request::get(&path).header("user-agent", "curl/8"), "").await;
    let text = body(pretty).await;
    assert!(text.starts_with(b"{\n  \"kind\": \"ConfigMap\",\n"), "{text:?}");
    assert_eq!(serde_json::from_slice::<Value>(&text).unwrap(), made);
    let list = body(accept(&server, &format!("{CONFIG_MAPS}?pretty=true"), "application/json").await).await;
    assert!(list.starts_with(b"{\n  \"kind\": \"ConfigMapList\",\n"));
}

#[tokio::test]
async fn only_what_is_long_is_compressed_in_any_syntax() {
    let server = server().await;
    let make = async |name: &str, length: usize| {
        let map = json!({"metadata": {"name": name}, "data": {"a": "x".repeat(length)}});
        assert_eq!(post(&server, CONFIG_MAPS, &map).await.0, 201);
    };
    make("short", 100_000).await;
    make("long", 140_000).await;
    let fetch = async |name: &str, media: &str, coding: &str| {
        let request = Request::get(format!("{CONFIG_MAPS}{name}"))
            .header("accept", media)
            .header("accept-encoding", coding);
        send(&server, request, "").await
    };
    for media in ["application/json", "application/yaml", PROTOBUF] {
        assert_eq!(fetch("/short", media, "gzip").await.headers().get("content-encoding"), None, "{media}");
        assert_eq!(
            fetch("/long", media, "gzip;q=1").await.headers().get("content-encoding"),
            None,
            "{media}"
        );
        for name in ["/long", ""] {
            let plain = body(fetch(name, media, "").await).await;
            let packed = fetch(name, media, "deflate, gzip").await;
            assert_eq!(packed.headers()["content-encoding"], "gzip", "{media}");
            assert_eq!(packed.headers()["content-type"], media);
            let mut text = Vec::new();
            flate2::read::GzDecoder::new(body(packed).await.as_ref()).read_to_end(&mut text).unwrap();
            assert_eq!(text, plain, "{media}");
        }
    }
}

#[tokio::test]
async fn a_body_that_is_no_protobuf_is_a_bad_request() {
    let server = server().await;
    for bytes in [&b"{}"[..], b"", b"k8s\0\n\xff", b"k8s\0\n\x05\n\x03v9x"] {
        let request = Request::post(CONFIG_MAPS).header("content-type", PROTOBUF);
        assert_eq!(send_bytes(&server, request, bytes.to_vec()).await.status(), 400, "{bytes:?}");
    }
    assert!(Envelope::open(b"").is_err());
}
