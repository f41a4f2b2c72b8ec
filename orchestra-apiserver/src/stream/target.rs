//! Where a proxied request goes: the address behind `pods/NAME:PORT/proxy` and its like.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use orchestra_core::gvk::GroupVersion;
use serde_json::Value;

use crate::state::{Call, State};
use crate::status::StatusError;
use crate::storage::meta;

/// `[scheme:]name[:port]`, the form that names have below `proxy`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Id {
    scheme: String,
    pub(super) name: String,
    pub(super) port: String,
}

impl Id {
    /// Takes a name apart; nothing for what has no such form.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let parts: Vec<&str> = text.split(':').collect();
        let (scheme, name, port) = match parts.as_slice() {
            [name] => ("", *name, ""),
            [name, port] => ("", *name, *port),
            [scheme, name, port] => (*scheme, *name, *port),
            _ => return None,
        };
        let known = matches!(scheme, "" | "http" | "https");
        (known && !name.is_empty()).then(|| Self {
            scheme: scheme.to_owned(),
            name: name.to_owned(),
            port: port.to_owned(),
        })
    }
}

/// What answers a proxied request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// Something that listens there.
    Address(IpAddr, u16),
    /// The agent of a node.
    Agent(String),
}

impl Target {
    /// The host in addresses that the target gives of itself.
    pub(super) fn host(&self) -> String {
        match self {
            Self::Address(ip, port) => SocketAddr::new(*ip, *port).to_string(),
            Self::Agent(node) => node.clone(),
        }
    }
}

/// Finds the target that the call's name means.
pub(super) async fn find(state: &State, call: &Call) -> Result<Target, StatusError> {
    let text = call.request.name.as_deref().unwrap_or_default();
    let what = call.resource.description().singular.to_string();
    let id = Id::parse(text)
        .ok_or_else(|| StatusError::bad_request(format!("invalid {what} request {text:?}")))?;
    if id.scheme == "https" {
        return Err(StatusError::bad_request("this server does not proxy to https"));
    }
    match call.request.resource.as_str() {
        "pods" => pod(state, call, &id).await,
        "services" => service(state, call, &id, text).await,
        _ => node(state, call, &id).await,
    }
}

/// The object that the part of the name before the port names.
async fn object(state: &State, call: &Call, id: &Id) -> Result<Value, StatusError> {
    let gv = &call.resource.description().gv;
    let namespace = call.namespace().unwrap_or_default();
    let found = state.reader.get(gv, &call.request.resource, namespace, &id.name).await?;
    found.ok_or_else(|| call.resource.not_found(&id.name))
}

async fn pod(state: &State, call: &Call, id: &Id) -> Result<Target, StatusError> {
    let pod = object(state, call, id).await?;
    let ip = pod.pointer("/status/podIP").and_then(Value::as_str).unwrap_or_default();
    let port = match id.port.as_str() {
        "" => first_port(&pod).unwrap_or(80),
        port => number(port)?,
    };
    Ok(Target::Address(allowed(ip, state.loopback_endpoints)?, port))
}

fn first_port(pod: &Value) -> Option<u16> {
    let containers = pod.pointer("/spec/containers")?.as_array()?;
    let ports = containers.iter().filter_map(|c| c.get("ports")?.as_array()).flatten();
    ports.filter_map(|port| port.get("containerPort")?.as_u64()).find_map(|port| u16::try_from(port).ok())
}

async fn service(state: &State, call: &Call, id: &Id, text: &str) -> Result<Target, StatusError> {
    let service = object(state, call, id).await?;
    let nothing = || StatusError::unavailable(format!("no endpoints available for service {text:?}"));
    let name = port_name(&service, id)?;
    let found = ready_endpoints(state, call.namespace().unwrap_or_default(), &id.name, &name).await?;
    let drawn = state.chance.below(found.len().max(1) as u64);
    let (address, port) = found.get(usize::try_from(drawn).unwrap_or_default()).ok_or_else(nothing)?;
    Ok(Target::Address(allowed(address, state.loopback_endpoints)?, *port))
}

/// Where a port of a service is answered.
pub(crate) async fn ready_endpoints(
    state: &State,
    namespace: &str,
    service: &str,
    name: &str,
) -> Result<Vec<(String, u16)>, StatusError> {
    let gv = GroupVersion { group: "discovery.k8s.io".into(), version: "v1".into() };
    let slices = state.reader.list(&gv, "endpointslices", Some(namespace)).await?;
    let mut found = Vec::new();
    for slice in slices.iter().filter(|slice| belongs(slice, service)) {
        let ports = slice.get("ports").and_then(Value::as_array).into_iter().flatten();
        let named = |port: &&Value| port.get("name").and_then(Value::as_str).unwrap_or_default() == name;
        let Some(port) = ports.filter(named).find_map(|port| port.get("port")?.as_u64()) else { continue };
        let Ok(port) = u16::try_from(port) else { continue };
        let endpoints = slice.get("endpoints").and_then(Value::as_array).into_iter().flatten();
        let ready = |e: &&Value| e.pointer("/conditions/ready").and_then(Value::as_bool).unwrap_or(true);
        let addresses = endpoints.filter(ready).filter_map(|e| e.pointer("/addresses/0")?.as_str());
        found.extend(addresses.map(|address| (address.to_owned(), port)));
    }
    Ok(found)
}

