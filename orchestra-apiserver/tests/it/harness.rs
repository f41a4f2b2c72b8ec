//! A server on a memory store.

use std::sync::Arc;

use http::{Request, Response};
use http_body_util::BodyExt;
use orchestra_apiserver::{ApiServer, Body, User};
use orchestra_store::MemoryStore;
use serde_json::Value;
use tower::ServiceExt;

pub(crate) async fn server() -> ApiServer {
    ApiServer::builder(Arc::new(MemoryStore::new())).seed(1).build().await.unwrap()
}

/// Sends a request as the administrator.
pub(crate) async fn send(
    server: &ApiServer,
    request: http::request::Builder,
    body: impl Into<String>,
) -> Response<Body> {
    let request: Request<String> = request.extension(User::admin()).body(body.into()).unwrap();
    server.clone().oneshot(request).await.unwrap()
}

/// The status code and the body.
pub(crate) async fn json(response: Response<Body>) -> (u16, Value) {
    let code = response.status().as_u16();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (code, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
}

pub(crate) async fn get(server: &ApiServer, path: &str) -> (u16, Value) {
    json(send(server, Request::get(path), "").await).await
}

pub(crate) async fn post(server: &ApiServer, path: &str, object: &Value) -> (u16, Value) {
    json(
        send(server, Request::post(path).header("content-type", "application/json"), object.to_string())
            .await,
    )
    .await
}

pub(crate) async fn put(server: &ApiServer, path: &str, object: &Value) -> (u16, Value) {
    json(
        send(server, Request::put(path).header("content-type", "application/json"), object.to_string()).await,
    )
    .await
}

pub(crate) async fn patch(server: &ApiServer, path: &str, media: &str, patch: &Value) -> (u16, Value) {
    json(send(server, Request::patch(path).header("content-type", media), patch.to_string()).await).await
}

pub(crate) async fn delete(server: &ApiServer, path: &str) -> (u16, Value) {
    json(send(server, Request::delete(path), "").await).await
}
