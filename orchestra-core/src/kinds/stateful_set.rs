//! `StatefulSet`.

use serde_json::json;

use super::frame::{Builtin, Generation};
use crate::gvk::GroupVersion;
use crate::kind::Scope;

pub(super) fn kind() -> Builtin {
    Builtin::new(GroupVersion::new("apps", "v1"), "StatefulSet", "statefulsets", Scope::Namespaced)
        .short_names(&["sts"])
        .in_category_all()
        .generation(Generation::Spec)
        .status(|| json!({"replicas": 0, "availableReplicas": 0}))
        .scale("/spec/selector")
}