fn belongs(slice: &Value, service: &str) -> bool {
    let label = slice.pointer("/metadata/labels/kubernetes.io~1service-name");
    label.and_then(Value::as_str) == Some(service)
}

/// The name of the service's port: given by name, by number, or the only one.
fn port_name(service: &Value, id: &Id) -> Result<String, StatusError> {
    let ports =
        service.pointer("/spec/ports").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let name = |port: &Value| label(port).to_owned();
    if id.port.is_empty() {
        return Ok(match ports {
            [only] => name(only),
            _ => String::new(),
        });
    }
    let Ok(wanted) = id.port.parse::<u64>() else { return Ok(id.port.clone()) };
    let found = ports.iter().find(|port| port.get("port").and_then(Value::as_u64) == Some(wanted));
    found.map(name).ok_or_else(|| {
        StatusError::unavailable(format!("no service port {wanted} found for service {:?}", id.name))
    })
}

fn label(port: &Value) -> &str {
    port.get("name").and_then(Value::as_str).unwrap_or_default()
}

async fn node(state: &State, call: &Call, id: &Id) -> Result<Target, StatusError> {
    let node = object(state, call, id).await?;
    let own = node.pointer("/status/daemonEndpoints/kubeletEndpoint/Port").and_then(Value::as_u64);
    if id.port.is_empty() || id.port.parse().ok() == own.or(Some(10250)) {
        return Ok(Target::Agent(meta::name(&node).to_owned()));
    }
    let port = number(&id.port)?;
    let addresses = node.pointer("/status/addresses").and_then(Value::as_array).into_iter().flatten();
    let internal = |a: &&Value| a.get("type").and_then(Value::as_str) == Some("InternalIP");
    let ip = addresses.filter(internal).find_map(|a| a.get("address")?.as_str()).unwrap_or_default();
    Ok(Target::Address(allowed(ip, state.loopback_endpoints)?, port))
}

fn number(port: &str) -> Result<u16, StatusError> {
    match port.parse() {
        Ok(port @ 1..) => Ok(port),
        _ => Err(StatusError::bad_request(format!("invalid port {port:?}"))),
    }
}

/// Addresses that belong to a machine alone, or to none, are no targets: whoever may write a pod's status would reach
/// what listens beside this server. The `local` network has its pods on loopback addresses, but none below 127.1.0.0.
pub(crate) fn allowed(text: &str, loopback: bool) -> Result<IpAddr, StatusError> {
    let refused = || StatusError::bad_request("address not allowed");
    let ip: IpAddr = text.parse().map_err(|_| refused())?;
    let ip = ip.to_canonical();
    let global = match ip {
        IpAddr::V4(v4) if v4.is_loopback() => loopback && v4.octets()[1] != 0,
        IpAddr::V4(v4) => {
            !(v4.is_unspecified() || v4.is_multicast() || v4.is_link_local() || v4 == Ipv4Addr::BROADCAST)
        }
        IpAddr::V6(v6) => {
            !(v6.is_loopback() || v6.is_unspecified() || v6.is_multicast() || v6.is_unicast_link_local())
        }
    };
    if global { Ok(ip) } else { Err(refused()) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn id(text: &str) -> Option<(String, String, String)> {
        Id::parse(text).map(|id| (id.scheme, id.name, id.port))
    }

    #[test]
    fn names_are_taken_apart_as_upstream_does() {
        let of = |s: &str, n: &str, p: &str| Some((s.to_owned(), n.to_owned(), p.to_owned()));
        assert_eq!(id("p"), of("", "p", ""));
        assert_eq!(id("p:80"), of("", "p", "80"));
        assert_eq!(id("https:p:web"), of("https", "p", "web"));
        assert_eq!(id("http:p:"), of("http", "p", ""));
        for bad in ["", ":80", "ftp:p:80", "a:b:c:d"] {
            assert_eq!(id(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_machines_own_addresses_are_no_targets() {
        for bad in [
            "",
            "x",
            "127.0.0.1",
            "::1",
            "0.0.0.0",
            "::",
            "169.254.169.254",
            "fe80::1",
            "224.0.0.1",
            "ff02::1",
            "255.255.255.255",
            "::ffff:127.0.0.1",
            "127.70.0.20",
        ] {
            assert!(allowed(bad, false).is_err(), "{bad}");
        }
        for good in ["10.1.2.3", "192.168.0.1", "fd00::1", "8.8.8.8"] {
            assert!(allowed(good, false).is_ok(), "{good}");
        }
        assert!(allowed("127.70.0.20", true).is_ok());
        assert!(allowed("127.0.0.1", true).is_err() && allowed("::ffff:127.0.0.1", true).is_err());
    }

    #[test]
    fn a_service_port_is_meant_by_name_by_number_or_alone() {
        let service = json!({"spec": {"ports": [{"name": "a", "port": 80}, {"name": "b", "port": 81}]}});
        let named = |text: &str| port_name(&service, &Id::parse(text).unwrap()).map_err(|e| e.to_string());
        assert_eq!(named("s:b"), Ok("b".to_owned()));
        assert_eq!(named("s:80"), Ok("a".to_owned()));
        assert_eq!(named("s:82"), Err("no service port 82 found for service \"s\"".to_owned()));
        let only = json!({"spec": {"ports": [{"port": 80}]}});
        assert_eq!(port_name(&only, &Id::parse("s").unwrap()).unwrap(), "");
    }
}
