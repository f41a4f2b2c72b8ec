//! Workloads.

mod budgets;
mod jobs;
mod replication;

use orchestra::runtime::backend::sim::SimRuntime;
use orchestra::{Cluster, Node};

use crate::world::{World, with};

/// A world with a node whose containers live as their annotations say.
async fn with_a_node() -> World {
    with(Cluster::builder().node(Node::named("node-1").runtime(SimRuntime::default()))).await
}
