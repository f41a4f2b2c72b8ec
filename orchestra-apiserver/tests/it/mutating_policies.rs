//! Mutating admission policies, through the server.

use orchestra_apiserver::ApiServer;
use serde_json::{Value, json};

use crate::harness::{delete, get, patch, post, server};
use crate::hook::{Hook, patched};
use crate::metrics::metrics;

const GROUP: &str = "/apis/admissionregistration.k8s.io/v1";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";

async fn made(server: &ApiServer, path: &str, object: &Value) -> Value {
    let (code, answer) = post(server, path, object).await;
    assert_eq!(code, 201, "{answer:#}");
    answer
}

/// What a policy says, of a resource of one group and version.
fn about(rule: (&str, &str, &str), mut spec: Value) -> Value {
    let (group, version, resource) = rule;
    spec["matchConstraints"] = json!({"resourceRules": [{
        "apiGroups": [group], "apiVersions": [version], "operations": ["CREATE", "UPDATE"], "resources": [resource]}]});
    if spec.get("reinvocationPolicy").is_none() {
        spec["reinvocationPolicy"] = "Never".into();
    }
    spec
}

/// Makes a policy about ConfigMaps, and a binding of its name.
async fn bound(server: &ApiServer, name: &str, spec: Value) {
    bound_to(server, name, about(("", "v1", "configmaps"), spec), json!({})).await;
}

async fn bound_to(server: &ApiServer, name: &str, spec: Value, mut binding: Value) {
    let policy = json!({"metadata": {"name": name}, "spec": spec});
    made(server, &format!("{GROUP}/mutatingadmissionpolicies"), &policy).await;
    binding["policyName"] = name.into();
    let binding = json!({"metadata": {"name": name}, "spec": binding});
    made(server, &format!("{GROUP}/mutatingadmissionpolicybindings"), &binding).await;
}

