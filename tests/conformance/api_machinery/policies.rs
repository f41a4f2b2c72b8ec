//! Policies of admission.

use serde_json::{Value, json};

use super::operations::Operations;
use crate::world::{self, MERGE_PATCH, World};

const GROUP: &str = "admissionregistration.k8s.io";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/conformance/deployments";

fn about_deployments(operations: &[&str]) -> Value {
    json!([{"operations": operations, "apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments"]}])
}

#[tokio::test]
async fn validatingadmissionpolicy_should_support_validatingadmissionpolicy_api_operations() {
    let world = world::world().await;
    let policy = Operations {
        group: GROUP,
        plural: "validatingadmissionpolicies",
        kind: "ValidatingAdmissionPolicy",
        spec: json!({
            "validations": [{"expression": "object.spec.replicas <= 100"}],
            "matchConstraints": {"resourceRules": about_deployments(&["CREATE"])},
        }),
        patch: json!({"failurePolicy": "Ignore"}),
        field: "/failurePolicy",
        patched: json!("Ignore"),
        updated: json!("Fail"),
        condition: Some(json!({
            "status": "False", "reason": "e2e", "message": "Set from an e2e test",
            "lastTransitionTime": "2024-01-01T00:00:00Z",
        })),
    };
    policy.check(&world).await;
    world.end().await;
}

#[tokio::test]
async fn validatingadmissionpolicy_should_support_validatingadmissionpolicybinding_api_operations() {
    let world = world::world().await;
    let binding = Operations {
        group: GROUP,
        plural: "validatingadmissionpolicybindings",
        kind: "ValidatingAdmissionPolicyBinding",
        spec: json!({"policyName": "replicalimit-policy.example.com", "validationActions": ["Deny"]}),
        patch: json!({"validationActions": ["Warn"]}),
        field: "/validationActions",
        patched: json!(["Warn"]),
        updated: json!(["Deny"]),
        condition: None,
    };
    binding.check(&world).await;
    world.end().await;
}

#[tokio::test]
async fn mutatingadmissionpolicy_should_support_mutatingadmissionpolicy_api_operations() {
    let world = world::world().await;
    let policy = Operations {
        group: GROUP,
        plural: "mutatingadmissionpolicies",
        kind: "MutatingAdmissionPolicy",
        spec: json!({
            "reinvocationPolicy": "Never",
            "mutations": [{
                "patchType": "ApplyConfiguration",
                "applyConfiguration": {"expression": "Object{spec: Object.spec{replicas: 100}}"},
            }],
            "matchConstraints": {"resourceRules": about_deployments(&["CREATE"])},
        }),
        patch: json!({"reinvocationPolicy": "IfNeeded"}),
        field: "/reinvocationPolicy",
        patched: json!("IfNeeded"),
        updated: json!("Never"),
        condition: None,
    };
    policy.check(&world).await;
    world.end().await;
}

#[tokio::test]
async fn mutatingadmissionpolicy_should_support_mutatingadmissionpolicybinding_api_operations() {
    let world = world::world().await;
    let binding = Operations {
        group: GROUP,
        plural: "mutatingadmissionpolicybindings",
        kind: "MutatingAdmissionPolicyBinding",
        spec: json!({"policyName": "replicalimit-policy.example.com"}),
        patch: json!({"policyName": "new-policy.example.com"}),
        field: "/policyName",
        patched: json!("new-policy.example.com"),
        updated: json!("replicalimit-policy.example.com"),
        condition: None,
    };
    binding.check(&world).await;
    world.end().await;
}

/// A ReplicaSet or Deployment of so many pods.
fn workload(name: &str, replicas: u32) -> Value {
    json!({
        "metadata": {"name": name, "labels": {"app": "nginx"}},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "nginx"}},
            "template": {
                "metadata": {"labels": {"app": "nginx"}},
                "spec": {"containers": [{"name": "nginx", "image": "nginx:latest"}]},
            },
        },
    })
}

/// Puts a validating policy about Deployments in force in the test's namespace, by a label of it.
async fn enforce(world: &World, mut spec: Value) {
    mark(world).await;
    spec["matchConstraints"] = json!({
        "namespaceSelector": {"matchLabels": {"unique": "true"}},
        "resourceRules": about_deployments(&["CREATE", "UPDATE"]),
    });
    let root = format!("/apis/{GROUP}/v1");
    let policy = json!({"metadata": {"name": "unique.policy.example.com"}, "spec": spec});
    world.post(&format!("{root}/validatingadmissionpolicies"), policy).await;
    let binding = json!({"metadata": {"name": "unique.binding.example.com"}, "spec": {
        "policyName": "unique.policy.example.com",
        "matchResources": {"namespaceSelector": {"matchLabels": {"unique": "true"}}},
        "validationActions": ["Deny"],
    }});
    world.post(&format!("{root}/validatingadmissionpolicybindings"), binding).await;
}

