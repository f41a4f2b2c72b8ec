//! `ServiceAccount`: every pod runs as an account, and has its token where its programs look for it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use orchestra_core::gvk::GroupVersion;
use serde_json::{Map, Value, json};

use super::known::Known;
use super::{Admission, AdmissionRequest, Operation};
use crate::cache::feed::Feed;
use crate::catalog::Catalog;
use crate::clock::Chance;
use crate::status::StatusError;
use crate::storage::meta;

const CORE: GroupVersion = GroupVersion::new("", "v1");
const DEFAULT: &str = "default";
/// The controllers make the account `default` of a new namespace; so often a pod that comes sooner waits for it.
const TRIES: u32 = 40;
const PAUSE: Duration = Duration::from_millis(250);
const MIRROR: &str = "kubernetes.io/config.mirror";

const VOLUME: &str = "kube-api-access-";
const MOUNTED_AT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// By this number the server knows a token that it asked for itself; see `subresource::account_token`.
const TOKEN_SECONDS: u32 = 60 * 60 + 7;

/// Whether pods need their accounts to be there, and get their tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tokens {
    /// As upstream's server does.
    Mounted,
    /// Pods name an account, which need not exist: for a server without the controllers that make accounts.
    NotMounted,
}

#[derive(Debug)]
pub(crate) struct ServiceAccount {
    tokens: Tokens,
    chance: Arc<Chance>,
    accounts: Known<Account>,
}

/// What pods get from their account.
#[derive(Debug)]
struct Account {
    automount: Option<bool>,
    pull_secrets: Option<Value>,
}

impl Account {
    fn read(account: &Value) -> Self {
        Self {
            automount: account.get("automountServiceAccountToken").and_then(Value::as_bool),
            pull_secrets: account.get("imagePullSecrets").filter(|secrets| secrets.is_array()).cloned(),
        }
    }
}

impl ServiceAccount {
    pub(crate) fn new(
        tokens: Tokens,
        chance: Arc<Chance>,
        feed: &Arc<Feed>,
        catalog: &Catalog,
    ) -> Option<Self> {
        let accounts = Known::new(feed, catalog, (&CORE, "serviceaccounts"), Account::read)?;
        Some(Self { tokens, chance, accounts })
    }

    async fn account(&self, request: &AdmissionRequest<'_>, name: &str) -> Result<Arc<Account>, StatusError> {
        let mut tries = if name == DEFAULT { TRIES } else { 1 };
        loop {
            let found = self.accounts.get(request.reader, (request.namespace, name), |_| true).await?;
            tries -= 1;
            match found {
                Some(account) => return Ok(account),
                None if tries == 0 => {
                    return Err(request.refuse(format!(
                        "error looking up service account {}/{name}: serviceaccount {name:?} not found",
                        request.namespace
                    )));
                }
                None => tokio::time::sleep(PAUSE).await,
            }
        }
    }
}

#[async_trait]
impl Admission for ServiceAccount {
    fn name(&self) -> &str {
        "ServiceAccount"
    }

    fn concerns(&self, request: &AdmissionRequest<'_>) -> bool {
        request.operation == Operation::Create && request.is("", "pods")
    }

    async fn mutate(&self, request: &AdmissionRequest<'_>, object: &mut Value) -> Result<(), StatusError> {
        if is_mirror(object) {
            // Before anybody refuses more of it, as upstream.
            return may_be_mirror(request, object);
        }
        let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) else { return Ok(()) };
        let text = |field: &str| spec.get(field).and_then(Value::as_str).filter(|text| !text.is_empty());
        let name = text("serviceAccountName").unwrap_or(DEFAULT).to_owned();
        spec.insert("serviceAccountName".into(), name.as_str().into());
        // The old name of the field always shows the same.
        spec.insert("serviceAccount".into(), name.as_str().into());
        if self.tokens == Tokens::NotMounted {
            return Ok(());
        }
        let account = self.account(request, &name).await?;
        let automount =
            spec.get("automountServiceAccountToken").and_then(Value::as_bool).or(account.automount);
        if automount.unwrap_or(true) {
            mount(spec, &self.chance);
        }
        let is_empty = |list: Option<&Value>| list.and_then(Value::as_array).is_none_or(Vec::is_empty);
        if let (true, Some(secrets)) = (is_empty(spec.get("imagePullSecrets")), &account.pull_secrets) {
            spec.insert("imagePullSecrets".into(), secrets.clone());
        }
        Ok(())
    }

    async fn validate(&self, request: &AdmissionRequest<'_>, object: &Value) -> Result<(), StatusError> {
        if is_mirror(object) { may_be_mirror(request, object) } else { Ok(()) }
    }
}

fn may_be_mirror(request: &AdmissionRequest<'_>, pod: &Value) -> Result<(), StatusError> {
    match reference_of_mirror(pod) {
        Some(what) => Err(request.refuse(format!("a mirror pod may not {what}"))),
        None => Ok(()),
    }
}