fn applies(expression: &str) -> Value {
    json!({"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}})
}

fn patches(expression: &str) -> Value {
    json!({"patchType": "JSONPatch", "jsonPatch": {"expression": expression}})
}

/// Sets a label.
fn labels(label: &str) -> Value {
    applies(&format!("Object{{metadata: Object.metadata{{labels: {{'{label}': 'yes'}}}}}}"))
}

fn map(name: &str) -> Value {
    json!({"metadata": {"name": name}, "data": {"a": "1"}})
}

#[tokio::test]
async fn mutations_change_what_is_written_one_after_the_other() {
    let server = server().await;
    let spec = json!({
        "variables": [{"name": "key", "expression": "'of-' + object.metadata.name"}],
        "mutations": [
            labels("first"),
            patches("[JSONPatch{op: 'test', path: '/metadata/labels/first', value: 'yes'}, \
                     JSONPatch{op: 'add', path: '/data/' + jsonpatch.escapeKey(variables.key), value: request.operation}]"),
            patches("[JSONPatch{op: 'test', path: '/data/a', value: 'else'}, JSONPatch{op: 'remove', path: '/data'}]"),
        ],
    });
    let policy = json!({"metadata": {"name": "p"}, "spec": about(("", "v1", "configmaps"), spec)});
    made(&server, &format!("{GROUP}/mutatingadmissionpolicies"), &policy).await;
    assert_eq!(made(&server, MAPS, &map("unbound")).await["data"], json!({"a": "1"}));
    let binding = json!({"metadata": {"name": "b"}, "spec": {"policyName": "p"}});
    made(&server, &format!("{GROUP}/mutatingadmissionpolicybindings"), &binding).await;
    let one = made(&server, MAPS, &map("one")).await;
    assert_eq!(one["metadata"]["labels"], json!({"first": "yes"}));
    assert_eq!(one["data"], json!({"a": "1", "of-one": "CREATE"}));
    let merge = "application/merge-patch+json";
    let (code, one) = patch(&server, &format!("{MAPS}/one"), merge, &json!({"data": {"a": "2"}})).await;
    assert_eq!((code, &one["data"]), (200, &json!({"a": "2", "of-one": "UPDATE"})));
    assert_eq!(post(&server, &format!("{MAPS}?dryRun=All"), &map("dry")).await.1["data"]["of-dry"], "CREATE");
    assert_eq!(delete(&server, &format!("{MAPS}/one")).await.0, 200);
}

#[tokio::test]
async fn a_mutation_that_fails_refuses_in_upstreams_words_unless_failures_are_ignored() {
    let server = server().await;
    let failing = applies("Object{data: {'b': object.data.none}}");
    let spec = |policy: &str| json!({"failurePolicy": policy, "mutations": [failing, labels("done")]});
    bound(&server, "soft", spec("Ignore")).await;
    let soft = made(&server, MAPS, &map("soft")).await;
    assert_eq!(soft["metadata"]["labels"], json!({"done": "yes"}));
    bound(&server, "hard", spec("Fail")).await;
    let (code, refused) = post(&server, MAPS, &map("hard")).await;
    let why = "policy 'hard' with binding 'hard' denied request: expression 'Object{data: {'b': object.data.none}}' \
               resulted in error: no such key: none";
    assert_eq!((code, &refused["reason"], &refused["message"]), (403, &json!("Invalid"), &json!(why)));
    assert_eq!(refused["details"]["causes"], json!([{"message": why}]));
    assert_eq!(refused["details"]["name"], "hard");
}

#[tokio::test]
async fn what_is_no_object_of_the_kind_is_refused_whatever_the_policy_says() {
    let server = server().await;
    let unknown = patches("[JSONPatch{op: 'add', path: '/none', value: 1}]");
    bound(&server, "p", json!({"failurePolicy": "Ignore", "mutations": [unknown]})).await;
    let (code, refused) = post(&server, MAPS, &map("a")).await;
    assert_eq!(code, 500);
    assert_eq!(refused["message"], "Internal error occurred: strict decoding error: unknown field \"none\"");
}

#[tokio::test]
async fn expressions_and_operations_are_checked_when_a_policy_is_written() {
    let server = server().await;
    let mut spec = about(
        ("", "v1", "configmaps"),
        json!({"mutations": [applies("Object{a: }"), patches("[Object{}]"), applies("'text'")]}),
    );
    spec["matchConstraints"]["resourceRules"][0]["operations"] = json!(["DELETE"]);
    let policy = json!({"metadata": {"name": "bad"}, "spec": spec});
    let (code, refused) = post(&server, &format!("{GROUP}/mutatingadmissionpolicies"), &policy).await;
    assert_eq!(code, 422);
    let causes = refused["details"]["causes"].as_array().unwrap();
    let said: Vec<(&str, &str)> = causes
        .iter()
        .map(|cause| (cause["field"].as_str().unwrap(), cause["message"].as_str().unwrap()))
        .collect();
    assert_eq!(
        said[0],
        (
            "spec.matchConstraints.resourceRules.operations",
            "Unsupported value: \"DELETE\": supported values: \"*\", \"CONNECT\", \"CREATE\", \"UPDATE\""
        )
    );
    assert_eq!(said[1].0, "spec.mutations[0].applyConfiguration.expression");
    assert_eq!(
        said[2],
        (
            "spec.mutations[1].jsonPatch.expression",
            "Invalid value: \"[Object{}]\": must evaluate to list(JSONPatch) but got list(Object)"
        )
    );
    assert_eq!(said[3].1, "Invalid value: \"'text'\": must evaluate to Object but got string");
}

#[tokio::test]
async fn parameters_that_a_selector_picks_are_used_one_after_the_other() {
    let server = server().await;
    for name in ["x", "y"] {
        let params = json!({"metadata": {"name": name, "labels": {"params": "yes"}}, "data": {"key": format!("key-{name}")}});
        made(&server, MAPS, &params).await;
    }
    let spec = |action: &str| {
        json!({
            "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
            "matchConditions": [{"name": "mine", "expression": format!("object.metadata.name.startsWith('{action}')")}],
            "mutations": [applies("Object{data: {params.data.key: 'set'}}")],
        })
    };
    let reference = |value: &str, action: &str| json!({"paramRef": {"selector": {"matchLabels": {"params": value}}, "parameterNotFoundAction": action}});
    let policy = |action: &str| about(("", "v1", "configmaps"), spec(action));
    bound_to(&server, "all", policy("all"), reference("yes", "Deny")).await;
    assert_eq!(
        made(&server, MAPS, &map("all")).await["data"],
        json!({"a": "1", "key-x": "set", "key-y": "set"})
    );
    bound_to(&server, "allowed", policy("allowed"), reference("none", "Allow")).await;
    assert_eq!(made(&server, MAPS, &map("other")).await["data"], json!({"a": "1"}));
    bound_to(&server, "denied", policy("denied"), reference("none", "Deny")).await;
    let (code, refused) = post(&server, MAPS, &map("else")).await;
    assert_eq!((code, &refused["reason"]), (403, &json!("Forbidden")));
    assert_eq!(
        refused["message"],
        "policy 'denied' with binding 'denied' denied request: failed to configure binding: no params found for policy \
         binding with `Deny` parameterNotFoundAction"
    );
}

#[tokio::test]
async fn a_policy_is_asked_again_after_a_change_if_it_wants_that() {
    let server = server().await;
    let late = "has(object.metadata.labels) && 'late' in object.metadata.labels";
    for policy in ["IfNeeded", "Never"] {
        let label = format!("saw-{}", policy.to_lowercase());
        let spec = json!({
            "reinvocationPolicy": policy,
            "mutations": [applies(&format!("Object{{metadata: Object.metadata{{labels: {{'{label}': string({late})}}}}}}"))],
        });
        bound(&server, &format!("a-{}", policy.to_lowercase()), spec).await;
    }
    bound(&server, "b", json!({"mutations": [labels("late")]})).await;
    let labels = &made(&server, MAPS, &map("m")).await["metadata"]["labels"];
    assert_eq!(labels, &json!({"late": "yes", "saw-ifneeded": "true", "saw-never": "false"}));
}

#[tokio::test]
async fn webhooks_come_after_policies_and_what_they_change_policies_see_again() {
    let server = server().await;
    let hook = Hook::start(&["127.0.0.1"], |request| {
        let labels = &request["object"]["metadata"]["labels"];
        assert_eq!(labels["first"], "yes", "policies were asked before");
        patched(&json!([{"op": "add", "path": "/metadata/labels/hook", "value": "yes"}]))
    })
    .await;
    let configuration = json!({"metadata": {"name": "h"}, "webhooks": [{
        "name": "h.example.com", "sideEffects": "None", "admissionReviewVersions": ["v1"],
        "clientConfig": {"url": format!("https://{}/", hook.address), "caBundle": hook.ca},
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}],
    }]});
    made(&server, &format!("{GROUP}/mutatingwebhookconfigurations"), &configuration).await;
    let saw = applies(
        "Object{metadata: Object.metadata{annotations: {'saw': string('hook' in object.metadata.labels)}}}",
    );
    bound(&server, "p", json!({"reinvocationPolicy": "IfNeeded", "mutations": [labels("first"), saw]})).await;
    let made = made(&server, MAPS, &map("m")).await;
    assert_eq!(made["metadata"]["labels"], json!({"first": "yes", "hook": "yes"}));
    assert_eq!(made["metadata"]["annotations"], json!({"saw": "true"}));
}

