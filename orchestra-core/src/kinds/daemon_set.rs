//! `DaemonSet`.

use serde_json::json;

use super::frame::{Builtin, Generation};
use crate::gvk::GroupVersion;
use crate::kind::Scope;

pub(super) fn kind() -> Builtin {
    Builtin::new(GroupVersion::new("apps", "v1"), "DaemonSet", "daemonsets", Scope::Namespaced)
        .short_names(&["ds"])
        .in_category_all()
        .generation(Generation::Spec)
        .status(|| json!({}))
}