/// Whether a pod only shows one that a node runs by itself.
fn is_mirror(pod: &Value) -> bool {
    meta::below(pod, "metadata", "annotations").is_some_and(|all| all.get(MIRROR).is_some())
}

/// What a mirror pod has that no pod without an account has. What else a node may not show is said by `NodeRestriction`.
fn reference_of_mirror(pod: &Value) -> Option<&'static str> {
    let account = meta::below(pod, "spec", "serviceAccountName").and_then(Value::as_str).unwrap_or_default();
    if !account.is_empty() {
        return Some("reference service accounts");
    }
    let references = crate::auth::node::PodReferences::of(pod);
    if !references.secrets.is_empty() {
        return Some("reference secrets");
    }
    references.has_token.then_some("use ServiceAccountToken volume projections")
}

/// Adds the volume, and its mount to every container that has nothing else there.
fn mount(spec: &mut Map<String, Value>, chance: &Chance) {
    let named = |volume: &Value| {
        let name = volume.get("name").and_then(Value::as_str)?;
        name.starts_with(VOLUME).then(|| name.to_owned())
    };
    let volumes = spec.get("volumes").and_then(Value::as_array);
    let known = volumes.into_iter().flatten().find_map(named);
    let name = known.clone().unwrap_or_else(|| format!("{VOLUME}{}", chance.name_suffix()));
    let mut needed = false;
    for kind in ["initContainers", "containers"] {
        let containers = spec.get_mut(kind).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten().filter_map(Value::as_object_mut) {
            let Some(mounts) = list(container, "volumeMounts") else { continue };
            if mounts.iter().any(|mount| mount.get("mountPath").and_then(Value::as_str) == Some(MOUNTED_AT)) {
                continue;
            }
            mounts.push(json!({"name": name, "readOnly": true, "mountPath": MOUNTED_AT}));
            needed = true;
        }
    }
    if needed
        && known.is_none()
        && let Some(volumes) = list(spec, "volumes")
    {
        volumes.push(json!({
            "name": name,
            "projected": {"defaultMode": 0o644, "sources": [
                {"serviceAccountToken": {"expirationSeconds": TOKEN_SECONDS, "path": "token"}},
                {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
                {"downwardAPI": {"items": [
                    {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}},
                ]}},
            ]},
        }));
    }
}

/// A list field, made when it is not there.
fn list<'a>(map: &'a mut Map<String, Value>, field: &str) -> Option<&'a mut Vec<Value>> {
    let slot = map.entry(field).or_insert_with(|| json!([]));
    if slot.is_null() {
        *slot = json!([]);
    }
    slot.as_array_mut()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mounted(mut spec: Value) -> Value {
        mount(spec.as_object_mut().unwrap(), &Chance::new(Some(1)));
        spec
    }

    #[test]
    fn every_container_sees_the_token_unless_something_else_is_there() {
        let own = json!({"name": "own", "mountPath": MOUNTED_AT});
        let spec = mounted(json!({
            "initContainers": [{"name": "i"}],
            "containers": [{"name": "a", "volumeMounts": null}, {"name": "b", "volumeMounts": [own]}],
        }));
        let name = spec["volumes"][0]["name"].as_str().unwrap();
        assert!(name.starts_with(VOLUME) && name.len() == VOLUME.len() + 5);
        let expected = json!([{"name": name, "readOnly": true, "mountPath": MOUNTED_AT}]);
        assert_eq!(spec["initContainers"][0]["volumeMounts"], expected);
        assert_eq!(spec["containers"][0]["volumeMounts"], expected);
        assert_eq!(spec["containers"][1]["volumeMounts"], json!([own]));
        assert_eq!(mounted(spec.clone()), spec, "once is enough");
    }

    #[test]
    fn a_mirror_pod_has_nothing_that_comes_with_an_account() {
        let pod = |spec: Value| json!({"metadata": {"annotations": {MIRROR: "x"}}, "spec": spec});
        let refers = |spec: Value| reference_of_mirror(&pod(spec));
        for spec in [
            json!({"volumes": [{"emptyDir": {}}]}),
            json!({"containers": [{"envFrom": [{"configMapRef": {"name": "c"}}]}]}),
            json!({"volumes": [{"persistentVolumeClaim": {"claimName": "c"}}]}),
        ] {
            assert_eq!(refers(spec), None);
        }
        for (spec, what) in [
            (json!({"serviceAccountName": "a"}), "reference service accounts"),
            (json!({"volumes": [{"secret": {"secretName": "s"}}]}), "reference secrets"),
            (
                json!({"volumes": [{"projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}]}),
                "use ServiceAccountToken volume projections",
            ),
        ] {
            assert_eq!(refers(spec), Some(what));
        }
    }
}
