//! What the mirror of Endpoints needs done: the pure part.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{EndpointAddress, Endpoints, Service};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::endpointslice::{Action, MANAGED_BY, SERVICE_NAME};
use crate::ownership::controller_reference;

pub(super) const MANAGER: &str = "endpointslicemirroring-controller.k8s.io";
const SKIP: &str = "endpointslice.kubernetes.io/skip-mirror";
const LEADER: &str = "control-plane.alpha.kubernetes.io/leader";
/// Annotations that say something about the Endpoints alone.
const OWN: &[&str] =
    &["endpoints.kubernetes.io/last-change-trigger-time", "kubectl.kubernetes.io/last-applied-configuration"];
/// More addresses of one subset than this are not mirrored, so that a subset and a family make one slice.
const FULL: usize = 1000;

/// What is known when a mirror is planned.
#[derive(Debug)]
pub struct Observed<'a> {
    /// The Service of this name.
    pub service: Option<&'a Service>,
    /// The Endpoints of this name.
    pub endpoints: Option<&'a Endpoints>,
    /// The slices that this controller manages for them.
    pub slices: &'a [Arc<EndpointSlice>],
    /// Whether everything ordered earlier has arrived.
    pub settled: bool,
}

/// What to do for the mirror now. Converged, it is nothing.
pub fn plan(observed: &Observed<'_>) -> Vec<Action> {
    if !observed.settled {
        return Vec::new();
    }
    let mut held: Vec<_> = observed.slices.to_vec();
    held.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
    let mut actions = Vec::new();
    if let Some(endpoints) = observed.endpoints.filter(|endpoints| is_mirrored(endpoints, observed.service)) {
        for ((family, ports), addresses) in groups(endpoints) {
            let ports: Vec<EndpointPort> = ports.into_iter().map(Port::into_slice).collect();
            let wanted = slice(endpoints, family, ports, addresses);
            let fits = |held: &Arc<EndpointSlice>| {
                held.address_type == family
                    && held.ports.as_deref().unwrap_or_default()
                        == wanted.ports.as_deref().unwrap_or_default()
            };
            match held.iter().position(fits).map(|at| held.remove(at)) {
                None => actions.push(Action::Create(Box::new(wanted))),
                Some(held) => actions.extend(update(&held, wanted)),
            }
        }
    }
    actions.extend(held.into_iter().map(Action::Delete));
    actions
}

