//! A node of the cluster.
//!
//! The agent registers its Node, renews its Lease, watches the pods bound to it and has a worker look
//! after each. It keeps nothing: after a restart it asks the runtime what runs and the API what should, and goes on.

mod builder;
pub(crate) mod context;
mod log_query;
mod log_source;
mod machine;
mod node_object;
mod pods;
mod registration;
mod service;
mod streams;
mod usage;

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use builder::NodeAgentBuilder;
pub use machine::{Capacity, Machine, MachineError, SystemInfo};
pub use node_object::NodeFacts;
pub use registration::Registration;
pub use service::{AgentService, Instance, LogFile, LogSource, LogTarget, Refusal};
pub use usage::{ContainerUsage, CpuUsage, MemoryUsage, NodeUsage, PodReference, PodUsage, Summary};

use context::Context;
use log_source::PodLogs;
use pods::{Pods, Table};
use streams::PodStreams;
use usage::Usage;

/// Why an agent cannot work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An option is missing or wrong.
    #[error("{0}")]
    Invalid(String),
    /// The data directory cannot be used.
    #[error("{what}: {source}")]
    System {
        /// What was being done.
        what: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The machine does not tell what it has.
    #[error("this machine: {0}")]
    Machine(#[from] MachineError),
    /// The runtime cannot be used.
    #[error("container runtime: {0}")]
    Runtime(String),
}

/// What fallible functions here return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The agent of one node.
pub struct NodeAgent {
    context: Arc<Context>,
    facts: watch::Receiver<NodeFacts>,
    table: Table,
    stop_pods: bool,
    /// Ends streams to containers.
    streams: CancellationToken,
    places: Arc<Semaphore>,
    usage: Arc<Usage>,
    recording: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl std::fmt::Debug for NodeAgent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NodeAgent").field("name", &self.facts.borrow().name).finish_non_exhaustive()
    }
}

impl NodeAgent {
    /// The kubelet's HTTP paths for this node, answered in process. Cheap to clone; works while the agent runs.
    pub fn service(&self) -> AgentService {
        let logs = PodLogs::new(self.context.clone(), self.table.clone());
        let (stop, places) = (self.streams.clone(), self.places.clone());
        let streams = PodStreams::new(self.context.clone(), self.table.clone(), stop, places);
        AgentService::new(Arc::new(logs), self.context.clock.clone())
            .metrics(self.context.metrics.clone())
            .with_streams(streams)
            .with_usage(self.usage.clone())
    }

    /// Works until `shutdown`. Then it stops its pods, or leaves them to the next agent, as it was built to.
    pub async fn run(self, shutdown: CancellationToken) -> Result<()> {
        self.context.runtime.ready().await.map_err(|e| Error::Runtime(e.describe()))?;
        let mut tasks = JoinSet::new();
        tasks.spawn(self.recording);
        tasks.spawn(self.usage.run());
        // It lives on while pods are stopped; its task ends with the others.
        let name = self.facts.borrow().name.clone();
        let registration = Registration::new(self.facts, self.context.clock.clone());
        tasks.spawn(registration.run(self.context.client.clone(), CancellationToken::new()));
        let pods = Pods::new(self.context.clone(), self.table.clone());
        let workers = pods.run(&name, &shutdown).await?;
        self.streams.cancel();
        if self.stop_pods {
            workers.stop().await;
        }
        tasks.shutdown().await;
        Ok(())
    }
}

/// Whether a pod is over, by what the API says.
fn is_over(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|s| s.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}
