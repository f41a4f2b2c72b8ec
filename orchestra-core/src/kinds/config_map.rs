//! `ConfigMap`.

use super::frame::Builtin;
use crate::gvk::GroupVersion;
use crate::kind::Scope;

pub(super) fn kind() -> Builtin {
    Builtin::new(GroupVersion::new("", "v1"), "ConfigMap", "configmaps", Scope::Namespaced)
        .short_names(&["cm"])
}
