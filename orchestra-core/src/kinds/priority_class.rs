//! `PriorityClass`.

use serde_json::Value;

use super::frame::cells::{self, column, number, text};
use super::frame::check::one_of;
use super::frame::{Builtin, Fill, Generation};
use crate::gvk::GroupVersion;
use crate::kind::Scope;
use crate::violation::Violation;

/// The highest priority a user may define; what is above belongs to the system.
const HIGHEST: i64 = 1_000_000_000;
/// Names of the system's own classes begin with it.
const SYSTEM: &str = "system-";

pub(super) fn kind() -> Builtin {
    Builtin::new(
        GroupVersion::new("scheduling.k8s.io", "v1"),
        "PriorityClass",
        "priorityclasses",
        Scope::Cluster,
    )
    .short_names(&["pc"])
    .generation(Generation::Content)
    .default(|class| {
        class.fill("value", 0);
        class.fill("preemptionPolicy", "PreemptLowerPriority");
    })
    .validate(|class, out| {
        let name = class.get("metadata").get("name");
        let value = class.get("value");
        if name.text().starts_with(SYSTEM) {
            if !matches!(
                (name.text(), value.int()),
                ("system-node-critical", Some(2_000_001_000))
                    | ("system-cluster-critical", Some(2_000_000_000))
            ) {
                let detail = "priority class names with 'system-' prefix are reserved for system use only";
                out.push(Violation::forbidden(name.path(), detail));
            }
        } else if value.int().unwrap_or_default() > HIGHEST {
            let detail = format!("maximum allowed value of a user defined priority is {HIGHEST}");
            out.push(Violation::forbidden(value.path(), detail));
        }
        one_of(out, &class.get("preemptionPolicy"), &["Never", "PreemptLowerPriority"]);
    })
    .validate_change(|new, old, out| {
        for field in ["value", "preemptionPolicy"] {
            if new.get(field) != old.get(field) {
                let detail = "may not be changed in an update.";
                out.push(Violation::forbidden(new.get(field).path(), detail));
            }
        }
    })
    .columns(vec![
        cells::name(),
        column("Value", "integer", "The priority of its pods.", |class, _| number(class, "/value").into()),
        column("Global-Default", "boolean", "Whether pods without a class get it.", |class, _| {
            class.get("globalDefault").and_then(Value::as_bool).unwrap_or_default().into()
        }),
        cells::age(),
        column("PreemptionPolicy", "string", "Whether its pods push others out.", |class, _| {
            text(class, "/preemptionPolicy").into()
        }),
    ])
}
