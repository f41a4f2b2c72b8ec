//! `NodeRestriction`: what a node writes is about itself and its pods.
//!
//! After upstream's `plugin/pkg/admission/noderestriction`.

use std::collections::BTreeSet;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use orchestra_core::certificate::Request;
use orchestra_core::gvk::GroupVersion;
use serde_json::Value;

use super::{Admission, AdmissionRequest, Operation};
use crate::auth::node::{PodReferences, node_name};
use crate::status::StatusError;
use crate::storage::meta;

const CORE: GroupVersion = GroupVersion::new("", "v1");
const MIRROR: &str = "kubernetes.io/config.mirror";
const LEASES: &str = "kube-node-lease";
/// Whose certificates make somebody a node.
const NODE_SIGNERS: [&str; 2] =
    ["kubernetes.io/kubelet-serving", "kubernetes.io/kube-apiserver-client-kubelet"];

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

#[derive(Debug)]
pub(super) struct NodeRestriction;

#[async_trait]
impl Admission for NodeRestriction {
    fn name(&self) -> &str {
        "NodeRestriction"
    }

    fn concerns(&self, request: &AdmissionRequest<'_>) -> bool {
        node_name(request.user).is_some()
    }

    async fn mutate(&self, _request: &AdmissionRequest<'_>, _object: &mut Value) -> Result<(), StatusError> {
        Ok(())
    }

    async fn validate(&self, request: &AdmissionRequest<'_>, object: &Value) -> Result<(), StatusError> {
        let Some(node) = node_name(request.user) else { return Ok(()) };
        let below = request.request.subresource.as_deref().unwrap_or_default();
        let checked = match (request.request.gv.group.as_ref(), request.request.resource.as_str(), below) {
            ("", "pods", "") => own_pod(node, request, object),
            ("", "pods", "status") => own_pod_status(node, request, object),
            ("", "pods", "eviction") => own_eviction(node, request).await?,
            ("", "pods", _) => {
                Err(format!("unexpected pod subresource {below:?}, only 'status' and 'eviction' are allowed"))
            }
            ("", "nodes", _) => own_node(node, request, object),
            ("", "persistentvolumeclaims", "status") => claim_status(node, request, object),
            ("", "serviceaccounts", "token") => return own_token(node, request, object).await,
            ("certificates.k8s.io", "certificatesigningrequests", "") => {
                own_certificate(node, request, object)
            }
            ("coordination.k8s.io", "leases", _) => own_lease(node, request),
            ("storage.k8s.io", "csinodes", _) if request.name != node => {
                Err("can only access CSINode with the same name as the requesting node".to_owned())
            }
            _ => Ok(()),
        };
        checked.map_err(|why| request.refuse(why))
    }
}

fn runs_on(pod: &Value) -> &str {
    pod.pointer("/spec/nodeName").and_then(Value::as_str).unwrap_or_default()
}

/// A node makes and removes the mirrors of pods that it runs by itself; and removes pods that have ended on it.
fn own_pod(node: &str, request: &AdmissionRequest<'_>, pod: &Value) -> Result<(), String> {
    match request.operation {
        Operation::Create => {
            let annotations = pod.pointer("/metadata/annotations");
            if annotations.and_then(|all| all.get(MIRROR)).is_none() {
                return Err(format!(
                    "pod does not have {MIRROR:?} annotation, node {node:?} can only create mirror pods"
                ));
            }
            if runs_on(pod) != node {
                return Err(format!("node {node:?} can only create pods with spec.nodeName set to itself"));
            }
            let references = PodReferences::of(pod);
            let refers = if !references.account.is_empty() {
                "a service account"
            } else if !references.secrets.is_empty() {
                "secrets"
            } else if !references.config_maps.is_empty() {
                "configmaps"
            } else if !references.claims.is_empty() {
                "persistentvolumeclaims"
            } else {
                return Ok(());
            };
            Err(format!("node {node:?} can not create pods that reference {refers}"))
        }
        Operation::Delete if runs_on(pod) == node => Ok(()),
        Operation::Delete => {
            Err(format!("node {node:?} can only delete pods with spec.nodeName set to itself"))
        }
        Operation::Update | Operation::Connect => Err(format!(
            "unexpected operation {:?}, node {node:?} can only create and delete mirror pods",
            request.operation.as_str()
        )),
    }
}

fn own_pod_status(node: &str, request: &AdmissionRequest<'_>, pod: &Value) -> Result<(), String> {
    let Some(old) = request.old else { return Ok(()) };
    if runs_on(old) != node {
        return Err(format!(
            "node {node:?} can only update pod status for pods with spec.nodeName set to itself"
        ));
    }
    if old.pointer("/metadata/labels") != pod.pointer("/metadata/labels") {
        return Err(format!("node {node:?} cannot update labels through pod status"));
    }
    Ok(())
}

