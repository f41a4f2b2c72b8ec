//! The deletion of namespaces: first everything in them goes, then they do.

mod plan;
mod shell;

pub use plan::{Action, Finding, Observed, Sweep, plan};
pub(crate) use shell::setup;
