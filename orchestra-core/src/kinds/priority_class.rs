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
    .generation(Generation::First)
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kinds::frame::testing::{defaulted, said, said_of_change, served};

    #[test]
    fn users_stay_below_the_system() {
        let class = |name: &str, value: i64| json!({"metadata": {"name": name, "resourceVersion": "1"}, "value": value});
        let high = defaulted(kind(), class("high", HIGHEST));
        assert_eq!(high["preemptionPolicy"], "PreemptLowerPriority");
        assert_eq!(said(kind(), high.clone()), [""; 0]);
        assert_eq!(
            said(kind(), class("higher", HIGHEST + 1)),
            ["value: Forbidden: maximum allowed value of a user defined priority is 1000000000"]
        );
        assert_eq!(said(kind(), class("system-node-critical", 2_000_001_000)), [""; 0]);
        let row = served(kind()).row(&high, 0);
        assert_eq!(row[1..3], [json!(HIGHEST), json!(false)]);
        let lower = defaulted(kind(), class("high", 1));
        assert_eq!(
            said_of_change(kind(), &lower, &high),
            ["value: Forbidden: may not be changed in an update."]
        );
    }
}
