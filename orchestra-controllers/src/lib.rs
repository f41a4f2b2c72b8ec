//! The controllers of Kubernetes: each a pure plan and a thin shell.
//!
//! ```no_run
//! # async fn example(client: kube::Client) -> Result<(), orchestra_controllers::Error> {
//! use orchestra_controllers::Controllers;
//! use tokio_util::sync::CancellationToken;
//!
//! let shutdown = CancellationToken::new();
//! Controllers::all().run(client, shutdown).await
//! # }
//! ```
//!
//! The client may lead to any Kubernetes API server, in this process or elsewhere. Each controller's `plan` is a
//! function from what it observes to what it does next, without clock, I/O or chance; the shell around it watches,
//! asks the plan, and writes. All shells share one watched copy of each kind.
//!
//! Invariant: a plan on a converged world is empty, so an idle cluster writes nothing.
//! Invariant: a controller killed between any two writes carries on after a restart; it keeps no state of its own.

pub mod accounttoken;
mod batch;
pub mod bootstrapsigner;
pub mod bootstraptoken;
pub mod census;
pub mod certificate;
mod clock;
pub mod clusterrole;
mod controller;
pub mod cronjob;
pub mod daemonset;
pub mod deployment;
pub mod disruption;
pub mod election;
pub mod endpoints;
pub mod endpointslice;
pub mod endpointslicemirroring;
pub mod ephemeralvolume;
mod error;
mod events;
mod expectations;
mod family;
pub mod garbage;
mod history;
mod informer;
pub mod job;
mod key;
mod manager;
mod metrics;
pub mod namespace;
mod node_selector;
pub mod nodeipam;
pub mod nodelifecycle;
pub mod nodettl;
mod ownership;
mod pod;
mod pod_control;
pub mod podautoscaler;
pub mod podgc;
pub mod policystatus;
mod queue;
pub mod replicaset;
mod replicationcontroller;
mod resourceclaim;
pub mod resourcequota;
pub mod serviceaccount;
mod share;
pub mod statefulset;
pub mod tainteviction;
mod template_hash;
#[cfg(test)]
mod testing;
mod toleration;
pub mod ttl;
pub mod volume;
mod world;

pub use clock::Clock;
pub use error::{Error, Result, Source};
pub use key::Key;
pub use manager::{Controller, Controllers};
pub use metrics::ControllerMetrics;
