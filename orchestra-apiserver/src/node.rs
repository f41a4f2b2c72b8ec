//! The way to the nodes: logs, exec, port-forward, and what else their agents serve.

use std::fmt::Debug;

use async_trait::async_trait;
use http::{Request, Response};
use tower::BoxError;

use crate::body::Body;

/// Sends requests to node agents.
///
/// Paths are the kubelet's, such as `/containerLogs/{namespace}/{pod}/{container}?follow=true`. Redirects are not followed. In one process this
/// is a call; across machines it is HTTPS to the node's address.
///
/// # Contract
/// 1. The caller has authorized the request; the transport only carries it.
/// 2. The body of the answer is passed on as it comes: with `follow=true` it does not end before the container does, and
///    dropping it ends the request.
/// 3. A request with `Connection: Upgrade` may be answered by 101, and then, only then, the answer's extensions hold
///    hyper's [`OnUpgrade`](hyper::upgrade::OnUpgrade) of the connection to the agent. Dropping what it yields ends the
///    connection.
/// 4. An answer that is no success has a short text as its body, which the client gets to see.
#[async_trait]
pub trait NodeTransport: Debug + Send + Sync + 'static {
    /// Sends a request to the agent of `node`. An error means that the node cannot be reached.
    async fn send(&self, node: &str, request: Request<Body>) -> Result<Response<Body>, BoxError>;
}
