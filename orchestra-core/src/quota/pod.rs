//! What a pod takes up.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Container, ContainerStatus, Pod, PodSpec, PodStatus, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource;

use super::{Usage, one};
use crate::meta::name::is_extended_resource;
use crate::quantity::Quantity;

const COMPUTE: &[&str] = &["cpu", "memory", "ephemeral-storage"];
const HUGE: &str = "hugepages-";
const REQUESTS: &str = "requests.";

/// Amounts by the names that containers give them.
type Amounts = BTreeMap<String, Quantity>;

/// Whether pods are what this resource of a quota is measured by.
pub(super) fn is_measured(name: &str) -> bool {
    if let Some(requested) = name.strip_prefix(REQUESTS) {
        return COMPUTE.contains(&requested) || requested.starts_with(HUGE) || is_extended(requested);
    }
    let limited = name.strip_prefix("limits.");
    name == "pods"
        || COMPUTE.contains(&name)
        || name.starts_with(HUGE)
        || limited.is_some_and(|limited| COMPUTE.contains(&limited))
}

/// A resource that is not Kubernetes' own, as devices are; or a class of devices by its own name.
fn is_extended(name: &str) -> bool {
    is_extended_resource(name) || super::device::is_implicit(name)
}

pub(super) fn usage(pod: &Pod, now: Timestamp) -> Usage {
    let mut usage = Usage::from([("count/pods".to_owned(), one())]);
    if !is_charged(pod, now) {
        return usage;
    }
    usage.insert("pods".to_owned(), one());
    for (name, amount) in total(pod, List::Requests) {
        if COMPUTE.contains(&name.as_str()) || name.starts_with(HUGE) {
            usage.insert(format!("{REQUESTS}{name}"), amount);
            usage.insert(name, amount);
        } else if is_extended(&name) {
            usage.insert(format!("{REQUESTS}{name}"), amount);
        }
    }
    for (name, amount) in total(pod, List::Limits) {
        if COMPUTE.contains(&name.as_str()) {
            usage.insert(format!("limits.{name}"), amount);
        }
    }
    usage
}

/// Whether the pod still uses what it asks for: not when it has ended, nor when its node should have ended it.
fn is_charged(pod: &Pod, now: Timestamp) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    if matches!(phase, Some("Succeeded" | "Failed")) {
        return false;
    }
    let meta = &pod.metadata;
    let (Some(deleted), Some(grace)) = (&meta.deletion_timestamp, meta.deletion_grace_period_seconds) else {
        return true;
    };
    now <= deleted.0.saturating_add(SignedDuration::from_secs(grace)).unwrap_or(Timestamp::MAX)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum List {
    Requests,
    Limits,
}

/// What all of a pod asks for: containers and sidecars together, or the most that its beginning needs; at least what the
/// pod as a whole asks for, and what it costs to run it.
fn total(pod: &Pod, list: List) -> Amounts {
    let Some(spec) = &pod.spec else { return Amounts::new() };
    let status = pod.status.as_ref();
    let mut base = Amounts::new();
    for container in &spec.containers {
        let held = status.and_then(|status| status.container_statuses.as_ref());
        add(&mut base, &asked(container, held, list));
    }
    let (mut sidecars, mut peak) = (Amounts::new(), Amounts::new());
    for container in spec.init_containers.iter().flatten() {
        let is_sidecar = container.restart_policy.as_deref() == Some("Always");
        let held = status.and_then(|status| status.init_container_statuses.as_ref());
        let own = asked(container, held.filter(|_| is_sidecar), list);
        let mut step = sidecars.clone();
        add(&mut step, &own);
        if is_sidecar {
            add(&mut base, &own);
            sidecars.clone_from(&step);
        }
        raise(&mut peak, &step);
    }
    raise(&mut base, &peak);
    base.extend(of_the_whole(spec, status, list));
    for (name, cost) in amounts(spec.overhead.as_ref()) {
        // What has no limit does not get one by what is added to it.
        if list == List::Requests || base.get(&name).is_some_and(|limit| !limit.is_zero()) {
            *base.entry(name).or_default() += cost;
        }
    }
    base
}

/// What a container asks for, or still has if it is being resized.
fn asked(container: &Container, statuses: Option<&Vec<ContainerStatus>>, list: List) -> Amounts {
    let mut asked = of(container.resources.as_ref(), list);
    let held = statuses.into_iter().flatten().find(|status| status.name == container.name);
    if let Some(held) = held {
        raise(&mut asked, &of(held.resources.as_ref(), list));
        if list == List::Requests {
            raise(&mut asked, &amounts(held.allocated_resources.as_ref()));
        }
    }
    asked
}

fn of_the_whole(spec: &PodSpec, status: Option<&PodStatus>, list: List) -> Amounts {
    let mut whole = of(spec.resources.as_ref(), list);
    if !whole.is_empty()
        && let Some(status) = status
    {
        raise(&mut whole, &of(status.resources.as_ref(), list));
    }
    whole.retain(|name, _| matches!(name.as_str(), "cpu" | "memory") || name.starts_with(HUGE));
    whole
}

fn of(resources: Option<&ResourceRequirements>, list: List) -> Amounts {
    amounts(resources.and_then(|resources| match list {
        List::Requests => resources.requests.as_ref(),
        List::Limits => resources.limits.as_ref(),
    }))
}

/// What cannot be read, which the API server refuses, is nothing.
fn amounts(list: Option<&BTreeMap<String, resource::Quantity>>) -> Amounts {
    let read = |(name, amount): (&String, _)| Some((name.clone(), Quantity::try_from(amount).ok()?));
    list.into_iter().flatten().filter_map(read).collect()
}

fn add(sum: &mut Amounts, more: &Amounts) {
    for (name, amount) in more {
        *sum.entry(name.clone()).or_insert(Quantity::new(0, amount.format())) += *amount;
    }
}

fn raise(held: &mut Amounts, least: &Amounts) {
    for (name, amount) in least {
        let held = held.entry(name.clone()).or_insert(*amount);
        *held = (*held).max(*amount);
    }
}

/// Whether no container asks for processors or memory.
pub(super) fn is_best_effort(pod: &Pod) -> bool {
    let Some(spec) = &pod.spec else { return true };
    let says_something = |resources: Option<&ResourceRequirements>| {
        [List::Requests, List::Limits].into_iter().any(|list| {
            let amounts = of(resources, list);
            ["cpu", "memory"].iter().any(|name| amounts.get(*name).is_some_and(|amount| !amount.is_zero()))
        })
    };
    let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    !says_something(spec.resources.as_ref())
        && !containers.into_iter().any(|container| says_something(container.resources.as_ref()))
}
