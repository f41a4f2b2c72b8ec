//! `pods/exec`, `pods/attach` and `pods/portforward`.

use http::request::Parts;
use http::{Request, Response};
use serde_json::Value;

use super::upgrade;
use crate::body::{self, Body};
use crate::request::Verb;
use crate::state::{Call, State};
use crate::status::StatusError;
use crate::subresource::container;
use crate::verbs::get;

/// What is opened to a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    Exec,
    Attach,
    PortForward,
}

impl Stream {
    /// The stream that a subresource of pods is.
    pub(super) fn named(subresource: &str) -> Option<Self> {
        match subresource {
            "exec" => Some(Self::Exec),
            "attach" => Some(Self::Attach),
            "portforward" => Some(Self::PortForward),
            _ => None,
        }
    }
}

/// Opens streams to a pod.
///
/// Opening them is `create`, also with GET, which a WebSocket begins with: whoever may only `get` a pod's subresources
/// is not to run commands (upstream since 1.35).
pub(super) async fn open(
    state: &State,
    stream: Stream,
    call: &Call,
    parts: &mut Parts,
) -> Result<Response<Body>, StatusError> {
    match call.request.verb {
        Verb::Create => {}
        Verb::Get => super::demand_create(state, call, parts.uri.path()).await?,
        _ => return Err(StatusError::method_not_supported()),
    }
    let pod = call.resource.tree(&get::entry(state, call).await?)?;
    let path = node_path(stream, &pod, call)?;
    let node = pod.pointer("/spec/nodeName").and_then(Value::as_str).unwrap_or_default();
    if node.is_empty() {
        let name = call.request.name.as_deref().unwrap_or_default();
        return Err(StatusError::bad_request(format!("pod {name} does not have a host assigned")));
    }
    if !upgrade::is_asked(&call.headers) {
        return Err(StatusError::bad_request("Upgrade request required"));
    }
    let Some(nodes) = &state.nodes else {
        return Err(StatusError::unavailable("this server has no way to reach its nodes"));
    };
    let mut request = Request::builder()
        .method(&parts.method)
        .uri(path)
        .body(body::whole(""))
        .map_err(StatusError::internal)?;
    *request.headers_mut() = upgrade::handshake(&call.headers);
    let place = state.streams.place()?;
    let answer = nodes.send(node, request).await;
    let answer = answer.map_err(|error| StatusError::internal(format!("error dialing backend: {error}")))?;
    upgrade::conclude(state, place, parts.extensions.remove(), answer).await
}

/// The kubelet's path for the stream, with the kubelet's parameters.
fn node_path(stream: Stream, pod: &Value, call: &Call) -> Result<String, StatusError> {
    let namespace = call.namespace().unwrap_or_default();
    let name = call.request.name.as_deref().unwrap_or_default();
    let mut query = Vec::new();
    let path = match stream {
        Stream::Exec | Stream::Attach => {
            let container = container::chosen(pod, call)?;
            for (from, to) in [("stdin", "input"), ("stdout", "output"), ("stderr", "error"), ("tty", "tty")]
            {
                if call.query.flag(from) {
                    query.push(format!("{to}=1"));
                }
            }
            if stream == Stream::Attach {
                format!("/attach/{namespace}/{name}/{container}")
            } else {
                let parts = call.query.pairs().iter().filter(|(key, _)| key == "command");
                query.extend(parts.map(|(_, part)| format!("command={}", container::encode(part))));
                format!("/exec/{namespace}/{name}/{container}")
            }
        }
        Stream::PortForward => {
            let ports: Vec<&str> = call
                .query
                .pairs()
                .iter()
                .filter(|(key, _)| key == "ports")
                .flat_map(|(_, list)| list.split(','))
                .collect();
            if let Some(bad) = ports.iter().find(|port| port.parse::<u16>().is_err()) {
                return Err(StatusError::bad_request(format!("{bad:?} is not a port")));
            }
            if !ports.is_empty() {
                query.push(format!("port={}", ports.join(",")));
            }
            format!("/portForward/{namespace}/{name}")
        }
    };
    Ok(if query.is_empty() { path } else { format!("{path}?{}", query.join("&")) })
}
