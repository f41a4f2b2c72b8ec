//! `ComponentStatus`: how the parts of the control plane are, made when somebody asks; upstream has deprecated it for long.

use serde_json::Value;

use super::frame::Builtin;
use super::frame::cells::{self, column, list, text};
use crate::gvk::GroupVersion;
use crate::kind::Scope;

pub(super) fn kind() -> Builtin {
    let gv = GroupVersion::new("", "v1");
    Builtin::new(gv, "ComponentStatus", "componentstatuses", Scope::Cluster)
        .short_names(&["cs"])
        .only(&["get", "list"])
        .columns(vec![
            cells::name(),
            column("Status", "string", "Status of the component conditions", |component, _| {
                let health = |condition: &Value| match text(condition, "/status") {
                    "True" => "Healthy",
                    "False" => "Unhealthy",
                    _ => "Unknown",
                };
                healthy(component).map_or("Unknown", health).into()
            }),
            column("Message", "string", "Message of the component conditions", |component, _| {
                healthy(component).map_or("", |condition| text(condition, "/message")).into()
            }),
            column("Error", "string", "Error of the component conditions", |component, _| {
                healthy(component).map_or("", |condition| text(condition, "/error")).into()
            }),
        ])
}

fn healthy(component: &Value) -> Option<&Value> {
    list(component, "/conditions").iter().find(|condition| text(condition, "/type") == "Healthy")
}
