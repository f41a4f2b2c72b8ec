//! `PodTemplate`.

use super::frame::{Builtin, Generation};
use crate::gvk::GroupVersion;
use crate::kind::Scope;

pub(super) fn kind() -> Builtin {
    Builtin::new(GroupVersion::new("", "v1"), "PodTemplate", "podtemplates", Scope::Namespaced)
        .generation(Generation::Content)
}
