//! What an object may have alone in the whole cluster: the addresses and node ports of Services.
//!
//! Each claim is a key of its own, taken in the same transaction that writes the object. Two servers, or one that is
//! killed at any instant, can therefore never give one address to two Services, and none is ever leaked.

use std::collections::BTreeSet;

use orchestra_store::{Key, KeyRange, Revision, Txn};
use serde_json::Value;

use super::meta;
use super::resource::Resource;

const CLUSTER_IPS: &str = "/orchestra/claims/cluster-ip/";
const NODE_PORTS: &str = "/orchestra/claims/node-port/";

/// The keys of all claimed cluster IPs.
pub(crate) fn cluster_ips() -> KeyRange {
    KeyRange::prefix(CLUSTER_IPS)
}

/// The keys of all claimed node ports.
pub(crate) fn node_ports() -> KeyRange {
    KeyRange::prefix(NODE_PORTS)
}

/// What a key of one of the two ranges claims.
pub(crate) fn claimed(key: &Key) -> Option<&str> {
    std::str::from_utf8(key.as_bytes()).ok()?.rsplit('/').next()
}

/// What a Service claims.
fn of_service(service: &Value) -> BTreeSet<String> {
    let ips = service.pointer("/spec/clusterIPs").and_then(Value::as_array).into_iter().flatten();
    let ips = ips.filter_map(Value::as_str).filter(|ip| *ip != "None" && !ip.is_empty());
    let ports = service.pointer("/spec/ports").and_then(Value::as_array).into_iter().flatten();
    let ports = ports.filter_map(|port| port.get("nodePort")?.as_u64()).filter(|port| *port != 0);
    let health =
        service.pointer("/spec/healthCheckNodePort").and_then(Value::as_u64).filter(|port| *port != 0);
    ips.map(|ip| format!("{CLUSTER_IPS}{ip}"))
        .chain(ports.chain(health).map(|port| format!("{NODE_PORTS}{port}")))
        .collect()
}

/// Adds to a transaction what takes the new claims of an object and gives back those it no longer has.
pub(crate) fn take_and_give(
    resource: &Resource,
    old: Option<&Value>,
    new: Option<&Value>,
    mut txn: Txn,
) -> Txn {
    if !resource.is("", "services") {
        return txn;
    }
    let before = old.map(of_service).unwrap_or_default();
    let after = new.map(of_service).unwrap_or_default();
    let owner = new.map(|o| format!("{}/{}", meta::text(o, "namespace"), meta::name(o))).unwrap_or_default();
    for taken in after.difference(&before) {
        let key = Key::from(taken.as_str());
        txn = txn.when(key.clone(), Revision::NONE).put(key, owner.clone());
    }
    for given in before.difference(&after) {
        txn = txn.delete(Key::from(given.as_str()));
    }
    txn
}
