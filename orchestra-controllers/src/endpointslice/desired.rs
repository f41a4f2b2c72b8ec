//! What the slices of a Service ought to say, before it is weighed against what they say.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, ObjectReference, Pod, Service, ServicePort};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::pod;

const ZONE: &str = "topology.kubernetes.io/zone";

/// The families in which a Service has endpoints.
pub(crate) fn families(service: &Service) -> Vec<&'static str> {
    let families = service.spec.as_ref().and_then(|spec| spec.ip_families.as_ref());
    let known = |family: &String| match family.as_str() {
        "IPv4" => Some("IPv4"),
        "IPv6" => Some("IPv6"),
        _ => None,
    };
    let families: Vec<_> = families.into_iter().flatten().filter_map(known).collect();
    if families.is_empty() { vec!["IPv4"] } else { families }
}

pub(crate) fn is_headless(service: &Service) -> bool {
    service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref()) == Some("None")
}

/// The endpoints of one family by the ports they serve. Pods whose containers give a named port different numbers
/// fall into different groups.
pub(super) fn groups(
    service: &Service,
    pods: &[Arc<Pod>],
    nodes: &BTreeMap<String, Arc<Node>>,
    family: &str,
) -> Vec<(Vec<EndpointPort>, Vec<Endpoint>)> {
    let mut groups: Vec<(Vec<EndpointPort>, Vec<Endpoint>)> = Vec::new();
    for pod in pods.iter().filter(|pod| !pod::is_finished(pod)) {
        let addresses = addresses(pod, family);
        if addresses.is_empty() {
            continue;
        }
        let ports = ports(service, pod);
        let endpoint = endpoint(service, pod, nodes, addresses);
        match groups.iter_mut().find(|(held, _)| *held == ports) {
            Some((_, endpoints)) => endpoints.push(endpoint),
            None => groups.push((ports, vec![endpoint])),
        }
    }
    groups
}

pub(crate) fn addresses(pod: &Pod, family: &str) -> Vec<String> {
    let Some(status) = &pod.status else { return Vec::new() };
    let mut all: Vec<&str> = status.pod_ips.iter().flatten().map(|ip| ip.ip.as_str()).collect();
    if all.is_empty() {
        all.extend(status.pod_ip.as_deref());
    }
    let fits = |address: &&str| !address.is_empty() && address.contains(':') == (family == "IPv6");
    all.into_iter().filter(fits).map(str::to_owned).take(1).collect()
}

fn endpoint(
    service: &Service,
    pod: &Pod,
    nodes: &BTreeMap<String, Arc<Node>>,
    addresses: Vec<String>,
) -> Endpoint {
    let spec = service.spec.as_ref();
    let publishes = spec.and_then(|spec| spec.publish_not_ready_addresses).unwrap_or(false);
    let (serving, terminating) = (pod::is_ready(pod), pod::is_terminating(pod));
    let node_name = pod::node_name(pod).map(str::to_owned);
    let node = node_name.as_ref().and_then(|name| nodes.get(name));
    Endpoint {
        addresses,
        conditions: Some(EndpointConditions {
            ready: Some(publishes || (serving && !terminating)),
            serving: Some(serving),
            terminating: Some(terminating),
        }),
        hostname: hostname(service, pod),
        zone: node.and_then(|node| node.metadata.labels.as_ref()?.get(ZONE).cloned()),
        node_name,
        target_ref: Some(reference(pod)),
        ..Endpoint::default()
    }
}

pub(crate) fn reference(pod: &Pod) -> ObjectReference {
    ObjectReference {
        kind: Some("Pod".into()),
        namespace: pod.metadata.namespace.clone(),
        name: pod.metadata.name.clone(),
        uid: pod.metadata.uid.clone(),
        ..ObjectReference::default()
    }
}

/// The pod's host name, where the Service is the one that names its pods.
pub(crate) fn hostname(service: &Service, pod: &Pod) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    let is_named_here = spec.subdomain.is_some() && spec.subdomain == service.metadata.name;
    spec.hostname.clone().filter(|name| is_named_here && !name.is_empty())
}

pub(crate) fn ports(service: &Service, pod: &Pod) -> Vec<EndpointPort> {
    let ports = service.spec.as_ref().and_then(|spec| spec.ports.as_ref());
    let resolved = ports.into_iter().flatten().filter_map(|port| {
        Some(EndpointPort {
            // The API server writes the empty name of a lone port out; so must we, or the two never agree.
            name: Some(port.name.clone().unwrap_or_default()),
            protocol: Some(protocol(port).to_owned()),
            port: Some(number(port, pod)?),
            app_protocol: port.app_protocol.clone(),
        })
    });
    resolved.collect()
}

fn protocol(port: &ServicePort) -> &str {
    port.protocol.as_deref().unwrap_or("TCP")
}

fn number(port: &ServicePort, pod: &Pod) -> Option<i32> {
    let name = match &port.target_port {
        None | Some(IntOrString::Int(0)) => return Some(port.port),
        Some(IntOrString::Int(number)) => return Some(*number),
        Some(IntOrString::String(name)) => name,
    };
    let spec = pod.spec.as_ref()?;
    let sidecars = spec.init_containers.iter().flatten();
    let sidecars = sidecars.filter(|container| container.restart_policy.as_deref() == Some("Always"));
    let mut ports =
        spec.containers.iter().chain(sidecars).flat_map(|container| container.ports.iter().flatten());
    let matches = |held: &&k8s_openapi::api::core::v1::ContainerPort| {
        held.name.as_ref() == Some(name) && held.protocol.as_deref().unwrap_or("TCP") == protocol(port)
    };
    ports.find(matches).map(|port| port.container_port)
}
