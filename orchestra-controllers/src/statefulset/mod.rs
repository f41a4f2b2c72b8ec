//! StatefulSets: pods with names, places in an order, and claims of their own.

mod identity;
mod plan;
mod shell;
mod status;

pub use plan::{Action, Observed, plan};
pub(crate) use shell::setup;
