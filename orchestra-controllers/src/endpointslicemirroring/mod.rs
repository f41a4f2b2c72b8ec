//! Slices for Endpoints that people keep by hand, beside a Service without a selector: who reads only slices sees them too.

mod plan;
mod shell;

pub use plan::{Observed, plan};
pub(crate) use shell::setup;
