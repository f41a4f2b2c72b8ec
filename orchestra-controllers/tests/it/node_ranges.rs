//! What nodes are given: ranges of addresses, and how long they may keep what they read.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::DeleteParams;
use orchestra_controllers::{Controller, Controllers};
use serde_json::json;

use crate::cluster::until;
use crate::world::Controlled;

fn ranges(node: &Node) -> Vec<String> {
    node.spec.as_ref().and_then(|spec| spec.pod_cidrs.clone()).unwrap_or_default()
}

#[tokio::test]
async fn every_node_gets_a_range_of_its_own_and_one_that_goes_gives_it_back() {
    let controllers = Controllers::only([Controller::NodeAddresses]);
    let controllers = controllers.node_ranges("10.0.0.0/22,fd00::/62".parse().unwrap());
    let cluster = Controlled::by(controllers.clone()).await;
    let nodes: Api<Node> = Api::all(cluster.client.clone());
    cluster.create(&nodes, json!({"metadata": {"name": "own"}, "spec": {"podCIDRs": ["10.0.1.0/24", "fd00:0:0:1::/64"], "podCIDR": "10.0.1.0/24"}})).await;
    for name in ["a", "b", "c"] {
        cluster.create(&nodes, json!({"metadata": {"name": name}})).await;
    }
    let all =
        until(&nodes, "four ranges", |all| all.len() == 4 && all.iter().all(|n| ranges(n).len() == 2)).await;
    let different: BTreeSet<String> = all.iter().flat_map(ranges).collect();
    assert_eq!(different.len(), 8, "{different:?}");
    let first = all.iter().find(|node| node.metadata.name.as_deref() == Some("a")).unwrap();
    assert_eq!(first.spec.as_ref().unwrap().pod_cidr, ranges(first).first().cloned());
    // Others count what they find.
    let beside = Controlled::beside(cluster.stop().await, controllers);
    beside.create(&nodes, json!({"metadata": {"name": "late"}})).await;
    nodes.delete("b", &DeleteParams::default()).await.unwrap();
    let all =
        until(&nodes, "a range again", |all| all.len() == 4 && all.iter().all(|n| ranges(n).len() == 2))
            .await;
    assert_eq!(all.iter().flat_map(ranges).collect::<BTreeSet<_>>().len(), 8);
}

#[tokio::test]
async fn nodes_are_told_how_long_they_may_keep_what_they_read() {
    let cluster = Controlled::by(Controllers::only([Controller::NodeTtl])).await;
    let nodes: Api<Node> = Api::all(cluster.client.clone());
    cluster.create(&nodes, json!({"metadata": {"name": "n"}})).await;
    let told = |all: &[Node]| {
        let annotations = all.first().and_then(|node| node.metadata.annotations.as_ref());
        annotations.is_some_and(|held| held.get("node.alpha.kubernetes.io/ttl").is_some_and(|ttl| ttl == "0"))
    };
    until(&nodes, "the annotation", told).await;
}
