//! `Namespace`.

use serde_json::json;

use super::frame::Builtin;
use crate::gvk::GroupVersion;
use crate::kind::Scope;

pub(super) fn kind() -> Builtin {
    Builtin::new(GroupVersion::new("", "v1"), "Namespace", "namespaces", Scope::Cluster)
        .short_names(&["ns"])
        .no_delete_collection()
        .status(|| json!({"phase": "Active"}))
}
