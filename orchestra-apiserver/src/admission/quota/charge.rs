//! What an object costs a quota: the pure part.
//!
//! After upstream's `k8s.io/apiserver/pkg/admission/plugin/resourcequota` (`CheckRequest`).

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, ResourceQuotaSpec, Service};
use k8s_openapi::api::resource::v1::ResourceClaim;
use orchestra_core::quantity::Quantity;
use orchestra_core::quota::{Classes, DeviceClaim, Measure, Tracked, Usage, covers, measure, usage};
use serde::Deserialize;
use serde_json::{Map, Value};

/// Where a quota speaks of one of these, every container has to say how much of it it wants.
const DEMANDED: [&str; 6] =
    ["cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"];

#[derive(Debug)]
enum Typed {
    Pod(Box<Pod>),
    Claim(Box<PersistentVolumeClaim>),
    Service(Box<Service>),
    Devices { claim: Box<ResourceClaim>, classes: Classes, pod: Option<Box<Pod>> },
    Other(String),
}

impl Typed {
    fn read(resource: &str, object: &Value) -> serde_json::Result<Self> {
        Ok(match resource {
            "pods" => Self::Pod(Box::new(Pod::deserialize(object)?)),
            "persistentvolumeclaims" => Self::Claim(Box::new(Deserialize::deserialize(object)?)),
            "services" => Self::Service(Box::new(Service::deserialize(object)?)),
            other => Self::Other(other.to_owned()),
        })
    }

    fn tracked(&self) -> Tracked<'_> {
        match self {
            Self::Pod(pod) => Tracked::Pod(pod),
            Self::Claim(claim) => Tracked::Claim(claim),
            Self::Service(service) => Tracked::Service(service),
            Self::Devices { claim, classes, pod } => {
                Tracked::Devices(DeviceClaim { claim, classes, pod: pod.as_deref() })
            }
            Self::Other(resource) => Tracked::Other(resource),
        }
    }

    /// Whether it counts for `name`, of a quota's `hard`.
    fn counts_for(&self, name: &str) -> bool {
        let kind = match self {
            Self::Pod(_) => Measure::Pods,
            Self::Claim(_) => Measure::Claims,
            Self::Service(_) => Measure::Services,
            Self::Devices { classes, .. } => return classes.measure(name),
            Self::Other(resource) => Measure::Number(resource),
        };
        measure(name) == Some(kind)
    }
}

/// An object that comes into being or changes.
#[derive(Debug)]
pub(super) struct Subject {
    now: Typed,
    before: Option<Typed>,
    usage: Usage,
    usage_before: Usage,
    /// What it says of itself is true already: it is counted, and not refused.
    is_status: bool,
}

impl Subject {
    /// Of `resource`, `plural` or `plural.group`.
    pub(super) fn read(
        resource: &str,
        below: &str,
        object: &Value,
        old: Option<&Value>,
        at: Timestamp,
    ) -> serde_json::Result<Self> {
        let now = Typed::read(resource, object)?;
        let before = old.map(|old| Typed::read(resource, old)).transpose()?;
        let usage_now = usage(now.tracked(), at);
        let usage_before = before.as_ref().map(|before| usage(before.tracked(), at)).unwrap_or_default();
        Ok(Self { now, before, usage: usage_now, usage_before, is_status: below == "status" })
    }

    /// A claim of devices that comes into being, and the pod that is charged for them.
    pub(super) fn devices(claim: ResourceClaim, classes: Classes, pod: Option<Pod>, at: Timestamp) -> Self {
        let now = Typed::Devices { claim: Box::new(claim), classes, pod: pod.map(Box::new) };
        let usage = usage(now.tracked(), at);
        Self { now, before: None, usage, usage_before: Usage::new(), is_status: false }
    }
}

/// What becomes of a quota.
#[derive(Debug, PartialEq)]
pub(super) enum Charge {
    /// It does not speak of the object, or the object costs it nothing.
    Nothing,
    /// `status.used` is now this.
    Used(Value),
}

