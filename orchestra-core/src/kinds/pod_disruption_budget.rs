//! `PodDisruptionBudget`.

use serde_json::json;

use super::frame::{Builtin, Generation};
use crate::gvk::GroupVersion;
use crate::kind::Scope;

pub(super) fn kind() -> Builtin {
    Builtin::new(
        GroupVersion::new("policy", "v1"),
        "PodDisruptionBudget",
        "poddisruptionbudgets",
        Scope::Namespaced,
    )
    .short_names(&["pdb"])
    .generation(Generation::Spec)
    .conditional_update()
    .status(|| json!({}))
}
