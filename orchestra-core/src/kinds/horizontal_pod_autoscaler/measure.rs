//! Rules of what a scaler measures, after `validateMetricSpec` and its neighbours.

use crate::kinds::frame::View;
use crate::kinds::frame::check::{refuse, refuse_all, required, required_because};
use crate::kinds::meta;
use crate::kinds::pod_spec::resources;
use crate::quantity::Quantity;
use crate::violation::{Violation, Violations};

/// The types of measures and the fields that have the rest, in the order upstream looks at them.
const SOURCES: [(&str, &str); 5] = [
    ("Object", "object"),
    ("External", "external"),
    ("Pods", "pods"),
    ("Resource", "resource"),
    ("ContainerResource", "containerResource"),
];
const TYPES: [&str; 5] = ["ContainerResource", "External", "Object", "Pods", "Resource"];

/// Another object, by kind and name.
pub(super) fn reference(out: &mut Violations, reference: &View) {
    for field in ["kind", "name"] {
        let view = reference.get(field);
        if required(out, &view) {
            refuse_all(out, &view, meta::path_segment(view.text()));
        }
    }
}

/// One measure: of a known type, with the source of that type and no other.
pub(super) fn validate(out: &mut Violations, metric: &View) {
    let kind = metric.get("type");
    required_because(out, &kind, "must specify a metric source type");
    if !TYPES.contains(&kind.text()) {
        out.push(Violation::not_supported(kind.path(), kind.text(), &TYPES));
    }
    let present: Vec<&'static str> =
        SOURCES.iter().map(|(_, field)| *field).filter(|field| metric.get(field).is_set()).collect();
    if let Some(first) = present.first() {
        one(out, first, &metric.get(first));
    }
    let Some((_, wanted)) = SOURCES.iter().find(|(name, _)| *name == kind.text()) else { return };
    if !present.contains(wanted) {
        let detail = "must populate information for the given metric source";
        out.push(Violation::required(metric.get(wanted).path(), detail));
    }
    if present.len() != 1 {
        for other in present.iter().filter(|field| *field != wanted) {
            let detail = "must populate the given metric source only";
            out.push(Violation::forbidden(metric.get(other).path(), detail));
        }
    }
}

fn one(out: &mut Violations, field: &str, source: &View) {
    let goal = source.get("target");
    let (whole, average) = (goal.get("value"), goal.get("averageValue"));
    match field {
        "object" => {
            reference(out, &source.get("describedObject"));
            measured(out, &source.get("metric"));
            target(out, &goal);
            if !whole.is_set() && !average.is_set() {
                let detail = "must set either a target value or averageValue";
                out.push(Violation::required(average.path(), detail));
            }
        }
        "external" => {
            measured(out, &source.get("metric"));
            target(out, &goal);
            if !whole.is_set() && !average.is_set() {
                let detail = "must set either a target value for metric or a per-pod target";
                out.push(Violation::required(average.path(), detail));
            }
            if whole.is_set() && average.is_set() {
                let detail = "may not set both a target value for metric and a per-pod target";
                out.push(Violation::forbidden(whole.path(), detail));
            }
        }
        "pods" => {
            measured(out, &source.get("metric"));
            target(out, &goal);
            if !is_positive(&average) {
                let detail = "must specify a positive target averageValue";
                out.push(Violation::required(average.path(), detail));
            }
        }
        _ => {
            required_because(out, &source.get("name"), "must specify a resource name");
            if field == "containerResource" {
                required_because(out, &source.get("container"), "must specify a container");
            }
            target(out, &goal);
            let share = goal.get("averageUtilization");
            if !share.is_set() && !average.is_set() {
                let detail = "must set either a target raw value or a target utilization";
                out.push(Violation::required(share.path(), detail));
            }
            if share.is_set() && average.is_set() {
                let detail = "may not set both a target raw value and a target utilization";
                out.push(Violation::forbidden(average.path(), detail));
            }
        }
    }
}

fn measured(out: &mut Violations, metric: &View) {
    let name = metric.get("name");
    if required_because(out, &name, "must specify a metric name") {
        refuse_all(out, &name, meta::path_segment(name.text()));
    }
}

fn target(out: &mut Violations, target: &View) {
    let kind = target.get("type");
    required_because(out, &kind, "must specify a metric target type");
    if !matches!(kind.text(), "Utilization" | "Value" | "AverageValue") {
        out.push(Violation::invalid(
            kind.path(),
            kind.text(),
            "must be either Utilization, Value, or AverageValue",
        ));
    }
    for field in ["value", "averageValue"] {
        let amount = target.get(field);
        if amount.is_set() && !is_positive(&amount) {
            refuse(out, &amount, "must be positive");
        }
    }
    let share = target.get("averageUtilization");
    if share.int().is_some_and(|share| share < 1) {
        refuse(out, &share, "must be greater than 0");
    }
}

fn is_positive(amount: &View) -> bool {
    amount.value().and_then(resources::parse).is_some_and(|amount| amount > Quantity::ZERO)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::kind;
    use crate::kinds::frame::testing::said;

    fn scaler(metric: Value) -> Vec<String> {
        let target = json!({"kind": "Deployment", "name": "d"});
        let spec = json!({"maxReplicas": 3, "scaleTargetRef": target, "metrics": [metric]});
        said(kind(), json!({"metadata": {"name": "s", "namespace": "n"}, "spec": spec}))
    }

    #[test]
    fn a_measure_has_the_source_of_its_type() {
        let by_value = json!({"type": "AverageValue", "averageValue": "1"});
        let pods = json!({"metric": {"name": "m"}, "target": by_value});
        assert_eq!(scaler(json!({"type": "Pods", "pods": pods})), [""; 0]);
        assert_eq!(
            scaler(json!({"type": "Resource", "pods": pods})),
            [
                "spec.metrics[0].resource: Required value: must populate information for the given metric source",
            ]
        );
        assert_eq!(
            scaler(
                json!({"type": "Pods", "pods": pods, "resource": {"name": "cpu", "target": {"type": "Value"}}})
            ),
            ["spec.metrics[0].resource: Forbidden: must populate the given metric source only"]
        );
    }

    #[test]
    fn a_resource_is_aimed_at_by_share_or_by_amount() {
        let cpu = |target: Value| {
            scaler(json!({"type": "Resource", "resource": {"name": "cpu", "target": target}}))
        };
        assert_eq!(
            cpu(json!({"type": "Utilization"})),
            [
                "spec.metrics[0].resource.target.averageUtilization: Required value: must set either a target raw value or a target utilization"
            ]
        );
        assert_eq!(
            cpu(json!({"type": "Share", "averageUtilization": 0})),
            [
                r#"spec.metrics[0].resource.target.type: Invalid value: "Share": must be either Utilization, Value, or AverageValue"#,
                "spec.metrics[0].resource.target.averageUtilization: Invalid value: 0: must be greater than 0",
            ]
        );
    }
}
