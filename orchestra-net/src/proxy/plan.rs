//! Which ports must answer, given the services and endpoint slices of a cluster. Pure.
//!
//! Follows kube-proxy: ready endpoints serve; when a port has none, endpoints that are terminating but still serve do
//! (KEP-1669), so that a rolling update never leaves a service without an answer.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Service, ServicePort};
use k8s_openapi::api::discovery::v1::EndpointSlice;

use super::{Frontend, Protocol, ServiceRef, VirtualPort};

/// Names the service an endpoint slice belongs to.
const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// `sessionAffinityConfig.clientIP.timeoutSeconds` when it is not set.
const DEFAULT_AFFINITY_SECONDS: i32 = 10_800;

/// The endpoint slices of a cluster by the service they belong to.
pub type SlicesByService<'a> = BTreeMap<(&'a str, &'a str), Vec<&'a EndpointSlice>>;

/// Groups slices by the service their label names.
pub fn by_service<'a>(slices: impl IntoIterator<Item = &'a EndpointSlice>) -> SlicesByService<'a> {
    let mut grouped = SlicesByService::new();
    for slice in slices {
        let namespace = slice.metadata.namespace.as_deref().unwrap_or_default();
        let service = slice.metadata.labels.as_ref().and_then(|labels| labels.get(SERVICE_NAME));
        if let Some(service) = service {
            grouped.entry((namespace, service)).or_default().push(slice);
        }
    }
    grouped
}

/// Every port that must answer, in a fixed order. `node_address` is where node ports listen.
pub fn ports<'a>(
    services: impl IntoIterator<Item = &'a Service>,
    slices: &SlicesByService<'_>,
    node_address: IpAddr,
) -> Vec<VirtualPort> {
    let mut planned = BTreeMap::new();
    for service in services {
        let name = service.metadata.name.as_deref().unwrap_or_default();
        let namespace = service.metadata.namespace.as_deref().unwrap_or_default();
        let Some(spec) = service.spec.as_ref().filter(|spec| spec.type_.as_deref() != Some("ExternalName"))
        else {
            continue;
        };
        let addresses: Vec<IpAddr> = spec
            .cluster_ips
            .as_ref()
            .map_or_else(|| spec.cluster_ip.iter().cloned().collect(), Clone::clone)
            .iter()
            // "None", the mark of a headless service, is no address.
            .filter_map(|address| address.parse().ok())
            .collect();
        for port in spec.ports.iter().flatten() {
            let Some(protocol) = protocol(port) else { continue };
            let backends: std::sync::Arc<[SocketAddr]> =
                backends(slices.get(&(namespace, name)).map_or(&[], Vec::as_slice), port.name.as_deref())
                    .into();
            let cluster = addresses.iter().map(|address| (*address, port.port));
            let node = port.node_port.filter(|_| !addresses.is_empty()).map(|number| (node_address, number));
            for (address, number) in cluster.chain(node) {
                let Ok(number) = u16::try_from(number) else { continue };
                let frontend = Frontend { address, port: number, protocol };
                planned.entry(frontend).or_insert_with(|| VirtualPort {
                    frontend,
                    service: ServiceRef { namespace: namespace.to_owned(), name: name.to_owned() },
                    backends: backends.clone(),
                    affinity: affinity(service),
                });
            }
        }
    }
    planned.into_values().collect()
}

/// The addresses behind the port `name` of a service, each once, in a fixed order.
pub fn backends(slices: &[&EndpointSlice], name: Option<&str>) -> Vec<SocketAddr> {
    let (mut ready, mut draining) = (BTreeSet::new(), BTreeSet::new());
    for slice in slices {
        let ports = slice.ports.iter().flatten().filter(|port| {
            // A slice leaves an empty port name out or writes it as "".
            port.name.as_deref().unwrap_or_default() == name.unwrap_or_default()
        });
        for number in ports.filter_map(|port| u16::try_from(port.port?).ok()) {
            for endpoint in slice.endpoints.iter().flatten() {
                let conditions = endpoint.conditions.as_ref();
                let is_ready = conditions.and_then(|c| c.ready).unwrap_or(true);
                let serves = conditions.and_then(|c| c.serving).unwrap_or(is_ready);
                let terminates = conditions.and_then(|c| c.terminating).unwrap_or(false);
                let chosen = match (is_ready, serves && terminates) {
                    (true, _) => &mut ready,
                    (false, true) => &mut draining,
                    (false, false) => continue,
                };
                let addresses = endpoint.addresses.iter().filter_map(|text| text.parse::<IpAddr>().ok());
                chosen.extend(addresses.map(|address| SocketAddr::new(address, number)));
            }
        }
    }
    let chosen = if ready.is_empty() { draining } else { ready };
    chosen.into_iter().collect()
}

