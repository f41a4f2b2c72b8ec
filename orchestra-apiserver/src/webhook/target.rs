//! At which addresses an endpoint is.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use orchestra_core::gvk::GroupVersion;
use serde_json::Value;

use super::endpoint::Place;
use crate::cache::feed::Feed;
use crate::cache::object::Object;
use crate::catalog::Catalog;
use crate::status::StatusError;
use crate::storage::resource::Resource;

const CORE: GroupVersion = GroupVersion::new("", "v1");
const DISCOVERY: GroupVersion = GroupVersion::new("discovery.k8s.io", "v1");

/// To which addresses of its own machine and link the server may be sent by a webhook's URL.
///
/// Who writes webhook configurations chooses where the server connects to, and learns from errors what answers there. Upstream
/// lets them choose any address. Here link-local addresses, where clouds keep credentials for a machine, are
/// refused unless allowed; loopback addresses are allowed, as upstream, and can be forbidden. The addresses that a name
/// leads to are looked at, not the name. Multicast and unspecified addresses are never asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WebhookTargets {
    /// 127.0.0.0/8 and ::1.
    pub loopback: bool,
    /// 169.254.0.0/16 and fe80::/10.
    pub link_local: bool,
}

impl Default for WebhookTargets {
    fn default() -> Self {
        Self { loopback: true, link_local: false }
    }
}

impl WebhookTargets {
    /// Loopback addresses are allowed, link-local ones are not.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether loopback addresses may be asked.
    #[must_use]
    pub fn loopback(mut self, allowed: bool) -> Self {
        self.loopback = allowed;
        self
    }

    /// Whether link-local addresses may be asked.
    #[must_use]
    pub fn link_local(mut self, allowed: bool) -> Self {
        self.link_local = allowed;
        self
    }

    fn allows(self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        if ip.is_loopback() {
            return self.loopback;
        }
        let is_link_local = match ip {
            IpAddr::V4(v4) => v4.is_link_local(),
            IpAddr::V6(v6) => v6.is_unicast_link_local(),
        };
        if is_link_local {
            return self.link_local;
        }
        !ip.is_unspecified() && !ip.is_multicast() && ip != IpAddr::V4(Ipv4Addr::BROADCAST)
    }
}

/// Finds addresses: of hosts by asking the resolver, of services in the watch cache.
pub(super) struct Finder {
    feed: Arc<Feed>,
    services: Option<Arc<Resource>>,
    slices: Option<Arc<Resource>>,
    allowed: WebhookTargets,
}

impl Finder {
    pub(super) fn new(feed: &Arc<Feed>, catalog: &Catalog, allowed: WebhookTargets) -> Self {
        let services = catalog.find(&CORE, "services");
        let slices = catalog.find(&DISCOVERY, "endpointslices");
        Self { feed: feed.clone(), services, slices, allowed }
    }

    /// Addresses to try in this order; an error reads as Go's dialer puts it.
    pub(super) async fn find(&self, place: &Place) -> Result<Vec<SocketAddr>, String> {
        let found = match place {
            Place::Host(host, port) => look_up(host, *port).await?,
            Place::Service { namespace, name, port } => {
                let found = self.service(namespace, name, *port).await;
                found.map_err(|error| error.to_string())??
            }
        };
        let (allowed, refused): (Vec<_>, Vec<_>) =
            found.into_iter().partition(|address| self.allowed.allows(address.ip()));
        match (allowed.is_empty(), refused.first()) {
            (true, Some(address)) => Err(format!("dial tcp {address}: address not allowed")),
            _ => Ok(allowed),
        }
    }

