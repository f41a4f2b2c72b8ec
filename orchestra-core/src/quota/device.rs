//! What claims of devices take up.
//!
//! After upstream's `pkg/quota/v1/evaluator/core/resource_claims.go`, and
//! <https://kubernetes.io/docs/concepts/policy/resource-quotas/#quota-for-dra-resource-claims>.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::resource::v1::ResourceClaim;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

use super::{Usage, number, one, pod};
use crate::quantity::Quantity;

/// The number of claims.
pub(super) const COUNT: &str = "count/resourceclaims.resource.k8s.io";
const BY_CLASS: &str = ".deviceclass.resource.k8s.io/devices";
const REQUESTS: &str = "requests.";
/// The resource that a class stands for by its own name.
const IMPLICIT: &str = "deviceclass.resource.kubernetes.io/";
/// As many devices as a claim can be given, which is what `All` may come to.
const MOST: usize = 32;
/// Marks a claim that a scheduler made for the resources of a pod.
const FOR_RESOURCES: &str = "resource.kubernetes.io/extended-resource-claim";

/// Classes of devices, and the resources that they stand for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Classes {
    resources: BTreeMap<String, String>,
    standing: BTreeSet<String>,
}

impl Classes {
    /// Of the name of each class, and its `extendedResourceName`.
    pub fn of<'a>(classes: impl IntoIterator<Item = (&'a str, Option<&'a str>)>) -> Self {
        let mut found = Self::default();
        for (class, resource) in classes {
            found.standing.insert(format!("{IMPLICIT}{class}"));
            if let Some(resource) = resource.filter(|resource| !resource.is_empty()) {
                found.standing.insert(resource.to_owned());
                found.resources.insert(class.to_owned(), resource.to_owned());
            }
        }
        found
    }

    /// Whether claims of devices count for `name`, of a quota's `hard`.
    pub fn measure(&self, name: &str) -> bool {
        is_measured(name)
            || name.strip_prefix(REQUESTS).is_some_and(|resource| self.standing.contains(resource))
    }
}

/// Whether claims of devices, and nothing else, are what this resource of a quota is measured by.
pub(super) fn is_measured(name: &str) -> bool {
    name == COUNT || name.ends_with(BY_CLASS)
}

/// Whether a resource is one that a class stands for by its own name.
pub(super) fn is_implicit(resource: &str) -> bool {
    resource.starts_with(IMPLICIT)
}

/// A claim of devices with what else decides what it takes up.
#[derive(Clone, Copy, Debug)]
pub struct DeviceClaim<'a> {
    /// The claim.
    pub claim: &'a ResourceClaim,
    /// All classes.
    pub classes: &'a Classes,
    /// The pod that is charged for the same devices by its own requests: [`charged_with`].
    pub pod: Option<&'a Pod>,
}

/// The worst that each request can come to, by class; and the same for the resources that the class stands for, as far as its
/// pod is not charged for them.
pub(super) fn usage(tracked: DeviceClaim<'_>, now: Timestamp) -> Usage {
    let DeviceClaim { claim, classes, pod } = tracked;
    let mut devices: BTreeMap<&str, usize> = BTreeMap::new();
    for request in claim.spec.devices.iter().flat_map(|devices| devices.requests.iter().flatten()) {
        let alternatives = request.first_available.iter().flatten();
        let asked = alternatives
            .map(|one| (one.device_class_name.as_str(), most(one.allocation_mode.as_deref(), one.count)));
        let mut worst: BTreeMap<&str, usize> = BTreeMap::new();
        for (class, count) in asked {
            let held = worst.entry(class).or_default();
            *held = count.max(*held);
        }
        if let (true, Some(exact)) = (worst.is_empty(), &request.exactly) {
            worst.insert(&exact.device_class_name, most(exact.allocation_mode.as_deref(), exact.count));
        }
        for (class, count) in worst {
            let held = devices.entry(class).or_default();
            *held = held.saturating_add(count);
        }
    }
    let charged = pod.map(|pod| pod::usage(pod, now)).unwrap_or_default();
    let mut usage = Usage::from([(COUNT.to_owned(), one())]);
    for (class, count) in devices {
        let count = number(count);
        usage.insert(format!("{class}{BY_CLASS}"), count);
        let named = classes.resources.get(class).map(|resource| format!("{REQUESTS}{resource}"));
        for name in [Some(format!("{REQUESTS}{IMPLICIT}{class}")), named].into_iter().flatten() {
            let left = charged.get(&name).map_or(count, |held| count - *held);
            if left > Quantity::ZERO {
                usage.insert(name, left);
            }
        }
    }
    usage
}

/// How many devices a request comes to at most. Of a way that is not known it is none.
fn most(mode: Option<&str>, count: Option<i64>) -> usize {
    match mode {
        Some("ExactCount") => count.and_then(|count| usize::try_from(count).ok()).unwrap_or_default(),
        Some("All") => MOST,
        _ => 0,
    }
}

/// The pod that is charged by its own requests for what a claim gives it: the one whose extended resources the claim was made
/// for. `claims` are those of the namespace: of several made for one pod it is the first that counts, so that nobody has devices
/// for nothing by claiming to be another.
pub fn charged_with<'a>(
    claim: &ResourceClaim,
    pod: Option<&'a Pod>,
    claims: impl IntoIterator<Item = &'a ResourceClaim>,
) -> Option<&'a Pod> {
    let owner = pod_of(claim)?;
    let pod = pod.filter(|pod| {
        pod.metadata.name.as_deref() == Some(owner.name.as_str())
            && pod.metadata.uid.as_deref() == Some(owner.uid.as_str())
    })?;
    let given = pod.status.as_ref().and_then(|status| status.extended_resource_claim_status.as_ref());
    if let Some(given) = given {
        return (claim.metadata.name.as_deref() == Some(given.resource_claim_name.as_str())).then_some(pod);
    }
    let age = |claim: &ResourceClaim| {
        // What is about to be made is the youngest.
        let made = claim.metadata.creation_timestamp.as_ref().map_or(Timestamp::MAX, |time| time.0);
        (made, claim.metadata.name.clone())
    };
    let own = age(claim);
    let of_pod = |other: &&ResourceClaim| pod_of(other).is_some_and(|other| other.uid == owner.uid);
    let is_first = claims.into_iter().filter(of_pod).all(|other| age(other) >= own);
    is_first.then_some(pod)
}

/// The pod for whose extended resources a claim says it was made: whose claim it is.
pub fn pod_of(claim: &ResourceClaim) -> Option<&OwnerReference> {
    let marked = claim.metadata.annotations.as_ref()?.get(FOR_RESOURCES)?;
    let owner =
        claim.metadata.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))?;
    (marked == "true" && owner.kind == "Pod" && owner.api_version == "v1").then_some(owner)
}
