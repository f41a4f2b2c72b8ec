//! `StorageClass`.

use super::frame::Builtin;
use crate::gvk::GroupVersion;
use crate::kind::Scope;

pub(super) fn kind() -> Builtin {
    Builtin::new(GroupVersion::new("storage.k8s.io", "v1"), "StorageClass", "storageclasses", Scope::Cluster)
        .short_names(&["sc"])
}
