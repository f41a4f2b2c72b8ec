//! Which authorizer let requests in.

use std::fmt;

use orchestra_metrics::write;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::counter::Counter;

/// Requests that an authorizer had the last word about. Clones count the same.
///
/// Neither of the two ever forbids, so what nobody allows is nobody's decision; as upstream.
#[derive(Clone, Debug, Default)]
pub(crate) struct DecisionMetrics {
    /// Allowed by the Node authorizer.
    pub(crate) node: Counter,
    /// Allowed by RBAC.
    pub(crate) rbac: Counter,
}

impl Collector for DecisionMetrics {
    fn encode(&self, mut out: DescriptorEncoder<'_>) -> fmt::Result {
        let help = "[ALPHA] Total number of terminal decisions made by an authorizer split by authorizer type, name, and decision.";
        let counts = [("node", "Node", self.node.get()), ("rbac", "RBAC", self.rbac.get())];
        let counts = counts.into_iter().filter(|(_, _, count)| *count > 0);
        let samples = counts
            .map(|(name, sort, count)| ([("decision", "allowed"), ("name", name), ("type", sort)], count));
        write::counter(&mut out, "apiserver_authorization_decisions_total", help, samples)
    }
}
