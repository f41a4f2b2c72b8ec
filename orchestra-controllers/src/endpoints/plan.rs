//! What the Endpoints of a Service need done: the pure part.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{EndpointAddress, EndpointPort, EndpointSubset, Endpoints, Pod, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::endpointslice::HEADLESS;
use crate::endpointslice::desired::{addresses, families, hostname, is_headless, ports, reference};
use crate::pod;

const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
const MANAGER: &str = "endpoint-controller";
const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";
/// More addresses than this are not listed.
const CAPACITY: usize = 1000;

/// What is known when the Endpoints of a Service are planned.
#[derive(Debug)]
pub struct Observed<'a> {
    /// The Service, unless it is gone.
    pub service: Option<&'a Service>,
    /// The pods its selector chooses.
    pub pods: &'a [Arc<Pod>],
    /// The Endpoints of its name.
    pub held: Option<&'a Endpoints>,
}

/// One thing to do for the Endpoints of a Service.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Create them.
    Create(Box<Endpoints>),
    /// Write these over those they came from.
    Update(Box<Endpoints>),
    /// Delete them.
    Delete,
}

/// What to do for the Endpoints of a Service now. Converged, it is nothing.
pub fn plan(observed: &Observed<'_>) -> Option<Action> {
    let Some(service) = observed.service else { return observed.held.map(|_| Action::Delete) };
    if !chooses_pods(service) || service.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let mut subsets = subsets(service, observed.pods);
    let truncated = truncate(&mut subsets);
    let mut metadata = match observed.held {
        Some(held) => held.metadata.clone(),
        None => ObjectMeta {
            name: service.metadata.name.clone(),
            namespace: service.metadata.namespace.clone(),
            ..ObjectMeta::default()
        },
    };
    metadata.labels = Some(labels(service));
    let mut annotations = metadata.annotations.take().unwrap_or_default();
    annotations.remove(OVER_CAPACITY);
    if truncated {
        annotations.insert(OVER_CAPACITY.into(), "truncated".into());
    }
    metadata.annotations = (!annotations.is_empty()).then_some(annotations);
    let wanted = Endpoints { metadata, subsets: (!subsets.is_empty()).then_some(subsets) };
    match observed.held {
        None => Some(Action::Create(Box::new(wanted))),
        Some(held) if same(held, &wanted) => None,
        Some(_) => Some(Action::Update(Box::new(wanted))),
    }
}

/// Whether these are Endpoints that this controller made.
pub(super) fn is_ours(endpoints: &Endpoints) -> bool {
    let labels = endpoints.metadata.labels.as_ref();
    labels.and_then(|labels| labels.get(MANAGED_BY)).is_some_and(|manager| manager == MANAGER)
}

fn chooses_pods(service: &Service) -> bool {
    let spec = service.spec.as_ref();
    let selector = spec.and_then(|spec| spec.selector.as_ref());
    selector.is_some_and(|selector| !selector.is_empty())
        && spec.and_then(|spec| spec.type_.as_deref()) != Some("ExternalName")
}

fn same(held: &Endpoints, wanted: &Endpoints) -> bool {
    held.subsets.as_deref().unwrap_or_default() == wanted.subsets.as_deref().unwrap_or_default()
        && held.metadata.labels == wanted.metadata.labels
        && held.metadata.annotations.clone().unwrap_or_default()
            == wanted.metadata.annotations.clone().unwrap_or_default()
}

fn labels(service: &Service) -> BTreeMap<String, String> {
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.remove(HEADLESS);
    if is_headless(service) {
        labels.insert(HEADLESS.into(), String::new());
    }
    labels.insert(MANAGED_BY.into(), MANAGER.into());
    labels
}

/// The ports of a subset, as what subsets are told apart and ordered by.
type Ports = Vec<(String, i32, String, Option<String>)>;

