#![doc = include_str!("../README.md")]

pub mod cluster;
#[cfg(feature = "world")]
pub mod world;

use std::ffi::OsString;
use std::process::ExitCode;

pub use cluster::{Cluster, ClusterBuilder, Node};
pub use orchestra_apiserver as apiserver;
pub use orchestra_controllers as controllers;
pub use orchestra_core as core;
pub use orchestra_lab as lab;
pub use orchestra_net as net;
pub use orchestra_runtime as runtime;
pub use orchestra_scheduler as scheduler;
pub use orchestra_store as store;

/// The hidden verb under which the binary watches over one container.
pub const SHIM_VERB: &str = "container-shim";
/// The hidden verb under which the binary is the guestbook.
pub const DEMO_VERB: &str = "guestbook";

/// Watches over one container and returns when it has ended; what the binary does under [`SHIM_VERB`]. A program of your
/// own that wants its containers to survive it calls this first thing in `main`, before any thread is started.
pub fn shim(arguments: &[OsString]) -> ExitCode {
    orchestra_runtime::backend::process::shim::main(arguments.iter().cloned())
}

/// The guides of `docs/`, so that their code is compiled.
#[cfg(doctest)]
mod guides {
    #[doc = include_str!("../docs/research.md")]
    mod research {}
    #[cfg(feature = "world")]
    #[doc = include_str!("../docs/testing-your-controllers.md")]
    mod testing_your_controllers {}
}
