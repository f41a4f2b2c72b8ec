//! EndpointSlices: which pods answer for a Service.

mod desired;
mod plan;
mod shell;

pub use plan::{Action, Observed, plan};
pub(crate) use shell::setup;
