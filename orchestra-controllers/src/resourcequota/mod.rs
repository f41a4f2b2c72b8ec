//! Resource quotas: what of them is used, counted afresh. Admission charges what is new; this gives back what is gone, and
//! puts right what was charged in vain.

mod plan;
mod shell;

pub use plan::{Action, Observed, plan};
pub(crate) use shell::setup;
