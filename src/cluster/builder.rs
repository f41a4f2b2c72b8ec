//! Putting a cluster together.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use orchestra_apiserver::pki::{Pki, token_key};
use orchestra_apiserver::{ApiServer, ApiServerBuilder, IntoAdmission, User};
use orchestra_controllers::election::Timing;
use orchestra_controllers::{ControllerMetrics, Controllers};
use orchestra_net::NetworkMetrics;
use orchestra_net::driver::{NetworkDriver, ingress_addresses};
use orchestra_net::ingress::IngressServer;
use orchestra_net::local::LocalNetwork;
use orchestra_net::proxy::UserspaceProxy;
use orchestra_runtime::NodeMetrics;
use orchestra_runtime::agent::NodeAgent;
use orchestra_scheduler::{Scheduler, SchedulerMetrics};
use orchestra_store::encryption::Encryption;
use orchestra_store::snapshot::{Schedule, save_on_schedule};
use orchestra_store::{MemoryStore, Store};
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::authority::Authority;
use super::care::{self, Tenure};
use super::data::DataDir;
use super::error::Error;
use super::lead::{self, Leadership};
use super::node::Node;
use super::resource_metrics;
use super::transport::LocalAgents;
use super::{Cluster, Stage};

/// A part that is there as it comes, replaced, or left out.
enum Part<T> {
    Default,
    Own(T),
    Without,
}

impl<T> Part<T> {
    fn or_else(self, default: impl FnOnce() -> T) -> Option<T> {
        match self {
            Self::Default => Some(default()),
            Self::Own(part) => Some(part),
            Self::Without => None,
        }
    }
}

/// What a cluster is made of. Every part has a default and every default can be replaced.
pub struct ClusterBuilder {
    store: Option<Arc<dyn Store>>,
    tenure: Tenure,
    encryption: Option<Arc<Encryption>>,
    metrics: Registry,
    data_dir: Option<PathBuf>,
    listen: Option<SocketAddr>,
    nodes: Vec<Node>,
    without_nodes: bool,
    without_resource_metrics: bool,
    controllers: Part<Controllers>,
    scheduler: Part<Scheduler>,
    election: Part<Timing>,
    changes: Vec<Box<dyn FnOnce(ApiServerBuilder) -> ApiServerBuilder + Send>>,
    seed: Option<u64>,
    snapshots: Option<Schedule>,
}

impl Default for ClusterBuilder {
    fn default() -> Self {
        Self {
            store: None,
            tenure: Tenure::Own,
            encryption: None,
            metrics: Registry::default(),
            data_dir: None,
            listen: None,
            nodes: Vec::new(),
            without_nodes: false,
            without_resource_metrics: false,
            controllers: Part::Default,
            scheduler: Part::Default,
            election: Part::Default,
            changes: Vec::new(),
            seed: None,
            snapshots: None,
        }
    }
}

impl ClusterBuilder {
    /// Keeps the cluster's state in `store`; in memory unless told otherwise.
    #[must_use]
    pub fn store(mut self, store: impl Store) -> Self {
        self.store = Some(Arc::new(store));
        self.encryption = None;
        self
    }

    /// Keeps the cluster's state in an encrypted store, whose keys administrators may rotate while the cluster runs.
    #[must_use]
    pub fn encryption(mut self, encryption: Encryption) -> Self {
        self.store = Some(Arc::new(encryption.store()));
        self.encryption = Some(Arc::new(encryption));
        self
    }

    /// The store is elsewhere, as etcd is: other API servers may use it at the same time, and when it is away the cluster waits
    /// for it instead of failing.
    #[must_use]
    pub fn store_is_shared(mut self) -> Self {
        self.tenure = Tenure::Shared;
        self
    }

