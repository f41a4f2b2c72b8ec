//! The API server's way to the agents of nodes in the same process: a call.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use orchestra_apiserver::{Body, NodeTransport};
use orchestra_runtime::agent::AgentService;
use tower::{BoxError, ServiceExt};

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
    async fn send(&self, node: &str, request: Request<Bytes>) -> Result<Response<Body>, BoxError> {
        let agent = self.agents.read().unwrap_or_else(PoisonError::into_inner).get(node).cloned();
        let agent = agent.ok_or_else(|| format!("no agent for node {node:?}"))?;
        let response = agent.oneshot(request).await?;
        Ok(response.map(BodyExt::boxed_unsync))
    }
}
