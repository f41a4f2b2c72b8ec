//! `Pod`.

use serde_json::json;

use super::frame::{Builtin, Generation};
use crate::gvk::GroupVersion;
use crate::kind::Scope;

pub(super) fn kind() -> Builtin {
    Builtin::new(GroupVersion::new("", "v1"), "Pod", "pods", Scope::Namespaced)
        .short_names(&["po"])
        .in_category_all()
        .generation(Generation::Spec)
        .status(|| json!({"phase": "Pending"}))
}
