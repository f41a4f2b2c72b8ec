//! Tells in the status of a `ValidatingAdmissionPolicy` which of its expressions do not fit the kinds it is about, once for each
//! generation. Upstream's `validatingadmissionpolicy-status-controller`.

use std::sync::Arc;

use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicy;
use kube::Api;
use kube::api::{Patch, PatchParams};
use orchestra_core::gvk::GroupVersion;
use orchestra_core::kinds::Registry;
use orchestra_core::policy::typecheck::{ResourceName, warnings};
use serde_json::{Value, json};

use crate::controller::{Next, Reconcile};
use crate::error::{Result, unless_gone};
use crate::key::Key;
use crate::queue::Queue;
use crate::world::World;

/// Under which the status stands in managedFields, as upstream's.
const FIELD_MANAGER: &str = "validatingadmissionpolicy-status";

/// The kind of a resource, if it is one of `kinds`.
fn kind_of(kinds: &Registry, name: ResourceName<'_>) -> Option<String> {
    let (group, version) = (name.group.to_owned().into(), name.version.to_owned().into());
    let kind = kinds.by_resource(&GroupVersion { group, version }, name.resource)?;
    Some(kind.description().kind.to_string())
}

/// The status that a policy should have, if it is not about its present generation.
pub fn plan(policy: &ValidatingAdmissionPolicy, kinds: &Registry) -> Option<Value> {
    let generation = policy.metadata.generation?;
    if policy.status.as_ref().and_then(|status| status.observed_generation) >= Some(generation) {
        return None;
    }
    let spec = serde_json::to_value(policy.spec.as_ref()?).ok()?;
    let told: Vec<Value> = warnings(&spec, &|name| kind_of(kinds, name))
        .into_iter()
        .map(|told| json!({"fieldRef": told.field, "warning": told.warning}))
        .collect();
    let checked = if told.is_empty() { json!({}) } else { json!({"expressionWarnings": told}) };
    Some(json!({"observedGeneration": generation, "typeChecking": checked}))
}

pub(crate) struct PolicyStatus {
    world: Arc<World>,
    kinds: Registry,
}

/// Connects the controller to the world.
pub(crate) fn setup(world: &Arc<World>) -> (Arc<PolicyStatus>, Arc<Queue<Key>>) {
    let queue = Arc::new(Queue::new());
    world.validating_policies.on_change({
        let queue = queue.clone();
        move |change| {
            if let Some(policy) = change.new {
                queue.add(Key::of(&policy.metadata));
            }
        }
    });
    (Arc::new(PolicyStatus { world: world.clone(), kinds: Registry::builtin() }), queue)
}

impl Reconcile for PolicyStatus {
    type Key = Key;

    fn name(&self) -> &'static str {
        FIELD_MANAGER
    }

    async fn reconcile(&self, key: &Key) -> Result<Next> {
        let Some(policy) = self.world.validating_policies.get(key) else { return Ok(Next::Wait) };
        let Some(status) = plan(&policy, &self.kinds) else { return Ok(Next::Wait) };
        let api: Api<ValidatingAdmissionPolicy> = Api::all(self.world.client.clone());
        let apply = json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
            "metadata": {"name": key.name, "uid": policy.metadata.uid}, "status": status,
        });
        let params = PatchParams::apply(FIELD_MANAGER).force();
        if let Some(written) = unless_gone(api.patch_status(&key.name, &params, &Patch::Apply(apply)).await)?
        {
            self.world.validating_policies.observe(written);
        }
        Ok(Next::Wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_generation_is_looked_at_once() {
        let policy = |expression: &str, observed: Option<i64>| -> ValidatingAdmissionPolicy {
            serde_json::from_value(json!({
                "metadata": {"name": "p", "generation": 2},
                "spec": {
                    "matchConstraints": {"resourceRules": [{
                        "apiGroups": [""], "apiVersions": ["v1"], "operations": ["*"], "resources": ["pods"]}]},
                    "validations": [{"expression": expression}],
                },
                "status": {"observedGeneration": observed},
            }))
            .unwrap()
        };
        let kinds = Registry::builtin();
        let fits = "object.spec.hostNetwork == false";
        assert_eq!(
            plan(&policy(fits, None), &kinds),
            Some(json!({"observedGeneration": 2, "typeChecking": {}}))
        );
        assert_eq!(plan(&policy(fits, Some(2)), &kinds), None);
        let status = plan(&policy("object.spec.hostNetworking", Some(1)), &kinds).unwrap();
        let told = &status["typeChecking"]["expressionWarnings"][0];
        assert_eq!(told["fieldRef"], "spec.validations[0].expression");
        let warning = told["warning"].as_str().unwrap();
        assert!(
            warning.starts_with("/v1, Kind=Pod: ERROR: <input>:1:12: undefined field 'hostNetworking'\n")
        );
    }
}
