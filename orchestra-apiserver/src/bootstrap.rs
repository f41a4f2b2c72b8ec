//! The objects every cluster has from its first moment: namespaces, priority classes, the server's own Service.
//!
//! They are written in one transaction, and only those that are missing, so a start on old data costs reads only.

use std::net::SocketAddr;

use orchestra_core::kinds::{flow_control, resource_metrics};
use orchestra_store::{Outcome, ReadAt, Revision, Txn};
use serde_json::{Value, json};

use crate::aggregate;
use crate::auth::rbac;
use crate::cluster_info;
use crate::state::State;
use crate::status::StatusError;
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

async fn attempt(state: &State, advertised: Option<SocketAddr>) -> Result<bool, StatusError> {
    let mut txn = Txn::new();
    for object in objects(state, advertised) {
        let text = |field: &str| object.get(field).and_then(Value::as_str).unwrap_or_default();
        let resource = state
            .catalog
            .iter()
            .find(|r| r.api_version == text("apiVersion") && r.kind_name() == text("kind"));
        // A registry of one's own may leave kinds out.
        let Some(resource) = resource else { continue };
        let key = resource.key(meta::namespace(&object), meta::name(&object));
        let mut object = object;
        let found = state.store.get(&key, ReadAt::Latest).await?.value;
        if let Some(entry) = found {
            // The server may be found at another address than last time.
            let mut stored = resource.tree(&entry)?;
            if resource.gr.group == rbac::GROUP {
                if let Some(next) = rbac::bootstrap::reconciled(&stored, &object) {
                    txn = txn.when(key.clone(), entry.mod_revision).put(key, resource.encode(&next));
                }
            } else if resource.is("discovery.k8s.io", "endpointslices") && !same_place(&stored, &object) {
                stored["endpoints"] = object["endpoints"].take();
                stored["ports"] = object["ports"].take();
                stored["addressType"] = object["addressType"].take();
                resource.complete(&mut stored);
                txn = txn.when(key.clone(), entry.mod_revision).put(key, resource.encode(&stored));
            } else if resource.is("", "configmaps")
                && let Some(next) = cluster_info::merged(&stored, &object)
            {
                txn = txn.when(key.clone(), entry.mod_revision).put(key, resource.encode(&next));
            } else if resource.is("", "endpoints") && !same_place(&stored, &object) {
                stored["subsets"] = object["subsets"].take();
                resource.complete(&mut stored);
                txn = txn.when(key.clone(), entry.mod_revision).put(key, resource.encode(&stored));
            }
            continue;
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
        txn = claims::take_and_give(&resource, None, Some(&object), txn.when(key.clone(), Revision::NONE));
        txn = txn.put(key, resource.encode(&object));
    }
    if txn.ops.is_empty() {
        return Ok(true);
    }
    Ok(state.store.commit(txn).await?.outcome == Outcome::Applied)
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