async fn own_eviction(node: &str, request: &AdmissionRequest<'_>) -> Result<Result<(), String>, StatusError> {
    let pod = request.reader.get(&CORE, "pods", request.namespace, request.name).await?;
    if pod.as_ref().is_none_or(|pod| runs_on(pod) == node) {
        return Ok(Ok(()));
    }
    Ok(Err(format!("node {node} can only evict pods with spec.nodeName set to itself")))
}

fn own_node(node: &str, request: &AdmissionRequest<'_>, object: &Value) -> Result<(), String> {
    if request.name != node {
        return Err(format!("node {node:?} is not allowed to modify node {:?}", request.name));
    }
    let Some(old) = request.old else {
        let refused = forbidden_labels(&labels(object));
        if !refused.is_empty() {
            return Err(format!("node {node:?} is not allowed to set the following labels: {refused}"));
        }
        return if has_owners(object) {
            Err(format!("node {node:?} is not allowed to create/update its ownerReferences"))
        } else {
            Ok(())
        };
    };
    if request.operation == Operation::Delete {
        return Err(format!("node {node:?} is not allowed to delete its Node object"));
    }
    let list = |node: &Value| {
        node.pointer("/spec/taints").filter(|t| t.as_array().is_some_and(|t| !t.is_empty())).cloned()
    };
    if list(old) != list(object) {
        return Err(format!("node {node:?} is not allowed to modify taints"));
    }
    if old.pointer("/metadata/ownerReferences") != object.pointer("/metadata/ownerReferences") {
        return Err(format!("node {node:?} is not allowed to create/update its ownerReferences"));
    }
    let (before, after) = (labels(old), labels(object));
    let changed: BTreeSet<(&str, &str)> = before.symmetric_difference(&after).copied().collect();
    let refused = forbidden_labels(&changed);
    if refused.is_empty() {
        Ok(())
    } else {
        Err(format!("node {node:?} is not allowed to modify labels: {refused}"))
    }
}

fn has_owners(object: &Value) -> bool {
    object.pointer("/metadata/ownerReferences").and_then(Value::as_array).is_some_and(|list| !list.is_empty())
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

fn claim_status(node: &str, request: &AdmissionRequest<'_>, claim: &Value) -> Result<(), String> {
    let Some(old) = request.old else { return Ok(()) };
    let rest = |claim: &Value| {
        let mut claim = claim.clone();
        if let Some(metadata) = meta::metadata_mut(&mut claim) {
            metadata.remove("managedFields");
        }
        if let Some(map) = claim.as_object_mut() {
            map.remove("status");
        }
        claim
    };
    if rest(old) == rest(claim) {
        Ok(())
    } else {
        Err(format!(
            "node {node:?} is not allowed to update fields other than status of persistentvolumeclaims"
        ))
    }
}

fn own_lease(node: &str, request: &AdmissionRequest<'_>) -> Result<(), String> {
    if request.namespace != LEASES {
        return Err(format!("can only access leases in the {LEASES:?} system namespace"));
    }
    if request.name != node {
        return Err("can only access node lease with the same name as the requesting node".to_owned());
    }
    Ok(())
}

/// A certificate as a node is for that node. What else a request may ask for is its signer's to judge.
fn own_certificate(node: &str, request: &AdmissionRequest<'_>, object: &Value) -> Result<(), String> {
    let text = |at: &str| object.pointer(at).and_then(Value::as_str).unwrap_or_default();
    if request.operation != Operation::Create || !NODE_SIGNERS.contains(&text("/spec/signerName")) {
        return Ok(());
    }
    let pem = STANDARD.decode(text("/spec/request")).unwrap_or_default();
    let asked = Request::parse(&pem).map_err(|problem| format!("unable to parse csr: {problem}"))?;
    let own = format!("system:node:{node}");
    if asked.common_name == own {
        return Ok(());
    }
    Err(format!("can only create a node CSR with CN={own}"))
}

/// A token for a pod that the node runs, and for whom that pod said.
async fn own_token(node: &str, request: &AdmissionRequest<'_>, object: &Value) -> Result<(), StatusError> {
    let text = |at: &str| object.pointer(at).and_then(Value::as_str).unwrap_or_default();
    let (kind, name, uid) = (
        text("/spec/boundObjectRef/kind"),
        text("/spec/boundObjectRef/name"),
        text("/spec/boundObjectRef/uid"),
    );
    if kind != "Pod" || text("/spec/boundObjectRef/apiVersion") != "v1" || name.is_empty() {
        return Err(request.refuse("node requested token not bound to a pod"));
    }
    if uid.is_empty() {
        return Err(request.refuse("node requested token with a pod binding without a uid"));
    }
    let pod = request.reader.get(&CORE, "pods", request.namespace, name).await?;
    let Some(pod) = pod else {
        let pods = crate::status::GroupResource::new("", "pods");
        return Err(StatusError::not_found(&pods, name));
    };
    if meta::text(&pod, "uid") != uid {
        return Err(request.refuse(format!(
            "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have \
             been deleted and then recreated"
        )));
    }
    if runs_on(&pod) != node {
        return Err(request.refuse("node requested token bound to a pod scheduled on a different node"));
    }
    Ok(())
}
