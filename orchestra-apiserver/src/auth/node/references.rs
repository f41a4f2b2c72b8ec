//! What a pod refers to. Pure.

use std::collections::BTreeSet;

use serde_json::Value;

/// The objects of its namespace that a pod needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PodReferences {
    pub(crate) secrets: BTreeSet<String>,
    pub(crate) config_maps: BTreeSet<String>,
    pub(crate) claims: BTreeSet<String>,
    pub(crate) resource_claims: BTreeSet<String>,
    pub(crate) account: String,
    /// Whether a volume shows a token of the account.
    pub(crate) has_token: bool,
    /// For whom those tokens are, `""` for the server.
    pub(crate) audiences: BTreeSet<String>,
}

/// Volumes that name a Secret in a field `secretRef`, as upstream's `VisitPodSecretNames` lists them.
const SECRET_REF: [&str; 6] = ["cephfs", "cinder", "flexVolume", "rbd", "scaleIO", "storageos"];

impl PodReferences {
    /// Those of `pod`.
    pub(crate) fn of(pod: &Value) -> Self {
        let mut found = Self::default();
        let Some(spec) = pod.get("spec") else { return found };
        text(spec, "serviceAccountName").clone_into(&mut found.account);
        for secret in list(spec, "imagePullSecrets") {
            add(&mut found.secrets, text(secret, "name"));
        }
        for kind in ["initContainers", "containers", "ephemeralContainers"] {
            for container in list(spec, kind) {
                found.container(container);
            }
        }
        let pod_name = pod.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
        for volume in list(spec, "volumes") {
            found.volume(volume, pod_name);
        }
        let status = pod.get("status").unwrap_or(&Value::Null);
        let made = status.get("extendedResourceClaimStatus").into_iter();
        for claim in list(status, "resourceClaimStatuses").chain(made) {
            add(&mut found.resource_claims, text(claim, "resourceClaimName"));
        }
        for claim in list(spec, "resourceClaims") {
            add(&mut found.resource_claims, text(claim, "resourceClaimName"));
        }
        found
    }

    fn container(&mut self, container: &Value) {
        let from = list(container, "env").filter_map(|variable| variable.get("valueFrom"));
        for source in from.chain(list(container, "envFrom")) {
            let name = |field: &str| source.get(field).map(|r| text(r, "name")).unwrap_or_default();
            add(&mut self.secrets, name("secretKeyRef"));
            add(&mut self.secrets, name("secretRef"));
            add(&mut self.config_maps, name("configMapKeyRef"));
            add(&mut self.config_maps, name("configMapRef"));
        }
    }

    fn volume(&mut self, volume: &Value, pod: &str) {
        let at = |pointer: &str| volume.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        add(&mut self.secrets, at("/secret/secretName"));
        add(&mut self.secrets, at("/azureFile/secretName"));
        add(&mut self.secrets, at("/csi/nodePublishSecretRef/name"));
        add(&mut self.secrets, at("/iscsi/secretRef/name"));
        for plugin in SECRET_REF {
            add(&mut self.secrets, at(&format!("/{plugin}/secretRef/name")));
        }
        add(&mut self.config_maps, at("/configMap/name"));
        add(&mut self.claims, at("/persistentVolumeClaim/claimName"));
        if volume.get("ephemeral").is_some_and(Value::is_object) && !pod.is_empty() {
            self.claims.insert(format!("{pod}-{}", text(volume, "name")));
        }
        for source in volume.get("projected").into_iter().flat_map(|projected| list(projected, "sources")) {
            let at = |pointer: &str| source.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
            add(&mut self.secrets, at("/secret/name"));
            add(&mut self.config_maps, at("/configMap/name"));
            if source.get("serviceAccountToken").is_some_and(Value::is_object) {
                self.has_token = true;
                self.audiences.insert(at("/serviceAccountToken/audience").to_owned());
            }
        }
    }
}

fn add(names: &mut BTreeSet<String>, name: &str) {
    if !name.is_empty() {
        names.insert(name.to_owned());
    }
}

fn list<'a>(object: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> {
    object.get(field).and_then(Value::as_array).into_iter().flatten()
}

fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object.get(field).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn everything_a_pod_names_is_found() {
        let found = PodReferences::of(&json!({
            "metadata": {"name": "p"},
            "spec": {
                "serviceAccountName": "a", "imagePullSecrets": [{"name": "s1"}],
                "initContainers": [{"envFrom": [{"secretRef": {"name": "s2"}}, {"configMapRef": {"name": "c1"}}]}],
                "containers": [{"env": [
                    {"valueFrom": {"secretKeyRef": {"name": "s3", "key": "k"}}},
                    {"valueFrom": {"configMapKeyRef": {"name": "c2", "key": "k"}}}, {"value": "x"},
                ]}],
                "volumes": [
                    {"secret": {"secretName": "s4"}}, {"configMap": {"name": "c3"}},
                    {"csi": {"nodePublishSecretRef": {"name": "s5"}}}, {"rbd": {"secretRef": {"name": "s6"}}},
                    {"persistentVolumeClaim": {"claimName": "v1"}}, {"name": "e", "ephemeral": {}},
                    {"projected": {"sources": [
                        {"secret": {"name": "s7"}}, {"configMap": {"name": "c4"}},
                        {"serviceAccountToken": {"audience": "vault"}},
                    ]}},
                ],
                "resourceClaims": [{"resourceClaimName": "r1"}],
            },
            "status": {
                "resourceClaimStatuses": [{"name": "t", "resourceClaimName": "r2"}],
                "extendedResourceClaimStatus": {"resourceClaimName": "r3"},
            },
        }));
        let names = |names: &BTreeSet<String>| names.iter().cloned().collect::<Vec<_>>().join(" ");
        assert_eq!(names(&found.secrets), "s1 s2 s3 s4 s5 s6 s7");
        assert_eq!(names(&found.config_maps), "c1 c2 c3 c4");
        assert_eq!(names(&found.claims), "p-e v1");
        assert_eq!(names(&found.resource_claims), "r1 r2 r3");
        assert_eq!(
            (found.account.as_str(), found.has_token, names(&found.audiences)),
            ("a", true, "vault".into())
        );
    }
}
