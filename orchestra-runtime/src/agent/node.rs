//! The Node object and its Lease.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::{Node, NodeAddress, NodeCondition, NodeStatus, NodeSystemInfo};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, OwnerReference};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::json;

use super::context::Context;
use super::machine::Machine;
use crate::pod::status::time;

/// How often the lease is renewed, and for how long it is good.
const RENEW: Duration = Duration::from_secs(10);
const LEASE_SECONDS: i32 = 40;
/// How often the status is written though nothing changed.
const HEARTBEAT: Duration = Duration::from_secs(300);
/// Where leases of nodes are.
const LEASES: &str = "kube-node-lease";

/// Who the node is.
#[derive(Clone, Debug)]
pub(super) struct NodeIdentity {
    pub(super) name: String,
    pub(super) address: IpAddr,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) capacity: BTreeMap<String, String>,
    /// `name://version`
    pub(super) runtime: String,
}

/// Registers the node and keeps it alive, for ever.
pub(super) async fn keep(context: &Context, identity: &NodeIdentity) {
    let mut wait = Duration::from_millis(50);
    let node = loop {
        match register(context, identity).await {
            Ok(node) => break node,
            Err(error) => tracing::warn!(node = identity.name, %error, "the node could not be registered"),
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(Duration::from_secs(5));
    };
    let mut last_status = tokio::time::Instant::now();
    loop {
        if let Err(error) = renew(context, &node).await {
            tracing::warn!(node = identity.name, %error, "the lease of the node could not be renewed");
        }
        tokio::time::sleep(RENEW).await;
        if last_status.elapsed() >= HEARTBEAT {
            // Somebody may have deleted the Node; then it is made again.
            match register(context, identity).await {
                Ok(_) => last_status = tokio::time::Instant::now(),
                Err(error) => {
                    tracing::warn!(node = identity.name, %error, "the node's status could not be written")
                }
            }
        }
    }
}

async fn register(context: &Context, identity: &NodeIdentity) -> kube::Result<Node> {
    let api: Api<Node> = Api::all(context.client.clone());
    let now = context.clock.now();
    let node = match api.get_opt(&identity.name).await? {
        Some(found) => {
            let labels = json!({"metadata": {"labels": labels(identity)}});
            let all_there = labels["metadata"]["labels"].as_object().is_some_and(|wanted| {
                wanted.iter().all(|(k, v)| found.labels().get(k).map(String::as_str) == v.as_str())
            });
            if all_there {
                found
            } else {
                api.patch(&identity.name, &PatchParams::default(), &Patch::Merge(&labels)).await?
            }
        }
        None => {
            let metadata = ObjectMeta {
                name: Some(identity.name.clone()),
                labels: Some(labels(identity)),
                ..ObjectMeta::default()
            };
            let fresh = Node { metadata, ..Node::default() };
            match api.create(&PostParams::default(), &fresh).await {
                Err(kube::Error::Api(refused)) if refused.code == 409 => api.get(&identity.name).await?,
                other => other?,
            }
        }
    };
    let status = status(identity, node.status.as_ref(), now);
    let patch = json!({"status": status});
    api.patch_status(&identity.name, &PatchParams::default(), &Patch::Strategic(&patch)).await
}

fn labels(identity: &NodeIdentity) -> BTreeMap<String, String> {
    let machine = Machine::this();
    let mut labels = BTreeMap::new();
    for prefix in ["kubernetes.io", "beta.kubernetes.io"] {
        labels.insert(format!("{prefix}/os"), std::env::consts::OS.to_owned());
        labels.insert(format!("{prefix}/arch"), machine.architecture.to_owned());
    }
    labels.insert("kubernetes.io/hostname".to_owned(), identity.name.clone());
    labels.extend(identity.labels.clone());
    labels
}

fn status(identity: &NodeIdentity, old: Option<&NodeStatus>, now: Timestamp) -> NodeStatus {
    let machine = Machine::this();
    let amounts: BTreeMap<String, Quantity> =
        identity.capacity.iter().map(|(k, v)| (k.clone(), Quantity(v.clone()))).collect();
    let address = |kind: &str, address: String| NodeAddress { type_: kind.to_owned(), address };
    let version = concat!("v1.36.0+orchestra-", env!("CARGO_PKG_VERSION")).to_owned();
    let conditions = [
        ("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        ("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
    ];
    let condition = |(kind, status, reason, message): (&str, &str, &str, &str)| {
        let before =
            old.and_then(|s| s.conditions.as_ref()?.iter().find(|c| c.type_ == kind && c.status == status));
        NodeCondition {
            type_: kind.to_owned(),
            status: status.to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message.to_owned()),
            last_heartbeat_time: Some(time(now)),
            last_transition_time: before.and_then(|c| c.last_transition_time.clone()).or(Some(time(now))),
        }
    };
    NodeStatus {
        addresses: Some(vec![
            address("InternalIP", identity.address.to_string()),
            address("Hostname", identity.name.clone()),
        ]),
        capacity: Some(amounts.clone()),
        allocatable: Some(amounts),
        conditions: Some(conditions.into_iter().map(condition).collect()),
        node_info: Some(NodeSystemInfo {
            architecture: machine.architecture.to_owned(),
            boot_id: machine.boot_id,
            container_runtime_version: identity.runtime.clone(),
            kernel_version: machine.kernel,
            kube_proxy_version: String::new(),
            kubelet_version: version,
            machine_id: machine.machine_id.clone(),
            operating_system: std::env::consts::OS.to_owned(),
            os_image: machine.os_image,
            system_uuid: machine.machine_id,
            ..NodeSystemInfo::default()
        }),
        ..NodeStatus::default()
    }
}

/// Renews the lease, or makes it.
async fn renew(context: &Context, node: &Node) -> kube::Result<()> {
    let api: Api<Lease> = Api::namespaced(context.client.clone(), LEASES);
    let name = node.name_any();
    let renew_time = MicroTime(context.clock.now());
    let patch = json!({"spec": {"renewTime": renew_time}});
    match api.patch(&name, &PatchParams::default(), &Patch::Merge(&patch)).await {
        Err(kube::Error::Api(refused)) if refused.code == 404 => {}
        other => return other.map(drop),
    }
    let owner = OwnerReference {
        api_version: "v1".to_owned(),
        kind: "Node".to_owned(),
        name: name.clone(),
        uid: node.uid().unwrap_or_default(),
        ..OwnerReference::default()
    };
    let lease = Lease {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        spec: Some(LeaseSpec {
            holder_identity: Some(name),
            lease_duration_seconds: Some(LEASE_SECONDS),
            renew_time: Some(renew_time),
            ..LeaseSpec::default()
        }),
    };
    api.create(&PostParams::default(), &lease).await.map(drop)
}
