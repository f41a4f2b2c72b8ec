//! A whole cluster as a value.

mod authority;
mod builder;
mod care;
mod data;
mod error;
mod lead;
mod node;
mod resource_metrics;
mod transport;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use kube::Client;
use orchestra_apiserver::ApiServer;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use builder::ClusterBuilder;
pub use error::Error;
pub use lead::{Leadership, Part};
pub use node::Node;

/// A running cluster: control plane, nodes and network, all in this process.
///
/// Made by [`Cluster::builder`]. Dropping it ends everything at once and containers with it; [`stop`](Self::stop) ends it in
/// order.
pub struct Cluster {
    server: ApiServer,
    /// What ends first: agents, which stop their pods.
    nodes: Stage,
    /// What ends next: controllers, scheduler, service proxy.
    control: Stage,
    /// What ends last: the API server's socket.
    front: Stage,
    failure: watch::Receiver<Option<String>>,
    address: Option<SocketAddr>,
    ingress: Option<SocketAddr>,
    data: data::DataDir,
}

/// The first failure of a part that should have gone on.
type FirstFailure = watch::Sender<Option<String>>;

/// Tasks that end together.
#[derive(Debug)]
struct Stage {
    shutdown: CancellationToken,
    failure: FirstFailure,
    tasks: Vec<(String, JoinHandle<Result<(), String>>)>,
}

impl Cluster {
    /// A cluster in memory with one node, unless told otherwise.
    pub fn builder() -> ClusterBuilder {
        ClusterBuilder::default()
    }

    /// A client in the namespace `default` with all rights, which calls the API server without a socket.
    pub fn client(&self) -> Client {
        self.server.client("default")
    }

    /// The API server, to serve it in further ways.
    pub fn api_server(&self) -> &ApiServer {
        &self.server
    }

    /// Where the API server listens, when it was told to.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Where ingress listens.
    pub fn ingress_address(&self) -> Option<SocketAddr> {
        self.ingress
    }

    /// The kubeconfig of the administrator, written when the API server listens.
    pub fn kubeconfig(&self) -> Option<PathBuf> {
        self.address.map(|_| self.data.kubeconfig())
    }

    /// Where the cluster keeps its files.
    pub fn data_dir(&self) -> &Path {
        self.data.path()
    }

    /// Waits until a part fails that should go on, such as the store when its disk is full. The rest still runs then;
    /// [`stop`](Self::stop) ends it.
    pub async fn failed(&self) -> Error {
        let mut failure = self.failure.clone();
        match failure.wait_for(Option::is_some).await.map(|found| found.clone()) {
            Ok(Some(problem)) => Error::Part(problem),
            // All parts have ended in order.
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }

    /// Ends the cluster in order: pods first, then what drives them, then the API.
    ///
    /// # Errors
    /// When a part did not end as it should; everything has ended all the same.
    pub async fn stop(mut self) -> Result<(), Error> {
        let mut failures = Vec::new();
        for stage in [&mut self.nodes, &mut self.control, &mut self.front] {
            stage.end(&mut failures).await;
        }
        if failures.is_empty() { Ok(()) } else { Err(Error::Part(failures.join("; "))) }
    }
}

impl Stage {
    fn new(failure: &FirstFailure) -> Self {
        Self { shutdown: CancellationToken::new(), failure: failure.clone(), tasks: Vec::new() }
    }

    fn spawn<F>(&mut self, name: impl Into<String>, part: F)
    where
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        let name = name.into();
        let (failure, shutdown, part_name) = (self.failure.clone(), self.shutdown.clone(), name.clone());
        let task = tokio::spawn(async move {
            let ended = part.await;
            if let Err(problem) = &ended
                && !shutdown.is_cancelled()
            {
                failure.send_if_modified(|first| {
                    let is_first = first.is_none();
                    first.get_or_insert_with(|| format!("{part_name}: {problem}"));
                    is_first
                });
            }
            ended
        });
        self.tasks.push((name, task));
    }

    async fn end(&mut self, failures: &mut Vec<String>) {
        self.shutdown.cancel();
        for (name, task) in self.tasks.drain(..) {
            match task.await {
                Ok(Ok(())) => {}
                Ok(Err(problem)) => failures.push(format!("{name}: {problem}")),
                Err(problem) => failures.push(format!("{name}: {problem}")),
            }
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.shutdown.cancel();
        for (_, task) in &self.tasks {
            task.abort();
        }
    }
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster")
            .field("address", &self.address)
            .field("data", &self.data.path())
            .finish_non_exhaustive()
    }
}
