//! `ServiceAccount`.

use super::frame::Builtin;
use crate::gvk::GroupVersion;
use crate::kind::Scope;

pub(super) fn kind() -> Builtin {
    Builtin::new(GroupVersion::new("", "v1"), "ServiceAccount", "serviceaccounts", Scope::Namespaced)
        .short_names(&["sa"])
}