#[tokio::test]
async fn custom_resources_are_changed_by_their_schema_in_the_version_a_policy_names() {
    let server = server().await;
    let version = |name: &str, storage: bool| {
        json!({"name": name, "served": true, "storage": storage, "schema": {"openAPIV3Schema": {"type": "object",
            "properties": {"spec": {"type": "object", "properties": {
                "watts": {"type": "integer"},
                "pair": {"type": "object", "x-kubernetes-map-type": "atomic", "properties": {"a": {"type": "string"}}},
                "bulbs": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                    "items": {"type": "object", "required": ["name"], "properties": {
                        "name": {"type": "string"}, "lumen": {"type": "integer"}}}}}}}}}})
    };
    let definition = json!({"metadata": {"name": "lamps.example.com"}, "spec": {"group": "example.com", "scope": "Namespaced",
        "names": {"plural": "lamps", "kind": "Lamp"}, "versions": [version("v1", true), version("v2", false)]}});
    made(&server, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", &definition).await;
    let lamps = |version: &str| format!("/apis/example.com/{version}/namespaces/default/lamps");
    while get(&server, &lamps("v2")).await.0 != 200 {
        tokio::task::yield_now().await;
    }
    let bulbs = applies(
        "Object{spec: Object.spec{watts: request.kind.version == 'v1' ? 1 : 2, bulbs: [Object.spec.bulbs{name: 'b', lumen: 5}]}}",
    );
    let policy = about(("example.com", "v1", "lamps"), json!({"mutations": [bulbs]}));
    bound_to(&server, "lamps", policy, json!({})).await;
    let lamp = |name: &str| {
        json!({"apiVersion": "example.com/v2", "kind": "Lamp", "metadata": {"name": name},
            "spec": {"bulbs": [{"name": "a"}, {"name": "b"}]}})
    };
    let lamp_made = made(&server, &lamps("v2"), &lamp("one")).await;
    assert_eq!(lamp_made["apiVersion"], "example.com/v2");
    let wanted = json!({"watts": 1, "bulbs": [{"name": "a"}, {"name": "b", "lumen": 5}]});
    assert_eq!(lamp_made["spec"], wanted);
    let pair = applies("Object{spec: Object.spec{pair: Object.spec.pair{a: 'x'}}}");
    let policy = about(("example.com", "v2", "lamps"), json!({"mutations": [pair]}));
    bound_to(&server, "pairs", policy, json!({})).await;
    let (code, refused) = post(&server, &lamps("v2"), &lamp("two")).await;
    assert_eq!(code, 403);
    let why = "error applying patch: invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: .spec.pair";
    assert_eq!(refused["message"], format!("policy 'pairs' with binding 'pairs' denied request: {why}"));
}