#[derive(Deserialize)]
struct Quota {
    metadata: Named,
    #[serde(default)]
    spec: ResourceQuotaSpec,
    #[serde(default)]
    status: Counted,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

#[derive(Default, Deserialize)]
struct Counted {
    #[serde(default)]
    hard: Option<Map<String, Value>>,
    #[serde(default)]
    used: Option<Map<String, Value>>,
}

fn amounts(list: Option<&Map<String, Value>>) -> BTreeMap<String, Quantity> {
    let list = list.into_iter().flatten();
    list.filter_map(|(name, amount)| Some((name.clone(), Quantity::from_json(amount)?.ok()?))).collect()
}

/// Weighs a subject against a quota; an error is why it does not fit.
pub(super) fn charge(quota: &Value, subject: &Subject) -> Result<Charge, String> {
    let Quota { metadata: Named { name }, spec, status } =
        Quota::deserialize(quota).map_err(|error| format!("a quota cannot be read: {error}"))?;
    let hard = amounts(status.hard.as_ref());
    let used = amounts(status.used.as_ref());
    let pertinent: BTreeSet<&str> =
        hard.keys().map(String::as_str).filter(|name| subject.now.counts_for(name)).collect();
    if pertinent.is_empty() || !covers(&spec, subject.now.tracked()) {
        return Ok(Charge::Nothing);
    }
    if let Typed::Pod(pod) = &subject.now
        && let Some(missing) = undemanded(pod, &pertinent)
    {
        return Err(format!("failed quota: {name}: must specify {missing}"));
    }
    if pertinent.iter().any(|name| !used.contains_key(*name)) {
        let names = pertinent.into_iter().collect::<Vec<_>>().join(",");
        return Err(format!("status unknown for quota: {name}, resources: {names}"));
    }
    let negative: Vec<&str> = subject
        .usage
        .iter()
        .filter(|(_, amount)| amount.is_negative())
        .map(|(name, _)| name.as_str())
        .collect();
    if !negative.is_empty() {
        return Err(format!("quota usage is negative for resource(s): {}", negative.join(",")));
    }
    let counted_before = subject.before.as_ref().is_some_and(|before| covers(&spec, before.tracked()));
    let asked =
        subject.usage.iter().filter(|(name, _)| hard.contains_key(*name)).filter_map(|(name, amount)| {
            let before = subject.usage_before.get(name).filter(|_| counted_before);
            let more = before.map_or(*amount, |before| *amount - *before);
            (!more.is_zero() && !more.is_negative()).then_some((name.as_str(), more))
        });
    let asked: BTreeMap<&str, Quantity> = asked.collect();
    if asked.is_empty() {
        return Ok(Charge::Nothing);
    }
    let mut after = used.clone();
    for (name, more) in &asked {
        match after.get_mut(*name) {
            Some(held) => *held += *more,
            None => {
                after.insert((*name).to_owned(), *more);
            }
        }
    }
    let exceeded: Vec<&str> =
        asked.keys().copied().filter(|name| after.get(*name) > hard.get(*name)).collect();
    if !exceeded.is_empty() && !subject.is_status {
        let show = |of: &dyn Fn(&str) -> Option<Quantity>| {
            let shown = exceeded.iter().filter_map(|name| Some(format!("{name}={}", of(name)?)));
            shown.collect::<Vec<_>>().join(",")
        };
        return Err(format!(
            "exceeded quota: {name}, requested: {}, used: {}, limited: {}",
            show(&|name| asked.get(name).copied()),
            show(&|name| used.get(name).copied()),
            show(&|name| hard.get(name).copied()),
        ));
    }
    let mut shown = status.used.unwrap_or_default();
    for name in asked.keys() {
        if let Some(amount) = after.get(*name) {
            shown.insert((*name).to_owned(), amount.to_string().into());
        }
    }
    Ok(Charge::Used(Value::Object(shown)))
}

/// What containers leave out that they have to say, `cpu for: a,b; memory for: b`.
fn undemanded(pod: &Pod, pertinent: &BTreeSet<&str>) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    let says = |resources: Option<&k8s_openapi::api::core::v1::ResourceRequirements>, name: &str| {
        let (list, name) = match name.split_once('.') {
            Some(("limits", name)) => (resources.and_then(|r| r.limits.as_ref()), name),
            Some((_, name)) => (resources.and_then(|r| r.requests.as_ref()), name),
            None => (resources.and_then(|r| r.requests.as_ref()), name),
        };
        list.is_some_and(|list| list.contains_key(name))
    };
    let mut missing = Vec::new();
    for name in DEMANDED.iter().filter(|name| pertinent.contains(*name)) {
        // What the pod asks for as a whole, its containers need not.
        if says(spec.resources.as_ref(), name) {
            continue;
        }
        let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
        let silent = containers.filter(|container| !says(container.resources.as_ref(), name));
        let silent: BTreeSet<&str> = silent.map(|container| container.name.as_str()).collect();
        if !silent.is_empty() {
            missing.push((*name, silent.into_iter().collect::<Vec<_>>().join(",")));
        }
    }
    missing.sort_unstable();
    let missing: Vec<String> =
        missing.into_iter().map(|(name, containers)| format!("{name} for: {containers}")).collect();
    (!missing.is_empty()).then(|| missing.join("; "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn quota(hard: Value, used: Value) -> Value {
        json!({"metadata": {"name": "q"}, "spec": {"hard": hard}, "status": {"hard": hard, "used": used}})
    }

    fn pod(resources: Value) -> Subject {
        let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "resources": resources}]}});
        Subject::read("pods", "", &pod, None, Timestamp::UNIX_EPOCH).unwrap()
    }

    #[test]
    fn what_fits_is_charged_and_what_does_not_is_named() {
        let hard = json!({"pods": "2", "requests.cpu": "1", "secrets": "1"});
        let used = json!({"pods": "1", "requests.cpu": "600m", "secrets": "0"});
        let small = pod(json!({"requests": {"cpu": "0.4"}}));
        let after = json!({"pods": "2", "requests.cpu": "1", "secrets": "0"});
        assert_eq!(charge(&quota(hard.clone(), used.clone()), &small), Ok(Charge::Used(after)));
        let large = pod(json!({"requests": {"cpu": "500m"}}));
        assert_eq!(
            charge(&quota(hard.clone(), used), &large).unwrap_err(),
            "exceeded quota: q, requested: requests.cpu=500m, used: requests.cpu=600m, limited: requests.cpu=1"
        );
        let full = json!({"pods": "2", "requests.cpu": "1", "secrets": "0"});
        assert_eq!(
            charge(&quota(hard, full), &large).unwrap_err(),
            "exceeded quota: q, requested: pods=1,requests.cpu=500m, used: pods=2,requests.cpu=1, limited: pods=2,requests.cpu=1"
        );
    }

    #[test]
    fn who_leaves_out_what_is_counted_is_told_where() {
        let hard = json!({"cpu": "1", "limits.memory": "1Gi"});
        assert_eq!(
            charge(&quota(hard.clone(), json!({"cpu": "0", "limits.memory": "0"})), &pod(json!({})))
                .unwrap_err(),
            "failed quota: q: must specify cpu for: c; limits.memory for: c"
        );
        let asks = pod(json!({"requests": {"cpu": "1m"}, "limits": {"memory": "1Mi"}}));
        assert_eq!(
            charge(&quota(hard, json!({"cpu": "0"})), &asks).unwrap_err(),
            "status unknown for quota: q, resources: cpu,limits.memory"
        );
    }

    #[test]
    fn a_change_is_charged_with_what_it_adds() {
        let service =
            |type_: &str| json!({"metadata": {"name": "s"}, "spec": {"type": type_, "ports": [{"port": 1}]}});
        let subject = |old: &str, new: &str| {
            Subject::read("services", "", &service(new), Some(&service(old)), Timestamp::UNIX_EPOCH).unwrap()
        };
        let hard = json!({"services": "1", "services.nodeports": "1"});
        let quota = quota(hard, json!({"services": "1", "services.nodeports": "0"}));
        let after = json!({"services": "1", "services.nodeports": "1"});
        assert_eq!(charge(&quota, &subject("ClusterIP", "NodePort")), Ok(Charge::Used(after)));
        assert_eq!(charge(&quota, &subject("NodePort", "ClusterIP")), Ok(Charge::Nothing));
    }

    #[test]
    fn scopes_choose_who_is_counted() {
        let mut quota = quota(json!({"pods": "0"}), json!({"pods": "0"}));
        quota["spec"]["scopes"] = json!(["BestEffort"]);
        assert!(charge(&quota, &pod(json!({}))).is_err());
        assert_eq!(charge(&quota, &pod(json!({"requests": {"cpu": "1"}}))), Ok(Charge::Nothing));
    }
}
