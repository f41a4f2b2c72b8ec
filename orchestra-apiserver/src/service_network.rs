//! Cluster IPs and node ports: which there are, and which one a Service gets.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::ops::RangeInclusive;

use ipnet::IpNet;
use orchestra_core::violation::{FieldPath, Violation};
use orchestra_store::{KeyRange, RangeOptions, Store};
use serde_json::{Map, Value, json};

use crate::clock::Chance;
use crate::status::StatusError;
use crate::storage::{claims, meta};

/// What Services are given addresses and ports from.
#[derive(Clone, Debug)]
pub(crate) struct ServiceNetwork {
    pub(crate) cidr: IpNet,
    pub(crate) node_ports: RangeInclusive<u16>,
}

impl ServiceNetwork {
    /// The first address of the range: the API server's own Service.
    pub(crate) fn first_ip(&self) -> IpAddr {
        self.nth(1)
    }

    fn nth(&self, n: u64) -> IpAddr {
        match self.cidr.network() {
            IpAddr::V4(ip) => IpAddr::V4(ip.to_bits().wrapping_add(u32::try_from(n).unwrap_or(0)).into()),
            IpAddr::V6(ip) => IpAddr::V6(ip.to_bits().wrapping_add(u128::from(n)).into()),
        }
    }

    /// How many addresses may be given out, network and broadcast address excluded.
    fn size(&self) -> u64 {
        let bits = u32::from(self.cidr.max_prefix_len() - self.cidr.prefix_len()).min(16);
        (1_u64 << bits).saturating_sub(2)
    }

