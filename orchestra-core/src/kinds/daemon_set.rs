//! `DaemonSet`.

use serde_json::{Value, json};

use super::frame::cells::{self, column, number};
use super::frame::check::{at_most_whole, count_or_percent, percent, refuse, required_one_of, unchanged};
use super::frame::{Builtin, Fill, Generation, Object, View};
use super::labels;
use super::workload::{self, count, counts};
use crate::gvk::GroupVersion;
use crate::kind::Scope;
use crate::violation::{Violation, Violations};

/// Where upstream still counts changes of the template, for clients of versions long gone.
const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";
/// The numbers that a status always has.
const COUNTS: [&str; 4] =
    ["currentNumberScheduled", "numberMisscheduled", "desiredNumberScheduled", "numberReady"];

pub(super) fn kind() -> Builtin {
    let mut columns = vec![
        cells::name(),
        count("Desired", "Nodes that should run a pod.", |set, _| {
            number(set, "/status/desiredNumberScheduled").into()
        }),
        count("Current", "Nodes that run a pod.", |set, _| {
            number(set, "/status/currentNumberScheduled").into()
        }),
        count("Ready", "Nodes with a ready pod.", |set, _| number(set, "/status/numberReady").into()),
        count("Up-to-date", "Nodes with a pod of the latest template.", |set, _| {
            number(set, "/status/updatedNumberScheduled").into()
        }),
        count("Available", "Nodes with a pod ready for long enough.", |set, _| {
            number(set, "/status/numberAvailable").into()
        }),
        column("Node Selector", "string", "Which nodes are meant.", |set, _| {
            labels::show(set.pointer("/spec/template/spec/nodeSelector")).into()
        }),
        cells::age(),
    ];
    columns.extend(workload::wide_columns());
    columns.push(workload::selector_column());
    Builtin::new(GroupVersion::new("apps", "v1"), "DaemonSet", "daemonsets", Scope::Namespaced)
        .short_names(&["ds"])
        .in_category_all()
        .generation(Generation::Spec)
        .status(|| COUNTS.iter().map(|&field| (field, json!(0))).collect::<Value>())
        .default(default)
        .prepare_create(|set| count_template(set, 1))
        .prepare_update(|new, old| {
            let before = template_generation(old);
            let template = |set: Option<&Value>| set.and_then(|spec| spec.get("template")).cloned();
            let changed = template(new.get("spec")) != template(old.get("spec"));
            count_template(new, before + i64::from(changed));
        })
        .validate(|set, out| validate(out, &set.get("spec")))
        .validate_change(|new, old, out| {
            unchanged(out, &new.get("spec").get("selector"), &old.get("spec").get("selector"));
        })
        .validate_status(|new, _, out| {
            let status = new.get("status");
            counts(out, &status, &COUNTS);
            counts(
                out,
                &status,
                &["observedGeneration", "updatedNumberScheduled", "numberAvailable", "numberUnavailable"],
            );
        })
        .columns(columns)
}

fn template_generation(set: &Value) -> i64 {
    let text = set.pointer("/metadata/annotations").and_then(|all| all.get(TEMPLATE_GENERATION));
    text.and_then(Value::as_str).and_then(|text| text.parse().ok()).unwrap_or(1)
}

fn count_template(set: &mut Object, generation: i64) {
    let annotations = set.object("metadata").object("annotations");
    annotations.insert(TEMPLATE_GENERATION.to_owned(), generation.to_string().into());
}

fn default(set: &mut Object) {
    let spec = set.object("spec");
    let strategy = spec.object("updateStrategy");
    strategy.fill_text("type", "RollingUpdate");
    if strategy.text("type") == "RollingUpdate" {
        let rolling = strategy.object("rollingUpdate");
        rolling.fill("maxUnavailable", 1);
        rolling.fill("maxSurge", 0);
    }
    spec.fill("revisionHistoryLimit", 10);
    workload::default_template(spec, "template");
    let status = set.object("status");
    for field in COUNTS {
        status.fill(field, 0);
    }
}

/// After `ValidateDaemonSetSpec`.
fn validate(out: &mut Violations, spec: &View) {
    workload::selector(out, spec, "daemonset");
    workload::selected(out, spec);
    let template = spec.get("template");
    workload::template(out, &template);
    workload::long_running(out, &template, "DaemonSet");
    counts(out, spec, &["minReadySeconds"]);
    let (kind, rolling) =
        (spec.get("updateStrategy").get("type"), spec.get("updateStrategy").get("rollingUpdate"));
    match kind.text() {
        "OnDelete" => (),
        "RollingUpdate" if !rolling.is_set() => out.push(Violation::required(rolling.path(), "")),
        "RollingUpdate" => rolling_update(out, &rolling),
        _ => required_one_of(out, &kind, &["RollingUpdate", "OnDelete"]),
    }
    counts(out, spec, &["revisionHistoryLimit"]);
}

fn rolling_update(out: &mut Violations, rolling: &View) {
    let (unavailable, surge) = (rolling.get("maxUnavailable"), rolling.get("maxSurge"));
    let some = |view: &View| view.int().or_else(|| percent(view)).unwrap_or_default() != 0;
    for amount in [&unavailable, &surge] {
        count_or_percent(out, amount);
        at_most_whole(out, amount);
    }
    match (some(&unavailable), some(&surge)) {
        (true, true) => refuse(out, &surge, "may not be set when maxUnavailable is non-zero"),
        (false, false) => {
            out.push(Violation::required(unavailable.path(), "cannot be 0 when maxSurge is 0"));
        }
        _ => (),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::frame::testing::{defaulted, said, served};

    fn set() -> Value {
        json!({
            "metadata": {"name": "s", "namespace": "n", "resourceVersion": "1"},
            "spec": {
                "selector": {"matchLabels": {"app": "a"}},
                "template": {
                    "metadata": {"labels": {"app": "a"}},
                    "spec": {"containers": [{"name": "c", "image": "i:1"}]},
                },
            },
        })
    }

    #[test]
    fn a_bare_set_gets_what_upstream_gives_it() {
        let object = defaulted(kind(), set());
        assert_eq!(
            object["spec"]["updateStrategy"],
            json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}})
        );
        assert_eq!(object["status"]["numberReady"], 0);
        assert_eq!(said(kind(), object), [""; 0]);
    }

    #[test]
    fn changes_of_the_template_are_counted_apart() {
        let kind = served(kind());
        let mut old = set();
        kind.default(&mut old);
        kind.prepare_create(&mut old);
        assert_eq!(old["metadata"]["annotations"][TEMPLATE_GENERATION], "1");
        let mut new = old.clone();
        new["spec"]["minReadySeconds"] = 5.into();
        kind.prepare_update(&mut new, &old);
        assert_eq!(
            (&new["metadata"]["generation"], &new["metadata"]["annotations"][TEMPLATE_GENERATION]),
            (&json!(2), &json!("1"))
        );
        new["spec"]["template"]["spec"]["containers"][0]["image"] = "i:2".into();
        kind.prepare_update(&mut new, &old);
        assert_eq!(new["metadata"]["annotations"][TEMPLATE_GENERATION], "2");
    }

    #[test]
    fn a_rolling_update_needs_one_way_to_move() {
        let mut object = set();
        object["spec"]["updateStrategy"] = json!({"rollingUpdate": {"maxUnavailable": 0}});
        assert_eq!(
            said(kind(), object),
            [
                "spec.updateStrategy.rollingUpdate.maxUnavailable: Required value: cannot be 0 when maxSurge is 0"
            ]
        );
    }
}
