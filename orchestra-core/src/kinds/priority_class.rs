//! `PriorityClass`.

use super::frame::{Builtin, Generation};
use crate::gvk::GroupVersion;
use crate::kind::Scope;

pub(super) fn kind() -> Builtin {
    Builtin::new(
        GroupVersion::new("scheduling.k8s.io", "v1"),
        "PriorityClass",
        "priorityclasses",
        Scope::Cluster,
    )
    .short_names(&["pc"])
    .generation(Generation::Content)
}
