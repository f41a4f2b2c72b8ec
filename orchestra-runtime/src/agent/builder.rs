//! How an agent is put together.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use orchestra_net::PodNetwork;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use super::context::{Context, REPORTS_AT_ONCE};
use super::machine::{self, Machine};
use super::node_object;
use super::pods::Table;
use super::streams::MAX_STREAMS;
use super::usage::{self, Usage};
use super::{Error, NodeAgent, Result};
use crate::clock::{Clock, SystemClock};
use crate::event::Recorder;
use crate::logs::LogLimit;
use crate::metrics::{Counted, NodeMetrics};
use crate::pod::ports::Ports;
use crate::pod::prober::RealProber;
use crate::pod::resize::Ledger;
use crate::pod::status::NodeFacts;
use crate::runtime::ContainerRuntime;
use crate::source::Sources;
use crate::volume::Tokens;

/// Options of a [`NodeAgent`].
#[derive(Debug)]
pub struct NodeAgentBuilder {
    client: DebugClient,
    runtime: Arc<dyn ContainerRuntime>,
    network: Arc<dyn PodNetwork>,
    name: Option<String>,
    address: IpAddr,
    labels: BTreeMap<String, String>,
    capacity: BTreeMap<String, String>,
    data_dir: Option<PathBuf>,
    clock: Arc<dyn Clock>,
    stop_pods: bool,
    metrics: NodeMetrics,
    log_limit: LogLimit,
    usage_interval: Duration,
}

struct DebugClient(Client);

impl std::fmt::Debug for DebugClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Client")
    }
}

impl NodeAgent {
    /// An agent that talks to the API through `client`, and runs pods with `runtime` on `network`.
    pub fn builder(
        client: Client,
        runtime: Arc<dyn ContainerRuntime>,
        network: Arc<dyn PodNetwork>,
    ) -> NodeAgentBuilder {
        NodeAgentBuilder {
            client: DebugClient(client),
            runtime,
            network,
            name: None,
            address: Ipv4Addr::LOCALHOST.into(),
            labels: BTreeMap::new(),
            capacity: BTreeMap::new(),
            data_dir: None,
            clock: Arc::new(SystemClock),
            stop_pods: false,
            metrics: NodeMetrics::default(),
            log_limit: LogLimit::default(),
            usage_interval: usage::USUAL_INTERVAL,
        }
    }
}

impl NodeAgentBuilder {
    /// The node's name; the machine's host name when not given.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// The node's address, as its Node tells it. Default: 127.0.0.1.
    #[must_use]
    pub fn address(mut self, address: IpAddr) -> Self {
        self.address = address;
        self
    }

    /// Adds a label to the Node.
    #[must_use]
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(key.into(), value.into());
        self
    }

    /// Says how much there is of a resource, in the API's notation, instead of what the machine has.
    #[must_use]
    pub fn capacity(mut self, resource: impl Into<String>, quantity: impl Into<String>) -> Self {
        self.capacity.insert(resource.into(), quantity.into());
        self
    }

    /// Where volumes and logs are. Needed unless the runtime is a simulation.
    #[must_use]
    pub fn data_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.data_dir = Some(dir.into());
        self
    }

    /// The time of day. Default: the machine's.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Whether pods are stopped when the agent stops. Default: they go on, for the next agent to find.
    #[must_use]
    pub fn stop_pods_on_shutdown(mut self, stop: bool) -> Self {
        self.stop_pods = stop;
        self
    }

    /// How much is kept of each container's log; as the kubelet's defaults if not said.
    #[must_use]
    pub fn log_limit(mut self, limit: LogLimit) -> Self {
        self.log_limit = limit;
        self
    }

    /// How often it is read what containers use, and so over which time their use of processors is measured; as the kubelet's
    /// default, 10 s, if not said. Less than a tenth of a second is taken as that.
    #[must_use]
    pub fn usage_interval(mut self, interval: Duration) -> Self {
        self.usage_interval = interval.max(Duration::from_millis(100));
        self
    }

    /// Counts into `metrics` what the agent does. Agents of one process may share them.
    #[must_use]
    pub fn metrics(mut self, metrics: NodeMetrics) -> Self {
        self.metrics = metrics;
        self
    }

    /// Checks the options and makes the data directory.
    pub fn build(self) -> Result<NodeAgent> {
        let name = self.name.unwrap_or_else(machine::host_name).to_lowercase();
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
        if name.is_empty() || name.len() > 253 || !name.chars().all(plain) {
            return Err(Error::Invalid(format!("node name {name:?} must be a lowercase RFC 1123 subdomain")));
        }
        let runtime: Arc<dyn ContainerRuntime> = Arc::new(Counted::new(self.runtime, self.metrics.clone()));
        let simulation = runtime.simulation();
        let data = match (self.data_dir, &simulation) {
            (Some(dir), _) => {
                let failed = |source: std::io::Error| Error::System {
                    what: format!("opening {}", dir.display()),
                    source,
                };
                private(&dir.join("pods")).and_then(|()| private(&dir.join("logs"))).map_err(failed)?;
                std::path::absolute(&dir).map_err(failed)?
            }
            (None, Some(_)) => PathBuf::new(),
            (None, None) => return Err(Error::Invalid("a node needs a data directory".to_owned())),
        };
        let root = if data.as_os_str().is_empty() { Path::new("/") } else { &data };
        let machine = Machine::read(root)?;
        let mut capacity = machine.capacity.resources();
        capacity.extend(self.capacity);
        let version = runtime.version();
        let (recorder, recording) = Recorder::new(self.client.0.clone(), name.clone(), self.clock.clone());
        let usage = Usage::new(name.clone(), runtime.clone(), self.clock.clone(), self.usage_interval);
        let context = Context {
            client: self.client.0.clone(),
            prober: match &simulation {
                Some(prober) => prober.clone(),
                None => Arc::new(RealProber { runtime: runtime.clone() }),
            },
            simulation: simulation.is_some(),
            runtime,
            metrics: self.metrics,
            network: self.network,
            tokens: Tokens::new(self.client.0.clone(), self.clock.clone()),
            clock: self.clock,
            recorder,
            sources: Sources::new(self.client.0),
            data,
            facts: NodeFacts { address: self.address.to_string(), runtime: version.name.clone() },
            allocatable: capacity.clone(),
            ledger: Ledger::default(),
            ports: Ports::default(),
            reports: Semaphore::new(REPORTS_AT_ONCE),
            log_limit: self.log_limit,
        };
        let facts = node_object::NodeFacts {
            name,
            addresses: vec![self.address],
            labels: self.labels,
            taints: Vec::new(),
            info: machine.info,
            capacity,
            runtime: version,
            port: None,
            problem: None,
        };
        Ok(NodeAgent {
            context: Arc::new(context),
            facts: watch::channel(facts).1,
            table: Table::default(),
            stop_pods: self.stop_pods,
            streams: CancellationToken::new(),
            places: Arc::new(Semaphore::new(MAX_STREAMS)),
            usage: Arc::new(usage),
            recording: Box::pin(recording),
        })
    }
}

/// Makes a directory that other users of the machine cannot look into: volumes hold secrets.
fn private(dir: &std::path::Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::create_dir_all(dir)?;
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700))
}
