//! ReplicaSets: as many pods as the spec says.

mod plan;
mod rank;
mod shell;

pub use plan::{Action, Observed, plan};
pub(crate) use shell::{Replicated, setup};
