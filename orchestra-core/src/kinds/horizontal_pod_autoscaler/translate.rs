//! Between the two forms: what `v1` has no field for is kept in annotations, in the words of upstream's conversion.

use serde_json::{Map, Value, json};

use super::metric::{self, Sense, is_processor};
use crate::kinds::frame::Fill;

type Object = Map<String, Value>;

/// Measures beside the processor's utilisation.
pub(super) const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
/// How the measures stand.
pub(super) const CURRENT_METRICS: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
/// The conditions of the status.
pub(super) const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";
/// How fast it scales.
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";
const ALL: [&str; 4] = [METRICS, CURRENT_METRICS, CONDITIONS, BEHAVIOR];

/// The one target that `v1` has a field for, and how it stands.
const TARGET: &str = "targetCPUUtilizationPercentage";
const CURRENT: &str = "currentCPUUtilizationPercentage";
/// What is wanted where nothing is said.
const USUAL: i64 = 80;

/// An object of `autoscaling/v1` in the form of `autoscaling/v2`.
pub fn to_v2(mut scaler: Value) -> Value {
    let Some(object) = scaler.as_object_mut() else { return scaler };
    let told = take_annotations(object);
    // What cannot be read is as good as not there.
    let read = |name: &str| {
        let (_, text) = told.iter().find(|(told, _)| *told == name)?;
        serde_json::from_str::<Value>(text).ok()
    };
    let list = |name: &str| read(name).and_then(|value| value.as_array().cloned());
    let spec = object.object("spec");
    let mut metrics = Vec::new();
    if let Some(percent) = spec.remove(TARGET).filter(|value| !value.is_null()) {
        metrics.push(processor(percent));
    }
    metrics.extend(list(METRICS).iter().flatten().map(|metric| metric::to_v2(metric, Sense::Wanted)));
    if metrics.is_empty() {
        metrics.push(processor(USUAL.into()));
    }
    spec.insert("metrics".to_owned(), metrics.into());
    if let Some(behavior) = read(BEHAVIOR).filter(Value::is_object) {
        spec.insert("behavior".to_owned(), renamed(&behavior, str::to_ascii_lowercase));
    }
    if let Some(status) = object.object_if("status") {
        let percent = status.remove(CURRENT).filter(|value| !value.is_null());
        let seen = percent.map(|percent| {
            let current = json!({"averageUtilization": percent, "averageValue": "0"});
            vec![json!({"type": "Resource", "resource": {"name": "cpu", "current": current}})]
        });
        let told = list(CURRENT_METRICS);
        let told = told.map(|list| list.iter().map(|metric| metric::to_v2(metric, Sense::Seen)).collect());
        status.insert("currentMetrics".to_owned(), told.or(seen).map_or(Value::Null, Value::from));
        if let Some(conditions) = list(CONDITIONS) {
            status.insert("conditions".to_owned(), conditions.into());
        }
    }
    say_version(object, "autoscaling/v2");
    scaler
}

/// An object of `autoscaling/v2` in the form of `autoscaling/v1`.
pub fn to_v1(mut scaler: Value) -> Value {
    let Some(object) = scaler.as_object_mut() else { return scaler };
    take_annotations(object);
    let mut told = Object::new();
    let mut tell = |name: &str, value: &Value| told.insert(name.to_owned(), value.to_string().into());
    let spec = object.object("spec");
    let metrics = taken(spec, "metrics");
    let utilization = |metric: &Value| {
        let percent = metric.pointer("/resource/target/averageUtilization").filter(|v| !v.is_null());
        percent.filter(|_| is_processor(metric)).cloned()
    };
    if let Some(percent) = metrics.iter().find(|metric| is_processor(metric)).and_then(utilization) {
        spec.insert(TARGET.to_owned(), percent);
    }
    let others = metrics.iter().filter(|metric| utilization(metric).is_none());
    let others: Vec<Value> = others.map(|metric| metric::to_v1(metric, Sense::Wanted)).collect();
    if !others.is_empty() {
        tell(METRICS, &others.into());
    }
    if let Some(behavior) = spec.remove("behavior").filter(Value::is_object) {
        tell(BEHAVIOR, &renamed(&behavior, str::to_ascii_uppercase));
    }
    if let Some(status) = object.object_if("status") {
        let seen = taken(status, "currentMetrics");
        let percent = |metric: &&Value| {
            metric.pointer("/resource/current/averageUtilization").filter(|v| !v.is_null()).cloned()
        };
        if let Some(percent) = seen.iter().filter(|metric| is_processor(metric)).find_map(|m| percent(&m)) {
            status.insert(CURRENT.to_owned(), percent);
        }
        if !seen.is_empty() {
            let seen: Vec<Value> = seen.iter().map(|metric| metric::to_v1(metric, Sense::Seen)).collect();
            tell(CURRENT_METRICS, &seen.into());
        }
        let conditions = taken(status, "conditions");
        if !conditions.is_empty() {
            tell(CONDITIONS, &conditions.into());
        }
    }
    if !told.is_empty() {
        object.object("metadata").object("annotations").append(&mut told);
    }
    say_version(object, "autoscaling/v1");
    scaler
}

fn processor(percent: Value) -> Value {
    let target = json!({"type": "Utilization", "averageUtilization": percent});
    json!({"type": "Resource", "resource": {"name": "cpu", "target": target}})
}

