//! `ReplicationController`, whose selector is a plain map of labels.

use serde_json::{Value, json};

use super::frame::{Builtin, Fill, Generation, Object, Show, View};
use super::workload::{self, counts};
use super::{labels, replica_set};
use crate::gvk::GroupVersion;
use crate::kind::Scope;
use crate::violation::{Violation, Violations};

pub(super) fn kind() -> Builtin {
    Builtin::new(
        GroupVersion::new("", "v1"),
        "ReplicationController",
        "replicationcontrollers",
        Scope::Namespaced,
    )
    .short_names(&["rc"])
    .in_category_all()
    .generation(Generation::Spec)
    .status(|| json!({"replicas": 0}))
    .scale("/spec/selector")
    .default(default)
    .validate(|controller, out| validate(out, &controller.get("spec")))
    .validate_status(|new, _, out| replica_set::status(out, &new.get("status")))
    .fields(&["status.replicas"])
    .field_value(|controller, _| {
        Some(super::frame::cells::number(controller, "/status/replicas").to_string().into())
    })
    .columns(columns())
}

fn columns() -> Vec<Show> {
    let mut columns = replica_set::columns();
    if let Some(selector) = columns.last_mut() {
        selector.cell = |controller, _| labels::show(controller.pointer("/spec/selector")).into();
    }
    columns
}

/// The template's labels are the selector, and the controller's own, where none are given.
fn default(controller: &mut Object) {
    let spec = controller.object("spec");
    spec.fill("replicas", 1);
    workload::default_template(spec, "template");
    let held =
        spec.object("template").object("metadata").get("labels").filter(|labels| labels.is_object()).cloned();
    if let Some(held) = held {
        let unset = |object: &Object, field: &str| {
            object.get(field).and_then(Value::as_object).is_none_or(Object::is_empty)
        };
        if unset(spec, "selector") {
            spec.insert("selector".to_owned(), held.clone());
        }
        let metadata = controller.object("metadata");
        if unset(metadata, "labels") {
            metadata.insert("labels".to_owned(), held);
        }
    }
    controller.object("status").fill("replicas", 0);
}

fn validate(out: &mut Violations, spec: &View) {
    counts(out, spec, &["minReadySeconds"]);
    let selector = spec.get("selector");
    if selector.is_empty() {
        out.push(Violation::required(selector.path(), ""));
    }
    counts(out, spec, &["replicas"]);
    let template = spec.get("template");
    let held = template.get("metadata").get("labels");
    let matched = selector.entries().all(|(key, value)| {
        held.value().and_then(|labels| labels.get(key)).and_then(Value::as_str) == Some(value.text())
    });
    if !matched {
        workload::refuse_labels(out, &held);
    }
    workload::template(out, &template);
    workload::long_running(out, &template, "ReplicationController");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::frame::testing::{defaulted, said, served};

    fn controller(selector: Value) -> Value {
        let spec = json!({"containers": [{"name": "c", "image": "i"}]});
        let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": spec});
        json!({"metadata": {"name": "c", "namespace": "n"}, "spec": {"selector": selector, "template": template}})
    }

    #[test]
    fn selector_and_labels_come_from_the_template() {
        let object = defaulted(kind(), controller(json!(null)));
        assert_eq!(
            (&object["spec"]["selector"], &object["metadata"]["labels"]),
            (&json!({"a": "b"}), &json!({"a": "b"}))
        );
        assert_eq!(served(kind()).row(&object, 0)[7], "a=b");
        assert_eq!(said(kind(), object), [""; 0]);
    }

    #[test]
    fn a_selector_must_match() {
        assert_eq!(
            said(kind(), controller(json!({"a": "x"}))),
            [
                r#"spec.template.metadata.labels: Invalid value: {"a":"b"}: `selector` does not match template `labels`"#
            ]
        );
    }
}
