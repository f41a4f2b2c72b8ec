//! `Role`.

use super::frame::Builtin;
use crate::gvk::GroupVersion;
use crate::kind::Scope;

pub(super) fn kind() -> Builtin {
    Builtin::new(GroupVersion::new("rbac.authorization.k8s.io", "v1"), "Role", "roles", Scope::Namespaced)
        .create_on_update()
}
