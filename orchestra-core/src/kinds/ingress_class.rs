//! `IngressClass`.

use super::frame::{Builtin, Generation};
use crate::gvk::GroupVersion;
use crate::kind::Scope;

pub(super) fn kind() -> Builtin {
    Builtin::new(
        GroupVersion::new("networking.k8s.io", "v1"),
        "IngressClass",
        "ingressclasses",
        Scope::Cluster,
    )
    .generation(Generation::Spec)
}
