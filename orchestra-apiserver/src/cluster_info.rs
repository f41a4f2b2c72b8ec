//! What a machine that joins reads first, before it is anybody: `kube-public/cluster-info`, a kubeconfig with the server's address and
//! authority and without a user, as kubeadm writes it. The controllers sign it for each bootstrap token.

use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// As kubeadm names it.
const ROLE: &str = "kubeadm:bootstrap-signer-clusterinfo";

/// The ConfigMap, and what lets everybody read it.
pub(crate) fn objects(address: SocketAddr, authority: &str) -> [Value; 3] {
    let metadata = |name: &str| json!({"name": name, "namespace": "kube-public"});
    let kubeconfig = format!(
        "apiVersion: v1\n\
         clusters:\n\
         - cluster:\n    \
             certificate-authority-data: {}\n    \
             server: https://{address}\n  \
           name: \"\"\n\
         contexts: null\n\
         current-context: \"\"\n\
         kind: Config\n\
         users: null\n",
        STANDARD.encode(authority)
    );
    let group = "rbac.authorization.k8s.io";
    [
        json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata("cluster-info"),
            "data": {"kubeconfig": kubeconfig},
        }),
        json!({
            "apiVersion": format!("{group}/v1"), "kind": "Role", "metadata": metadata(ROLE),
            "rules": [{"apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["cluster-info"], "verbs": ["get"]}],
        }),
        json!({
            "apiVersion": format!("{group}/v1"), "kind": "RoleBinding", "metadata": metadata(ROLE),
            "roleRef": {"apiGroup": group, "kind": "Role", "name": ROLE},
            "subjects": [{"apiGroup": group, "kind": "User", "name": "system:anonymous"}],
        }),
    ]
}

/// What the server itself writes into a ConfigMap, beside what others have written there; nothing if it stands there already.
pub(crate) fn merged(stored: &Value, wanted: &Value) -> Option<Value> {
    let mut next = stored.clone();
    for (key, value) in wanted.get("data").and_then(Value::as_object).into_iter().flatten() {
        next["data"][key] = value.clone();
    }
    (next != *stored).then_some(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_of_others_stay_when_the_address_changes() {
        let [first, ..] = objects("127.0.0.1:6443".parse().unwrap(), "PEM");
        let [second, ..] = objects("127.0.0.1:7443".parse().unwrap(), "PEM");
        let mut stored = first.clone();
        stored["data"]["jws-kubeconfig-abcdef"] = "signed".into();
        assert_eq!(merged(&stored, &first), None);
        let next = merged(&stored, &second).unwrap();
        assert_eq!(
            (&next["data"]["kubeconfig"], &next["data"]["jws-kubeconfig-abcdef"]),
            (&second["data"]["kubeconfig"], &"signed".into())
        );
        assert!(
            second["data"]["kubeconfig"].as_str().unwrap().contains("    server: https://127.0.0.1:7443\n")
        );
    }
}
