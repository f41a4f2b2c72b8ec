//! What an object takes up of a namespace's quota, and which quotas it counts for.
//!
//! The controller that counts afresh and the admission of what is new must agree in this to the unit, so both ask here.
//! After upstream's `pkg/quota/v1/evaluator/core`.

mod device;
mod pod;
mod scope;

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Service};

use crate::quantity::{Format, Quantity};

/// Amounts by the names that quotas give them.
pub type Usage = BTreeMap<String, Quantity>;

const BY_CLASS: &str = ".storageclass.storage.k8s.io/";
const CLAIMS: &str = "persistentvolumeclaims";
const STORAGE: &str = "requests.storage";
/// Kinds whose number has a name from before `count/` existed.
const NAMED: &[&str] = &["configmaps", "replicationcontrollers", "resourcequotas", "secrets"];

/// An object of a namespace, as quotas see it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Tracked<'a> {
    /// A pod: what its containers ask for.
    Pod(&'a Pod),
    /// A claim: the storage it asks for.
    Claim(&'a PersistentVolumeClaim),
    /// A Service: node ports and load balancers.
    Service(&'a Service),
    /// A claim of devices: the most that it can be given.
    Devices(DeviceClaim<'a>),
    /// An object of some other resource, `plural` or `plural.group`: counted alone.
    Other(&'a str),
}

/// By what kind of object a resource of a quota is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Measure<'a> {
    /// Pods.
    Pods,
    /// Claims.
    Claims,
    /// Services.
    Services,
    /// Claims of devices. They count for resources of pods as well, for which [`Classes::measure`] is asked.
    Devices,
    /// The number of objects of a resource, `plural` or `plural.group`.
    Number(&'a str),
}

/// By what `name`, of a quota's `hard`, is measured; `None` if by nothing that is known.
pub fn measure(name: &str) -> Option<Measure<'_>> {
    let counted = name.strip_prefix("count/").or_else(|| NAMED.contains(&name).then_some(name));
    match counted {
        Some("pods") => return Some(Measure::Pods),
        Some(CLAIMS) => return Some(Measure::Claims),
        Some("services") => return Some(Measure::Services),
        Some(_) if device::is_measured(name) => return Some(Measure::Devices),
        Some(resource) => return Some(Measure::Number(resource)),
        None => {}
    }
    let is_claims = |name: &str| matches!(name, CLAIMS | STORAGE);
    if is_claims(name) || name.split_once(BY_CLASS).is_some_and(|(_, resource)| is_claims(resource)) {
        return Some(Measure::Claims);
    }
    match name {
        "services" | "services.nodeports" | "services.loadbalancers" => Some(Measure::Services),
        _ if device::is_measured(name) => Some(Measure::Devices),
        _ => pod::is_measured(name).then_some(Measure::Pods),
    }
}

/// What an object takes up. A pod that has ended, or should have, is still counted as an object and takes up nothing
/// else.
pub fn usage(tracked: Tracked<'_>, now: Timestamp) -> Usage {
    match tracked {
        Tracked::Pod(pod) => pod::usage(pod, now),
        Tracked::Claim(claim) => claim_usage(claim),
        Tracked::Service(service) => service_usage(service),
        Tracked::Devices(claim) => device::usage(claim, now),
        Tracked::Other(resource) => {
            let mut usage = Usage::from([(format!("count/{resource}"), one())]);
            if NAMED.contains(&resource) {
                usage.insert(resource.to_owned(), one());
            }
            usage
        }
    }
}

pub use device::{Classes, DeviceClaim, charged_with, pod_of};
pub use scope::covers;

fn one() -> Quantity {
    number(1)
}

fn number(count: usize) -> Quantity {
    Quantity::new(i64::try_from(count).unwrap_or(i64::MAX), Format::DecimalSi)
}

fn claim_usage(claim: &PersistentVolumeClaim) -> Usage {
    const CLASS: &str = "volume.beta.kubernetes.io/storage-class";
    let spec = claim.spec.as_ref();
    let annotated = claim.metadata.annotations.as_ref().and_then(|held| held.get(CLASS));
    let class = annotated.or_else(|| spec?.storage_class_name.as_ref()).filter(|class| !class.is_empty());
    let mut usage = Usage::from([(CLAIMS.to_owned(), one()), (format!("count/{CLAIMS}"), one())]);
    let requests = spec.and_then(|spec| spec.resources.as_ref()?.requests.as_ref());
    let allocated = claim.status.as_ref().and_then(|status| status.allocated_resources.as_ref());
    let storage = |list: Option<&BTreeMap<String, _>>| Quantity::try_from(list?.get("storage")?).ok();
    let requested = storage(requests).map(|asked| storage(allocated).map_or(asked, |held| held.max(asked)));
    // Whole bytes.
    let requested = requested
        .map(|asked| if asked.is_whole() { asked } else { Quantity::new(asked.value(), asked.format()) });
    if let Some(class) = class {
        usage.insert(format!("{class}{BY_CLASS}{CLAIMS}"), one());
    }
    if let Some(requested) = requested {
        usage.insert(STORAGE.to_owned(), requested);
        if let Some(class) = class {
            usage.insert(format!("{class}{BY_CLASS}{STORAGE}"), requested);
        }
    }
    usage
}

fn service_usage(service: &Service) -> Usage {
    let spec = service.spec.as_ref();
    let ports = spec.and_then(|spec| spec.ports.as_deref()).unwrap_or_default();
    let type_ = spec.and_then(|spec| spec.type_.as_deref()).unwrap_or_default();
    let is_balanced = type_ == "LoadBalancer";
    let gets_node_ports = spec.and_then(|spec| spec.allocate_load_balancer_node_ports).unwrap_or(true);
    let node_ports = match type_ {
        "NodePort" => ports.len(),
        "LoadBalancer" if gets_node_ports => ports.len(),
        "LoadBalancer" => ports.iter().filter(|port| port.node_port.unwrap_or(0) != 0).count(),
        _ => 0,
    };
    Usage::from([
        ("services".to_owned(), one()),
        ("count/services".to_owned(), one()),
        ("services.nodeports".to_owned(), number(node_ports)),
        ("services.loadbalancers".to_owned(), number(usize::from(is_balanced))),
    ])
}

#[cfg(test)]
mod tests;
