//! A scheduling laboratory: policies of the literature on the public seams of the scheduler.
//!
//! What is here decides nothing by special right: every policy is a set of plugins, or a
//! [`Strategy`](orchestra_scheduler::Strategy), through the public traits of `orchestra-scheduler`, and the same value
//! runs in a live cluster.
//!
//! # Extension points
//! [`policies::named`] knows every policy by name; a new one is a plugin and a line there (`docs/scheduling-policies.md`
//! walks through one). [`gpu`] keeps account of devices that pods share.

pub mod gpu;
pub mod papers;
pub mod policies;
pub mod run;
mod time;
pub mod trace;
pub mod workload;

pub use time::{SimTime, TimeError};
