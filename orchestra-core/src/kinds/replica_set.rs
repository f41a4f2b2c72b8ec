//! `ReplicaSet`.

use serde_json::json;

use super::frame::{Builtin, Generation};
use crate::gvk::GroupVersion;
use crate::kind::Scope;

pub(super) fn kind() -> Builtin {
    Builtin::new(GroupVersion::new("apps", "v1"), "ReplicaSet", "replicasets", Scope::Namespaced)
        .short_names(&["rs"])
        .in_category_all()
        .generation(Generation::Spec)
        .status(|| json!({"replicas": 0}))
        .scale("/spec/selector")
}
