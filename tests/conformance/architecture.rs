//! The cluster as a whole.

use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::ListParams;
use kube::runtime::wait::await_condition;
use orchestra::Cluster;

use crate::world;

#[tokio::test]
async fn conformance_tests_should_have_at_least_two_untainted_nodes() {
    let builder = Cluster::builder().node(orchestra::Node::named("one")).node(orchestra::Node::named("two"));
    let world = world::with(builder).await;
    let nodes: Api<Node> = Api::all(world.client());
    for name in ["one", "two"] {
        await_condition(nodes.clone(), name, ready_and_open).await.expect("a node");
    }
    let open = nodes.list(&ListParams::default()).await.unwrap();
    assert_eq!(open.items.iter().filter(|node| ready_and_open(Some(node))).count(), 2);
    world.end().await;
}

/// Takes pods of any kind.
fn ready_and_open(node: Option<&Node>) -> bool {
    node.is_some_and(|node| {
        let open = node
            .spec
            .iter()
            .flat_map(|spec| spec.taints.iter().flatten())
            .all(|taint| taint.effect == "PreferNoSchedule");
        let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
        open && conditions
            .into_iter()
            .any(|condition| condition.type_ == "Ready" && condition.status == "True")
    })
}
