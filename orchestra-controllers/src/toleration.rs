//! Which taints a pod puts up with.

use k8s_openapi::api::core::v1::{Node, Taint, Toleration};

pub(crate) const NO_EXECUTE: &str = "NoExecute";
pub(crate) const NO_SCHEDULE: &str = "NoSchedule";

pub(crate) fn taints(node: &Node) -> &[Taint] {
    node.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default()
}

pub(crate) fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let some = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    if some(&toleration.effect).is_some_and(|effect| effect != taint.effect) {
        return false;
    }
    let exists = toleration.operator.as_deref() == Some("Exists");
    match some(&toleration.key) {
        None => exists,
        Some(key) if key != taint.key => false,
        Some(_) => exists || some(&toleration.value) == some(&taint.value),
    }
}
