//! Garbage collection: what nobody owns any more goes, and what owns waits as its deletion was asked for.
//!
//! The graph of the [census](crate::census) says what to look at. Before anything is deleted, the object and each of
//! its owners are asked for at the server, so that a late watch never costs an object its life.

mod plan;
mod shell;

pub use plan::{Action, Dependent, Item, Policy, Standing, is_settled, plan};
pub(crate) use shell::setup;
