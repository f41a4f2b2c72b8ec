//! The node agent of Orchestra and the container runtimes it drives.
//!
//! [`runtime::ContainerRuntime`] is the seam, in the shape of CRI; [`backend`] holds the runtimes that come with the
//! crate: [`backend::process`], real processes of the host without privileges or downloads, and [`backend::sim`], pods
//! that live by a script on virtual time. [`agent::NodeAgent`] is a node: it registers it, runs its pods and serves
//! their logs, against any Kubernetes API there is a [`kube::Client`] for.

pub mod agent;
pub mod backend;
pub mod clock;
mod event;
pub mod logs;
mod pod;
pub mod runtime;
mod source;
#[cfg(target_os = "linux")]
#[allow(unsafe_code, reason = "the one place of the workspace for it; each block says why it is sound")]
mod sys;
mod volume;
