//! Disruption budgets: how many pods may be evicted now, so that the eviction subresource of the API server need only
//! count down.
//!
//! The server writes down each pod that it lets be evicted. Until the deletion is seen, such a pod counts as lost; if
//! nothing is seen within two minutes, it never was.

mod plan;
mod shell;

pub use plan::{Action, News, Observed, Scale, plan};
pub(crate) use shell::setup;
