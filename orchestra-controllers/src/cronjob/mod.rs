//! CronJobs: a Job each time the schedule comes round.
//!
//! The name of a Job follows from the time it is for, so that no time gets two, however often its making is tried.

mod plan;
mod shell;
mod times;

pub use plan::{Action, News, Observed, plan};
pub(crate) use shell::setup;
