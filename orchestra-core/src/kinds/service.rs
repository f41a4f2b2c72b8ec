//! `Service`.

use serde_json::json;

use super::frame::Builtin;
use crate::gvk::GroupVersion;
use crate::kind::Scope;

pub(super) fn kind() -> Builtin {
    Builtin::new(GroupVersion::new("", "v1"), "Service", "services", Scope::Namespaced)
        .short_names(&["svc"])
        .in_category_all()
        .create_on_update()
        .status(|| json!({"loadBalancer": {}}))
}
