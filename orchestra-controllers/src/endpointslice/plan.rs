//! What the slices of a Service need done: the pure part.
//!
//! Every endpoint stays in the slice it is in while it can, so that one pod's change writes one slice, whatever the
//! size of the Service.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod, Service};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::desired::{families, groups, is_headless};
use crate::ownership::controller_reference;

pub(crate) const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
pub(super) const MANAGER: &str = "endpointslice-controller.k8s.io";
pub(crate) const SERVICE_NAME: &str = "kubernetes.io/service-name";
pub(crate) const HEADLESS: &str = "service.kubernetes.io/headless";
/// Upstream's default for `--max-endpoints-per-slice`.
const FULL: usize = 100;

/// What is known when the slices of a Service are planned.
#[derive(Debug)]
pub struct Observed<'a> {
    /// The Service; it has a selector.
    pub service: &'a Service,
    /// The pods its selector chooses.
    pub pods: &'a [Arc<Pod>],
    /// The slices that this controller manages for it.
    pub slices: &'a [Arc<EndpointSlice>],
    /// The nodes of the pods, for their zones.
    pub nodes: &'a BTreeMap<String, Arc<Node>>,
    /// Whether everything ordered earlier has arrived.
    pub settled: bool,
}

/// One thing to do for the slices of a Service.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Create this slice.
    Create(Box<EndpointSlice>),
    /// Write this slice over the one it came from.
    Update(Box<EndpointSlice>),
    /// Delete this slice.
    Delete(Arc<EndpointSlice>),
}

/// What to do for the slices of a Service now. Converged, it is nothing.
pub fn plan(observed: &Observed<'_>) -> Vec<Action> {
    if !observed.settled || observed.service.metadata.deletion_timestamp.is_some() {
        return Vec::new();
    }
    let families = families(observed.service);
    let foreign = observed.slices.iter().filter(|slice| !families.contains(&slice.address_type.as_str()));
    let mut actions: Vec<_> = foreign.cloned().map(Action::Delete).collect();
    for family in families {
        plan_family(observed, family, &mut actions);
    }
    actions
}

/// A slice on its way to what it shall be.
struct Draft {
    held: Option<Arc<EndpointSlice>>,
    endpoints: Vec<Endpoint>,
    doomed: bool,
}

fn plan_family(observed: &Observed<'_>, family: &str, actions: &mut Vec<Action>) {
    let mut held: Vec<_> =
        observed.slices.iter().filter(|slice| slice.address_type == family).cloned().collect();
    held.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
    let mut groups = groups(observed.service, observed.pods, observed.nodes, family);
    if groups.is_empty() {
        // One empty slice says that the Service is known and has nobody; which one does not matter.
        let ports = held.first().map(|slice| slice.ports.clone().unwrap_or_default()).unwrap_or_default();
        groups.push((ports, Vec::new()));
    }
    let mut unused = held;
    for (ports, endpoints) in groups {
        let (same, others) = unused.into_iter().partition(|slice| same_ports(slice, &ports));
        unused = others;
        let drafts = distribute(same, endpoints);
        actions.extend(drafts.into_iter().filter_map(|draft| write(observed.service, family, &ports, draft)));
    }
    actions.extend(unused.into_iter().map(Action::Delete));
}

fn same_ports(slice: &EndpointSlice, ports: &[EndpointPort]) -> bool {
    slice.ports.as_deref().unwrap_or_default() == ports
}

fn identity(endpoint: &Endpoint) -> Option<&str> {
    endpoint.target_ref.as_ref()?.uid.as_deref()
}

/// Leaves every endpoint in its slice, fills the room in slices that change anyway, then in the others, then adds
/// slices. At least one slice remains if there is any.
fn distribute(held: Vec<Arc<EndpointSlice>>, endpoints: Vec<Endpoint>) -> Vec<Draft> {
    let mut wanted: BTreeMap<String, Endpoint> = BTreeMap::new();
    let mut order: Vec<String> = Vec::new();
    for endpoint in endpoints {
        let uid = identity(&endpoint).unwrap_or_default().to_owned();
        order.push(uid.clone());
        wanted.insert(uid, endpoint);
    }
    let mut drafts: Vec<Draft> = Vec::with_capacity(held.len());
    for slice in held {
        let kept = slice.endpoints.iter().flatten().filter_map(|endpoint| wanted.remove(identity(endpoint)?));
        drafts.push(Draft { endpoints: kept.take(FULL).collect(), held: Some(slice), doomed: false });
    }
    let mut fresh: Vec<Endpoint> = order.iter().filter_map(|uid| wanted.remove(uid)).collect();
    fresh.reverse();
    let changes =
        |draft: &Draft| draft.held.as_ref().is_some_and(|held| !same_endpoints(held, &draft.endpoints));
    drafts.sort_by_key(|draft| !changes(draft));
    for draft in &mut drafts {
        while draft.endpoints.len() < FULL {
            let Some(endpoint) = fresh.pop() else { break };
            draft.endpoints.push(endpoint);
        }
    }
    while !fresh.is_empty() {
        let rest = fresh.len().saturating_sub(FULL);
        let mut endpoints = fresh.split_off(rest);
        endpoints.reverse();
        drafts.push(Draft { held: None, endpoints, doomed: false });
    }
    if drafts.is_empty() {
        drafts.push(Draft { held: None, endpoints: Vec::new(), doomed: false });
    }
    // Emptied slices go, but for one if nothing else is left.
    let mut placeholder = drafts.iter().all(|draft| draft.endpoints.is_empty());
    for draft in drafts.iter_mut().filter(|draft| draft.endpoints.is_empty()) {
        draft.doomed = !std::mem::take(&mut placeholder);
    }
    drafts
}

fn same_endpoints(slice: &EndpointSlice, endpoints: &[Endpoint]) -> bool {
    slice.endpoints.as_deref().unwrap_or_default() == endpoints
}

fn write(service: &Service, family: &str, ports: &[EndpointPort], draft: Draft) -> Option<Action> {
    if draft.doomed {
        return draft.held.map(Action::Delete);
    }
    let labels = labels(service);
    let owners = Some(vec![controller_reference(service)]);
    match draft.held {
        None => Some(Action::Create(Box::new(EndpointSlice {
            metadata: ObjectMeta {
                generate_name: Some(format!("{}-", service.metadata.name.as_deref().unwrap_or_default())),
                namespace: service.metadata.namespace.clone(),
                labels: Some(labels),
                owner_references: owners,
                ..ObjectMeta::default()
            },
            address_type: family.to_owned(),
            endpoints: Some(draft.endpoints),
            ports: Some(ports.to_vec()),
        }))),
        Some(held) => {
            let labelled = held.metadata.labels.as_ref() == Some(&labels);
            if labelled && same_endpoints(&held, &draft.endpoints) {
                return None;
            }
            let mut slice = EndpointSlice::clone(&held);
            slice.metadata.labels = Some(labels);
            slice.endpoints = Some(draft.endpoints);
            Some(Action::Update(Box::new(slice)))
        }
    }
}

/// The Service's own labels, but those that mean something on a slice.
fn labels(service: &Service) -> BTreeMap<String, String> {
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.remove(HEADLESS);
    if is_headless(service) {
        labels.insert(HEADLESS.into(), String::new());
    }
    labels.insert(MANAGED_BY.into(), MANAGER.into());
    labels.insert(SERVICE_NAME.into(), service.metadata.name.clone().unwrap_or_default());
    labels
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
