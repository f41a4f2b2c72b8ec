//! Tells in the status of a `ValidatingAdmissionPolicy` which of its expressions do not fit the kinds it is about, once for each
//! generation. Upstream's `validatingadmissionpolicy-status-controller`.
//!
//! Of custom kinds the definition is read when it is needed. As upstream, a policy is not looked at again because one changes.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicy;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
use orchestra_core::custom::CustomKind;
use orchestra_core::gvk::GroupVersion;
use orchestra_core::kinds::Registry;
use orchestra_core::policy::typecheck::{Known, ResourceName, params_of, resources, warnings};
use orchestra_core::schema;
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

/// So many definitions are read for one policy: more kinds than that are not looked at.
const MOST_DEFINITIONS: usize = 20;
/// So many definitions are listed at once.
const PAGE: u32 = 50;

/// The generation of a policy that its status is not about yet, and its spec.
fn due(policy: &ValidatingAdmissionPolicy) -> Option<(i64, Value)> {
    let generation = policy.metadata.generation?;
    if policy.status.as_ref().and_then(|status| status.observed_generation) >= Some(generation) {
        return None;
    }
    Some((generation, serde_json::to_value(policy.spec.as_ref()?).ok()?))
}

/// The names of the definitions that tell more of what a policy's spec is about.
fn definitions_of(spec: &Value, kinds: &Registry) -> BTreeSet<String> {
    let custom = resources(spec).filter(|name| kind_of(kinds, *name).is_none() && !name.group.is_empty());
    let mut out = BTreeSet::new();
    for name in custom {
        out.insert(format!("{}.{}", name.resource, name.group));
        if out.len() == MOST_DEFINITIONS {
            break;
        }
    }
    out
}

/// The status that a policy should have, if it is not about its present generation. `custom` are the kinds beside `kinds` that it
/// is about.
pub fn plan(policy: &ValidatingAdmissionPolicy, kinds: &Registry, custom: &[CustomKind]) -> Option<Value> {
    let (generation, spec) = due(policy)?;
    let builtin = |name: ResourceName<'_>| kind_of(kinds, name);
    let told: Vec<Value> = warnings(&spec, Known::new(&builtin, custom))
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

impl PolicyStatus {
    /// The custom kinds that a policy's spec is about, as far as they are defined.
    async fn custom(&self, spec: &Value) -> Result<Vec<CustomKind>> {
        let api: Api<CustomResourceDefinition> = Api::all(self.world.client.clone());
        let mut found = Vec::new();
        for name in definitions_of(spec, &self.kinds) {
            found.extend(api.get_opt(&name).await?);
        }
        // Parameters are named by their kind, which no definition is named after.
        let params = params_of(spec).filter(|(gv, kind)| schema::of_kind(gv, kind).is_none());
        if let Some((gv, kind)) = params.filter(|(gv, _)| !gv.group.is_empty()) {
            let mut next = ListParams::default().limit(PAGE);
            loop {
                let page = api.list(&next).await?;
                let more = page.metadata.continue_.filter(|token| !token.is_empty());
                let is_it = |definition: &CustomResourceDefinition| {
                    definition.spec.group == gv.group && definition.spec.names.kind == kind
                };
                found.extend(page.items.into_iter().filter(is_it));
                let Some(token) = more else { break };
                next = next.continue_token(&token);
            }
        }
        let read = |definition| serde_json::to_value(definition).ok();
        Ok(found
            .into_iter()
            .filter_map(read)
            .flat_map(|definition| CustomKind::of_definition(&definition))
            .collect())
    }
}

impl Reconcile for PolicyStatus {
    type Key = Key;

    fn name(&self) -> &'static str {
        FIELD_MANAGER
    }

    async fn reconcile(&self, key: &Key) -> Result<Next> {
        let Some(policy) = self.world.validating_policies.get(key) else { return Ok(Next::Wait) };
        let Some((_, spec)) = due(&policy) else { return Ok(Next::Wait) };
        let custom = self.custom(&spec).await?;
        let Some(status) = plan(&policy, &self.kinds, &custom) else { return Ok(Next::Wait) };
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
            plan(&policy(fits, None), &kinds, &[]),
            Some(json!({"observedGeneration": 2, "typeChecking": {}}))
        );
        assert_eq!(plan(&policy(fits, Some(2)), &kinds, &[]), None);
        let status = plan(&policy("object.spec.hostNetworking", Some(1)), &kinds, &[]).unwrap();
        let told = &status["typeChecking"]["expressionWarnings"][0];
        assert_eq!(told["fieldRef"], "spec.validations[0].expression");
        let warning = told["warning"].as_str().unwrap();
        assert!(
            warning.starts_with("/v1, Kind=Pod: ERROR: <input>:1:12: undefined field 'hostNetworking'\n")
        );
    }
}
