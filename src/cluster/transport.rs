//! The API server's way to the agents of nodes in the same process.
//!
//! A plain request is a call. One that may change its protocol goes over HTTP on a pipe in memory, so that the agent
//! finds what it would find behind a socket.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1 as client;
use hyper::server::conn::http1 as server;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use orchestra_apiserver::{Body, NodeTransport};
use orchestra_runtime::agent::AgentService;
use tower::{BoxError, ServiceExt};

/// How much of each direction the pipe holds.
const PIPE: usize = 64 * 1024;

/// The agents by the name of their node.
#[derive(Debug, Default)]
pub(super) struct LocalAgents {
    agents: RwLock<HashMap<String, AgentService>>,
}

impl LocalAgents {
    /// Makes the agent of `node` reachable.
    pub(super) fn add(&self, node: &str, agent: AgentService) {
        self.agents.write().unwrap_or_else(PoisonError::into_inner).insert(node.to_owned(), agent);
    }
}

#[async_trait]
impl NodeTransport for LocalAgents {
    async fn send(&self, node: &str, request: Request<Body>) -> Result<Response<Body>, BoxError> {
        let agent = self.agents.read().unwrap_or_else(PoisonError::into_inner).get(node).cloned();
        let agent = agent.ok_or_else(|| format!("no agent for node {node:?}"))?;
        if request.headers().contains_key(header::UPGRADE) {
            return over_pipe(agent, request.map(drop)).await;
        }
        // Agents read no bodies.
        let response = agent.oneshot(request.map(drop)).await?;
        Ok(response.map(BodyExt::boxed_unsync))
    }
}

async fn over_pipe(agent: AgentService, request: Request<()>) -> Result<Response<Body>, BoxError> {
    let (near, far) = tokio::io::duplex(PIPE);
    let serving = server::Builder::new()
        .serve_connection(TokioIo::new(far), TowerToHyperService::new(agent))
        .with_upgrades();
    let (mut sender, connection) = client::handshake(TokioIo::new(near)).await?;
    let connection = connection.with_upgrades();
    // Both end with the exchange, or hand the pipe over to whoever upgraded it.
    tokio::spawn(async move {
        if let Err(problem) = serving.await {
            tracing::debug!(%problem, "an agent broke a request off");
        }
    });
    tokio::spawn(async move {
        if let Err(problem) = connection.await {
            tracing::debug!(%problem, "a request to an agent was broken off");
        }
    });
    let response = sender.send_request(request.map(|()| Empty::<Bytes>::new())).await?;
    Ok(response.map(|body| body.map_err(|error| -> BoxError { error.into() }).boxed_unsync()))
}
