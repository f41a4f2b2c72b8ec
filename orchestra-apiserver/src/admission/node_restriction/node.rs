//! The node's own Node: neither what draws pods to it, nor what it belongs to, is its own to say.

use std::collections::BTreeSet;

use serde_json::Value;

use super::same;
use crate::admission::{AdmissionRequest, Operation};
use crate::storage::meta;

/// Labels in the name space of Kubernetes that a node may give itself.
const OWN_LABELS: [&str; 11] = [
    "kubernetes.io/hostname",
    "kubernetes.io/arch",
    "kubernetes.io/os",
    "beta.kubernetes.io/instance-type",
    "node.kubernetes.io/instance-type",
    "failure-domain.beta.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
    "beta.kubernetes.io/arch",
    "beta.kubernetes.io/os",
];
const OWN_PREFIXES: [&str; 2] = ["kubelet.kubernetes.io", "node.kubernetes.io"];

/// Whether `node` may write this about itself.
pub(super) fn own(node: &str, request: &AdmissionRequest<'_>, object: &Value) -> Result<(), String> {
    if request.name != node {
        return Err(format!("node {node:?} is not allowed to modify node {:?}", request.name));
    }
    match (request.operation, request.old) {
        (Operation::Create, _) => made(node, object),
        (Operation::Update, Some(old)) => changed(node, old, object),
        _ => Ok(()),
    }
}

fn made(node: &str, object: &Value) -> Result<(), String> {
    if config_source(object).is_some() {
        // Upstream speaks of pods here.
        return Err(format!("node {node:?} is not allowed to create pods with a non-nil configSource"));
    }
    let refused = forbidden_labels(&labels(object));
    if refused.is_empty() {
        return Ok(());
    }
    Err(format!("node {node:?} is not allowed to set the following labels: {refused}"))
}

fn changed(node: &str, old: &Value, new: &Value) -> Result<(), String> {
    if config_source(new).is_some() && !same(config_source(old), config_source(new)) {
        return Err(format!(
            "node {node:?} is not allowed to update configSource to a new non-nil configSource"
        ));
    }
    let differs = |at: &str| !same(old.pointer(at), new.pointer(at));
    if differs("/spec/taints") {
        return Err(format!("node {node:?} is not allowed to modify taints"));
    }
    if differs("/metadata/ownerReferences") {
        return Err(format!("node {node:?} is not allowed to modify ownerReferences"));
    }
    let (before, after) = (labels(old), labels(new));
    let changed: BTreeSet<(&str, &str)> = before.symmetric_difference(&after).copied().collect();
    let refused = forbidden_labels(&changed);
    if refused.is_empty() { Ok(()) } else { Err(format!("is not allowed to modify labels: {refused}")) }
}

/// Where the node's agent would have its configuration from: a field of the past by which a node could name what it reads.
fn config_source(node: &Value) -> Option<&Value> {
    node.pointer("/spec/configSource").filter(|source| !source.is_null())
}

fn labels(object: &Value) -> BTreeSet<(&str, &str)> {
    let labels = meta::metadata(object).and_then(|m| m.get("labels")).and_then(Value::as_object);
    labels
        .into_iter()
        .flatten()
        .map(|(key, value)| (key.as_str(), value.as_str().unwrap_or_default()))
        .collect()
}

/// Those of `labels` by which pods could be drawn to a node that has no right to them.
fn forbidden_labels(labels: &BTreeSet<(&str, &str)>) -> String {
    let under = |space: &str, of: &str| space == of || space.ends_with(&format!(".{of}"));
    let forbidden = |key: &str| {
        let Some((space, _)) = key.split_once('/') else { return false };
        if under(space, "node-restriction.kubernetes.io") {
            return true;
        }
        let kubernetes = under(space, "kubernetes.io") || under(space, "k8s.io");
        kubernetes && !OWN_LABELS.contains(&key) && !OWN_PREFIXES.iter().any(|own| under(space, own))
    };
    let keys: BTreeSet<&str> = labels.iter().map(|(key, _)| *key).filter(|key| forbidden(key)).collect();
    keys.into_iter().collect::<Vec<_>>().join(", ")
}
