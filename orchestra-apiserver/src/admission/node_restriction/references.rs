//! What of the API a pod needs, as messages name it. Pure.
//!
//! After upstream's `HasAPIObjectReference` (`pkg/api/pod`): a pod that a node runs by itself has none of it, for nobody gave
//! the node a right to it.

use serde_json::Value;

use crate::auth::node::PodReferences;

/// Sources of volumes that need something of the API, in the order in which they are looked for.
const VOLUMES: [(&str, &str); 7] = [
    ("configMap", "configmaps (via configmap volumes)"),
    ("secret", "secrets (via secret volumes)"),
    ("csi", "csidrivers (via CSI volumes)"),
    ("glusterfs", "endpoints (via glusterFS volumes)"),
    ("persistentVolumeClaim", "persistentvolumeclaims"),
    ("ephemeral", "persistentvolumeclaims (via ephemeral volumes)"),
    ("azureFile", "secrets (via azureFile volumes)"),
];
/// The same of what is projected into one volume.
const PROJECTED: [(&str, &str); 5] = [
    ("configMap", "configmaps (via projected volumes)"),
    ("secret", "secrets (via projected volumes)"),
    ("serviceAccountToken", "serviceaccounts (via projected volumes)"),
    ("clusterTrustBundle", "clustertrustbundles"),
    ("podCertificate", "podcertificates"),
];

/// The first that `pod` refers to.
pub(super) fn of(pod: &Value) -> Option<&'static str> {
    let references = PodReferences::of(pod);
    if !references.account.is_empty() {
        return Some("serviceaccounts");
    }
    if !references.secrets.is_empty() {
        return Some("secrets");
    }
    if !references.config_maps.is_empty() {
        return Some("configmaps");
    }
    let spec = pod.get("spec").unwrap_or(&Value::Null);
    if list(spec, "resourceClaims").next().is_some() {
        return Some("resourceclaims");
    }
    list(spec, "volumes").find_map(of_volume)
}

fn of_volume(volume: &Value) -> Option<&'static str> {
    let sources = volume.get("projected").into_iter().flat_map(|projected| list(projected, "sources"));
    named(volume, &VOLUMES).or_else(|| sources.into_iter().find_map(|source| named(source, &PROJECTED)))
}

/// The name of the first field that is there.
fn named(object: &Value, fields: &[(&str, &'static str)]) -> Option<&'static str> {
    let is_there = |field: &str| object.get(field).is_some_and(|value| !value.is_null());
    fields.iter().find(|(field, _)| is_there(field)).map(|(_, name)| *name)
}

fn list<'a>(object: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> {
    object.get(field).and_then(Value::as_array).into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_first_reference_of_a_pod_is_named_and_how_it_refers() {
        let volumes = |volume: Value| json!({"volumes": [{"name": "v", "emptyDir": {}}, volume]});
        let projected = |source: Value| volumes(json!({"name": "p", "projected": {"sources": [source]}}));
        for (spec, expected) in [
            (json!({}), None),
            (
                json!({"serviceAccountName": "a", "imagePullSecrets": [{"name": "s"}]}),
                Some("serviceaccounts"),
            ),
            (json!({"imagePullSecrets": [{"name": "s"}]}), Some("secrets")),
            (volumes(json!({"secret": {"secretName": "s"}})), Some("secrets")),
            (volumes(json!({"secret": {}})), Some("secrets (via secret volumes)")),
            (volumes(json!({"configMap": {"name": "c"}})), Some("configmaps")),
            (volumes(json!({"configMap": {}})), Some("configmaps (via configmap volumes)")),
            (json!({"resourceClaims": [{"name": "r"}]}), Some("resourceclaims")),
            (volumes(json!({"csi": {"driver": "d"}})), Some("csidrivers (via CSI volumes)")),
            (volumes(json!({"glusterfs": {"endpoints": "e"}})), Some("endpoints (via glusterFS volumes)")),
            (volumes(json!({"persistentVolumeClaim": {"claimName": "c"}})), Some("persistentvolumeclaims")),
            (volumes(json!({"ephemeral": {}})), Some("persistentvolumeclaims (via ephemeral volumes)")),
            (volumes(json!({"azureFile": {}})), Some("secrets (via azureFile volumes)")),
            (volumes(json!({"hostPath": {"path": "/"}})), None),
            (projected(json!({"secret": {}})), Some("secrets (via projected volumes)")),
            (projected(json!({"configMap": {}})), Some("configmaps (via projected volumes)")),
            (projected(json!({"serviceAccountToken": {}})), Some("serviceaccounts (via projected volumes)")),
            (projected(json!({"clusterTrustBundle": {}})), Some("clustertrustbundles")),
            (projected(json!({"podCertificate": {}})), Some("podcertificates")),
            (projected(json!({"downwardAPI": {}})), None),
        ] {
            assert_eq!(of(&json!({"spec": spec})), expected, "{spec}");
        }
    }
}