/// Whether the Endpoints are kept by hand and are to be mirrored.
fn is_mirrored(endpoints: &Endpoints, service: Option<&Service>) -> bool {
    let meta = &endpoints.metadata;
    let skips = meta.labels.as_ref().and_then(|labels| labels.get(SKIP)).is_some_and(|skip| skip == "true");
    let is_lock = meta.annotations.as_ref().is_some_and(|held| held.contains_key(LEADER));
    let selector = |service: &Service| service.spec.as_ref().and_then(|spec| spec.selector.clone());
    let is_kept_by_hand = service.is_some_and(|service| selector(service).unwrap_or_default().is_empty());
    is_kept_by_hand && !skips && !is_lock && meta.deletion_timestamp.is_none()
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Port {
    name: String,
    port: i32,
    protocol: String,
    app_protocol: Option<String>,
}

impl Port {
    fn into_slice(self) -> EndpointPort {
        EndpointPort {
            name: Some(self.name),
            port: Some(self.port),
            protocol: Some(self.protocol),
            app_protocol: self.app_protocol,
        }
    }
}

/// The endpoints of each slice, by family and ports.
fn groups(endpoints: &Endpoints) -> BTreeMap<(&'static str, Vec<Port>), Vec<Endpoint>> {
    let mut groups: BTreeMap<_, Vec<Endpoint>> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for subset in endpoints.subsets.iter().flatten() {
        let mut ports: Vec<_> = subset
            .ports
            .iter()
            .flatten()
            .map(|port| Port {
                name: port.name.clone().unwrap_or_default(),
                port: port.port,
                protocol: port.protocol.clone().unwrap_or_else(|| "TCP".into()),
                app_protocol: port.app_protocol.clone(),
            })
            .collect();
        ports.sort();
        let ready = subset.addresses.iter().flatten().map(|address| (address, true));
        let not_ready = subset.not_ready_addresses.iter().flatten().map(|address| (address, false));
        let mut room = FULL;
        for (address, is_ready) in ready.chain(not_ready) {
            // The API server lets only addresses in.
            let Ok(ip) = address.ip.parse::<IpAddr>() else { continue };
            let family = if ip.is_ipv4() { "IPv4" } else { "IPv6" };
            let group = (family, ports.clone());
            if room == 0 || !seen.insert((group.clone(), ip)) {
                continue;
            }
            room -= 1;
            groups.entry(group).or_default().push(endpoint(address, ip, is_ready));
        }
    }
    groups
}

fn endpoint(address: &EndpointAddress, ip: IpAddr, is_ready: bool) -> Endpoint {
    Endpoint {
        addresses: vec![ip.to_string()],
        conditions: Some(EndpointConditions { ready: Some(is_ready), ..EndpointConditions::default() }),
        hostname: address.hostname.clone().filter(|name| !name.is_empty()),
        node_name: address.node_name.clone(),
        target_ref: address.target_ref.clone(),
        ..Endpoint::default()
    }
}

fn slice(
    endpoints: &Endpoints,
    family: &str,
    ports: Vec<EndpointPort>,
    addresses: Vec<Endpoint>,
) -> EndpointSlice {
    let meta = &endpoints.metadata;
    let name = meta.name.clone().unwrap_or_default();
    let mut labels = meta.labels.clone().unwrap_or_default();
    labels.insert(MANAGED_BY.into(), MANAGER.into());
    labels.insert(SERVICE_NAME.into(), name.clone());
    let mut annotations = meta.annotations.clone().unwrap_or_default();
    annotations.retain(|key, _| !OWN.contains(&key.as_str()));
    EndpointSlice {
        metadata: ObjectMeta {
            generate_name: Some(format!("{name}-")),
            namespace: meta.namespace.clone(),
            labels: Some(labels),
            annotations: (!annotations.is_empty()).then_some(annotations),
            owner_references: Some(vec![controller_reference(endpoints)]),
            ..ObjectMeta::default()
        },
        address_type: family.to_owned(),
        endpoints: Some(addresses),
        ports: Some(ports),
    }
}

fn update(held: &EndpointSlice, wanted: EndpointSlice) -> Option<Action> {
    let same = held.endpoints.as_deref().unwrap_or_default()
        == wanted.endpoints.as_deref().unwrap_or_default()
        && held.metadata.labels == wanted.metadata.labels
        && held.metadata.owner_references == wanted.metadata.owner_references
        && held.metadata.annotations.clone().unwrap_or_default()
            == wanted.metadata.annotations.clone().unwrap_or_default();
    if same {
        return None;
    }
    let mut next = held.clone();
    next.endpoints = wanted.endpoints;
    next.metadata.labels = wanted.metadata.labels;
    next.metadata.annotations = wanted.metadata.annotations;
    next.metadata.owner_references = wanted.metadata.owner_references;
    Some(Action::Update(Box::new(next)))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn endpoints(metadata: Value) -> Endpoints {
        let mut full = json!({"name": "db", "namespace": "default", "uid": "e"});
        full.as_object_mut().unwrap().extend(metadata.as_object().unwrap().clone());
        serde_json::from_value(json!({"metadata": full, "subsets": [
            {"addresses": [{"ip": "192.0.2.1"}, {"ip": "2001:db8::1"}],
             "notReadyAddresses": [{"ip": "192.0.2.2", "hostname": "b", "nodeName": "n"}],
             "ports": [{"name": "sql", "port": 5432, "protocol": "TCP"}]},
        ]}))
        .unwrap()
    }

    fn service(selector: Value) -> Service {
        serde_json::from_value(json!({"metadata": {"name": "db"}, "spec": {"selector": selector}})).unwrap()
    }

    fn plan_for(
        service: Option<&Service>,
        endpoints: Option<&Endpoints>,
        slices: &[Arc<EndpointSlice>],
    ) -> Vec<Action> {
        plan(&Observed { service, endpoints, slices, settled: true })
    }

    fn created(actions: Vec<Action>) -> Vec<Arc<EndpointSlice>> {
        let created = actions.into_iter().map(|action| match action {
            Action::Create(slice) => Arc::new(*slice),
            other => panic!("{other:?}"),
        });
        created.collect()
    }

    #[test]
    fn each_family_gets_a_slice_and_a_mirror_that_fits_is_left_alone() {
        let annotated = json!({"labels": {"a": "b"}, "annotations": {"x": "y", OWN[1]: "{}"}});
        let (service, endpoints) = (service(json!(null)), endpoints(annotated));
        let slices = created(plan_for(Some(&service), Some(&endpoints), &[]));
        let shown: Vec<_> = slices
            .iter()
            .map(|slice| {
                let endpoints = slice.endpoints.iter().flatten();
                let shown = endpoints
                    .map(|e| (e.addresses[0].clone(), e.conditions.as_ref().unwrap().ready == Some(true)));
                (slice.address_type.as_str(), shown.collect::<Vec<_>>())
            })
            .collect();
        assert_eq!(
            shown,
            [
                ("IPv4", vec![("192.0.2.1".into(), true), ("192.0.2.2".into(), false)]),
                ("IPv6", vec![("2001:db8::1".into(), true)]),
            ]
        );
        let meta = &slices[0].metadata;
        let labels = meta.labels.as_ref().unwrap();
        assert_eq!([&labels["a"], &labels[MANAGED_BY], &labels[SERVICE_NAME]], ["b", MANAGER, "db"]);
        assert_eq!(meta.annotations.as_ref().unwrap().len(), 1);
        assert_eq!(plan_for(Some(&service), Some(&endpoints), &slices), []);
        let mut fewer = endpoints;
        fewer.subsets.as_mut().unwrap()[0].not_ready_addresses = None;
        let actions = plan_for(Some(&service), Some(&fewer), &slices);
        assert!(
            matches!(&actions[..], [Action::Update(slice)] if slice.endpoints.as_ref().unwrap().len() == 1)
        );
    }

    #[test]
    fn what_is_not_kept_by_hand_has_no_mirror() {
        let (plain, service_without) = (endpoints(json!({})), service(json!({})));
        let slices = created(plan_for(Some(&service_without), Some(&plain), &[]));
        let gone = |service: Option<&Service>, endpoints: Option<&Endpoints>| {
            let actions = plan_for(service, endpoints, &slices);
            actions.len() == 2 && actions.iter().all(|action| matches!(action, Action::Delete(_)))
        };
        assert!(gone(None, Some(&plain)));
        assert!(gone(Some(&service_without), None));
        assert!(gone(Some(&service(json!({"app": "db"}))), Some(&plain)));
        assert!(gone(Some(&service_without), Some(&endpoints(json!({"labels": {SKIP: "true"}})))));
        assert!(gone(Some(&service_without), Some(&endpoints(json!({"annotations": {LEADER: ""}})))));
    }

    #[test]
    fn no_more_than_a_thousand_addresses_of_a_subset_are_mirrored() {
        let mut many = endpoints(json!({}));
        let address = |n: u16| EndpointAddress {
            ip: format!("10.0.{}.{}", n / 250, n % 250),
            ..EndpointAddress::default()
        };
        many.subsets.as_mut().unwrap()[0].addresses = Some((0..1200).map(address).collect());
        let slices = created(plan_for(Some(&service(json!(null))), Some(&many), &[]));
        assert_eq!(slices[0].endpoints.as_ref().unwrap().len(), FULL);
    }
}