    /// Serves what `registry` holds at `/metrics` of the API server, beside what the cluster itself counts. A cluster has one
    /// registry, and nothing is global, so several in one process do not mix.
    ///
    /// ```no_run
    /// use orchestra::Cluster;
    /// use orchestra::store::DurableStore;
    /// use prometheus_client::registry::Registry;
    ///
    /// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
    /// let mut registry = Registry::default();
    /// let store = DurableStore::open("state")?;
    /// store.metrics().register(&mut registry);
    /// let cluster = Cluster::builder().store(store).metrics(registry).start().await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn metrics(mut self, registry: Registry) -> Self {
        self.metrics = registry;
        self
    }

    /// Keeps certificates, volumes and what nodes remember in `path`; in a temporary directory unless told otherwise.
    #[must_use]
    pub fn data_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.data_dir = Some(path.into());
        self
    }

    /// Saves snapshots into the directory `snapshots` of the data directory while the cluster runs.
    #[must_use]
    pub fn snapshots(mut self, schedule: Schedule) -> Self {
        self.snapshots = Some(schedule);
        self
    }

    /// Serves the API on `address` over TLS and writes a kubeconfig into the data directory. Port 0 picks a free one.
    #[must_use]
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.listen = Some(address);
        self
    }

    /// Adds a node. Without any, the cluster has one called `node-1`.
    #[must_use]
    pub fn node(mut self, node: Node) -> Self {
        self.nodes.push(node);
        self
    }

    /// No nodes: pods stay Pending unless an agent elsewhere joins.
    #[must_use]
    pub fn without_nodes(mut self) -> Self {
        self.without_nodes = true;
        self
    }

    /// Does not serve `metrics.k8s.io`, which `kubectl top` and autoscalers read. It gives way to another server by itself as soon as
    /// an `APIService` leads there.
    #[must_use]
    pub fn without_resource_metrics(mut self) -> Self {
        self.without_resource_metrics = true;
        self
    }

    /// Runs these controllers instead of all.
    #[must_use]
    pub fn controllers(mut self, controllers: Controllers) -> Self {
        self.controllers = Part::Own(controllers);
        self
    }

    /// Runs no controllers.
    #[must_use]
    pub fn without_controllers(mut self) -> Self {
        self.controllers = Part::Without;
        self
    }

    /// Runs this scheduler instead of the default one.
    #[must_use]
    pub fn scheduler(mut self, scheduler: Scheduler) -> Self {
        self.scheduler = Part::Own(scheduler);
        self
    }

    /// Runs no scheduler.
    #[must_use]
    pub fn without_scheduler(mut self) -> Self {
        self.scheduler = Part::Without;
        self
    }

    /// Lets the controllers and the scheduler stand for election among those of other processes before they work. That is the
    /// default when the store [is shared](Self::store_is_shared).
    #[must_use]
    pub fn leader_election(mut self, timing: Timing) -> Self {
        self.election = Part::Own(timing);
        self
    }

    /// Lets the controllers and the scheduler work without an election. That is the default with a store of one's own, which
    /// no second process can open.
    #[must_use]
    pub fn without_leader_election(mut self) -> Self {
        self.election = Part::Without;
        self
    }

    /// Lets `admission` change and refuse what is written: an [`Admission`](orchestra_apiserver::Admission), or a closure such as `|pod: &mut Pod| ...`.
    #[must_use]
    pub fn admission<Form>(self, admission: impl IntoAdmission<Form>) -> Self {
        let admission = admission.into_admission();
        self.api_server(|server| server.admission(admission))
    }

    /// Changes how the API server is put together, for what has no method of its own here.
    ///
    /// ```
    /// use orchestra::Cluster;
    /// use orchestra::apiserver::Limits;
    ///
    /// let mut limits = Limits::default();
    /// limits.request_timeout = std::time::Duration::from_secs(30);
    /// let cluster = Cluster::builder().api_server(|server| server.limits(limits));
    /// ```
    #[must_use]
    pub fn api_server(
        mut self,
        change: impl FnOnce(ApiServerBuilder) -> ApiServerBuilder + Send + 'static,
    ) -> Self {
        self.changes.push(Box::new(change));
        self
    }

    /// Makes every choice that is left to chance (names, uids, which node of equals) follow from `seed`.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Starts everything. When this returns, the API answers and the parts are running; nodes register in a moment.
    ///
    /// # Errors
    /// When the data directory, the address or the network cannot be had, or a part cannot be started. Nothing is left
    /// running then.
    pub async fn start(self) -> Result<Cluster, Error> {
        let data = match &self.data_dir {
            Some(path) => DataDir::open(path)?,
            None => DataDir::transient()?,
        };
        let listener = match self.listen {
            Some(address) => {
                let bound = TcpListener::bind(address).await;
                Some(bound.map_err(|source| Error::Listen { address, source })?)
            }
            None => None,
        };
        let network = Arc::new(open_network(&data)?);
        let agents = Arc::new(LocalAgents::default());
        let mut metrics = self.metrics;
        let store = self.store.unwrap_or_else(|| {
            let store = MemoryStore::new();
            store.metrics().register(&mut metrics);
            Arc::new(store)
        });
        let token_key = token_key(&data.pki())
            .map_err(|problem| Error::DataDir { path: data.pki(), problem: chain(&problem) })?;
        let controller_metrics = ControllerMetrics::default();
        controller_metrics.register(&mut metrics);
        let scheduler_metrics = SchedulerMetrics::default();
        scheduler_metrics.register(&mut metrics);
        let network_metrics = NetworkMetrics::default();
        network_metrics.register(&mut metrics);
        let node_metrics = NodeMetrics::default();
        node_metrics.register(&mut metrics);
        let mut server = configure(
            ApiServer::builder(store.clone()),
            &network,
            agents.clone(),
            !self.without_resource_metrics,
        );
        // What is mounted beside a token is made by the controllers, and of use where there is a socket.
        let has_accounts = matches!(self.controllers, Part::Default) && listener.is_some();
        server = server.token_key(token_key).mount_account_tokens(has_accounts);
        // The controllers take the taint away when the node is ready.
        server = server.taint_new_nodes(matches!(self.controllers, Part::Default));
        server = server.metrics(metrics);
        if let Some(encryption) = self.encryption {
            server = server.encryption(encryption);
        }
        for change in self.changes {
            server = change(server);
        }
        if let Some(seed) = self.seed {
            server = server.seed(seed);
        }
        let part = |name: &'static str| move |problem: String| Error::Part(format!("{name}: {problem}"));

        let (failure, failed) = watch::channel(None);
        let mut front = Stage::new(&failure);
        let mut address = None;
        let (mut authority, mut signer) = (None, None);
        let server = match listener {
            Some(listener) => {
                let local =
                    listener.local_addr().map_err(|problem| part("API server")(problem.to_string()))?;
                let pki = Pki::load_or_create(
                    &data.pki(),
                    &[local.ip(), first_service(&network)],
                    jiff::Timestamp::now(),
                )
                .map_err(|problem| Error::DataDir { path: data.pki(), problem: chain(&problem) })?;
                let server = server.advertise(reachable(local)).front_proxy(pki.front_proxy()).build().await;
                let server = server.map_err(|problem| part("API server")(problem.to_string()))?;
                let kubeconfig = pki.kubeconfig(&format!("https://{}", reachable(local)));
                data.write("admin.kubeconfig", &kubeconfig)?;
                authority = Some(pki.ca_certificate().to_owned());
                let with_key = pki.signer().map_err(|problem| part("certificates")(chain(&problem)))?;
                signer = Some(Authority(with_key));
                let tls = pki.server_config().map_err(|problem| part("API server")(problem.to_string()))?;
                let (serving, shutdown) = (server.clone(), front.shutdown.clone());
                front.spawn("API server", async move {
                    serving.serve(listener, Some(tls), shutdown).await.map_err(|problem| problem.to_string())
                });
                address = Some(reachable(local));
                server
            }
            None => server.build().await.map_err(|problem| part("API server")(problem.to_string()))?,
        };

        let mut control = Stage::new(&failure);
        if let Some(schedule) = self.snapshots {
            let (store, dir, shutdown) = (store.clone(), data.snapshots(), control.shutdown.clone());
            control.spawn("snapshots", async move {
                tokio::select! {
                    () = shutdown.cancelled() => Ok(()),
                    Err(problem) = save_on_schedule(store, &dir, schedule) => Err(chain(&problem)),
                }
            });
        }
        control.spawn("store", care::watch_over(store.clone(), self.tenure, control.shutdown.clone()));
        control.spawn("compaction", care::forget_the_past(store, self.tenure, control.shutdown.clone()));
        let leadership = stand(self.election, self.tenure, &data)?;
        if let Some(controllers) = self.controllers.or_else(Controllers::all) {
            let mut controllers =
                controllers.provision_volumes_in(data.volumes()).metrics(controller_metrics);
            if let Some(authority) = authority {
                controllers = controllers.cluster_ca(authority);
            }
            if let Some(signer) = signer {
                controllers = controllers.certificate_signer(signer);
            }
            let (client, shutdown) = (server.client("default"), control.shutdown.clone());
            let leadership = leadership.clone();
            control.spawn("controllers", async move {
                let work = |shutdown| controllers.clone().run(client.clone(), shutdown);
                let ended = leadership.run(lead::Part::Controllers, client.clone(), shutdown, work).await;
                ended.map_err(|problem| problem.to_string())
            });
        }
        if let Some(scheduler) = self.scheduler.or_else(Scheduler::default) {
            let scheduler = scheduler.metrics(scheduler_metrics);
            let (client, shutdown) = (server.client("default"), control.shutdown.clone());
            control.spawn("scheduler", async move {
                let work = |shutdown| scheduler.clone().run(client.clone(), shutdown);
                let ended = leadership.run(lead::Part::Scheduler, client.clone(), shutdown, work).await;
                ended.map_err(|problem| problem.to_string())
            });
        }

        let nodes = match (self.without_nodes, self.nodes) {
            (true, _) => Vec::new(),
            (false, nodes) if nodes.is_empty() => vec![Node::named("node-1")],
            (false, nodes) => nodes,
        };
        let mut ingress = None;
        if !nodes.is_empty() {
            let mut driver = NetworkDriver::new(
                server.client("default"),
                Arc::new(UserspaceProxy::new(self.seed.unwrap_or_else(chance))),
                network.node_address().into(),
            )
            .metrics(network_metrics);
            match IngressServer::bind(&ingress_addresses(network.ingress_address().into())).await {
                Ok(server) => {
                    ingress = server.address().ok();
                    driver = driver.ingress(server);
                }
                Err(problem) => tracing::warn!(%problem, "no ingress: its address cannot be had"),
            }
            let shutdown = control.shutdown.clone();
            control.spawn("network", async move {
                driver.run(shutdown).await;
                Ok(())
            });
        }
        let mut stage = Stage::new(&failure);
        for node in nodes {
            let dir = data.node(&node.name);
            let runtime = (node.open)(&dir.join("runtime"))
                .map_err(|problem| Error::Part(format!("node {}: {problem}", node.name)))?;
            let client = server.client_as(User::node(&node.name), "default");
            let agent = NodeAgent::builder(client, runtime, network.clone())
                .name(&node.name)
                .address(IpAddr::V4(network.node_address()))
                .data_dir(dir)
                .stop_pods_on_shutdown(true)
                .metrics(node_metrics.clone())
                .build()
                .map_err(|problem| Error::Part(format!("node {}: {problem}", node.name)))?;
            agents.add(&node.name, agent.service());
            let shutdown = stage.shutdown.clone();
            stage.spawn(format!("node {}", node.name), async move {
                agent.run(shutdown).await.map_err(|problem| problem.to_string())
            });
        }
        Ok(Cluster { server, nodes: stage, control, front, failure: failed, address, ingress, data })
    }
}