async fn mark(world: &World) {
    let path = format!("/api/v1/namespaces/{}", world.namespace);
    world.patch(&path, MERGE_PATCH, json!({"metadata": {"labels": {"unique": "true"}}})).await;
}

/// A Deployment of one pod is refused as invalid, one of `enough` is not, and ReplicaSets are nobody's business.
async fn expect_enforced(world: &World, enough: u32) -> Value {
    let (status, refusal) = world.ask("POST", DEPLOYMENTS, workload("marker-deployment", 1)).await;
    assert_eq!((status, &refusal["reason"]), (422, &json!("Invalid")), "{refusal}");
    world.post(DEPLOYMENTS, workload("replicated", enough)).await;
    world.delete(&format!("{DEPLOYMENTS}/replicated")).await;
    let sets = "/apis/apps/v1/namespaces/conformance/replicasets";
    world.post(sets, workload("non-replicated", 1)).await;
    world.delete(&format!("{sets}/non-replicated")).await;
    refusal
}

#[tokio::test]
async fn validatingadmissionpolicy_should_validate_against_a_deployment() {
    let world = world::world().await;
    let spec = json!({"validations": [
        {
            "expression": "object.spec.replicas > 1",
            "messageExpression": "'wants replicas > 1, got ' + object.spec.replicas",
        },
        {
            "expression": format!("namespaceObject.metadata.name == '{}'", world.namespace),
            "message": "Internal error! Other namespace should not be allowed.",
        },
    ]});
    enforce(&world, spec).await;
    expect_enforced(&world, 2).await;
    world.end().await;
}

#[tokio::test]
async fn validatingadmissionpolicy_should_allow_expressions_to_refer_variables() {
    let world = world::world().await;
    let spec = json!({
        "variables": [
            {"name": "replicas", "expression": "object.spec.replicas"},
            {"name": "oddReplicas", "expression": "variables.replicas % 2 == 1"},
        ],
        "validations": [{"expression": "variables.replicas > 1"}, {"expression": "variables.oddReplicas"}],
    });
    enforce(&world, spec).await;
    expect_enforced(&world, 3).await;
    world.end().await;
}

/// Puts a mutating policy about Deployments in force in the test's namespace, and makes a Deployment of one pod.
async fn mutate(world: &World, expression: &str) -> Value {
    mark(world).await;
    let root = format!("/apis/{GROUP}/v1");
    let policy = json!({"metadata": {"name": "unique.policy.example.com"}, "spec": {
        "matchConstraints": {
            "namespaceSelector": {"matchLabels": {"unique": "true"}},
            "resourceRules": about_deployments(&["CREATE", "UPDATE"]),
        },
        "reinvocationPolicy": "Never",
        "mutations": [{"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}}],
    }});
    world.post(&format!("{root}/mutatingadmissionpolicies"), policy).await;
    let binding = json!({"metadata": {"name": "unique.binding.example.com"}, "spec": {
        "policyName": "unique.policy.example.com",
        "matchResources": {"namespaceSelector": {"matchLabels": {"unique": "true"}}},
    }});
    world.post(&format!("{root}/mutatingadmissionpolicybindings"), binding).await;
    let (status, created) = world.ask("POST", DEPLOYMENTS, workload("marker-deployment", 1)).await;
    assert_eq!(status, 201, "{created}");
    world.delete(&format!("{DEPLOYMENTS}/marker-deployment")).await;
    created
}

#[tokio::test]
async fn mutatingadmissionpolicy_should_mutate_a_deployment() {
    let world = world::world().await;
    let created = mutate(&world, "Object{spec: Object.spec{replicas: 1337}}").await;
    assert_eq!(created["spec"]["replicas"], 1337);
    world.end().await;
}

#[tokio::test]
async fn mutatingadmissionpolicy_should_mutate_a_deployment_with_annotations() {
    let world = world::world().await;
    let expression = "Object{\n metadata: Object.metadata{\n annotations: {\n \"mutated-by\": \"admission-policy\"\n }\n }\n}";
    let created = mutate(&world, expression).await;
    assert_eq!(created["metadata"]["annotations"]["mutated-by"], "admission-policy");
    world.end().await;
}
