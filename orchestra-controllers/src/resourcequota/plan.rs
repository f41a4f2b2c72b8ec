//! What the status of a quota should say: the pure part.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, ResourceQuota, ResourceQuotaStatus, Service};
use k8s_openapi::api::resource::v1::ResourceClaim;
use k8s_openapi::apimachinery::pkg::api::resource;
use orchestra_core::quantity::Quantity;
use orchestra_core::quota::{
    Classes, DeviceClaim, Measure, Tracked, charged_with, covers, measure, pod_of, usage,
};

/// What is known when a quota is planned: everything in its namespace that it may speak of.
#[derive(Debug)]
pub struct Observed<'a> {
    /// The quota.
    pub quota: &'a ResourceQuota,
    /// The pods of its namespace.
    pub pods: &'a [Arc<Pod>],
    /// The claims of its namespace.
    pub claims: &'a [Arc<PersistentVolumeClaim>],
    /// The Services of its namespace.
    pub services: &'a [Arc<Service>],
    /// The claims of devices of its namespace.
    pub device_claims: &'a [Arc<ResourceClaim>],
    /// All classes of devices.
    pub classes: &'a Classes,
    /// How many objects there are of the other resources that it names; those that nobody counts are left out.
    pub numbers: &'a BTreeMap<String, usize>,
    /// The present moment.
    pub now: Timestamp,
}

/// One thing to do for a quota.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Write this status.
    SetStatus(Box<ResourceQuotaStatus>),
    /// Look again after this long, when a pod that does not end is charged no more. Comes first: time goes by even if what follows fails.
    LookAgain(Duration),
}

type List = BTreeMap<String, resource::Quantity>;

/// What to do for a quota now. Converged, it is nothing.
pub fn plan(observed: &Observed<'_>) -> Vec<Action> {
    let Some(spec) = &observed.quota.spec else { return Vec::new() };
    let hard = spec.hard.clone().unwrap_or_default();
    let before = observed.quota.status.clone().unwrap_or_default();
    let mut used: BTreeMap<&str, Quantity> = BTreeMap::new();
    for name in hard.keys() {
        // What nobody can count stays as it is.
        let held = before.used.as_ref().and_then(|used| used.get(name));
        let held = held.and_then(|held| Quantity::try_from(held).ok());
        match measure(name) {
            Some(Measure::Number(resource)) if !observed.numbers.contains_key(resource) => {
                used.extend(held.map(|held| (name.as_str(), held)));
            }
            None => used.extend(held.map(|held| (name.as_str(), held))),
            Some(_) => {
                used.insert(name, Quantity::ZERO);
            }
        }
    }
    let mut charge = |tracked: Tracked<'_>, times: usize| {
        if times == 0 || !covers(spec, tracked) {
            return;
        }
        for (name, amount) in usage(tracked, observed.now) {
            let Some(sum) = used.get_mut(name.as_str()) else { continue };
            // The first amount decides how the sum is written.
            let begun = if sum.is_zero() { Quantity::new(0, amount.format()) } else { *sum };
            *sum = (0..times).fold(begun, |sum, _| sum + amount);
        }
    };
    let wants = |wanted: Measure<'_>| hard.keys().any(|name| measure(name) == Some(wanted));
    if wants(Measure::Pods) {
        observed.pods.iter().for_each(|pod| charge(Tracked::Pod(pod), 1));
    }
    if wants(Measure::Claims) {
        observed.claims.iter().for_each(|claim| charge(Tracked::Claim(claim), 1));
    }
    if wants(Measure::Services) {
        observed.services.iter().for_each(|service| charge(Tracked::Service(service), 1));
    }
    if hard.keys().any(|name| observed.classes.measure(name)) {
        for claim in observed.device_claims {
            let pod = own_pod(observed, claim);
            charge(Tracked::Devices(DeviceClaim { claim, classes: observed.classes, pod }), 1);
        }
    }
    for (resource, number) in observed.numbers {
        charge(Tracked::Other(resource), *number);
    }
    let used: List = used.into_iter().map(|(name, amount)| (name.to_owned(), amount.into())).collect();
    let mut actions = Vec::new();
    if before.hard.is_none()
        || before.used.is_none()
        || !same(before.hard.as_ref(), &hard)
        || !same(before.used.as_ref(), &used)
    {
        actions.push(Action::SetStatus(Box::new(ResourceQuotaStatus { hard: Some(hard), used: Some(used) })));
    }
    let again = next_release(observed).map(Action::LookAgain);
    again.into_iter().chain(actions).collect()
}