/// Whom the parts that run once stand against. Nobody else can have a store of one's own open, so that a control plane which was
/// killed takes its own Lease again at once; with a shared one a data directory that was copied would let two lead.
fn stand(election: Part<Timing>, tenure: Tenure, data: &DataDir) -> Result<Leadership, Error> {
    let timing = match (election, tenure) {
        (Part::Without, _) | (Part::Default, Tenure::Own) => return Ok(Leadership::unopposed()),
        (Part::Default, Tenure::Shared) => Timing::default(),
        (Part::Own(timing), _) => timing,
    };
    Ok(match tenure {
        Tenure::Own => Leadership::contested_as(data.identity()?, timing),
        Tenure::Shared => Leadership::contested(timing),
    })
}

/// Takes the slot of the last start, or a free one, which depends on where the data is, and remembers it.
fn open_network(data: &DataDir) -> Result<LocalNetwork, Error> {
    match data.network_slot()? {
        Some(slot) => Ok(LocalNetwork::with_slot(slot)?),
        None => {
            let mut hint = DefaultHasher::new();
            data.path().hash(&mut hint);
            let network = LocalNetwork::near(hint.finish())?;
            data.keep_network_slot(network.slot())?;
            Ok(network)
        }
    }
}

fn configure(
    server: ApiServerBuilder,
    network: &LocalNetwork,
    agents: Arc<LocalAgents>,
    serves_metrics: bool,
) -> ApiServerBuilder {
    let server = server
        .service_cidr(network.services().into())
        // The one rule that the loopback network needs off; see `orchestra_net::local`.
        .allow_loopback_endpoints(true)
        .nodes(agents.clone());
    if serves_metrics { resource_metrics::serve(server, agents) } else { server }
}

/// An error with its causes, on one line.
pub(super) fn chain(problem: &dyn std::error::Error) -> String {
    std::iter::successors(problem.source(), |cause| cause.source())
        .fold(problem.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// A seed nobody chose.
fn chance() -> u64 {
    uuid::Uuid::new_v4().as_u64_pair().0
}

/// The address of the `kubernetes` service.
fn first_service(network: &LocalNetwork) -> IpAddr {
    network.services().hosts().next().map_or(IpAddr::V4(network.services().network()), IpAddr::V4)
}

/// Where a client of this machine reaches what listens on `address`.
fn reachable(address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        SocketAddr::new([127, 0, 0, 1].into(), address.port())
    } else {
        address
    }
}

impl fmt::Debug for ClusterBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterBuilder")
            .field("data_dir", &self.data_dir)
            .field("listen", &self.listen)
            .finish_non_exhaustive()
    }
}
