//! `Event`.

use super::frame::Builtin;
use crate::gvk::GroupVersion;
use crate::kind::Scope;

pub(super) fn kind() -> Builtin {
    Builtin::new(GroupVersion::new("", "v1"), "Event", "events", Scope::Namespaced)
        .short_names(&["ev"])
        .create_on_update()
}