    fn family(&self) -> &'static str {
        if self.cidr.addr().is_ipv4() { "IPv4" } else { "IPv6" }
    }

    /// Gives a Service the addresses and ports it lacks, and checks those it brings.
    ///
    /// What is free is only looked up here; the transaction that stores the Service takes it.
    pub(crate) async fn allocate(
        &self,
        store: &dyn Store,
        chance: &Chance,
        service: &mut Value,
        old: Option<&Value>,
    ) -> Result<(), StatusError> {
        let name = meta::name(service).to_owned();
        let invalid = |v: Violation| StatusError::invalid("", "Service", &name, &[v]);
        self.allocate_ip(store, chance, service, old).await?.map_err(invalid)?;
        self.allocate_ports(store, chance, service, old).await?.map_err(invalid)
    }

    async fn allocate_ip(
        &self,
        store: &dyn Store,
        chance: &Chance,
        service: &mut Value,
        old: Option<&Value>,
    ) -> Result<Result<(), Violation>, StatusError> {
        let Some(spec) = service.get_mut("spec").and_then(Value::as_object_mut) else { return Ok(Ok(())) };
        let kind = text(spec, "type");
        if kind == "ExternalName" {
            return Ok(Ok(()));
        }
        let given = match text(spec, "clusterIP") {
            "" => {
                spec.get("clusterIPs").and_then(|ips| ips.get(0)).and_then(Value::as_str).unwrap_or_default()
            }
            given => given,
        }
        .to_owned();
        let kept = old.and_then(|o| o.pointer("/spec/clusterIP")).and_then(Value::as_str).unwrap_or_default();
        let ip = match given.as_str() {
            "None" => given,
            "" if !kept.is_empty() && kept != "None" => kept.to_owned(),
            "" => {
                let taken = taken(store, claims::cluster_ips()).await?;
                match self.free_ip(&taken, chance) {
                    Some(ip) => ip.to_string(),
                    None => {
                        return Err(StatusError::internal("failed to allocate a serviceIP: range is full"));
                    }
                }
            }
            wanted if wanted == kept => given,
            wanted => {
                let path = FieldPath::new("spec").child("clusterIPs");
                let refuse = |why: String| Violation::invalid(&path, json!([wanted]), why);
                let in_range = wanted.parse::<IpAddr>().is_ok_and(|ip| self.cidr.contains(&ip));
                if !in_range {
                    let why = format!(
                        "failed to allocate IP {wanted}: the provided network does not match the current range"
                    );
                    return Ok(Err(refuse(why)));
                }
                if taken(store, claims::cluster_ips()).await?.contains(wanted) {
                    let why = format!("failed to allocate IP {wanted}: provided IP is already allocated");
                    return Ok(Err(refuse(why)));
                }
                given
            }
        };
        spec.insert("clusterIP".into(), ip.as_str().into());
        spec.insert("clusterIPs".into(), json!([ip]));
        spec.entry("ipFamilies").or_insert_with(|| json!([self.family()]));
        spec.entry("ipFamilyPolicy").or_insert_with(|| "SingleStack".into());
        Ok(Ok(()))
    }

    fn free_ip(&self, taken: &BTreeSet<String>, chance: &Chance) -> Option<IpAddr> {
        // The lower end is left to those who ask for an address by name, as upstream does.
        let size = self.size();
        let reserved = (size / 16).clamp(1, 256).min(size.saturating_sub(1));
        let open = size - reserved;
        let start = chance.below(open);
        let upper = (0..open).map(|i| reserved + 1 + (start + i) % open);
        upper.chain(2..=reserved).map(|n| self.nth(n)).find(|ip| !taken.contains(&ip.to_string()))
    }

    async fn allocate_ports(
        &self,
        store: &dyn Store,
        chance: &Chance,
        service: &mut Value,
        old: Option<&Value>,
    ) -> Result<Result<(), Violation>, StatusError> {
        let Some(spec) = service.get_mut("spec").and_then(Value::as_object_mut) else { return Ok(Ok(())) };
        let kind = text(spec, "type").to_owned();
        let balancer_ports =
            spec.get("allocateLoadBalancerNodePorts").and_then(Value::as_bool) != Some(false);
        let wants = kind == "NodePort" || (kind == "LoadBalancer" && balancer_ports);
        let Some(ports) = spec.get_mut("ports").and_then(Value::as_array_mut) else { return Ok(Ok(())) };
        if !wants {
            // A Service that no longer has node ports gives them back.
            let had_them = old.is_some() && kind == "ClusterIP";
            for port in ports.iter_mut().filter_map(Value::as_object_mut).filter(|_| had_them) {
                port.remove("nodePort");
            }
            return Ok(Ok(()));
        }
        let mine = old.map(node_ports_of).unwrap_or_default();
        let mut taken: BTreeSet<String> = taken(store, claims::node_ports()).await?;
        taken.retain(|port| !port.parse().is_ok_and(|port| mine.contains(&port)));
        let previous =
            old.and_then(|o| o.pointer("/spec/ports")).and_then(Value::as_array).cloned().unwrap_or_default();
        for (at, port) in ports.iter_mut().enumerate() {
            let Some(port) = port.as_object_mut() else { continue };
            let given = port.get("nodePort").and_then(Value::as_u64).unwrap_or(0);
            let chosen = if given == 0 {
                let same = previous
                    .iter()
                    .find(|p| p.get("port") == port.get("port") && p.get("protocol") == port.get("protocol"));
                let kept = same.and_then(|p| p.get("nodePort")).and_then(Value::as_u64).filter(|p| *p != 0);
                match kept.or_else(|| self.free_port(&taken, chance)) {
                    Some(port) => port,
                    None => {
                        return Err(StatusError::internal("failed to allocate a nodePort: range is full"));
                    }
                }
            } else {
                let path = FieldPath::new("spec").child("ports").index(at).child("nodePort");
                if !u16::try_from(given).is_ok_and(|port| self.node_ports.contains(&port)) {
                    let (low, high) = (self.node_ports.start(), self.node_ports.end());
                    let why = format!(
                        "provided port is not in the valid range. The range of valid ports is {low}-{high}"
                    );
                    return Ok(Err(Violation::invalid(&path, given, why)));
                }
                if taken.contains(&given.to_string()) {
                    return Ok(Err(Violation::invalid(&path, given, "provided port is already allocated")));
                }
                given
            };
            // A port may stand twice in one Service, for TCP and for UDP; a generated one never does.
            if given == 0 {
                taken.insert(chosen.to_string());
            }
            port.insert("nodePort".into(), chosen.into());
        }
        Ok(Ok(()))
    }

    fn free_port(&self, taken: &BTreeSet<String>, chance: &Chance) -> Option<u64> {
        let (low, high) = (u64::from(*self.node_ports.start()), u64::from(*self.node_ports.end()));
        let count = (high + 1).checked_sub(low)?;
        let start = chance.below(count);
        (0..count).map(|i| low + (start + i) % count).find(|port| !taken.contains(&port.to_string()))
    }
}

fn text<'a>(spec: &'a Map<String, Value>, field: &str) -> &'a str {
    spec.get(field).and_then(Value::as_str).unwrap_or_default()
}

fn node_ports_of(service: &Value) -> BTreeSet<u64> {
    let ports = service.pointer("/spec/ports").and_then(Value::as_array).into_iter().flatten();
    ports.filter_map(|port| port.get("nodePort")?.as_u64()).collect()
}

async fn taken(store: &dyn Store, range: KeyRange) -> Result<BTreeSet<String>, StatusError> {
    let page = store.range(range, RangeOptions::new()).await?.value;
    Ok(page.entries.iter().filter_map(|entry| claims::claimed(&entry.key)).map(str::to_owned).collect())
}
