//! The node agent of Orchestra and the container runtimes it drives.
//!
//! [`runtime::ContainerRuntime`] is the seam, in the shape of CRI; [`backend`] holds the runtimes that come with the
//! crate: [`backend::process`], real processes of the host without privileges or downloads.

pub mod agent;
pub mod backend;
pub mod clock;
pub mod logs;
pub mod runtime;
#[cfg(target_os = "linux")]
#[allow(unsafe_code, reason = "the one place of the workspace for it; each block says why it is sound")]
mod sys;
