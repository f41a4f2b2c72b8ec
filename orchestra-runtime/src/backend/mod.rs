//! Container runtimes that come with the crate.

#[cfg(target_os = "linux")]
pub mod process;
pub mod sim;
