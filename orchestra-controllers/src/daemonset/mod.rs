//! DaemonSets: one pod on every node that should have one.

mod placement;
mod plan;
mod shell;

pub use plan::{Action, Observed, plan};
pub(crate) use shell::setup;
