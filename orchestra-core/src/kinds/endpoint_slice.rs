//! `EndpointSlice`.

use super::frame::{Builtin, Generation};
use crate::gvk::GroupVersion;
use crate::kind::Scope;

pub(super) fn kind() -> Builtin {
    Builtin::new(
        GroupVersion::new("discovery.k8s.io", "v1"),
        "EndpointSlice",
        "endpointslices",
        Scope::Namespaced,
    )
    .generation(Generation::Content)
}
