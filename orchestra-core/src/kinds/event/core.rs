//! The form under `v1`.

use std::borrow::Cow;

use serde_json::Value;

use super::show;
use crate::gvk::GroupVersion;
use crate::kind::Scope;
use crate::kinds::frame::cells::text;
use crate::kinds::frame::check::refuse;
use crate::kinds::frame::{Builtin, Fill, View};
use crate::violation::Violations;

/// The namespace of events about objects that have none.
const DEFAULT_NAMESPACE: &str = "default";

pub(crate) fn kind() -> Builtin {
    Builtin::new(GroupVersion::new("", "v1"), "Event", "events", Scope::Namespaced)
        .short_names(&["ev"])
        .create_on_update()
        .default(|event| {
            event.object("involvedObject");
            event.object("source");
            event.fill("reportingComponent", "");
            event.fill("reportingInstance", "");
            for field in ["firstTimestamp", "lastTimestamp", "eventTime"] {
                event.fill(field, Value::Null);
            }
        })
        .validate(|event, out| namespaces(out, event, "involvedObject"))
        .fields(&[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ])
        .field_value(|event, field| (field == "source").then(|| source(event)))
        .columns(show::columns())
}

/// Whoever wrote the event, in the old field or the new.
fn source(event: &Value) -> Cow<'_, str> {
    match text(event, "/source/component") {
        "" => text(event, "/reportingComponent").into(),
        component => component.into(),
    }
}

/// An event lives where the object lives that it tells of.
pub(super) fn namespaces(out: &mut Violations, event: &View, about: &'static str) {
    let own = event.get("metadata").get("namespace").text();
    let place = event.get(about).get("namespace");
    let fits = match place.text() {
        "" => own.is_empty() || own == DEFAULT_NAMESPACE || own == "kube-system",
        other => other == own,
    };
    if !fits {
        refuse(out, &place, "does not match event.namespace");
    }
}
