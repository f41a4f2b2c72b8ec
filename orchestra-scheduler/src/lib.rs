//! The Kubernetes scheduling framework: extension points, the default plugins of Kubernetes 1.36, the scheduling
//! cycle, and a driver that runs them against any Kubernetes API.
//!
//! The core is synchronous and knows no API: it decides from [views](view) of pods and nodes. [`Scheduler`] runs it
//! against a `kube::Client`, [`Dispatcher`] without any API, for simulation.
//!
//! # A scoring plugin
//! ```
//! use orchestra_scheduler::plugin::{Cycle, Plugin, Score};
//! use orchestra_scheduler::view::{NodeView, PodView};
//! use orchestra_scheduler::{Points, Profile};
//!
//! /// Prefers nodes with few pods.
//! #[derive(Debug)]
//! struct FewPods;
//!
//! impl Plugin for FewPods {
//!     fn name(&self) -> &str {
//!         "FewPods"
//!     }
//! }
//!
//! impl Score for FewPods {
//!     fn score(&self, _: &Cycle<'_>, _: &PodView, node: &NodeView) -> Points {
//!         Points(100 - node.pods().len().min(100) as i64)
//!     }
//! }
//!
//! let profile = Profile::default().score(FewPods, 3);
//! # assert_eq!(&**profile.name(), "default-scheduler");
//! ```
//!
//! # Extension points
//! The traits in [`plugin`], from [`PreEnqueue`](plugin::PreEnqueue) to [`PostBind`](plugin::PostBind); [`Strategy`] for
//! placing many pods at once; [`Engine`](engine::Engine) for finding the same answer faster;
//! [`Explain`](engine::Explain) for knowing why; and
//! [`PluginRegistry`] for plugins that a `KubeSchedulerConfiguration` can name.
//!
//! # Features
//! `extender`: [extenders](extender) over HTTP, as a `KubeSchedulerConfiguration` names them.
//! `synthetic`: made-up clusters, pods and histories, and the comparison of engines on them.
//!
//! # Invariants
//! * A pod that has a node is never bound again, whatever is stopped or lost in between.
//! * No decision puts a node over what it offers; pods whose binding is under way count.
//! * The same facts in the same order and the same seed give the same steps.
//! * A plugin that panics, or scores out of range, fails the pod at hand and nothing else.

mod config;
mod devices;
mod dispatcher;
mod driver;
pub mod effect;
pub mod engine;
pub mod event;
pub mod extender;
mod guard;
mod metrics;
pub mod outcome;
pub mod plugin;
pub mod plugins;
mod profile;
pub mod queue;
mod scheduler;
mod strategy;
#[cfg(any(test, feature = "synthetic"))]
pub mod synthetic;
#[cfg(test)]
mod testing;
mod unit;
pub mod verdict;
pub mod view;
mod what_if;

pub use config::{ArgumentError, ConfigError, PluginRegistry};
pub use dispatcher::{Dispatcher, Eviction, Job, Report, ReportReason, Step};
pub use metrics::SchedulerMetrics;
pub use profile::{DEFAULT_NAME, PluginSet, Profile, Registration, Sampling, TieBreak, Version};
pub use scheduler::{Error, Scheduler};
pub use strategy::{Placement, Strategy};
pub use unit::{Bytes, Millicores, NonZero, Points, Priority, ResourceName, Resources};
pub use what_if::{NoRoom, WhatIf};
