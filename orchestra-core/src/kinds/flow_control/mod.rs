//! Priority and fairness: kinds that are served; nothing enforces them yet.

use std::collections::HashSet;

mod bootstrap;
mod flow_schema;
mod priority_level;

pub use bootstrap::objects;
pub(super) use flow_schema::kind as flow_schema;
pub(super) use priority_level::kind as priority_level;

use serde_json::Value;

use super::frame::View;
use super::frame::check::required_because;
use crate::gvk::GroupVersion;
use crate::schema::{self, ObjectType};
use crate::violation::{Violation, Violations};

const GROUP: GroupVersion = GroupVersion::new("flowcontrol.apiserver.k8s.io", "v1");

/// Conditions have types, each once.
fn conditions(out: &mut Violations, conditions: &View) {
    let mut seen = HashSet::new();
    for condition in conditions.items() {
        let kind = condition.get("type");
        if !seen.insert(kind.text()) {
            out.push(Violation::duplicate(kind.path(), kind.text()));
        }
        required_because(out, &kind, "must not be empty");
    }
}

/// An object that every cluster has must be as it was made.
fn fixed(out: &mut Violations, object: &View, kind: &str) {
    let name = object.get("metadata").get("name");
    let Some(wanted) = bootstrap::mandatory(kind, name.text()) else { return };
    let completed = |spec: Value| {
        let mut whole = serde_json::json!({ "spec": spec });
        if let Some(ty) = object_type(kind) {
            schema::complete(&mut whole, ty);
        }
        whole
    };
    let spec = object.get("spec");
    if completed(spec.json()) != completed(wanted) {
        let detail = format!("spec of '{}' must equal the fixed value", name.text());
        out.push(Violation::invalid(spec.path(), spec.json(), detail));
    }
}

fn object_type(kind: &str) -> Option<&'static ObjectType> {
    schema::of_kind(&GROUP, kind)
}