#[tokio::test]
async fn mutations_are_counted_by_policy_and_binding_and_how_they_ended() {
    let server = server().await;
    let failing = applies("Object{data: {'b': object.data.none}}");
    bound(&server, "soft", json!({"failurePolicy": "Ignore", "mutations": [failing, labels("done")]})).await;
    bound(&server, "unmeant", {
        let never = json!([{"name": "never", "expression": "false"}]);
        json!({"matchConditions": never, "mutations": [labels("never")]})
    })
    .await;
    for name in ["a", "b"] {
        made(&server, MAPS, &map(name)).await;
    }
    let found = metrics(&server).await;
    let of = |figure: &str, error: &str, policy: &str| {
        let labels = format!(r#"error_type="{error}",policy="{policy}",policy_binding="{policy}""#);
        found.get(&format!("apiserver_mutating_admission_policy_check_{figure}{{{labels}}}")).copied()
    };
    assert_eq!(of("total", "no_error", "soft"), Some(2.0));
    assert_eq!(of("total", "invalid_error", "soft"), Some(2.0));
    assert_eq!(of("duration_seconds_count", "no_error", "soft"), Some(2.0));
    assert_eq!(of("total", "no_error", "unmeant"), None, "who is not meant is not counted");
}

/// An autoscaler of `autoscaling/v2` for half of the processor.
fn scaler(name: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"maxReplicas": 3,
    "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"},
    "metrics": [
        {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}},
        {"type": "Resource", "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": "1Gi"}}},
    ]}})
}

const SCALERS: &str = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers";

#[tokio::test]
async fn built_in_kinds_of_two_versions_are_changed_in_the_one_a_policy_names() {
    let server = server().await;
    let raised = applies(
        "Object{spec: Object.spec{targetCPUUtilizationPercentage: object.spec.targetCPUUtilizationPercentage + 5}}",
    );
    let rule = ("autoscaling", "v1", "horizontalpodautoscalers");
    bound_to(&server, "scalers", about(rule, json!({"mutations": [raised]})), json!({})).await;
    let made = made(&server, SCALERS, &scaler("one")).await;
    assert_eq!(made["apiVersion"], "autoscaling/v2");
    let metrics = made["spec"]["metrics"].as_array().unwrap();
    assert_eq!(metrics.len(), 2, "what the other version has no field for is not lost: {made}");
    let of = |name: &str| metrics.iter().find(|metric| metric["resource"]["name"] == name).unwrap();
    assert_eq!(of("cpu")["resource"]["target"]["averageUtilization"], 55);
    assert_eq!(of("memory")["resource"]["target"]["averageValue"], "1Gi");
}

#[tokio::test]
async fn webhooks_and_their_conditions_see_built_in_kinds_in_the_version_they_name() {
    let server = server().await;
    let hook = Hook::start(&["127.0.0.1"], |request| {
        assert_eq!(request["kind"]["version"], "v1");
        assert_eq!(request["requestKind"]["version"], "v2");
        assert_eq!(request["object"]["apiVersion"], "autoscaling/v1");
        assert_eq!(request["object"]["spec"]["metrics"], Value::Null);
        patched(&json!([{"op": "replace", "path": "/spec/targetCPUUtilizationPercentage", "value": 70}]))
    })
    .await;
    let configuration = json!({"metadata": {"name": "h"}, "webhooks": [{
        "name": "h.example.com", "sideEffects": "None", "admissionReviewVersions": ["v1"],
        "clientConfig": {"url": format!("https://{}/", hook.address), "caBundle": hook.ca},
        "matchConditions": [{"name": "half", "expression": "request.kind.version == 'v1' && \
            request.resource.version == 'v2' && object.spec.targetCPUUtilizationPercentage == 50"}],
        "rules": [{"apiGroups": ["autoscaling"], "apiVersions": ["v1"], "operations": ["CREATE"],
            "resources": ["horizontalpodautoscalers"]}],
    }]});
    made(&server, &format!("{GROUP}/mutatingwebhookconfigurations"), &configuration).await;
    let made = made(&server, SCALERS, &scaler("one")).await;
    let metrics = made["spec"]["metrics"].as_array().unwrap();
    let cpu = metrics.iter().find(|metric| metric["resource"]["name"] == "cpu").unwrap();
    assert_eq!(cpu["resource"]["target"]["averageUtilization"], 70, "{made}");
    assert_eq!(hook.take().len(), 1);
}
