//! The node agent of Orchestra and the container runtimes it drives.
//!
//! [`runtime::ContainerRuntime`] is the seam, in the shape of CRI; [`backend`] holds the runtimes that come with the
//! crate: [`backend::process`], real processes of the host without privileges or downloads, and [`backend::sim`], pods
//! that live by a script on virtual time. [`agent::NodeAgent`] is a node: it registers it, runs its pods and serves
//! their logs, against any Kubernetes API there is a [`kube::Client`] for.
//!
//! ```
//! use std::sync::Arc;
//!
//! use k8s_openapi::api::core::v1::Node;
//! use orchestra_apiserver::ApiServer;
//! use orchestra_net::local::LocalNetwork;
//! use orchestra_runtime::agent::NodeAgent;
//! use orchestra_runtime::backend::sim::SimRuntime;
//! use tokio_util::sync::CancellationToken;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = ApiServer::builder(Arc::new(orchestra_store::MemoryStore::new())).build().await?;
//! let client = server.client("default");
//! let (runtime, network) = (Arc::new(SimRuntime::default()), Arc::new(LocalNetwork::new()?));
//! let agent = NodeAgent::builder(client.clone(), runtime, network).name("edge-1").build()?;
//! let stop = CancellationToken::new();
//! let running = tokio::spawn(agent.run(stop.clone()));
//!
//! let nodes: kube::Api<Node> = kube::Api::all(client);
//! let there = |node: Option<&Node>| node.is_some_and(|n| n.status.is_some());
//! kube::runtime::wait::await_condition(nodes, "edge-1", there).await?;
//!
//! stop.cancel();
//! running.await??;
//! # Ok(())
//! # }
//! ```
//!
//! # Extension points
//! [`runtime::ContainerRuntime`], [`runtime::Prober`] for runtimes whose containers are not real, [`clock::Clock`], and
//! `orchestra_net::PodNetwork`.
//!
//! # Invariants
//! * The agent remembers nothing over a restart: it asks the runtime what runs and the API what should.
//! * What a pod needs next and what its status says are pure functions (`pod/state.rs`, `pod/status.rs`).
//! * No process is forked in a process with an async runtime to run a container under a shim; the shim is executed.
//! * Unsafe code is in `sys` only.

pub mod agent;
pub mod backend;
pub mod clock;
mod event;
pub mod logs;
mod metrics;
mod pauses;
mod pod;
pub mod runtime;
mod source;
mod stream;
#[cfg(target_os = "linux")]
#[allow(unsafe_code, reason = "the one place of the workspace for it; each block says why it is sound")]
mod sys;
mod volume;

pub use metrics::NodeMetrics;
