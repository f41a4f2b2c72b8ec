//! `ValidatingAdmissionPolicy`: rules that users of the API write, and bindings that put them in force.
//!
//! What a policy says of a request is decided purely, in [`orchestra_core::policy`]; here it is found out which policies are
//! meant and with which parameters, and what their bindings make of it: a refusal, a warning, a note for the audit log.

pub(crate) mod about;
mod constraints;
mod params;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use orchestra_core::gvk::GroupVersion;
use orchestra_core::policy::{Decision, Inputs, Policy, Verdict};
use serde_json::{Value, json};

use crate::admission::followed::Followed;
use crate::admission::{Admission, AdmissionRequest, Operation};
use crate::cache::feed::Feed;
use crate::catalog::Catalog;
use crate::status::{Cause, StatusError};
use crate::storage::meta;
use constraints::Constraints;

const GROUP: GroupVersion = GroupVersion::new("admissionregistration.k8s.io", "v1");
const CORE: GroupVersion = GroupVersion::new("", "v1");
/// So many failures are told to the audit log.
const MAX_TOLD: usize = 50;

/// A policy that can be asked.
#[derive(Debug)]
struct Definition {
    name: String,
    constraints: Constraints,
    param_kind: Option<Value>,
    policy: Policy,
}

/// What puts a policy in force, and where.
#[derive(Debug)]
struct Binding {
    name: String,
    policy: String,
    constraints: Option<Constraints>,
    param_ref: Option<Value>,
    actions: Vec<String>,
}

fn part(object: &Value, pointer: &str) -> Option<Value> {
    object.pointer(pointer).filter(|value| !value.is_null()).cloned()
}

impl Definition {
    fn read(object: &Value) -> Self {
        let spec = object.get("spec").unwrap_or(&Value::Null);
        Self {
            name: meta::name(object).to_owned(),
            constraints: Constraints::read(spec.get("matchConstraints").unwrap_or(&Value::Null)),
            param_kind: part(object, "/spec/paramKind"),
            policy: Policy::compile(spec),
        }
    }
}

impl Binding {
    fn read(object: &Value) -> Self {
        let actions = object.pointer("/spec/validationActions").and_then(Value::as_array);
        let actions = actions.into_iter().flatten().filter_map(Value::as_str);
        Self {
            name: meta::name(object).to_owned(),
            policy: object.pointer("/spec/policyName").and_then(Value::as_str).unwrap_or_default().to_owned(),
            constraints: part(object, "/spec/matchResources").as_ref().map(Constraints::read),
            param_ref: part(object, "/spec/paramRef"),
            actions: actions.map(str::to_owned).collect(),
        }
    }
}

/// All validating policies of a cluster, as one rule of admission.
#[derive(Debug)]
pub(crate) struct ValidatingPolicies {
    catalog: Arc<Catalog>,
    definitions: Followed<Vec<Definition>>,
    bindings: Followed<Vec<Binding>>,
}

/// A refusal and whose it is.
struct Denied<'p> {
    definition: &'p Definition,
    binding: Option<&'p Binding>,
    message: String,
    reason: String,
}

/// What the policies of a request come to.
#[derive(Default)]
struct Sum<'p> {
    denied: Vec<Denied<'p>>,
    told: Vec<Value>,
}

impl ValidatingPolicies {
    /// `None` when a registry of one's own does not serve policies.
    pub(crate) fn new(feed: &Arc<Feed>, catalog: &Arc<Catalog>) -> Option<Self> {
        let definitions = Followed::new(feed, catalog, &GROUP, "validatingadmissionpolicies")?;
        let bindings = Followed::new(feed, catalog, &GROUP, "validatingadmissionpolicybindings")?;
        Some(Self { catalog: catalog.clone(), definitions, bindings })
    }

    async fn ask<'p>(
        &self,
        definition: &'p Definition,
        bindings: &'p [Binding],
        asked: &Asked<'_>,
        sum: &mut Sum<'p>,
    ) -> Result<(), StatusError> {
        let request = asked.request;
        match definition.constraints.matches(request, asked.object).await {
            Ok(true) => {}
            Ok(false) => return Ok(()),
            Err(error) => {
                sum.misconfigured(definition, None, &error.to_string());
                return Ok(());
            }
        }
        let mut annotations: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for binding in bindings.iter().filter(|binding| binding.policy == definition.name) {
            if let Some(constraints) = &binding.constraints {
                match constraints.matches(request, asked.object).await {
                    Ok(true) => {}
                    Ok(false) => continue,
                    Err(error) => {
                        sum.misconfigured(definition, Some(binding), &error.to_string());
                        continue;
                    }
                }
            }
            let (kind, reference) = (definition.param_kind.as_ref(), binding.param_ref.as_ref());
            let params = match params::collect(&self.catalog, request, kind, reference).await {
                Ok(params) => params,
                Err(why) => {
                    sum.misconfigured(definition, Some(binding), &why);
                    continue;
                }
            };
            let namespace = asked.namespace().await?;
            for params in &params {
                let inputs =
                    Inputs::new(asked.review(), asked.object, request.old).namespace(namespace.as_ref());
                let inputs = if kind.is_some() { inputs.params(params.as_ref()) } else { inputs };
                let verdict = definition.policy.ask(&inputs);
                sum.add(definition, binding, verdict, request, &mut annotations);
            }
        }
        for (key, values) in annotations {
            request.annotate(format!("{}/{key}", definition.name), values.join(", "));
        }
        Ok(())
    }
}