/// The pod that is charged for what a claim gives it.
fn own_pod<'a>(observed: &Observed<'a>, claim: &ResourceClaim) -> Option<&'a Pod> {
    let owner = pod_of(claim)?;
    let pod = observed.pods.iter().find(|pod| pod.metadata.name.as_ref() == Some(&owner.name))?;
    charged_with(claim, Some(pod), observed.device_claims.iter().map(|other| &**other))
}

/// Whether two lists hold the same amounts, however they are written.
fn same(held: Option<&List>, wanted: &List) -> bool {
    let amounts = |list: &List| -> BTreeMap<String, Option<Quantity>> {
        list.iter().map(|(name, amount)| (name.clone(), Quantity::try_from(amount).ok())).collect()
    };
    held.map(amounts).unwrap_or_default() == amounts(wanted)
}

/// When the next pod that should have ended is no longer charged.
fn next_release(observed: &Observed<'_>) -> Option<Duration> {
    let left = observed.pods.iter().filter_map(|pod| {
        let meta = &pod.metadata;
        let grace = SignedDuration::from_secs(meta.deletion_grace_period_seconds?);
        let over = meta.deletion_timestamp.as_ref()?.0.saturating_add(grace).ok()?;
        Duration::try_from(over.duration_since(observed.now)).ok()
    });
    left.min().map(|left| left + Duration::from_secs(1))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::testing::pod_named;

    const NOW: &str = "2026-01-01T01:00:00Z";

    fn quota(hard: Value, status: Value) -> ResourceQuota {
        serde_json::from_value(json!({"spec": {"hard": hard}, "status": status})).unwrap()
    }

    fn pod(name: &str, cpu: &str) -> Arc<Pod> {
        let mut pod = pod_named(name).running().build();
        let container = json!([{"name": "c", "resources": {"requests": {"cpu": cpu}}}]);
        pod.spec.as_mut().unwrap().containers = serde_json::from_value(container).unwrap();
        Arc::new(pod)
    }

    fn plan_for(quota: &ResourceQuota, pods: &[Arc<Pod>], numbers: &[(&str, usize)]) -> Vec<Action> {
        let numbers = numbers.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
        let now = NOW.parse().unwrap();
        let classes = Classes::default();
        let (claims, services, device_claims) = (&[], &[], &[]);
        plan(&Observed {
            quota,
            pods,
            claims,
            services,
            device_claims,
            classes: &classes,
            numbers: &numbers,
            now,
        })
    }

    fn used(actions: &[Action]) -> Value {
        let [Action::SetStatus(status)] = actions else { panic!("{actions:?}") };
        json!(status.used)
    }

    #[test]
    fn counts_what_is_there_and_then_rests() {
        let hard = json!({"pods": "5", "requests.cpu": "2", "secrets": "9", "count/deployments.apps": "3"});
        let mut quota = quota(hard.clone(), json!({}));
        let pods = [pod("a", "250m"), pod("b", "1")];
        let numbers = [("secrets", 2), ("deployments.apps", 0)];
        let actions = plan_for(&quota, &pods, &numbers);
        let wanted =
            json!({"pods": "2", "requests.cpu": "1250m", "secrets": "2", "count/deployments.apps": "0"});
        assert_eq!(used(&actions), wanted);
        quota.status = Some(serde_json::from_value(json!({"hard": hard, "used": wanted})).unwrap());
        assert_eq!(plan_for(&quota, &pods, &numbers), []);
        // Written otherwise, it is the same.
        quota
            .status
            .as_mut()
            .unwrap()
            .used
            .as_mut()
            .unwrap()
            .insert("requests.cpu".into(), resource::Quantity("1.25".into()));
        assert_eq!(plan_for(&quota, &pods, &numbers), []);
        assert_eq!(used(&plan_for(&quota, &pods[..1], &numbers))["pods"], "1");
    }

    #[test]
    fn what_nobody_counts_stays_as_it_was_and_what_is_no_longer_limited_goes() {
        let hard = json!({"count/widgets.example.com": "3"});
        let quota = quota(hard, json!({"hard": {}, "used": {"count/widgets.example.com": "2", "pods": "7"}}));
        assert_eq!(used(&plan_for(&quota, &[], &[])), json!({"count/widgets.example.com": "2"}));
    }

    #[test]
    fn looks_again_when_a_pod_that_does_not_end_is_charged_no_more() {
        let quota = quota(json!({"pods": "5"}), json!({"hard": {"pods": "5"}, "used": {"pods": "1"}}));
        let mut ending = Pod::clone(&pod("a", "1"));
        ending.metadata.deletion_timestamp =
            Some(serde_json::from_value(json!("2026-01-01T00:59:50Z")).unwrap());
        ending.metadata.deletion_grace_period_seconds = Some(30);
        assert_eq!(plan_for(&quota, &[Arc::new(ending)], &[]), [Action::LookAgain(Duration::from_secs(21))]);
    }

    #[test]
    fn devices_are_counted_by_class_and_once_with_the_pods_that_have_them() {
        let claim = |name: &str, for_pod: bool| {
            let mut claim = json!({"metadata": {"name": name, "creationTimestamp": NOW}, "spec": {"devices": {"requests": [
                {"name": "r", "exactly": {"deviceClassName": "gpu", "allocationMode": "ExactCount", "count": 2}}]}}});
            if for_pod {
                let annotations = json!({"resource.kubernetes.io/extended-resource-claim": "true"});
                claim["metadata"]["annotations"] = annotations;
                claim["metadata"]["ownerReferences"] = json!([
                    {"apiVersion": "v1", "kind": "Pod", "name": "a", "uid": "u", "controller": true}]);
            }
            Arc::new(serde_json::from_value::<ResourceClaim>(claim).unwrap())
        };
        let mut asks = Pod::clone(&pod("a", "1"));
        asks.metadata.uid = Some("u".into());
        let wants = json!([{"name": "c", "resources": {"requests": {"x.io/gpu": "2"}}}]);
        asks.spec.as_mut().unwrap().containers = serde_json::from_value(wants).unwrap();
        let (by_class, number) =
            ("gpu.deviceclass.resource.k8s.io/devices", "count/resourceclaims.resource.k8s.io");
        let quota = quota(json!({by_class: "9", number: "9", "requests.x.io/gpu": "9"}), json!({}));
        let count = |claims: &[Arc<ResourceClaim>], classes: &Classes| {
            let now = NOW.parse().unwrap();
            used(&plan(&Observed {
                quota: &quota,
                pods: &[Arc::new(asks.clone())],
                claims: &[],
                services: &[],
                device_claims: claims,
                classes,
                numbers: &BTreeMap::new(),
                now,
            }))
        };
        let standing = Classes::of([("gpu", Some("x.io/gpu"))]);
        assert_eq!(count(&[], &standing), json!({by_class: "0", number: "0", "requests.x.io/gpu": "2"}));
        let own = claim("own", true);
        assert_eq!(
            count(std::slice::from_ref(&own), &standing),
            json!({by_class: "2", number: "1", "requests.x.io/gpu": "2"})
        );
        assert_eq!(
            count(&[own.clone(), claim("other", false)], &standing),
            json!({by_class: "4", number: "2", "requests.x.io/gpu": "4"})
        );
        let none = Classes::of([("gpu", None)]);
        assert_eq!(
            count(&[claim("other", false)], &none),
            json!({by_class: "2", number: "1", "requests.x.io/gpu": "2"})
        );
    }
}
