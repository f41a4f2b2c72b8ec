//! `metrics.k8s.io`: what nodes and pods use, as metrics-server serves it, from what the agents of the nodes say.
//!
//! Nothing is collected before somebody asks; then only the nodes that the answer is about are. An agent's answer is good for a
//! few seconds, because it takes a new reading no sooner.

mod objects;
mod scrape;

use std::sync::Arc;

use async_trait::async_trait;
use orchestra_apiserver::{ApiServerBuilder, NodeTransport, Projection, Subject};
use orchestra_core::gvk::GroupVersion;
use orchestra_core::kind::Kind;
use orchestra_core::kinds::resource_metrics;
use serde_json::Value;
use tower::BoxError;

use scrape::Scraper;

/// Serves the metrics of nodes and pods, which `agents` tell.
pub(super) fn serve(server: ApiServerBuilder, agents: Arc<dyn NodeTransport>) -> ApiServerBuilder {
    let scraper = Arc::new(Scraper::new(agents));
    server.projection(NodeMetrics(scraper.clone())).projection(PodMetrics(scraper))
}

#[derive(Debug)]
struct NodeMetrics(Arc<Scraper>);

#[async_trait]
impl Projection for NodeMetrics {
    fn kind(&self) -> Arc<dyn Kind> {
        resource_metrics::nodes()
    }

    fn source(&self) -> (GroupVersion, &'static str) {
        (GroupVersion::new("", "v1"), "nodes")
    }

    fn fields(&self) -> &'static [&'static str] {
        &[]
    }

    async fn project(&self, nodes: &[Subject]) -> Result<Vec<Option<Value>>, BoxError> {
        let known = self.0.summaries(nodes.iter().map(|node| node.name.as_str())).await;
        Ok(nodes.iter().map(|node| objects::node(&known.get(&node.name)?.node)).collect())
    }
}

#[derive(Debug)]
struct PodMetrics(Arc<Scraper>);

#[async_trait]
impl Projection for PodMetrics {
    fn kind(&self) -> Arc<dyn Kind> {
        resource_metrics::pods()
    }

    fn source(&self) -> (GroupVersion, &'static str) {
        (GroupVersion::new("", "v1"), "pods")
    }

    fn fields(&self) -> &'static [&'static str] {
        &["spec.nodeName", "status.phase"]
    }

    async fn project(&self, pods: &[Subject]) -> Result<Vec<Option<Value>>, BoxError> {
        let node = |pod: &Subject| match pod.fields.as_slice() {
            [node, phase] if !node.is_empty() && phase == "Running" => Some(node.clone()),
            _ => None,
        };
        let nodes: Vec<Option<String>> = pods.iter().map(node).collect();
        let known = self.0.summaries(nodes.iter().flatten().map(String::as_str)).await;
        let by_name = objects::by_name(known.values().map(|summary| &**summary));
        let metrics = |pod: &Subject| objects::pod(by_name.get(&(&*pod.namespace, &*pod.name))?);
        Ok(pods.iter().zip(nodes).map(|(pod, node)| node.and_then(|_| metrics(pod))).collect())
    }
}
