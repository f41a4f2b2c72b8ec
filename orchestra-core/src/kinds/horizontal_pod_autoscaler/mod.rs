//! `HorizontalPodAutoscaler`, served as `autoscaling/v2` and as `autoscaling/v1`.
//!
//! They are one set of objects. A server stores the `v2` form and translates with [`to_v2`] and [`to_v1`]: what `v1` has no
//! field for stands in annotations there.

mod behavior;
mod measure;
mod metric;
mod translate;
mod v1;

use serde_json::{Value, json};

use super::frame::cells::{self, Show, column, list, number, text};
use super::frame::check::{not_negative, refuse};
use super::frame::{Builtin, Fill, View};
use crate::gvk::GroupVersion;
use crate::kind::Scope;
use crate::violation::Violations;

pub use translate::{to_v1, to_v2};
pub(super) use v1::kind as v1_kind;

pub(super) fn kind() -> Builtin {
    let gv = GroupVersion::new("autoscaling", "v2");
    Builtin::new(gv, "HorizontalPodAutoscaler", "horizontalpodautoscalers", Scope::Namespaced)
        .short_names(&["hpa"])
        .in_category_all()
        .status(|| json!({"currentMetrics": null, "desiredReplicas": 0}))
        .default(|scaler| {
            let spec = scaler.object("spec");
            spec.fill("minReplicas", 1);
            let measured =
                spec.get("metrics").and_then(Value::as_array).is_some_and(|metrics| !metrics.is_empty());
            if !measured {
                let target = json!({"type": "Utilization", "averageUtilization": 80});
                let metric = json!({"type": "Resource", "resource": {"name": "cpu", "target": target}});
                spec.insert("metrics".to_owned(), json!([metric]));
            }
            if let Some(own) = spec.object_if("behavior") {
                behavior::default(own);
            }
            let status = scaler.object("status");
            status.fill("desiredReplicas", 0);
            status.fill("currentMetrics", Value::Null);
        })
        .validate(validate)
        .columns(columns(|scaler, _| targets(scaler).into()))
}

fn validate(scaler: &View, out: &mut Violations) {
    let spec = scaler.get("spec");
    let (least, most) = (spec.get("minReplicas"), spec.get("maxReplicas"));
    not_negative(out, &least);
    let count = most.int().unwrap_or_default();
    if count < 1 {
        refuse(out, &most, "must be greater than 0");
    } else if count < least.int().unwrap_or_default() {
        refuse(out, &most, "must be greater than or equal to `minReplicas`");
    }
    measure::reference(out, &spec.get("scaleTargetRef"));
    for metric in spec.get("metrics").items() {
        measure::validate(out, &metric);
    }
    behavior::validate(out, &spec.get("behavior"));
}

fn columns(targets: fn(&Value, i64) -> Value) -> Vec<Show> {
    vec![
        cells::name(),
        column("Reference", "string", "What it scales.", |scaler, _| {
            let (kind, name) =
                (text(scaler, "/spec/scaleTargetRef/kind"), text(scaler, "/spec/scaleTargetRef/name"));
            format!("{kind}/{name}").into()
        }),
        column("Targets", "string", "What is measured, and what is wanted.", targets),
        column("MinPods", "string", "The fewest pods.", |scaler, _| {
            match scaler.pointer("/spec/minReplicas").and_then(Value::as_i64) {
                Some(count) => count.to_string().into(),
                None => "<unset>".into(),
            }
        }),
        column("MaxPods", "string", "The most pods.", |scaler, _| number(scaler, "/spec/maxReplicas").into()),
        column("Replicas", "string", "The pods there are.", |scaler, _| {
            number(scaler, "/status/currentReplicas").into()
        }),
        cells::age(),
    ]
}

/// Utilisation of resources against its target; measures of other kinds show their target alone.
fn targets(scaler: &Value) -> String {
    let current = list(scaler, "/status/currentMetrics");
    let shown = list(scaler, "/spec/metrics").iter().enumerate().map(|(index, metric)| {
        let name = text(metric, "/resource/name");
        let wanted = number(metric, "/resource/target/averageUtilization");
        let held =
            current.get(index).and_then(|metric| metric.pointer("/resource/current/averageUtilization"));
        match (name, held.and_then(Value::as_i64)) {
            ("", _) => "<unknown>".to_owned(),
            (name, None) => format!("{name}: <unknown>/{wanted}%"),
            (name, Some(held)) => format!("{name}: {held}%/{wanted}%"),
        }
    });
    shown.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::frame::testing::{defaulted, said, served};

    #[test]
    fn a_bare_scaler_watches_the_processor() {
        let spec = json!({"maxReplicas": 3, "scaleTargetRef": {"kind": "Deployment", "name": "d"}});
        let object = defaulted(kind(), json!({"metadata": {"name": "s", "namespace": "n"}, "spec": spec}));
        assert_eq!(object["spec"]["minReplicas"], 1);
        let row = served(kind()).row(&object, 0);
        assert_eq!(
            row[1..6],
            [json!("Deployment/d"), json!("cpu: <unknown>/80%"), json!("1"), json!(3), json!(0)]
        );
        assert_eq!(said(kind(), object), [""; 0]);
        let none = json!({"metadata": {"name": "s", "namespace": "n"}});
        assert_eq!(said(kind(), none)[0], "spec.maxReplicas: Invalid value: 0: must be greater than 0");
    }
}
