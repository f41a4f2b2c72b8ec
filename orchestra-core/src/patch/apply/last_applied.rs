//! The way from kubectl's own apply to the server's.
//!
//! `kubectl apply` keeps what it applied in an annotation. A field that still has the value from there may be taken
//! over by `kubectl apply --server-side` although another manager has it: it was kubectl who set it.

use serde_json::Value;

use super::compare::compare;
use super::manager::Disputed;
use super::node::Node;
use super::typed;

/// The only manager with that right.
pub(super) const MANAGER: &str = "kubectl";

const ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Takes out of the conflicts what the annotation covers.
pub(super) fn allow(conflicts: &mut Disputed, live: &Value, root: Node<'_>) {
    let text = live.get("metadata").and_then(|m| m.get("annotations")).and_then(|a| a.get(ANNOTATION));
    let Some(text) = text.and_then(Value::as_str) else { return };
    let Ok(applied) = serde_json::from_str::<Value>(text) else { return };
    if applied.get("apiVersion") != live.get("apiVersion") {
        return;
    }
    let mut allowed = typed::fields(&applied, root);
    allowed.subtract(&compare(Some(&applied), Some(live), root).added_or_modified());
    conflicts.except(&allowed);
}