fn taken(holder: &mut Object, list: &str) -> Vec<Value> {
    match holder.remove(list) {
        Some(Value::Array(list)) => list,
        _ => Vec::new(),
    }
}

/// Takes away what only stands for fields.
fn take_annotations(object: &mut Object) -> Vec<(&'static str, String)> {
    let Some(metadata) = object.object_if("metadata") else { return Vec::new() };
    let Some(annotations) = metadata.object_if("annotations") else { return Vec::new() };
    let told = ALL.into_iter().filter_map(|name| {
        let value = annotations.remove(name)?;
        Some((name, value.as_str().unwrap_or_default().to_owned()))
    });
    let told: Vec<_> = told.collect();
    if annotations.is_empty() {
        metadata.remove("annotations");
    }
    told
}

/// The rules of scaling are written by upstream with the names that its program has for them, which begin with capitals.
fn renamed(value: &Value, first: fn(&str) -> String) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.iter().filter(|(_, value)| !value.is_null()).map(|(name, value)| {
                let head = name.chars().next().map_or(0, char::len_utf8);
                let (head, rest) = name.split_at(head);
                (first(head) + rest, renamed(value, first))
            });
            Value::Object(fields.collect())
        }
        Value::Array(items) => items.iter().map(|item| renamed(item, first)).collect(),
        plain => plain.clone(),
    }
}

fn say_version(object: &mut Object, version: &str) {
    if object.contains_key("apiVersion") {
        object.insert("apiVersion".to_owned(), version.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rich() -> Value {
        json!({
            "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "s", "annotations": {"mine": "1"}},
            "spec": {
                "maxReplicas": 3,
                "metrics": [
                    {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}},
                    {"type": "Resource", "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": "1Gi"}}},
                    {"type": "Pods", "pods": {"metric": {"name": "m", "selector": {"matchLabels": {"a": "b"}}},
                        "target": {"type": "AverageValue", "averageValue": "5"}}},
                    {"type": "Object", "object": {"describedObject": {"kind": "Service", "name": "s"}, "metric": {"name": "o"},
                        "target": {"type": "Value", "value": "10"}}},
                    {"type": "External", "external": {"metric": {"name": "e"}, "target": {"type": "AverageValue", "averageValue": "7"}}},
                    {"type": "ContainerResource", "containerResource": {"name": "cpu", "container": "c",
                        "target": {"type": "Utilization", "averageUtilization": 20}}},
                ],
                "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0, "selectPolicy": "Max",
                    "policies": [{"type": "Pods", "value": 1, "periodSeconds": 15}]}},
            },
            "status": {
                "currentReplicas": 1, "desiredReplicas": 2,
                "currentMetrics": [{"type": "Resource", "resource": {"name": "cpu",
                    "current": {"averageUtilization": 9, "averageValue": "4m"}}}],
                "conditions": [{"type": "AbleToScale", "status": "True", "reason": "R"}],
            },
        })
    }

    #[test]
    fn what_the_old_form_has_no_field_for_goes_through_it_whole() {
        let old = to_v1(rich());
        assert_eq!(old["apiVersion"], "autoscaling/v1");
        assert_eq!(old["spec"], json!({"maxReplicas": 3, "targetCPUUtilizationPercentage": 50}));
        assert_eq!(
            old["status"],
            json!({"currentReplicas": 1, "desiredReplicas": 2, "currentCPUUtilizationPercentage": 9})
        );
        let annotations = &old["metadata"]["annotations"];
        let told = |name: &str| serde_json::from_str::<Value>(annotations[name].as_str().unwrap()).unwrap();
        assert_eq!(
            told(METRICS)[0],
            json!({"type": "Resource", "resource": {"name": "memory", "targetAverageValue": "1Gi"}})
        );
        assert_eq!(
            told(METRICS)[2]["object"],
            json!({"target": {"kind": "Service", "name": "s"}, "metricName": "o", "targetValue": "10"})
        );
        assert_eq!(
            told(CURRENT_METRICS),
            json!([{"type": "Resource", "resource": {"name": "cpu", "currentAverageUtilization": 9, "currentAverageValue": "4m"}}])
        );
        assert_eq!(
            told(BEHAVIOR)["ScaleDown"]["Policies"][0],
            json!({"Type": "Pods", "Value": 1, "PeriodSeconds": 15})
        );
        assert_eq!(annotations["mine"], "1");
        assert_eq!(to_v2(old), rich());
    }

    #[test]
    fn a_scaler_of_the_old_form_keeps_its_target_and_gets_the_usual_one() {
        let spec = |scaler: &Value| to_v2(scaler.clone())["spec"]["metrics"].clone();
        let wanted = json!({"spec": {"maxReplicas": 1, "targetCPUUtilizationPercentage": 30}});
        assert_eq!(spec(&wanted)[0]["resource"]["target"]["averageUtilization"], 30);
        assert_eq!(to_v1(to_v2(wanted.clone())), wanted);
        assert_eq!(spec(&json!({"spec": {}}))[0]["resource"]["target"]["averageUtilization"], 80);
        // What nobody can read does no harm.
        let broken =
            json!({"metadata": {"annotations": {METRICS: "[", CONDITIONS: "1", BEHAVIOR: "[]"}}, "spec": {}});
        assert_eq!(spec(&broken).as_array().unwrap().len(), 1);
    }
}
