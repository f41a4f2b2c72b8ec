//! The objects every cluster has from its first moment: namespaces, priority classes, the server's own Service.
//!
//! They are written in as few transactions as a store's limits allow, and only those that are missing: a start on old data
//! costs reads only, and one that follows a start cut short between two transactions writes the rest.

use std::net::SocketAddr;

use orchestra_core::kinds::{flow_control, resource_metrics};
use orchestra_store::limits::MAX_TXN_OPS;
use orchestra_store::{Outcome, ReadAt, Revision, Txn};
use serde_json::{Value, json};

use crate::aggregate;
use crate::auth::rbac;
use crate::cluster_info;
use crate::state::State;
use crate::status::StatusError;
use crate::storage::resource::Resource;
use crate::storage::{claims, meta};

/// Makes what is missing.
pub(crate) async fn bootstrap(state: &State, advertised: Option<SocketAddr>) -> Result<(), StatusError> {
    // Another server on the same store may be at it, too.
    for _ in 0..8 {
        if attempt(state, advertised).await? {
            return Ok(());
        }
    }
    Err(StatusError::internal("the store changed under every attempt"))
}

/// Makes what is missing once; `false` when somebody else wrote meanwhile.
async fn attempt(state: &State, advertised: Option<SocketAddr>) -> Result<bool, StatusError> {
    let mut txn = Txn::new();
    for object in objects(state, advertised) {
        let one = writes(state, object).await?;
        if !fits(&txn, &one) && !commit(state, std::mem::take(&mut txn)).await? {
            return Ok(false);
        }
        txn.compares.extend(one.compares);
        txn.ops.extend(one.ops);
    }
    commit(state, txn).await
}

/// Whether a store takes both in one transaction.
fn fits(txn: &Txn, more: &Txn) -> bool {
    txn.ops.len() + more.ops.len() <= MAX_TXN_OPS && txn.compares.len() + more.compares.len() <= MAX_TXN_OPS
}

async fn commit(state: &State, txn: Txn) -> Result<bool, StatusError> {
    if txn.ops.is_empty() {
        return Ok(true);
    }
    Ok(state.store.commit(txn).await?.outcome == Outcome::Applied)
}

/// What is to be written so that `object` is there; nothing when it is.
async fn writes(state: &State, mut object: Value) -> Result<Txn, StatusError> {
    let txn = Txn::new();
    let text = |field: &str| object.get(field).and_then(Value::as_str).unwrap_or_default();
    let resource =
        state.catalog.iter().find(|r| r.api_version == text("apiVersion") && r.kind_name() == text("kind"));
    // A registry of one's own may leave kinds out.
    let Some(resource) = resource else { return Ok(txn) };
    let key = resource.key(meta::namespace(&object), meta::name(&object));
    if let Some(entry) = state.store.get(&key, ReadAt::Latest).await?.value {
        let next = refreshed(&resource, resource.tree(&entry)?, object);
        return Ok(match next {
            Some(next) => txn.when(key.clone(), entry.mod_revision).put(key, resource.encode(&next)),
            None => txn,
        });
    }
    meta::set(&mut object, "uid", state.chance.uuid());
    meta::set(&mut object, "creationTimestamp", state.stamp());
    resource.kind.default(&mut object);
    resource.complete(&mut object);
    resource.kind.prepare_create(&mut object);
    if resource.is("", "namespaces") {
        object["status"] = json!({"phase": "Active"});
    }
    if resource.is("networking.k8s.io", "servicecidrs") {
        object["status"] = json!({"conditions": [{
            "type": "Ready", "status": "True", "reason": "", "lastTransitionTime": state.stamp(),
            "message": "Kubernetes default Service CIDR is ready",
        }]});
    }
    resource.complete(&mut object);
    let txn = claims::take_and_give(&resource, None, Some(&object), txn.when(key.clone(), Revision::NONE));
    Ok(txn.put(key, resource.encode(&object)))
}

/// What is stored, with what has to be otherwise at this start; `None` when it is right as it is.
fn refreshed(resource: &Resource, mut stored: Value, mut object: Value) -> Option<Value> {
    if resource.gr.group == rbac::GROUP {
        return rbac::bootstrap::reconciled(&stored, &object);
    }
    if resource.is("", "configmaps") {
        return cluster_info::merged(&stored, &object);
    }
    // The server may be found at another address than last time.
    let fields: &[&str] = if resource.is("discovery.k8s.io", "endpointslices") {
        &["endpoints", "ports", "addressType"]
    } else if resource.is("", "endpoints") {
        &["subsets"]
    } else {
        return None;
    };
    if same_place(&stored, &object) {
        return None;
    }
    for field in fields {
        stored[*field] = object[*field].take();
    }
    resource.complete(&mut stored);
    Some(stored)
}

