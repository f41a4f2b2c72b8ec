//! `ReplicationController`.

use serde_json::json;

use super::frame::{Builtin, Generation};
use crate::gvk::GroupVersion;
use crate::kind::Scope;

pub(super) fn kind() -> Builtin {
    Builtin::new(
        GroupVersion::new("", "v1"),
        "ReplicationController",
        "replicationcontrollers",
        Scope::Namespaced,
    )
    .short_names(&["rc"])
    .in_category_all()
    .generation(Generation::Spec)
    .status(|| json!({"replicas": 0}))
    .scale("/spec/selector")
}
