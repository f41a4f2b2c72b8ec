//! What goes over the wire. The suite's typed clients write protobuf and take it back, its dynamic clients JSON; a test
//! speaks of JSON trees either way.

use http_body_util::BodyExt as _;
use kube::client::Body;
use orchestra::core::gvk::GroupVersion;
use orchestra::core::{protobuf, schema};
use serde_json::{Value, json};

use crate::world::World;

const JSON: &str = "application/json";
const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

/// What a client writes and asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wire {
    /// Protobuf where a kind has such a form; patches are JSON all the same.
    Typed,
    Json,
}

impl Wire {
    /// What an `Accept` header says.
    pub(crate) fn accept(self) -> &'static str {
        match self {
            Self::Typed => "application/vnd.kubernetes.protobuf, */*",
            Self::Json => JSON,
        }
    }
}

/// The kind that a path asks for.
#[derive(Clone, Debug)]
struct Asked {
    /// Of the path, in which options travel.
    group_version: String,
    /// Of the objects.
    api_version: String,
    kind: String,
}

impl World {
    /// Sends a tree as this wire has it, and returns the answer's tree; null if it is neither protobuf nor JSON.
    pub(crate) async fn converse(&self, wire: Wire, method: &str, path: &str, body: Value) -> (u16, Value) {
        let (media, bytes) = self.written(wire, method, path, body).await;
        self.answer(wire, method, path, media, bytes).await
    }

    /// Sends these bytes, and returns the answer's tree.
    pub(crate) async fn answer(
        &self,
        wire: Wire,
        method: &str,
        path: &str,
        media: &str,
        bytes: Vec<u8>,
    ) -> (u16, Value) {
        let request = http::Request::builder().method(method).uri(path);
        let request = request.header("content-type", media).header("accept", wire.accept());
        let request = request.body(Body::from(bytes)).expect("a request");
        let response = self.client().send(request).await.expect("an answer");
        let status = response.status().as_u16();
        let media = response.headers().get("content-type").and_then(|value| value.to_str().ok());
        let is_protobuf = media.is_some_and(|media| media.starts_with(PROTOBUF));
        let bytes = response.into_body().collect().await.expect("a whole body").to_bytes();
        if is_protobuf {
            return (status, read(&bytes));
        }
        (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    /// The media type and the bytes of a body.
    async fn written(
        &self,
        wire: Wire,
        method: &str,
        path: &str,
        mut body: Value,
    ) -> (&'static str, Vec<u8>) {
        let plain = |body: Value| if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let Some(asked) = (if wire == Wire::Typed { self.asked(path).await } else { None }) else {
            return (JSON, plain(body));
        };
        let (api_version, kind) = match method {
            "POST" | "PUT" => (&asked.api_version, asked.kind.as_str()),
            // Options are always sent, also when there are none.
            "DELETE" => (&asked.group_version, "DeleteOptions"),
            _ => return (JSON, plain(body)),
        };
        if body.is_null() {
            body = json!({});
        }
        for (field, value) in [("apiVersion", api_version.as_str()), ("kind", kind)] {
            if body[field].is_null() {
                body[field] = value.into();
            }
        }
        (PROTOBUF, protobuf::encode_envelope(&body).expect("a message of this kind"))
    }

    /// The kind of the objects below a path, if it is one that comes with the server.
    async fn asked(&self, path: &str) -> Option<Asked> {
        let path = path.split('?').next().unwrap_or_default();
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        let (root, group_version, mut rest) = match parts.as_slice() {
            ["api", version, rest @ ..] => (format!("/api/{version}"), (*version).to_owned(), rest),
            ["apis", group, version, rest @ ..] => {
                (format!("/apis/{group}/{version}"), format!("{group}/{version}"), rest)
            }
            _ => return None,
        };
        if let ["namespaces", _, below, ..] = rest
            && !["status", "finalize"].contains(below)
        {
            rest = &rest[2..];
        }
        let resource = match rest {
            [plural, _, subresource, ..] => format!("{plural}/{subresource}"),
            [plural, ..] => (*plural).to_owned(),
            [] => return None,
        };
        let (_, list) = self.answer(Wire::Json, "GET", &root, JSON, Vec::new()).await;
        let found =
            list["resources"].as_array()?.iter().find(|one| one["name"] == resource.as_str())?.clone();
        let api_version = match (found["group"].as_str(), found["version"].as_str()) {
            (Some(""), Some(version)) | (None, Some(version)) => version.to_owned(),
            (Some(group), Some(version)) => format!("{group}/{version}"),
            _ => group_version.clone(),
        };
        let kind = found["kind"].as_str()?.to_owned();
        let known = schema::of_kind(&GroupVersion::parse(&api_version)?, &kind).is_some();
        known.then_some(Asked { group_version, api_version, kind })
    }
}

/// An object out of its envelope, as JSON has it.
pub(crate) fn read(bytes: &[u8]) -> Value {
    let mut object = protobuf::decode_envelope(bytes).expect("an object in its envelope");
    let field = |name: &str| object[name].as_str().unwrap_or_default().to_owned();
    let group_version = GroupVersion::parse(&field("apiVersion")).expect("a version");
    let ty = schema::of_kind(&group_version, &field("kind")).expect("a kind that has a message");
    schema::complete(&mut object, ty);
    // No message tells an empty list from none; a client counts nothing in either.
    if object.get("items").is_some_and(Value::is_null) {
        object["items"] = json!([]);
    }
    object
}

/// Takes the first event off what has come of a watch, if it is there as a whole.
pub(crate) fn take_event(bytes: &mut Vec<u8>, is_protobuf: bool) -> Option<Value> {
    if !is_protobuf {
        let end = bytes.iter().position(|byte| *byte == b'\n')?;
        let line: Vec<u8> = bytes.drain(..=end).collect();
        return Some(serde_json::from_slice(&line).expect("an event in JSON"));
    }
    let length = u32::from_be_bytes(*bytes.first_chunk::<4>()?) as usize;
    if bytes.len() < 4 + length {
        return None;
    }
    let frame: Vec<u8> = bytes.drain(..4 + length).skip(4).collect();
    // Field 1 is the type; the object's envelope goes to the end of the frame.
    let kind = String::from_utf8(frame[2..2 + usize::from(frame[1])].to_vec()).expect("a type");
    let at = frame.windows(4).position(|four| four == b"k8s\0").expect("an envelope");
    Some(json!({ "type": kind, "object": read(&frame[at..]) }))
}
