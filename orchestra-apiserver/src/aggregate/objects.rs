//! The objects that aggregation makes by itself: an `APIService` for each version that this server serves, and what other servers
//! need to know to believe it.

use serde_json::{Value, json};

use crate::catalog::Catalog;
use crate::pki::FrontProxy;

/// The priorities of upstream's own groups; others come behind them.
const PRIORITIES: [(&str, u32); 19] = [
    ("", 18_000),
    ("apps", 17_800),
    ("events.k8s.io", 17_750),
    ("authentication.k8s.io", 17_700),
    ("authorization.k8s.io", 17_600),
    ("autoscaling", 17_500),
    ("batch", 17_400),
    ("certificates.k8s.io", 17_300),
    ("networking.k8s.io", 17_200),
    ("policy", 17_100),
    ("rbac.authorization.k8s.io", 17_000),
    ("storage.k8s.io", 16_800),
    ("apiextensions.k8s.io", 16_700),
    ("admissionregistration.k8s.io", 16_700),
    ("scheduling.k8s.io", 16_600),
    ("coordination.k8s.io", 16_500),
    ("node.k8s.io", 16_300),
    ("discovery.k8s.io", 16_200),
    // As the manifest of metrics-server has it.
    ("metrics.k8s.io", 100),
];
const OTHERS: u32 = 16_000;

/// One for each built-in group and version, but for the group of these objects themselves.
pub(crate) fn local(catalog: &Catalog) -> Vec<Value> {
    let mut seen = Vec::new();
    for resource in catalog.iter() {
        let gv = &resource.description().gv;
        if gv.group != "apiregistration.k8s.io" && !seen.contains(gv) && resource.custom().is_none() {
            seen.push(gv.clone());
        }
    }
    let priority =
        |group: &str| PRIORITIES.iter().find(|(known, _)| *known == group).map_or(OTHERS, |(_, p)| *p);
    seen.iter()
        .map(|gv| {
            let newer = match (gv.group.as_ref(), gv.version.as_ref()) {
                ("metrics.k8s.io", _) => 100,
                (_, "v2") => 30,
                _ => 15,
            };
            let spec = json!({
                "group": gv.group, "version": gv.version, "groupPriorityMinimum": priority(&gv.group),
                "versionPriority": if gv.group.is_empty() { 1 } else { newer },
            });
            json!({
                "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
                "metadata": {
                    "name": format!("{}.{}", gv.version, gv.group),
                    "labels": {"kube-aggregator.kubernetes.io/automanaged": "onstart"},
                },
                "spec": spec,
            })
        })
        .collect()
}

/// What a server behind this one needs to know: by whose certificates clients are known, and by whose this server.
pub(crate) fn authentication(front: &FrontProxy) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "extension-apiserver-authentication", "namespace": "kube-system"},
        "data": {
            "client-ca-file": front.client_authority,
            "requestheader-allowed-names": json!([FrontProxy::NAME]).to_string(),
            "requestheader-client-ca-file": front.authority,
            "requestheader-extra-headers-prefix": "[\"X-Remote-Extra-\"]",
            "requestheader-group-headers": "[\"X-Remote-Group\"]",
            "requestheader-uid-headers": "[\"X-Remote-Uid\"]",
            "requestheader-username-headers": "[\"X-Remote-User\"]",
        },
    })
}
