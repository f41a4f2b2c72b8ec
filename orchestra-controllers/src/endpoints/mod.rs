//! Endpoints: the older list of who answers for a Service, one object of its name, which older clients still read.
//!
//! The annotation `endpoints.kubernetes.io/last-change-trigger-time`, by which upstream measures itself, is not written.

mod plan;
mod shell;

pub use plan::{Action, Observed, plan};
pub(crate) use shell::setup;
