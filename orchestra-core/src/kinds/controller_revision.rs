//! `ControllerRevision`.

use super::frame::Builtin;
use crate::gvk::GroupVersion;
use crate::kind::Scope;

pub(super) fn kind() -> Builtin {
    Builtin::new(
        GroupVersion::new("apps", "v1"),
        "ControllerRevision",
        "controllerrevisions",
        Scope::Namespaced,
    )
}
