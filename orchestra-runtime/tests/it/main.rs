//! The node agent and its backends, with real processes.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

#[cfg(target_os = "linux")]
mod agent;
mod attach;
#[cfg(target_os = "linux")]
mod cluster;
#[cfg(target_os = "linux")]
mod process;
#[cfg(target_os = "linux")]
mod simulated;
#[cfg(target_os = "linux")]
mod volumes;
