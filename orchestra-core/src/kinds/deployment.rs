//! `Deployment`.

use serde_json::json;

use super::frame::{Builtin, Generation};
use crate::gvk::GroupVersion;
use crate::kind::Scope;

pub(super) fn kind() -> Builtin {
    Builtin::new(GroupVersion::new("apps", "v1"), "Deployment", "deployments", Scope::Namespaced)
        .short_names(&["deploy"])
        .in_category_all()
        .generation(Generation::Spec)
        .status(|| json!({}))
        .scale("/spec/selector")
}
