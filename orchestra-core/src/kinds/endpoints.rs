//! `Endpoints`.

use super::frame::Builtin;
use crate::gvk::GroupVersion;
use crate::kind::Scope;

pub(super) fn kind() -> Builtin {
    Builtin::new(GroupVersion::new("", "v1"), "Endpoints", "endpoints", Scope::Namespaced)
        .short_names(&["ep"])
        .create_on_update()
}
