//! `Job`.

use serde_json::json;

use super::frame::{Builtin, Generation};
use crate::gvk::GroupVersion;
use crate::kind::Scope;

pub(super) fn kind() -> Builtin {
    Builtin::new(GroupVersion::new("batch", "v1"), "Job", "jobs", Scope::Namespaced)
        .in_category_all()
        .generation(Generation::Spec)
        .status(|| json!({}))
}
