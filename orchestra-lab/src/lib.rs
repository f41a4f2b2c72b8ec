//! A scheduling laboratory: policies of the literature on the public seams of the scheduler.
//!
//! What is here decides nothing by special right: every policy is a set of plugins, or a
//! [`Strategy`](orchestra_scheduler::Strategy), through the public traits of `orchestra-scheduler`, and the same value
//! runs in a live cluster.
//!
//! # Extension points
//! [`strategy::known`] knows every policy by name; a new one is a plugin and a [`strategy::Named`]
//! (`docs/scheduling-policies.md` walks through one). [`gpu`] keeps account of devices that pods share.
//!
//! # Simulation
//! [`run`] lives through a [`workload`] on a virtual clock, [`trace`] reads one from files, [`experiment`] tries strategies and
//! seeds on it, and [`output`] and [`plot`] leave files that are the same whenever the same is run. `docs/simulation.md` shows
//! all of it from the command line.

pub mod experiment;
pub mod gpu;
pub mod output;
pub mod papers;
pub mod plot;
pub mod policies;
pub mod run;
pub mod strategy;
mod time;
pub mod trace;
pub mod workload;

pub use time::{SimTime, TimeError};

/// The guides of `docs/`, so that their code is compiled.
#[cfg(doctest)]
mod guides {
    #[doc = include_str!("../../docs/scheduling-policies.md")]
    mod scheduling_policies {}
    #[doc = include_str!("../../docs/what-if.md")]
    mod what_if {}
}
