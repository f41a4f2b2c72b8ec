//! Plain requests to an API server, and its errors as a client shows them.

use http::{Method, Request, header};
use kube::Client;
use serde_json::Value;

use super::chain;
use crate::failure::Failure;

/// Asks for `path`, with the given `Accept`, and reads the answer as JSON.
pub(crate) async fn get(client: &Client, path: &str, accept: &str) -> Result<Value, Failure> {
    send(client, Request::get(path).header(header::ACCEPT, accept), Vec::new()).await
}

/// Sends a JSON body; `kind` is its media type.
pub(crate) async fn write(
    client: &Client,
    method: Method,
    path: &str,
    kind: &str,
    body: &Value,
) -> Result<Value, Failure> {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::CONTENT_TYPE, kind)
        .header(header::ACCEPT, "application/json");
    send(client, request, body.to_string().into_bytes()).await
}

/// Like [`get`], with `None` where the server says that there is no such object.
pub(super) async fn find(client: &Client, path: &str) -> Result<Option<Value>, Failure> {
    let request = Request::get(path).header(header::ACCEPT, "application/json").body(Vec::new());
    let request = request.map_err(|problem| Failure::of(format!("{path}: {problem}")))?;
    match client.request::<Value>(request).await {
        Ok(value) => Ok(Some(value)),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(None),
        Err(problem) => Err(explain(&problem)),
    }
}

async fn send(client: &Client, request: http::request::Builder, body: Vec<u8>) -> Result<Value, Failure> {
    let request = request.body(body).map_err(|problem| Failure::of(problem.to_string()))?;
    client.request(request).await.map_err(|problem| explain(&problem))
}

/// An error as kubectl words it.
pub(crate) fn explain(problem: &kube::Error) -> Failure {
    match problem {
        kube::Error::Api(status) if !status.reason.is_empty() => {
            Failure::of(format!("Error from server ({}): {}", status.reason, status.message))
        }
        kube::Error::Api(status) => Failure::of(format!("Error from server: {}", status.message)),
        other => Failure::of(format!("no answer from the cluster: {}", chain(other))),
    }
}
