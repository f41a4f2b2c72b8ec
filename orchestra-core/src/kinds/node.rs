//! `Node`.

use serde_json::json;

use super::frame::Builtin;
use crate::gvk::GroupVersion;
use crate::kind::Scope;

pub(super) fn kind() -> Builtin {
    Builtin::new(GroupVersion::new("", "v1"), "Node", "nodes", Scope::Cluster)
        .short_names(&["no"])
        .status(|| json!({}))
}
