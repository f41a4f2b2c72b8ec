//! What may be asked for: minima, maxima, and how far a limit may be above its request.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{LimitRangeItem, LimitRangeSpec};
use k8s_openapi::apimachinery::pkg::api::resource;
use orchestra_core::quantity::Quantity;
use serde_json::Value;

type Amounts = BTreeMap<String, Quantity>;

/// What somebody asks for.
#[derive(Clone, Debug, Default)]
struct Asked {
    requests: Amounts,
    limits: Amounts,
}

impl Asked {
    fn of(resources: Option<&Value>) -> Self {
        let list = |field| amounts(resources.and_then(|resources| resources.get(field)));
        Self { requests: list("requests"), limits: list("limits") }
    }

    fn combine(&mut self, other: &Self, with: impl Fn(&mut Amounts, &Amounts)) {
        with(&mut self.requests, &other.requests);
        with(&mut self.limits, &other.limits);
    }
}

/// What is wrong with a pod, as upstream words it.
pub(super) fn of_pod(range: &LimitRangeSpec, pod: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    for item in &range.limits {
        match item.type_.as_str() {
            "Container" => {
                for container in list(pod, "containers").chain(list(pod, "initContainers")) {
                    check(item, &Asked::of(container.get("resources")), &mut wrong);
                }
            }
            "Pod" => check(item, &total(pod), &mut wrong),
            _ => {}
        }
    }
    distinct(wrong)
}

/// What is wrong with a claim; only what it requests counts.
pub(super) fn of_claim(range: &LimitRangeSpec, claim: &Value) -> Vec<String> {
    let mut asked = Asked::of(claim.pointer("/spec/resources"));
    asked.limits.clear();
    let mut wrong = Vec::new();
    for item in range.limits.iter().filter(|item| item.type_ == "PersistentVolumeClaim") {
        for (name, least) in bounds(item.min.as_ref()) {
            wrong.extend(below(&item.type_, &name, least, &asked));
        }
        for (name, most) in bounds(item.max.as_ref()) {
            let what = format!("maximum {name} usage per {} is {most}", item.type_);
            match asked.requests.get(&name) {
                None => wrong.push(format!("{what}.  No request is specified")),
                Some(request) if *request > most => wrong.push(format!("{what}, but request is {request}")),
                Some(_) => {}
            }
        }
    }
    distinct(wrong)
}

fn distinct(wrong: Vec<String>) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    for one in wrong {
        if !out.contains(&one) {
            out.push(one);
        }
    }
    out
}

fn list<'a>(pod: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> {
    pod.get("spec").and_then(|spec| spec.get(field)).and_then(Value::as_array).into_iter().flatten()
}

/// Containers and sidecars together, or the most that the pod's beginning needs; what the pod as a whole asks for
/// instead, where it does. What it costs to run the pod is not counted.
fn total(pod: &Value) -> Asked {
    let mut all = Asked::default();
    for container in list(pod, "containers") {
        all.combine(&Asked::of(container.get("resources")), add);
    }
    let (mut sidecars, mut peak) = (Asked::default(), Asked::default());
    for container in list(pod, "initContainers") {
        let own = Asked::of(container.get("resources"));
        let mut step = sidecars.clone();
        step.combine(&own, add);
        if container.get("restartPolicy").and_then(Value::as_str) == Some("Always") {
            all.combine(&own, add);
            sidecars = step.clone();
        }
        peak.combine(&step, raise);
    }
    all.combine(&peak, raise);
    let whole = Asked::of(pod.pointer("/spec/resources"));
    all.requests.extend(whole.requests);
    all.limits.extend(whole.limits);
    all
}

fn add(sum: &mut Amounts, more: &Amounts) {
    for (name, amount) in more {
        match sum.get_mut(name) {
            Some(held) => *held += *amount,
            None => {
                sum.insert(name.clone(), *amount);
            }
        }
    }
}

fn raise(held: &mut Amounts, least: &Amounts) {
    for (name, amount) in least {
        let held = held.entry(name.clone()).or_insert(*amount);
        if *amount > *held {
            *held = *amount;
        }
    }
}

/// Amounts of an object; what cannot be read is refused by its kind.
fn amounts(list: Option<&Value>) -> Amounts {
    let list = list.and_then(Value::as_object).into_iter().flatten();
    list.filter_map(|(name, amount)| Some((name.clone(), Quantity::from_json(amount)?.ok()?))).collect()
}

fn bounds(list: Option<&BTreeMap<String, resource::Quantity>>) -> Vec<(String, Quantity)> {
    let list = list.into_iter().flatten();
    list.filter_map(|(name, amount)| Some((name.clone(), Quantity::try_from(amount).ok()?))).collect()
}

fn check(item: &LimitRangeItem, asked: &Asked, wrong: &mut Vec<String>) {
    for (name, least) in bounds(item.min.as_ref()) {
        wrong.extend(below(&item.type_, &name, least, asked));
    }
    for (name, most) in bounds(item.max.as_ref()) {
        wrong.extend(above(&item.type_, &name, most, asked));
    }
    for (name, ratio) in bounds(item.max_limit_request_ratio.as_ref()) {
        wrong.extend(apart(&item.type_, &name, ratio, asked));
    }
}

