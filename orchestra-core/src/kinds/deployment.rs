//! `Deployment`.

use serde_json::json;

use super::frame::cells::{self, column, number};
use super::frame::check::{at_most_whole, count_or_percent, percent, refuse, required_one_of, unchanged};
use super::frame::{Builtin, Fill, Generation, Object, View};
use super::workload::{self, counts};
use crate::gvk::GroupVersion;
use crate::kind::Scope;
use crate::violation::{Violation, Violations};

pub(super) fn kind() -> Builtin {
    let mut columns = vec![
        cells::name(),
        column("Ready", "string", "How many of the wanted pods are ready.", |object, _| {
            workload::ready_of_wanted(object)
        }),
        column("Up-to-date", "string", "Pods of the latest template.", |object, _| {
            number(object, "/status/updatedReplicas").into()
        }),
        column("Available", "string", "Pods ready for long enough.", |object, _| {
            number(object, "/status/availableReplicas").into()
        }),
        cells::age(),
    ];
    columns.extend(workload::wide_columns());
    columns.push(workload::selector_column());
    Builtin::new(GroupVersion::new("apps", "v1"), "Deployment", "deployments", Scope::Namespaced)
        .short_names(&["deploy"])
        .in_category_all()
        .generation(Generation::SpecAndAnnotations)
        .status(|| json!({}))
        .scale("/spec/selector")
        .default(default)
        .prepare_status(|new, old| {
            // Labels are the user's, so a status write does not touch them.
            match old.pointer("/metadata/labels") {
                Some(labels) => new.object("metadata").insert("labels".to_owned(), labels.clone()),
                None => new.object("metadata").remove("labels"),
            };
        })
        .validate(|deployment, out| validate(out, &deployment.get("spec")))
        .validate_change(|new, old, out| {
            unchanged(out, &new.get("spec").get("selector"), &old.get("spec").get("selector"));
        })
        .validate_status(|new, old, out| status(out, &new.get("status"), &old.get("status")))
        .columns(columns)
}

fn default(deployment: &mut Object) {
    let spec = deployment.object("spec");
    spec.fill("replicas", 1);
    spec.fill("revisionHistoryLimit", 10);
    spec.fill("progressDeadlineSeconds", 600);
    let strategy = spec.object("strategy");
    strategy.fill_text("type", "RollingUpdate");
    if strategy.text("type") == "RollingUpdate" {
        let rolling = strategy.object("rollingUpdate");
        rolling.fill("maxUnavailable", "25%");
        rolling.fill("maxSurge", "25%");
    }
    workload::default_template(spec, "template");
    deployment.object("status");
}

/// After `ValidateDeploymentSpec`.
fn validate(out: &mut Violations, spec: &View) {
    counts(out, spec, &["replicas"]);
    workload::selector(out, spec, "deployment");
    workload::selected(out, spec);
    let template = spec.get("template");
    workload::template(out, &template);
    workload::long_running(out, &template, "ReplicaSet");
    strategy(out, &spec.get("strategy"));
    counts(out, spec, &["minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"]);
    let deadline = spec.get("progressDeadlineSeconds");
    let settled = spec.get("minReadySeconds").int().unwrap_or_default();
    if deadline.int().is_some_and(|deadline| deadline <= settled) {
        refuse(out, &deadline, "must be greater than minReadySeconds");
    }
}

fn strategy(out: &mut Violations, strategy: &View) {
    let (kind, rolling) = (strategy.get("type"), strategy.get("rollingUpdate"));
    match kind.text() {
        "Recreate" if rolling.is_set() => out.push(Violation::forbidden(
            rolling.path(),
            "may not be specified when strategy `type` is 'Recreate'",
        )),
        "RollingUpdate" if !rolling.is_set() => {
            out.push(Violation::required(rolling.path(), "this should be defaulted and never be nil"));
        }
        "RollingUpdate" => rolling_update(out, &rolling),
        _ => required_one_of(out, &kind, &["Recreate", "RollingUpdate"]),
    }
}

fn rolling_update(out: &mut Violations, rolling: &View) {
    let (unavailable, surge) = (rolling.get("maxUnavailable"), rolling.get("maxSurge"));
    count_or_percent(out, &unavailable);
    count_or_percent(out, &surge);
    let nothing = |view: &View| view.int().or_else(|| percent(view)).unwrap_or_default() == 0;
    if nothing(&unavailable) && nothing(&surge) {
        refuse(out, &unavailable, "may not be 0 when `maxSurge` is 0");
    }
    at_most_whole(out, &unavailable);
}

