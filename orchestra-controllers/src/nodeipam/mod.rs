//! Ranges of addresses for the pods of each node, cut from the cluster's: `spec.podCIDRs`, as upstream's `node-ipam` controller gives
//! them with `--allocate-node-cidrs`. Runs only where [`NodeRanges`] are given, because most networks have addresses of their own.

mod pool;
mod ranges;
mod shell;

pub use ranges::{NodeRanges, NodeRangesError};
pub(crate) use shell::setup;
