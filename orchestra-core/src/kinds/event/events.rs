//! The form under `events.k8s.io/v1`.

use serde_json::Value;

use super::{core, show};
use crate::gvk::GroupVersion;
use crate::kind::Scope;
use crate::kinds::frame::check::{refuse, refuse_all, required};
use crate::kinds::frame::{Builtin, Fill, View};
use crate::meta::name;
use crate::violation::{Violation, Violations};

/// The longest note, reason and action.
const MAX_NOTE: usize = 1024;
const MAX_REASON: usize = 128;

pub(crate) fn kind() -> Builtin {
    Builtin::new(GroupVersion::new("events.k8s.io", "v1"), "Event", "events", Scope::Namespaced)
        .short_names(&["ev"])
        .create_on_update()
        .default(|event| {
            event.object("regarding");
            event.object("deprecatedSource");
            for field in ["deprecatedFirstTimestamp", "deprecatedLastTimestamp", "eventTime"] {
                event.fill(field, Value::Null);
            }
        })
        .validate(|event, out| core::namespaces(out, event, "regarding"))
        .validate_create(validate_create)
        .fields(&[
            "regarding.kind",
            "regarding.namespace",
            "regarding.name",
            "regarding.uid",
            "regarding.apiVersion",
            "regarding.resourceVersion",
            "regarding.fieldPath",
            "reason",
            "reportingController",
            "type",
        ])
        .columns(show::columns())
}

/// What upstream asks of events of the new form only, after `ValidateEventCreate`.
fn validate_create(event: &View, out: &mut Violations) {
    let time = event.get("eventTime");
    if !time.is_set() {
        out.push(Violation::required(time.path(), ""));
    }
    let controller = event.get("reportingController");
    if required(out, &controller) {
        refuse_all(out, &controller, name::is_qualified_name(controller.text()));
    }
    for field in ["reportingInstance", "action", "reason"] {
        let view = event.get(field);
        if required(out, &view) && view.text().len() > MAX_REASON {
            refuse(out, &view, format!("can have at most {MAX_REASON} characters"));
        }
    }
    let note = event.get("note");
    if note.text().len() > MAX_NOTE {
        refuse(out, &note, format!("can have at most {MAX_NOTE} characters"));
    }
    let kind = event.get("type");
    if !matches!(kind.text(), "Normal" | "Warning") {
        out.push(Violation::invalid(kind.path(), "", format!("has invalid value: {}", kind.text())));
    }
}
