//! `Service`.
//!
//! Addresses and node ports are handed out by the server; what they may be, and what becomes of them when a service
//! changes its type, is said here.

mod defaults;
mod ports;
pub(crate) mod show;
mod validate;

use serde_json::json;

use super::frame::Builtin;
use crate::gvk::GroupVersion;
use crate::kind::Scope;
use crate::meta::name;

pub(super) fn kind() -> Builtin {
    Builtin::new(GroupVersion::new("", "v1"), "Service", "services", Scope::Namespaced)
        .short_names(&["svc"])
        .in_category_all()
        .create_on_update()
        .name(name::is_dns1035_label)
        .status(|| json!({"loadBalancer": {}}))
        .default(defaults::default)
        .prepare_update(defaults::carry_over)
        .validate(|service, out| validate::validate(out, &service.get("spec")))
        .validate_change(|new, old, out| validate::change(out, &new.get("spec"), &old.get("spec")))
        .fields(&["spec.clusterIP", "spec.type"])
        .columns(show::columns())
}

#[cfg(test)]
mod tests;
