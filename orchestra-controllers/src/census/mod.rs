//! The census: what exists in the cluster, of whatever kind, reduced to who owns whom.
//!
//! Garbage collection and the deletion of namespaces concern every kind, known today or made tomorrow. Both read this
//! one graph, fed by a watch for each resource that discovery shows. It holds nothing else of an object
//! than where it is found, its owners, and how far its deletion is; events are left out, as upstream does.

mod discovery;
mod graph;
mod keeper;
mod monitor;

pub use graph::{Graph, Kind, Node, Owner, Propagation, Removal, Uid};

pub(crate) use discovery::{Found, discover};
pub(crate) use keeper::Census;
pub(crate) use monitor::Sighting;