/// Pods that serve the same ports are one subset; pods of one Service differ in that when they give a named port
/// different numbers.
fn subsets(service: &Service, pods: &[Arc<Pod>]) -> Vec<EndpointSubset> {
    let spec = service.spec.as_ref();
    let publishes = spec.and_then(|spec| spec.publish_not_ready_addresses).unwrap_or(false);
    let is_without_ports = spec.and_then(|spec| spec.ports.as_ref()).is_none_or(Vec::is_empty);
    let family = families(service).first().copied().unwrap_or("IPv4");
    let mut groups: BTreeMap<Ports, EndpointSubset> = BTreeMap::new();
    for pod in pods.iter().filter(|pod| !pod::is_finished(pod)) {
        if pod::is_terminating(pod) && !publishes {
            continue;
        }
        let Some(ip) = addresses(pod, family).into_iter().next() else { continue };
        let mut ports: Ports = ports(service, pod)
            .into_iter()
            .map(|port| {
                let (name, protocol) = (port.name.unwrap_or_default(), port.protocol.unwrap_or_default());
                (name, port.port.unwrap_or_default(), protocol, port.app_protocol)
            })
            .collect();
        ports.sort();
        if ports.is_empty() && !(is_without_ports && is_headless(service)) {
            continue;
        }
        let address = EndpointAddress {
            ip,
            hostname: hostname(service, pod),
            node_name: pod::node_name(pod).map(str::to_owned),
            target_ref: Some(reference(pod)),
        };
        let subset = groups.entry(ports).or_default();
        let list = if publishes || pod::is_ready(pod) {
            &mut subset.addresses
        } else {
            &mut subset.not_ready_addresses
        };
        list.get_or_insert_default().push(address);
    }
    groups.into_iter().map(|(ports, subset)| finished(&ports, subset)).collect()
}

fn finished(ports: &Ports, mut subset: EndpointSubset) -> EndpointSubset {
    let uid = |address: &EndpointAddress| address.target_ref.as_ref().and_then(|pod| pod.uid.clone());
    let rank = |address: &EndpointAddress| (address.ip.parse::<IpAddr>().ok(), uid(address));
    for list in [&mut subset.addresses, &mut subset.not_ready_addresses].into_iter().flatten() {
        list.sort_by_key(rank);
    }
    let ports = ports.iter().map(|(name, port, protocol, app_protocol)| EndpointPort {
        name: (!name.is_empty()).then(|| name.clone()),
        port: *port,
        protocol: Some(protocol.clone()),
        app_protocol: app_protocol.clone(),
    });
    subset.ports = Some(ports.collect::<Vec<_>>()).filter(|ports| !ports.is_empty());
    subset
}

/// Cuts the subsets down to what may be listed, each by its share, those that are not ready first; whether anything
/// was cut.
fn truncate(subsets: &mut Vec<EndpointSubset>) -> bool {
    let count = |list: &Option<Vec<EndpointAddress>>| list.as_ref().map_or(0, Vec::len);
    let ready: usize = subsets.iter().map(|subset| count(&subset.addresses)).sum();
    let not_ready: usize = subsets.iter().map(|subset| count(&subset.not_ready_addresses)).sum();
    if ready + not_ready <= CAPACITY {
        return false;
    }
    let cuts_ready = ready > CAPACITY;
    let (total, room) = if cuts_ready { (ready, CAPACITY) } else { (not_ready, CAPACITY - ready) };
    let mut left = room;
    for subset in subsets.iter_mut() {
        if cuts_ready {
            subset.not_ready_addresses = None;
        }
        let list = if cuts_ready { &mut subset.addresses } else { &mut subset.not_ready_addresses };
        let share = (count(list) * room).div_ceil(total).min(left);
        left -= share.min(count(list));
        if let Some(addresses) = list {
            addresses.truncate(share);
        }
        *list = list.take().filter(|addresses| !addresses.is_empty());
    }
    subsets.retain(|subset| subset.addresses.is_some() || subset.not_ready_addresses.is_some());
    true
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
