//! `Ingress`.

use serde_json::json;

use super::frame::{Builtin, Generation};
use crate::gvk::GroupVersion;
use crate::kind::Scope;

pub(super) fn kind() -> Builtin {
    Builtin::new(GroupVersion::new("networking.k8s.io", "v1"), "Ingress", "ingresses", Scope::Namespaced)
        .short_names(&["ing"])
        .generation(Generation::Spec)
        .status(|| json!({"loadBalancer": {}}))
}