fn protocol(port: &ServicePort) -> Option<Protocol> {
    match port.protocol.as_deref() {
        None | Some("TCP") => Some(Protocol::Tcp),
        Some("UDP") => Some(Protocol::Udp),
        // SCTP cannot be carried in user space.
        Some(_) => None,
    }
}

fn affinity(service: &Service) -> Option<Duration> {
    let spec = service.spec.as_ref()?;
    if spec.session_affinity.as_deref() != Some("ClientIP") {
        return None;
    }
    let seconds = spec
        .session_affinity_config
        .as_ref()
        .and_then(|config| config.client_ip.as_ref()?.timeout_seconds)
        .unwrap_or(DEFAULT_AFFINITY_SECONDS);
    Some(Duration::from_secs(u64::try_from(seconds).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn service(spec: Value) -> Service {
        serde_json::from_value(json!({"metadata": {"name": "web", "namespace": "shop"}, "spec": spec}))
            .unwrap()
    }

    fn slice(endpoints: Value) -> EndpointSlice {
        serde_json::from_value(json!({
            "metadata": {"name": "web-1", "namespace": "shop", "labels": {SERVICE_NAME: "web"}},
            "addressType": "IPv4",
            "endpoints": endpoints,
            "ports": [{"name": "http", "port": 8080}],
        }))
        .unwrap()
    }

    fn plan(service: &Service, slices: &[EndpointSlice]) -> Vec<VirtualPort> {
        ports([service], &by_service(slices), IpAddr::from([127, 0, 0, 1]))
    }

    fn shown(port: &VirtualPort) -> Vec<String> {
        port.backends.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_port_leads_to_the_ready_endpoints_of_the_same_name() {
        let service = service(json!({"clusterIP": "127.64.128.9", "ports": [
            {"name": "http", "port": 80}, {"name": "metrics", "port": 90}]}));
        let slices = [slice(json!([
            {"addresses": ["127.64.0.20"], "conditions": {"ready": true}},
            {"addresses": ["127.64.0.21"], "conditions": {"ready": false}},
            {"addresses": ["127.64.0.22"]},
        ]))];
        let ports = plan(&service, &slices);
        assert_eq!(ports.len(), 2);
        assert_eq!(shown(&ports[0]), ["127.64.0.20:8080", "127.64.0.22:8080"]);
        assert!(ports[1].backends.is_empty(), "nobody serves metrics");
    }

    #[test]
    fn terminating_endpoints_serve_only_when_no_other_is_left() {
        let service = service(json!({"clusterIP": "127.64.128.9", "ports": [{"name": "http", "port": 80}]}));
        let draining = json!({"addresses": ["127.64.0.20"],
            "conditions": {"ready": false, "serving": true, "terminating": true}});
        let ready = json!({"addresses": ["127.64.0.21"], "conditions": {"ready": true}});
        assert_eq!(shown(&plan(&service, &[slice(json!([draining]))])[0]), ["127.64.0.20:8080"]);
        assert_eq!(shown(&plan(&service, &[slice(json!([draining, ready]))])[0]), ["127.64.0.21:8080"]);
    }

    #[test]
    fn a_node_port_answers_on_the_node_as_well() {
        let service = service(json!({"type": "NodePort", "clusterIP": "127.64.128.9",
            "ports": [{"name": "http", "port": 80, "nodePort": 30080}]}));
        let fronts: Vec<_> = plan(&service, &[]).iter().map(|port| port.frontend.port).collect();
        assert_eq!(fronts, [30080, 80], "127.0.0.1 sorts before 127.64.128.9");
    }

    #[test]
    fn headless_and_external_services_have_no_port_of_their_own() {
        let headless = service(json!({"clusterIP": "None", "ports": [{"name": "http", "port": 80}]}));
        let external = service(json!({"type": "ExternalName", "externalName": "example.com",
            "ports": [{"name": "http", "port": 80}]}));
        assert!(plan(&headless, &[]).is_empty());
        assert!(plan(&external, &[]).is_empty());
    }

    #[test]
    fn client_affinity_lasts_three_hours_unless_told_otherwise() {
        let service = service(json!({"clusterIP": "127.64.128.9", "sessionAffinity": "ClientIP",
            "ports": [{"name": "http", "port": 80}]}));
        assert_eq!(plan(&service, &[])[0].affinity, Some(Duration::from_secs(10_800)));
    }
}
