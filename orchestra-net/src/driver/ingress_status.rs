//! Where ingresses answer, written into their status; and the class they belong to.

use std::net::SocketAddr;
use std::sync::Arc;

use k8s_openapi::api::networking::v1::{Ingress, IngressClass, IngressLoadBalancerIngress};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use serde_json::json;

use crate::ingress::plan::{CLASS, CONTROLLER, is_ours};

/// Makes the class of our ingresses, unless somebody already has.
pub(super) async fn ensure_class(client: &Client) {
    let class: Result<IngressClass, _> = serde_json::from_value(json!({
        "metadata": {
            "name": CLASS,
            "annotations": {"ingressclass.kubernetes.io/is-default-class": "true"},
        },
        "spec": {"controller": CONTROLLER},
    }));
    let Ok(class) = class.inspect_err(|problem| tracing::error!(%problem, "the ingress class is malformed"))
    else {
        return;
    };
    match Api::all(client.clone()).create(&PostParams::default(), &class).await {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if status.is_already_exists() => {}
        Err(problem) => tracing::warn!(%problem, "could not make the ingress class"),
    }
}

/// Writes `address` into the status of every ingress of ours that does not show it yet.
pub(super) async fn publish(client: &Client, ingresses: &[Arc<Ingress>], address: SocketAddr) {
    let ip = address.ip().to_string();
    for ingress in ingresses.iter().filter(|ingress| is_ours(ingress) && !shows(ingress, &ip)) {
        let api: Api<Ingress> =
            Api::namespaced(client.clone(), ingress.namespace().as_deref().unwrap_or_default());
        let status = json!({"status": {"loadBalancer": {"ingress": [
            {"ip": ip, "ports": [{"port": address.port(), "protocol": "TCP"}]},
        ]}}});
        let name = ingress.name_any();
        match api.patch_status(&name, &PatchParams::default(), &Patch::Merge(status)).await {
            Ok(_) => {}
            // Deleted meanwhile.
            Err(kube::Error::Api(status)) if status.is_not_found() => {}
            Err(problem) => tracing::warn!(%problem, ingress = name, "could not write the status"),
        }
    }
}

fn shows(ingress: &Ingress, ip: &str) -> bool {
    let shown: Option<&Vec<IngressLoadBalancerIngress>> =
        ingress.status.as_ref().and_then(|status| status.load_balancer.as_ref()?.ingress.as_ref());
    matches!(shown.map(Vec::as_slice), Some([only]) if only.ip.as_deref() == Some(ip))
}
