//! Pods: a node shows those that it runs by itself, says what becomes of those that are bound to it, and removes these.

use serde_json::Value;

use super::{CORE, missing, references, same, text};
use crate::admission::{AdmissionRequest, Operation};
use crate::status::StatusError;
use crate::storage::meta;

const MIRROR: &str = "kubernetes.io/config.mirror";

fn runs_on(pod: &Value) -> &str {
    text(pod, "/spec/nodeName")
}

/// A mirror of a pod that the node runs by itself.
pub(super) async fn made(node: &str, request: &AdmissionRequest<'_>, pod: &Value) -> Result<(), StatusError> {
    let owner = of_node(node, pod).map_err(|why| request.refuse(why))?;
    let Some(object) = request.reader.get(&CORE, "nodes", "", node).await? else {
        return Err(missing("", "node", node));
    };
    let (expected, given) = (meta::text(&object, "uid"), text(owner, "/uid"));
    if given != expected {
        return Err(request.refuse(format!("node {node} UID mismatch: expected {expected} got {given}")));
    }
    match references::of(pod) {
        Some(what) => Err(request.refuse(format!("node {node:?} can not create pods that reference {what}"))),
        None => Ok(()),
    }
}

/// The one owner of a mirror pod, which is the node.
fn of_node<'a>(node: &str, pod: &'a Value) -> Result<&'a Value, String> {
    if pod.pointer("/metadata/annotations").and_then(|all| all.get(MIRROR)).is_none() {
        return Err(format!(
            "pod does not have {MIRROR:?} annotation, node {node:?} can only create mirror pods"
        ));
    }
    if runs_on(pod) != node {
        return Err(format!("node {node:?} can only create pods with spec.nodeName set to itself"));
    }
    let owners = pod.pointer("/metadata/ownerReferences").and_then(Value::as_array);
    let owner = match owners.map(Vec::as_slice).unwrap_or_default() {
        [owner] if is_node(owner, node) => owner,
        [_, _, ..] => {
            return Err(format!(
                "node {node:?} can only create pods with a single owner reference set to itself"
            ));
        }
        _ => {
            return Err(format!("node {node:?} can only create pods with an owner reference set to itself"));
        }
    };
    let is = |field: &str| owner.get(field).and_then(Value::as_bool).unwrap_or_default();
    if !is("controller") {
        return Err(format!(
            "node {node:?} can only create pods with a controller owner reference set to itself"
        ));
    }
    if is("blockOwnerDeletion") {
        return Err(format!("node {node:?} must not set blockOwnerDeletion on an owner reference"));
    }
    Ok(owner)
}

fn is_node(owner: &Value, name: &str) -> bool {
    (text(owner, "/apiVersion"), text(owner, "/kind"), text(owner, "/name")) == ("v1", "Node", name)
}

/// A pod that was bound to the node. Nothing else is done to pods as such.
pub(super) fn removed(node: &str, request: &AdmissionRequest<'_>, pod: &Value) -> Result<(), String> {
    if request.operation != Operation::Delete {
        return Err(format!(
            "unexpected operation {:?}, node {node:?} can only create and delete mirror pods",
            request.operation.as_str()
        ));
    }
    if runs_on(pod) == node {
        return Ok(());
    }
    Err(format!("node {node:?} can only delete pods with spec.nodeName set to itself"))
}

/// What becomes of a pod; which devices it is given is others' to say.
pub(super) fn status(node: &str, request: &AdmissionRequest<'_>, pod: &Value) -> Result<(), String> {
    let Some(old) = request.old else {
        return Err(format!("unexpected operation {:?}", request.operation.as_str()));
    };
    if runs_on(old) != node {
        return Err(format!(
            "node {node:?} can only update pod status for pods with spec.nodeName set to itself"
        ));
    }
    let differs = |at: &str| !same(old.pointer(at), pod.pointer(at));
    if differs("/metadata/labels") {
        return Err(format!("node {node:?} cannot update labels through pod status"));
    }
    if differs("/status/resourceClaimStatuses") {
        // Spelled as upstream does.
        return Err(format!("node {node:?} cannot update resource claim statues"));
    }
    if differs("/status/extendedResourceClaimStatus") {
        return Err(format!("node {node:?} cannot update extended resource claim status"));
    }
    Ok(())
}

/// A pod of the node that it wants gone.
pub(super) async fn evicted(
    node: &str,
    request: &AdmissionRequest<'_>,
    eviction: &Value,
) -> Result<(), StatusError> {
    let name = if request.name.is_empty() { meta::name(eviction) } else { request.name };
    match request.reader.get(&CORE, "pods", request.namespace, name).await? {
        None => Err(missing("", "pod", name)),
        Some(pod) if runs_on(&pod) == node => Ok(()),
        Some(_) => {
            Err(request.refuse(format!("node {node} can only evict pods with spec.nodeName set to itself")))
        }
    }
}