    async fn service(
        &self,
        namespace: &str,
        name: &str,
        port: u16,
    ) -> Result<Result<Vec<SocketAddr>, String>, StatusError> {
        let missing = || Ok(Err(format!("service {name:?} not found")));
        let (Some(services), Some(slices)) = (&self.services, &self.slices) else { return missing() };
        let service = self.feed.collection(services).await?.get(&format!("{namespace}/{name}"));
        let Some(service) = service else { return missing() };
        let service: Value =
            serde_json::from_slice(&service.encoded.json()).map_err(StatusError::internal)?;
        if service.pointer("/spec/type").and_then(Value::as_str) == Some("ExternalName") {
            let host = service.pointer("/spec/externalName").and_then(Value::as_str).unwrap_or_default();
            return Ok(look_up(host, port).await);
        }
        let ports = service.pointer("/spec/ports").and_then(Value::as_array).into_iter().flatten();
        let mut ports = ports.filter(|one| one.get("port").and_then(Value::as_u64) == Some(port.into()));
        let Some(wanted) = ports.next() else {
            return Ok(Err(format!("no service port {port} found for service {name:?}")));
        };
        let wanted = wanted.get("name").and_then(Value::as_str).unwrap_or_default();
        let collection = self.feed.collection(slices).await?;
        let of_service = |labels: Option<&serde_json::Map<String, Value>>| {
            labels.and_then(|labels| labels.get("kubernetes.io/service-name")?.as_str()) == Some(name)
        };
        let of_service = |slice: &Object| of_service(slice.labels(slices));
        let snapshot = collection.snapshot(&format!("{namespace}/"), "", usize::MAX, Some(&of_service));
        let mut found = Vec::new();
        for slice in snapshot.objects {
            let slice: Value =
                serde_json::from_slice(&slice.encoded.json()).map_err(StatusError::internal)?;
            found.extend(endpoints(&slice, wanted));
        }
        if found.is_empty() {
            return Ok(Err(format!("no endpoints available for service {name:?}")));
        }
        Ok(Ok(found))
    }
}

/// The ready addresses of a slice, at the port of that name.
fn endpoints(slice: &Value, port: &str) -> Vec<SocketAddr> {
    let list = |field: &str| slice.get(field).and_then(Value::as_array).into_iter().flatten();
    let name = |port: &Value| port.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    let number = list("ports").find(|one| name(one) == port).and_then(|one| one.get("port")?.as_u64());
    let Some(number) = number.and_then(|number| u16::try_from(number).ok()) else { return Vec::new() };
    let is_ready = |one: &&Value| one.pointer("/conditions/ready").and_then(Value::as_bool).unwrap_or(true);
    let addresses =
        list("endpoints").filter(is_ready).filter_map(|one| one.pointer("/addresses/0")?.as_str());
    addresses.filter_map(|text| Some(SocketAddr::new(text.parse().ok()?, number))).collect()
}

async fn look_up(host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    match tokio::net::lookup_host((host, port)).await {
        Ok(found) => Ok(found.collect()),
        Err(_) => Err(format!("dial tcp: lookup {host}: no such host")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn where_credentials_lie_is_not_asked() {
        let default = WebhookTargets::new();
        for (ip, allowed) in [
            ("127.0.0.1", true),
            ("::1", true),
            ("10.0.0.1", true),
            ("169.254.169.254", false),
            ("::ffff:169.254.169.254", false),
            ("fe80::1", false),
            ("0.0.0.0", false),
            ("::", false),
            ("224.0.0.1", false),
            ("255.255.255.255", false),
        ] {
            assert_eq!(default.allows(ip.parse().unwrap()), allowed, "{ip}");
        }
        let other = WebhookTargets::new().loopback(false).link_local(true);
        assert!(
            !other.allows("127.0.0.1".parse().unwrap()) && !other.allows("::ffff:127.0.0.1".parse().unwrap())
        );
        assert!(other.allows("169.254.1.1".parse().unwrap()));
    }

    #[test]
    fn only_ready_endpoints_of_the_port_are_asked() {
        let slice = json!({
            "ports": [{"name": "a", "port": 1}, {"name": "b", "port": 2}],
            "endpoints": [
                {"addresses": ["10.0.0.1"], "conditions": {"ready": true}},
                {"addresses": ["10.0.0.2"], "conditions": {"ready": false}},
                {"addresses": ["10.0.0.3"]},
            ],
        });
        assert_eq!(endpoints(&slice, "b"), ["10.0.0.1:2".parse().unwrap(), "10.0.0.3:2".parse().unwrap()]);
        assert_eq!(endpoints(&slice, "c"), []);
    }
}
