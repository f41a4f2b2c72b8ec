//! Nodes that fall silent, are in trouble, or come back: what their conditions and taints say, and that their pods are
//! not ready meanwhile.
//!
//! A node is silent when neither its Lease was renewed nor its status written for 50 seconds (upstream's default since
//! 1.32), counted from when this controller last saw a sign of life: clocks of other machines are not trusted, and a
//! controller that starts afresh gives everybody the whole time. Pods are not removed here; the taints say that they
//! may be, and [`crate::tainteviction`] does it.

mod health;
mod plan;
mod shell;
mod taints;
mod zones;

pub use plan::{Action, Observed, plan};
pub(crate) use shell::setup;
pub use zones::{Pace, Zone, Zones};
