//! Deployments: rollouts from one ReplicaSet to the next.

mod facts;
mod plan;
mod scale;
mod set;
mod shell;
mod status;

pub use plan::{Action, Observed, SetChange, plan};
pub(crate) use shell::setup;
