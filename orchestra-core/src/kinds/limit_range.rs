//! `LimitRange`.

use super::frame::Builtin;
use crate::gvk::GroupVersion;
use crate::kind::Scope;

pub(super) fn kind() -> Builtin {
    Builtin::new(GroupVersion::new("", "v1"), "LimitRange", "limitranges", Scope::Namespaced)
        .short_names(&["limits"])
        .create_on_update()
}
