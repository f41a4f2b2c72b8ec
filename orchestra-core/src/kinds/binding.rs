//! `Binding`: a scheduler's decision. It is no object: who makes one changes a pod.

use super::frame::Builtin;
use crate::gvk::GroupVersion;
use crate::kind::Scope;

pub(super) fn kind() -> Builtin {
    Builtin::new(GroupVersion::new("", "v1"), "Binding", "bindings", Scope::Namespaced).only(&["create"])
}