/// A request, and what of it is made only if some policy is about it.
struct Asked<'r> {
    request: &'r AdmissionRequest<'r>,
    object: Option<&'r Value>,
    review: std::sync::OnceLock<Value>,
}

impl Asked<'_> {
    fn review(&self) -> &Value {
        self.review.get_or_init(|| about::request(self.request))
    }

    async fn namespace(&self) -> Result<Option<Value>, StatusError> {
        if self.request.namespace.is_empty() || self.request.kind == "Namespace" {
            return Ok(None);
        }
        self.request.reader.get(&CORE, "namespaces", "", self.request.namespace).await
    }
}

impl<'p> Sum<'p> {
    fn misconfigured(&mut self, definition: &'p Definition, binding: Option<&'p Binding>, why: &str) {
        if definition.policy.fails_open() {
            return;
        }
        let what = if binding.is_some() { "binding" } else { "policy" };
        let message = format!("failed to configure {what}: {why}");
        self.denied.push(Denied { definition, binding, message, reason: "Invalid".to_owned() });
    }

    fn add(
        &mut self,
        definition: &'p Definition,
        binding: &'p Binding,
        verdict: Verdict,
        request: &AdmissionRequest<'_>,
        annotations: &mut BTreeMap<String, Vec<String>>,
    ) {
        for (index, decision) in verdict.decisions.into_iter().enumerate() {
            let Decision::Deny { message, reason } = decision else { continue };
            for action in &binding.actions {
                match action.as_str() {
                    "Deny" => {
                        let (message, reason) = (message.clone(), reason.clone());
                        self.denied.push(Denied { definition, binding: Some(binding), message, reason });
                    }
                    "Warn" => request.warn(format!(
                        "Validation failed for ValidatingAdmissionPolicy '{}' with binding '{}': {message}",
                        definition.name, binding.name
                    )),
                    _ => self.told.push(json!({
                        "message": message, "policy": definition.name, "binding": binding.name,
                        "expressionIndex": index, "validationActions": binding.actions,
                    })),
                }
            }
        }
        for message in verdict.failures {
            self.denied.push(Denied {
                definition,
                binding: Some(binding),
                message,
                reason: "Invalid".to_owned(),
            });
        }
        for (key, value) in verdict.annotations {
            let values = annotations.entry(key).or_default();
            if !values.contains(&value) {
                values.push(value);
            }
        }
    }
}

#[async_trait]
impl Admission for ValidatingPolicies {
    fn name(&self) -> &str {
        "ValidatingAdmissionPolicy"
    }

    async fn mutate(&self, _: &AdmissionRequest<'_>, _: &mut Value) -> Result<(), StatusError> {
        Ok(())
    }

    async fn validate(&self, request: &AdmissionRequest<'_>, object: &Value) -> Result<(), StatusError> {
        // Policies say nothing about policies: a bad one could not be taken away again.
        let kept = ["validatingadmissionpolicies", "validatingadmissionpolicybindings"];
        let kept = kept.iter().chain(&["mutatingadmissionpolicies", "mutatingadmissionpolicybindings"]);
        if request.request.gv.group == GROUP.group
            && kept.into_iter().any(|plural| request.request.resource == *plural)
        {
            return Ok(());
        }
        let bindings = self.bindings.get(|objects| objects.iter().map(Binding::read).collect()).await?;
        if bindings.is_empty() {
            return Ok(());
        }
        let definitions =
            self.definitions.get(|objects| objects.iter().map(Definition::read).collect()).await?;
        let object = (request.operation != Operation::Delete).then_some(object);
        let asked = Asked { request, object, review: std::sync::OnceLock::new() };
        let mut sum = Sum::default();
        for definition in definitions.iter() {
            self.ask(definition, &bindings, &asked, &mut sum).await?;
        }
        if !sum.told.is_empty() {
            sum.told.truncate(MAX_TOLD);
            let told = Value::Array(sum.told).to_string();
            request.annotate("validation.policy.admission.k8s.io/validation_failure", told);
        }
        let Some(denied) = sum.denied.first() else { return Ok(()) };
        let name = &denied.definition.name;
        let message = match denied.binding {
            Some(binding) => format!(
                "ValidatingAdmissionPolicy '{name}' with binding '{}' denied request: {}",
                binding.name, denied.message
            ),
            None => format!("ValidatingAdmissionPolicy '{name}' denied request: {}", denied.message),
        };
        let cause = Cause { reason: String::new(), message: message.clone(), field: String::new() };
        Err(request.refuse(&message).with_reason(&denied.reason).with_cause(cause))
    }
}
