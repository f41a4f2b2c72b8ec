//! `ResourceQuota`.

use serde_json::json;

use super::frame::Builtin;
use crate::gvk::GroupVersion;
use crate::kind::Scope;

pub(super) fn kind() -> Builtin {
    Builtin::new(GroupVersion::new("", "v1"), "ResourceQuota", "resourcequotas", Scope::Namespaced)
        .short_names(&["quota"])
        .status(|| json!({}))
}