/// After `ValidateDeploymentStatus`.
fn status(out: &mut Violations, status: &View, before: &View) {
    let fields = [
        "observedGeneration",
        "replicas",
        "updatedReplicas",
        "readyReplicas",
        "availableReplicas",
        "unavailableReplicas",
        "terminatingReplicas",
        "collisionCount",
    ];
    counts(out, status, &fields);
    let number = |field: &'static str| status.get(field).int().unwrap_or_default();
    let total = number("replicas");
    for field in ["updatedReplicas", "readyReplicas", "availableReplicas"] {
        if number(field) > total {
            refuse(out, &status.get(field), "cannot be greater than status.replicas");
        }
    }
    if number("availableReplicas") > number("readyReplicas") {
        refuse(out, &status.get("availableReplicas"), "cannot be greater than readyReplicas");
    }
    let (collisions, earlier) = (status.get("collisionCount"), before.get("collisionCount"));
    if earlier.int().is_some_and(|earlier| collisions.int().unwrap_or_default() < earlier) {
        refuse(out, &collisions, "cannot be decremented");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::kinds::frame::testing::{defaulted, said, said_of_change, served};

    fn deployment(change: impl FnOnce(&mut Value)) -> Value {
        let mut object = json!({
            "metadata": {"name": "d", "namespace": "n", "resourceVersion": "1"},
            "spec": {
                "selector": {"matchLabels": {"app": "a"}},
                "template": {
                    "metadata": {"labels": {"app": "a"}},
                    "spec": {"containers": [{"name": "c", "image": "i:1"}]},
                },
            },
        });
        change(&mut object["spec"]);
        object
    }

    #[test]
    fn a_bare_deployment_gets_what_upstream_gives_it() {
        let object = defaulted(kind(), deployment(|_| ()));
        let spec = &object["spec"];
        assert_eq!(spec["replicas"], 1);
        assert_eq!(spec["revisionHistoryLimit"], 10);
        assert_eq!(spec["progressDeadlineSeconds"], 600);
        assert_eq!(
            spec["strategy"],
            json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}})
        );
        // Only pods themselves get service links and requests from limits.
        assert_eq!(spec["template"]["spec"].get("enableServiceLinks"), None);
        assert_eq!(spec["template"]["spec"]["terminationGracePeriodSeconds"], 30);
        assert_eq!(said(kind(), object), [""; 0]);
    }

    #[test]
    fn bad_deployments_are_refused_with_upstreams_words() {
        type Case = (fn(&mut Value), &'static str);
        let cases: [Case; 8] = [
            (
                |spec| spec["template"]["metadata"]["labels"] = json!({"app": "x"}),
                r#"spec.template.metadata.labels: Invalid value: {"app":"x"}: `selector` does not match template `labels`"#,
            ),
            (
                |spec| spec["selector"] = json!({}),
                "spec.selector: Invalid value: {}: empty selector is invalid for deployment",
            ),
            (
                |spec| spec["replicas"] = json!(-1),
                "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
            ),
            (
                |spec| spec["template"]["spec"]["restartPolicy"] = json!("Never"),
                r#"spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always""#,
            ),
            (
                |spec| spec["strategy"] = json!({"rollingUpdate": {"maxUnavailable": 0, "maxSurge": "0%"}}),
                "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0",
            ),
            (
                |spec| spec["strategy"] = json!({"type": "Recreate", "rollingUpdate": {}}),
                "spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'",
            ),
            (
                |spec| spec["minReadySeconds"] = json!(600),
                "spec.progressDeadlineSeconds: Invalid value: 600: must be greater than minReadySeconds",
            ),
            (
                |spec| spec["template"]["spec"]["containers"][0]["image"] = json!(""),
                "spec.template.spec.containers[0].image: Required value",
            ),
        ];
        for (change, expected) in cases {
            assert_eq!(said(kind(), deployment(change)), [expected]);
        }
    }

    #[test]
    fn a_missing_selector_matches_nothing() {
        let said = said(kind(), deployment(|spec| spec["selector"] = json!(null)));
        assert_eq!(
            said,
            [
                "spec.selector: Required value",
                r#"spec.template.metadata.labels: Invalid value: {"app":"a"}: `selector` does not match template `labels`"#,
            ]
        );
    }

    #[test]
    fn a_change_of_annotations_counts_as_one_of_the_spec() {
        let kind = served(kind());
        let mut old = deployment(|_| ());
        kind.default(&mut old);
        kind.prepare_create(&mut old);
        let mut new = old.clone();
        new["metadata"]["annotations"] = json!({"a": "b"});
        kind.prepare_update(&mut new, &old);
        assert_eq!(new["metadata"]["generation"], 2);
    }

    #[test]
    fn the_selector_stays() {
        let old = defaulted(kind(), deployment(|_| ()));
        let mut new = old.clone();
        new["spec"]["selector"]["matchLabels"]["b"] = "c".into();
        new["spec"]["template"]["metadata"]["labels"]["b"] = "c".into();
        assert_eq!(
            said_of_change(kind(), &new, &old),
            [r#"spec.selector: Invalid value: {"matchLabels":{"app":"a","b":"c"}}: field is immutable"#]
        );
    }

    #[test]
    fn a_row_counts_pods() {
        let mut object = defaulted(kind(), deployment(|spec| spec["replicas"] = json!(3)));
        object["status"] = json!({"readyReplicas": 2, "updatedReplicas": 3, "availableReplicas": 1});
        object["metadata"]["creationTimestamp"] = "1970-01-01T00:00:00Z".into();
        let row = served(kind()).row(&object, 90);
        assert_eq!(row, json!(["d", "2/3", 3, 1, "90s", "c", "i:1", "app=a"]).as_array().unwrap().clone());
    }
}
