//! The way to the nodes: logs today, exec and port-forward later.

use std::fmt::Debug;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use tower::BoxError;

use crate::body::Body;

/// Sends requests to node agents.
///
/// Paths are the kubelet's, such as `/containerLogs/{namespace}/{pod}/{container}?follow=true`. In one process this
/// is a call; across machines it is HTTPS to the node's address.
#[async_trait]
pub trait NodeTransport: Debug + Send + Sync + 'static {
    /// Sends a request to the agent of `node`. An error means that the node cannot be reached.
    async fn send(&self, node: &str, request: Request<Bytes>) -> Result<Response<Body>, BoxError>;
}
