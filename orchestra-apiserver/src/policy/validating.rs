//! `ValidatingAdmissionPolicy`: what bindings make of what policies say: a refusal, a warning, a note for the audit log.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use orchestra_core::policy::access::Authority;
use orchestra_core::policy::{Decision, Inputs, Policy, Verdict};
use serde_json::{Value, json};
use tokio::time::{Duration, Instant};

use super::access::Access;
use super::binding::{Binding, Definition, misconfigured};
use super::{GROUP, about, is_exempt};
use crate::admission::followed::Followed;
use crate::admission::versions::Versions;
use crate::admission::{Admission, AdmissionRequest, Operation, Phases};
use crate::auth::Authorizer;
use crate::cache::feed::Feed;
use crate::catalog::Catalog;
use crate::metrics::{Enforcement, PolicyMetrics};
use crate::status::{Cause, StatusError};

/// So many failures are told to the audit log.
const MAX_TOLD: usize = 50;

/// All validating policies of a cluster, as one rule of admission.
#[derive(Debug)]
pub(crate) struct ValidatingPolicies {
    versions: Versions,
    authorizer: Arc<dyn Authorizer>,
    definitions: Followed<Vec<Definition<Policy>>>,
    bindings: Followed<Vec<Binding>>,
    metrics: PolicyMetrics,
}

/// A refusal and whose it is.
struct Denied<'p> {
    definition: &'p Definition<Policy>,
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
    pub(crate) fn new(
        feed: &Arc<Feed>,
        catalog: &Arc<Catalog>,
        authorizer: &Arc<dyn Authorizer>,
        metrics: &PolicyMetrics,
    ) -> Option<Self> {
        let definitions = Followed::new(feed, catalog, &GROUP, "validatingadmissionpolicies")?;
        let bindings = Followed::new(feed, catalog, &GROUP, "validatingadmissionpolicybindings")?;
        let (versions, authorizer, metrics) = (Versions::new(catalog), authorizer.clone(), metrics.clone());
        Some(Self { versions, authorizer, definitions, bindings, metrics })
    }

    async fn ask<'p>(
        &self,
        definition: &'p Definition<Policy>,
        bindings: &'p [Binding],
        asked: &Asked<'_>,
        sum: &mut Sum<'p>,
    ) -> Result<(), StatusError> {
        let request = asked.request;
        let Some(bound) = definition.bound(bindings, request, asked.object, &self.versions).await else {
            return Ok(());
        };
        for (binding, why) in &bound.wrong {
            sum.misconfigured(definition, *binding, why);
        }
        if bound.with.is_empty() {
            return Ok(());
        }
        let review = about::request(request, &bound.target);
        let object = self.versions.seen(request, &bound.target, asked.object).await?;
        let old = self.versions.seen(request, &bound.target, request.old).await?;
        let namespace = about::namespace(request).await?;
        let mut annotations: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (binding, params) in &bound.with {
            for params in params {
                let ask = |authority: &Authority| {
                    let inputs = Inputs::new(&review, object.as_deref(), old.as_deref());
                    let inputs = inputs.namespace(namespace.as_ref()).authority(authority);
                    let has_params = definition.param_kind.is_some();
                    definition.policy.ask(&if has_params { inputs.params(params.as_ref()) } else { inputs })
                };
                let begun = Instant::now();
                let verdict = asked.access.settle(ask).await;
                self.count(&definition.name, binding, &verdict, begun.elapsed());
                sum.add(definition, binding, verdict, request, &mut annotations);
            }
        }
        for (key, values) in annotations {
            request.annotate(format!("{}/{key}", definition.name), values.join(", "));
        }
        Ok(())
    }

    /// Counts what upstream counts: what refuses, once for each thing that follows, and failures that are passed over.
    fn count(&self, policy: &str, binding: &Binding, verdict: &Verdict, took: Duration) {
        let names = (policy, binding.name.as_str());
        for decision in &verdict.decisions {
            match decision {
                Decision::Admit => {}
                Decision::Ignore { message } => {
                    self.metrics.validated(names, Enforcement::Allow, message, took);
                }
                Decision::Deny { message, .. } => {
                    for action in &binding.actions {
                        let enforcement = match action.as_str() {
                            "Deny" => Enforcement::Deny,
                            "Warn" => Enforcement::Warn,
                            _ => Enforcement::Audit,
                        };
                        self.metrics.validated(names, enforcement, message, took);
                    }
                }
            }
        }
        for message in &verdict.failures {
            self.metrics.validated(names, Enforcement::Deny, message, took);
        }
    }
}

/// A request and its object.
struct Asked<'r> {
    request: &'r AdmissionRequest<'r>,
    object: Option<&'r Value>,
    access: Access<'r>,
}

impl<'p> Sum<'p> {
    fn misconfigured(&mut self, definition: &'p Definition<Policy>, binding: Option<&'p Binding>, why: &str) {
        if definition.policy.fails_open() {
            return;
        }
        let message = misconfigured(binding, why);
        self.denied.push(Denied { definition, binding, message, reason: "Invalid".to_owned() });
    }

    fn add(
        &mut self,
        definition: &'p Definition<Policy>,
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

    fn phases(&self) -> Phases {
        Phases::Validation
    }

    fn concerns(&self, _request: &AdmissionRequest<'_>) -> bool {
        !self.bindings.is_known_empty()
    }

    async fn validate(&self, request: &AdmissionRequest<'_>, object: &Value) -> Result<(), StatusError> {
        if is_exempt(request) {
            return Ok(());
        }
        let bindings = self.bindings.get(|objects| objects.iter().map(Binding::read).collect()).await?;
        if bindings.is_empty() {
            return Ok(());
        }
        let definitions = self
            .definitions
            .get(|objects| objects.iter().map(|object| Definition::read(object, Policy::compile)).collect())
            .await?;
        let object = (request.operation != Operation::Delete).then_some(object);
        let access = Access::new(&self.authorizer, request.user);
        let asked = Asked { request, object, access };
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
