//! `/log`: what a container has written, fetched from its node.

use http::{Request, Response};
use serde_json::Value;
use tokio::time::timeout;

use super::container;
use crate::body::Body;
use crate::flow;
use crate::state::{Call, State};
use crate::status::StatusError;
use crate::storage::meta;
use crate::verbs::get;

/// Parameters that go on to the node.
const PASSED_ON: &[&str] =
    &["follow", "previous", "sinceSeconds", "sinceTime", "timestamps", "tailLines", "limitBytes", "stream"];

/// GET of a container's log.
pub(crate) async fn log(state: &State, call: &Call) -> Result<Response<Body>, StatusError> {
    let pod = call.resource.tree(&get::entry(state, call).await?)?;
    let container = container::chosen(&pod, call)?;
    let node = pod.pointer("/spec/nodeName").and_then(Value::as_str).unwrap_or_default();
    if node.is_empty() {
        // Upstream answers with an empty log while the pod waits for a node.
        return Ok(crate::body::typed(http::StatusCode::OK, "text/plain", ""));
    }
    let Some(nodes) = &state.nodes else {
        return Err(StatusError::unavailable("this server has no way to reach its nodes"));
    };
    let mut uri =
        format!("/containerLogs/{}/{}/{container}", call.namespace().unwrap_or_default(), meta::name(&pod));
    let passed = call
        .query
        .pairs()
        .iter()
        .filter(|(key, value)| PASSED_ON.contains(&key.as_str()) && !value.is_empty());
    for (at, (key, value)) in passed.enumerate() {
        uri.push(if at == 0 { '?' } else { '&' });
        uri.push_str(&format!("{key}={}", container::encode(value)));
    }
    let request = Request::get(uri).body(crate::body::whole("")).map_err(StatusError::internal)?;
    let mut answer = nodes
        .send(node, request)
        .await
        .map_err(|error| StatusError::internal(format!("error trying to reach service: {error}")))?;
    if !answer.status().is_success() {
        let code = answer.status();
        let reading = timeout(state.limits.request_timeout, crate::body::read(answer.into_body()));
        let text = reading.await.unwrap_or_else(|_| Err(flow::too_slow()))?;
        let text = String::from_utf8_lossy(&text).trim().to_owned();
        return Err(StatusError::from_node(code, text));
    }
    answer.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("text/plain"));
    Ok(answer)
}
