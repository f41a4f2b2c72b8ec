//! A scheduling laboratory: policies of the literature on the public seams of the scheduler.
//!
//! What is here decides nothing by special right: every policy is a set of plugins, or a
//! [`Strategy`](orchestra_scheduler::Strategy), through the public traits of `orchestra-scheduler`, and the same value
//! runs in a live cluster.

pub mod policies;
