//! `ReplicaSet`, and the rules it shares with its elder, `ReplicationController`.

use serde_json::json;

use super::frame::cells::{self, Show, number};
use super::frame::check::{refuse, unchanged};
use super::frame::{Builtin, Fill, Generation, Object, View};
use super::workload::{self, count, counts};
use crate::gvk::GroupVersion;
use crate::kind::Scope;
use crate::violation::Violations;

pub(super) fn kind() -> Builtin {
    Builtin::new(GroupVersion::new("apps", "v1"), "ReplicaSet", "replicasets", Scope::Namespaced)
        .short_names(&["rs"])
        .in_category_all()
        .generation(Generation::Spec)
        .status(|| json!({"replicas": 0}))
        .scale("/spec/selector")
        .default(default)
        .validate(|set, out| validate(out, &set.get("spec")))
        .validate_change(|new, old, out| {
            unchanged(out, &new.get("spec").get("selector"), &old.get("spec").get("selector"));
        })
        .validate_status(|new, _, out| status(out, &new.get("status")))
        .fields(&["status.replicas"])
        .field_value(|set, _| {
            // A count is a number even when nobody has counted.
            Some(number(set, "/status/replicas").to_string().into())
        })
        .columns(columns())
}

fn default(set: &mut Object) {
    let spec = set.object("spec");
    spec.fill("replicas", 1);
    workload::default_template(spec, "template");
    set.object("status").fill("replicas", 0);
}

fn validate(out: &mut Violations, spec: &View) {
    counts(out, spec, &["replicas", "minReadySeconds"]);
    workload::selector(out, spec, "deployment");
    workload::selected(out, spec);
    let template = spec.get("template");
    workload::template(out, &template);
    workload::long_running(out, &template, "ReplicaSet");
}

/// After `ValidateReplicaSetStatus`.
pub(crate) fn status(out: &mut Violations, status: &View) {
    let parts = ["fullyLabeledReplicas", "readyReplicas", "availableReplicas"];
    counts(
        out,
        status,
        &["replicas", parts[0], parts[1], parts[2], "observedGeneration", "terminatingReplicas"],
    );
    let number = |field: &'static str| status.get(field).int().unwrap_or_default();
    for field in parts {
        if number(field) > number("replicas") {
            refuse(out, &status.get(field), "cannot be greater than status.replicas");
        }
    }
    if number("availableReplicas") > number("readyReplicas") {
        refuse(out, &status.get("availableReplicas"), "cannot be greater than readyReplicas");
    }
}

/// The columns of both kinds.
pub(crate) fn columns() -> Vec<Show> {
    let mut columns = vec![
        cells::name(),
        count("Desired", "Pods wanted.", |object, _| number(object, "/spec/replicas").into()),
        count("Current", "Pods made.", |object, _| number(object, "/status/replicas").into()),
        count("Ready", "Pods ready.", |object, _| number(object, "/status/readyReplicas").into()),
        cells::age(),
    ];
    columns.extend(workload::wide_columns());
    columns.push(workload::selector_column());
    columns
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::frame::testing::{defaulted, said, served};

    #[test]
    fn replicas_default_to_one_and_are_counted_from_none() {
        let spec = json!({
            "selector": {"matchLabels": {"a": "b"}},
            "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
        });
        let object = json!({"metadata": {"name": "s", "namespace": "n"}, "spec": spec});
        let object = defaulted(kind(), object);
        assert_eq!((&object["spec"]["replicas"], &object["status"]), (&json!(1), &json!({"replicas": 0})));
        assert_eq!(served(kind()).row(&object, 0)[1..4], [json!(1), json!(0), json!(0)]);
        assert_eq!(served(kind()).field_value(&object, "status.replicas"), "0");
        assert_eq!(said(kind(), object), [""; 0]);
    }

    #[test]
    fn more_ready_than_there_are_is_refused() {
        let old = json!({"metadata": {"name": "s", "namespace": "n", "resourceVersion": "1"}});
        let mut new = old.clone();
        new["status"] = json!({"replicas": 1, "readyReplicas": 2});
        let found = served(kind()).validate_status_update(&new, &old);
        assert_eq!(
            found[0].to_string(),
            "status.readyReplicas: Invalid value: 2: cannot be greater than status.replicas"
        );
    }
}
