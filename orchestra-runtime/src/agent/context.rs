//! What every pod of a node works with.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use kube::Client;
use orchestra_net::PodNetwork;
use tokio::sync::Semaphore;

use crate::clock::Clock;
use crate::event::Recorder;
use crate::logs::LogLimit;
use crate::metrics::NodeMetrics;
use crate::pod::ports::Ports;
use crate::pod::probe::Prober;
use crate::pod::resize::Ledger;
use crate::pod::status::NodeFacts;
use crate::runtime::{ContainerRuntime, PodMeta};
use crate::source::Sources;
use crate::volume::Tokens;

/// The node, as its pods see it.
pub(crate) struct Context {
    pub(crate) client: Client,
    pub(crate) runtime: Arc<dyn ContainerRuntime>,
    pub(crate) metrics: NodeMetrics,
    pub(crate) network: Arc<dyn PodNetwork>,
    pub(crate) prober: Arc<dyn Prober>,
    /// Whether containers are not real: no files, no environment, no ports.
    pub(crate) simulation: bool,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) recorder: Recorder,
    pub(crate) sources: Sources,
    pub(crate) tokens: Tokens,
    pub(crate) data: PathBuf,
    pub(crate) facts: NodeFacts,
    /// How much is kept of each container's log.
    pub(crate) log_limit: LogLimit,
    pub(crate) allocatable: BTreeMap<String, String>,
    /// What its pods were given of that.
    pub(crate) ledger: Ledger,
    /// What ports of the node they have.
    pub(crate) ports: Ports,
    /// The turns of those who report a status.
    pub(crate) reports: Semaphore,
}

/// How many statuses a node writes at a time: a few, so that a slow one does not hold up the next, and no more, so that a
/// thousand nodes whose pods all end at once do not ask more of the server than it takes. Upstream's node agent writes one.
pub(crate) const REPORTS_AT_ONCE: usize = 2;

impl Context {
    /// Where the logs of a pod's containers are.
    pub(crate) fn log_dir(&self, pod: &PodMeta) -> PathBuf {
        self.data.join("logs").join(format!("{}_{}_{}", pod.namespace, pod.name, pod.uid))
    }

    /// The log of one life of a container.
    pub(crate) fn log_path(&self, pod: &PodMeta, container: &str, attempt: u32) -> PathBuf {
        self.log_dir(pod).join(container).join(format!("{attempt}.log"))
    }

    /// The file behind a container's termination message.
    pub(crate) fn message_path(&self, uid: &str, container: &str) -> PathBuf {
        crate::volume::pod_dir(&self.data, uid).join("containers").join(container).join("termination-log")
    }
}
