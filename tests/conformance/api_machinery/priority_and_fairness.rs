//! The kinds of priority and fairness.

use serde_json::json;

use super::operations::Operations;
use crate::world;

const GROUP: &str = "flowcontrol.apiserver.k8s.io";

#[tokio::test]
async fn api_priority_and_fairness_should_support_flowschema_api_operations() {
    let world = world::world().await;
    let schema = Operations {
        group: GROUP,
        plural: "flowschemas",
        kind: "FlowSchema",
        spec: json!({
            "matchingPrecedence": 10000,
            "priorityLevelConfiguration": {"name": "global-default"},
            "distinguisherMethod": {"type": "ByUser"},
            "rules": [{
                "subjects": [{"kind": "User", "user": {"name": "example-e2e-non-existent-user"}}],
                "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
            }],
        }),
        patch: json!({"matchingPrecedence": 9999}),
        field: "/matchingPrecedence",
        patched: json!(9999),
        updated: json!(9000),
        condition: Some(json!({"status": "False", "reason": "e2e"})),
    };
    schema.check(&world).await;
    world.end().await;
}

#[tokio::test]
async fn api_priority_and_fairness_should_support_prioritylevelconfiguration_api_operations() {
    let world = world::world().await;
    let level = Operations {
        group: GROUP,
        plural: "prioritylevelconfigurations",
        kind: "PriorityLevelConfiguration",
        spec: json!({
            "type": "Limited",
            "limited": {"nominalConcurrencyShares": 2, "limitResponse": {"type": "Reject"}},
        }),
        patch: json!({"limited": {"nominalConcurrencyShares": 4}}),
        field: "/limited/nominalConcurrencyShares",
        patched: json!(4),
        updated: json!(6),
        condition: Some(json!({"status": "False", "reason": "e2e"})),
    };
    level.check(&world).await;
    world.end().await;
}
