//! `NodeRestriction`: what a node writes is about itself and its pods.
//!
//! After upstream's `plugin/pkg/admission/noderestriction`. As there, an object is looked at as the node sent it, before anybody
//! else of the cluster changes it: what a webhook adds to a mirror pod is not the node's doing.

mod claim;
mod node;
mod pod;
mod references;
mod token;

use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use orchestra_core::certificate::Request;
use orchestra_core::gvk::GroupVersion;
use serde_json::{Map, Value};

use super::{Admission, AdmissionRequest, Operation};
use crate::auth::Authorizer;
use crate::auth::node::node_name;
use crate::status::{GroupResource, StatusError};

const CORE: GroupVersion = GroupVersion::new("", "v1");
const STORAGE: GroupVersion = GroupVersion::new("storage.k8s.io", "v1");
const LEASES: &str = "kube-node-lease";
/// Whose certificates make somebody a node.
const NODE_SIGNERS: [&str; 2] =
    ["kubernetes.io/kubelet-serving", "kubernetes.io/kube-apiserver-client-kubelet"];

#[derive(Debug)]
pub(super) struct NodeRestriction {
    authorizer: Arc<dyn Authorizer>,
}

impl NodeRestriction {
    pub(super) fn new(authorizer: Arc<dyn Authorizer>) -> Self {
        Self { authorizer }
    }

    async fn check(&self, request: &AdmissionRequest<'_>, object: &Value) -> Result<(), StatusError> {
        let Some(node) = node_name(request.user) else { return Ok(()) };
        let below = request.request.subresource.as_deref().unwrap_or_default();
        let about = (request.request.gv.group.as_ref(), request.request.resource.as_str(), below);
        let checked = match about {
            ("", "pods", "") if request.operation == Operation::Create => {
                return pod::made(node, request, object).await;
            }
            ("", "pods", "") => pod::removed(node, request, object),
            ("", "pods", "status") => pod::status(node, request, object),
            ("", "pods", "eviction") => return pod::evicted(node, request, object).await,
            ("", "pods", _) => {
                Err(format!("unexpected pod subresource {below:?}, only 'status' and 'eviction' are allowed"))
            }
            ("", "nodes", _) => node::own(node, request, object),
            ("", "persistentvolumeclaims", "status") => claim::status(node, request, object),
            ("", "persistentvolumeclaims", _) => Err("may only update PVC status".to_owned()),
            ("", "serviceaccounts", "token") if request.operation == Operation::Create => {
                return token::asked(node, &self.authorizer, request, object).await;
            }
            ("certificates.k8s.io", "certificatesigningrequests", _) => {
                own_certificate(node, request, object)
            }
            ("coordination.k8s.io", "leases", _) => own_lease(node, request),
            ("storage.k8s.io", "csinodes", _) if request.name != node => {
                Err("can only access CSINode with the same name as the requesting node".to_owned())
            }
            ("resource.k8s.io", "resourceslices", _) => own_slice(node, request, object),
            _ => Ok(()),
        };
        checked.map_err(|why| request.refuse(why))
    }
}

#[async_trait]
impl Admission for NodeRestriction {
    fn name(&self) -> &str {
        "NodeRestriction"
    }

    fn concerns(&self, request: &AdmissionRequest<'_>) -> bool {
        request.operation != Operation::Connect && node_name(request.user).is_some()
    }

    async fn mutate(&self, request: &AdmissionRequest<'_>, object: &mut Value) -> Result<(), StatusError> {
        self.check(request, object).await
    }

    /// Looks at removals, for which nothing is changed; the rest has been looked at.
    async fn validate(&self, request: &AdmissionRequest<'_>, object: &Value) -> Result<(), StatusError> {
        if request.operation == Operation::Delete { self.check(request, object).await } else { Ok(()) }
    }
}

/// What upstream says of what is not in its caches, which call things by one of them: `pod "p" not found`.
fn missing(group: &'static str, singular: &'static str, name: &str) -> StatusError {
    StatusError::not_found(&GroupResource::new(group, singular), name)
}

fn text<'a>(object: &'a Value, at: &str) -> &'a str {
    object.pointer(at).and_then(Value::as_str).unwrap_or_default()
}

/// Whether two values mean the same: what is empty or `null` is as good as not there.
fn same(a: Option<&Value>, b: Option<&Value>) -> bool {
    match (a.filter(|a| !is_nothing(a)), b.filter(|b| !is_nothing(b))) {
        (Some(Value::Object(a)), Some(Value::Object(b))) => {
            let has_same = |a: &Map<String, Value>, b: &Map<String, Value>| {
                a.iter().all(|(key, value)| same(Some(value), b.get(key)))
            };
            has_same(a, b) && has_same(b, a)
        }
        (Some(Value::Array(a)), Some(Value::Array(b))) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(Some(a), Some(b)))
        }
        (a, b) => a == b,
    }
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.values().all(is_nothing),
        Value::Bool(_) | Value::Number(_) => false,
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

/// Devices of its own. What it changes is looked at by the authorizer, which knows where they are already.
fn own_slice(node: &str, request: &AdmissionRequest<'_>, slice: &Value) -> Result<(), String> {
    let does = match request.operation {
        Operation::Create => "create",
        Operation::Delete => "delete",
        Operation::Update | Operation::Connect => return Ok(()),
    };
    if text(slice, "/spec/nodeName") == node {
        return Ok(());
    }
    Err(format!("can only {does} ResourceSlice with the same NodeName as the requesting node"))
}

/// A certificate as a node is for that node. What else a request may ask for is its signer's to judge.
fn own_certificate(node: &str, request: &AdmissionRequest<'_>, object: &Value) -> Result<(), String> {
    let text = |at: &str| text(object, at);
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_empty_is_the_same_as_what_is_not_there() {
        for (a, b) in [
            (json!({"a": 1, "b": {}}), json!({"a": 1})),
            (json!({"a": [{"b": null}]}), json!({"a": [{}], "c": ""})),
            (json!({"a": {"b": []}}), json!({})),
        ] {
            assert!(same(Some(&a), Some(&b)) && same(Some(&b), Some(&a)), "{a} {b}");
        }
        for (a, b) in [
            (json!({"a": false}), json!({})),
            (json!({"a": [1]}), json!({"a": [1, 1]})),
            (json!({"a": {"b": "x"}}), json!({"a": {"b": "y"}})),
            (json!({}), json!({"a": {"b": 0}})),
        ] {
            assert!(!same(Some(&a), Some(&b)) && !same(Some(&b), Some(&a)), "{a} {b}");
        }
    }
}