/// Whether two slices, or two Endpoints, lead to the same address and port.
fn same_place(a: &Value, b: &Value) -> bool {
    ["/endpoints/0/addresses", "/ports/0/port", "/subsets/0/addresses/0/ip", "/subsets/0/ports/0/port"]
        .iter()
        .all(|at| a.pointer(at) == b.pointer(at))
}

fn objects(state: &State, advertised: Option<SocketAddr>) -> Vec<Value> {
    let mut out: Vec<Value> = ["default", "kube-system", "kube-public", "kube-node-lease"]
        .iter()
        .map(|name| {
            json!({
                "apiVersion": "v1", "kind": "Namespace",
                "metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name}},
                "spec": {"finalizers": ["kubernetes"]},
            })
        })
        .collect();
    let classes = [
        (
            "system-cluster-critical",
            2_000_000_000,
            "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
        ),
        (
            "system-node-critical",
            2_000_001_000,
            "Used for system critical pods that must not be moved from their current node.",
        ),
    ];
    for (name, value, description) in classes {
        out.push(json!({
            "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass",
            "metadata": {"name": name}, "value": value, "description": description,
            "preemptionPolicy": "PreemptLowerPriority",
        }));
    }
    out.push(json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR", "metadata": {"name": "kubernetes"},
        "spec": {"cidrs": [state.network.cidr.trunc().to_string()]},
    }));
    let ip = state.network.first_ip().to_string();
    let family = if state.network.first_ip().is_ipv4() { "IPv4" } else { "IPv6" };
    let labels = json!({"component": "apiserver", "provider": "kubernetes"});
    let port = advertised.map_or(6443, |address| address.port());
    out.push(json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "kubernetes", "namespace": "default", "labels": labels},
        "spec": {
            "type": "ClusterIP", "clusterIP": ip, "clusterIPs": [ip],
            "ipFamilies": [family], "ipFamilyPolicy": "SingleStack", "sessionAffinity": "None",
            "internalTrafficPolicy": "Cluster",
            "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": port}],
        },
    }));
    if let Some(address) = advertised {
        out.push(json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {
                "name": "kubernetes", "namespace": "default",
                "labels": {"kubernetes.io/service-name": "kubernetes"},
            },
            "addressType": if address.is_ipv4() { "IPv4" } else { "IPv6" },
            "endpoints": [{"addresses": [address.ip().to_string()], "conditions": {"ready": true}}],
            "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
        }));
    }
    if let Some(address) = advertised {
        out.push(json!({
            "apiVersion": "v1", "kind": "Endpoints",
            "metadata": {
                "name": "kubernetes", "namespace": "default",
                // The slice above says the same.
                "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"},
            },
            "subsets": [{
                "addresses": [{"ip": address.ip().to_string()}],
                "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
            }],
        }));
    }
    out.extend(aggregate::local(&state.catalog));
    if let Some(front) = &state.aggregated.front_proxy {
        out.push(aggregate::authentication(front));
        if let Some(address) = advertised {
            out.extend(cluster_info::objects(address, &front.client_authority));
        }
    }
    out.extend(flow_control::objects());
    out.extend(rbac::bootstrap::objects());
    let gv = resource_metrics::GROUP_VERSION;
    if state.catalog.builtin_of(&gv.group).next().is_some() {
        out.push(rbac::bootstrap::metrics_reader());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn puts(count: usize) -> Txn {
        (0..count).fold(Txn::new(), |txn, n| txn.put(format!("{n}").as_str().into(), "value"))
    }

    #[test]
    fn a_transaction_is_full_at_what_a_store_takes_at_once() {
        assert!(fits(&puts(MAX_TXN_OPS - 1), &puts(1)));
        // A Service is written together with its address.
        assert!(!fits(&puts(MAX_TXN_OPS - 1), &puts(2)));
        let compares = (0..MAX_TXN_OPS)
            .fold(Txn::new(), |txn, n| txn.when(format!("{n}").as_str().into(), Revision::NONE));
        assert!(!fits(&compares, &Txn::new().when("more".into(), Revision::NONE)));
    }

    #[test]
    fn the_roles_and_bindings_alone_are_more_than_one_transaction_takes() {
        assert!(rbac::bootstrap::objects().len() > MAX_TXN_OPS);
    }
}