fn below(kind: &str, name: &str, least: Quantity, asked: &Asked) -> Option<String> {
    let what = format!("minimum {name} usage per {kind} is {least}");
    let Some(request) = asked.requests.get(name) else {
        return Some(format!("{what}.  No request is specified"));
    };
    if *request < least {
        return Some(format!("{what}, but request is {request}"));
    }
    let limit = asked.limits.get(name).filter(|limit| **limit < least)?;
    Some(format!("{what}, but limit is {limit}"))
}

fn above(kind: &str, name: &str, most: Quantity, asked: &Asked) -> Option<String> {
    let what = format!("maximum {name} usage per {kind} is {most}");
    let Some(limit) = asked.limits.get(name) else {
        return Some(format!("{what}.  No limit is specified"));
    };
    if *limit > most {
        return Some(format!("{what}, but limit is {limit}"));
    }
    let request = asked.requests.get(name).filter(|request| **request > most)?;
    Some(format!("{what}, but request is {request}"))
}

#[allow(clippy::cast_precision_loss, reason = "upstream compares and shows the ratio as a float")]
fn apart(kind: &str, name: &str, most: Quantity, asked: &Asked) -> Option<String> {
    let what = format!("{name} max limit to request ratio per {kind} is {most}");
    let some = |list: &Amounts| list.get(name).copied().filter(|amount| !amount.is_zero());
    let Some(request) = some(&asked.requests) else {
        return Some(format!("{what}, but no request is specified or request is 0"));
    };
    let Some(limit) = some(&asked.limits) else {
        return Some(format!("{what}, but no limit is specified or limit is 0"));
    };
    let ratio = limit.milli_value() as f64 / request.milli_value() as f64;
    (ratio * 1000.0 > most.milli_value() as f64).then(|| format!("{what}, but provided ratio is {ratio:.6}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn range(item: Value) -> LimitRangeSpec {
        serde_json::from_value(json!({"limits": [item]})).unwrap()
    }

    fn pod(resources: Value) -> Value {
        json!({"spec": {"containers": [{"name": "c", "resources": resources}]}})
    }

    #[test]
    fn each_bound_is_refused_in_upstreams_words() {
        let item = json!({"type": "Container", "min": {"cpu": "100m"}, "max": {"cpu": "1"}, "maxLimitRequestRatio": {"cpu": "2"}});
        let range = range(item);
        let said = |resources| of_pod(&range, &pod(resources));
        assert_eq!(
            said(json!({})),
            [
                "minimum cpu usage per Container is 100m.  No request is specified",
                "maximum cpu usage per Container is 1.  No limit is specified",
                "cpu max limit to request ratio per Container is 2, but no request is specified or request is 0",
            ]
        );
        assert_eq!(
            said(json!({"requests": {"cpu": "50m"}, "limits": {"cpu": "2000m"}})),
            [
                "minimum cpu usage per Container is 100m, but request is 50m",
                "maximum cpu usage per Container is 1, but limit is 2",
                "cpu max limit to request ratio per Container is 2, but provided ratio is 40.000000",
            ]
        );
        assert!(said(json!({"requests": {"cpu": "0.5"}, "limits": {"cpu": "1"}})).is_empty());
    }

    #[test]
    fn a_pod_is_its_containers_together_or_its_beginning() {
        let range = range(json!({"type": "Pod", "max": {"memory": "1Gi"}}));
        let container = |memory: &str| json!({"name": "c", "resources": {"limits": {"memory": memory}}});
        let said = |init: &str, each: &str| {
            let pod = json!({"spec": {"containers": [container(each), container(each)], "initContainers": [container(init)]}});
            of_pod(&range, &pod)
        };
        assert!(said("1Gi", "512Mi").is_empty());
        assert_eq!(said("1Mi", "600Mi"), ["maximum memory usage per Pod is 1Gi, but limit is 1200Mi"]);
        assert_eq!(said("2Gi", "1Mi"), ["maximum memory usage per Pod is 1Gi, but limit is 2Gi"]);
    }

    #[test]
    fn of_a_claim_only_the_request_counts() {
        let range = range(
            json!({"type": "PersistentVolumeClaim", "min": {"storage": "1Gi"}, "max": {"storage": "2Gi"}}),
        );
        let said =
            |asked: &str| of_claim(&range, &json!({"spec": {"resources": {"requests": {"storage": asked}}}}));
        assert!(said("1Gi").is_empty());
        assert_eq!(
            said("500Mi"),
            ["minimum storage usage per PersistentVolumeClaim is 1Gi, but request is 500Mi"]
        );
        assert_eq!(
            said("3Gi"),
            ["maximum storage usage per PersistentVolumeClaim is 2Gi, but request is 3Gi"]
        );
    }
}
