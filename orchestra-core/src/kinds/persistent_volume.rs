//! `PersistentVolume`.

use serde_json::json;

use super::frame::Builtin;
use crate::gvk::GroupVersion;
use crate::kind::Scope;

pub(super) fn kind() -> Builtin {
    Builtin::new(GroupVersion::new("", "v1"), "PersistentVolume", "persistentvolumes", Scope::Cluster)
        .short_names(&["pv"])
        .status(|| json!({"phase": "Pending"}))
}
