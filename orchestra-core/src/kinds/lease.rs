//! `Lease`.

use super::frame::Builtin;
use crate::gvk::GroupVersion;
use crate::kind::Scope;

pub(super) fn kind() -> Builtin {
    Builtin::new(GroupVersion::new("coordination.k8s.io", "v1"), "Lease", "leases", Scope::Namespaced)
        .create_on_update()
        .conditional_update()
}
