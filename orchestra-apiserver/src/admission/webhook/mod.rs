//! `MutatingAdmissionWebhook` and `ValidatingAdmissionWebhook`: programs of users decide over writes.
//!
//! Configurations say who is asked about what; see `docs/admission.md`. Those that change are asked one after the other, and
//! once more when somebody behind them changed something and they want that; those that only refuse are asked all at
//! once. Nobody is asked about configurations of webhooks and policies, or a bad one could not be taken away.
//! After upstream's `k8s.io/apiserver/pkg/admission/plugin/webhook`.

mod call;
mod hook;
mod review;

use std::sync::Arc;

use async_trait::async_trait;
use futures::future::join_all;
use orchestra_core::gvk::GroupVersion;
use orchestra_core::patch::json as json_patch;
use serde_json::{Value, json};
use tokio::time::Instant;

use self::call::{Caller, Failure, denied, failed};
use self::hook::{FailurePolicy, Hook, read_all};
use super::followed::Followed;
use super::matching::Target;
use super::notes::Lane;
use super::versions::Versions;
use super::{Admission, AdmissionRequest, Operation, Phases};
use crate::auth::Authorizer;
use crate::cache::feed::Feed;
use crate::catalog::Catalog;
use crate::clock::Chance;
use crate::metrics::{Asked, WebhookMetrics};
use crate::status::StatusError;
use crate::webhook::Client;

const GROUP: &str = "admissionregistration.k8s.io";
const REGISTRATION: GroupVersion = GroupVersion::new(GROUP, "v1");
/// The most operations of a patch, as for patches of clients.
const MOST_OPERATIONS: usize = 10_000;

/// What both kinds of webhooks work with.
#[derive(Clone, Debug)]
pub(crate) struct Webhooks {
    caller: Arc<Caller>,
    metrics: WebhookMetrics,
}

impl Webhooks {
    pub(crate) fn new(
        client: &Arc<Client>,
        catalog: &Arc<Catalog>,
        chance: &Arc<Chance>,
        authorizer: &Arc<dyn Authorizer>,
        metrics: WebhookMetrics,
    ) -> Self {
        let caller = Caller {
            client: client.clone(),
            versions: Versions::new(catalog),
            chance: chance.clone(),
            authorizer: authorizer.clone(),
        };
        Self { caller: Arc::new(caller), metrics }
    }
}

/// Whether a request is about what decides over requests.
fn is_exempt(request: &AdmissionRequest<'_>) -> bool {
    const KINDS: [&str; 6] = [
        "MutatingAdmissionPolicy",
        "MutatingAdmissionPolicyBinding",
        "MutatingWebhookConfiguration",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
        "ValidatingWebhookConfiguration",
    ];
    request.kind_version.group == GROUP && KINDS.contains(&request.kind)
}

/// One asking, for the metrics.
struct Observed<'a> {
    metrics: &'a WebhookMetrics,
    begun: Instant,
    asked: Asked,
}

impl<'a> Observed<'a> {
    fn begin(
        metrics: &'a WebhookMetrics,
        hook: &Hook,
        type_: &'static str,
        request: &AdmissionRequest<'_>,
    ) -> Self {
        let asked = Asked { name: hook.name.clone(), type_, operation: request.operation.as_str() };
        Self { metrics, begun: Instant::now(), asked }
    }

    fn allowed(self) {
        self.metrics.answered(self.asked, self.begun.elapsed(), 200, None);
    }

    fn rejected(self, error_type: &'static str, code: u16) {
        self.metrics.answered(self.asked, self.begun.elapsed(), code, Some(error_type));
    }

    fn let_through(self, code: u16) {
        self.metrics.failed_open(self.asked, self.begun.elapsed(), code);
    }
}

/// What follows from an asking that failed: `None` lets the request go on.
fn consequence(hook: &Hook, failure: Failure, observed: Observed<'_>) -> Option<StatusError> {
    match failure {
        Failure::Calling { why, code } if hook.failure == FailurePolicy::Ignore => {
            tracing::warn!(webhook = hook.name, error = why, "a webhook cannot be asked and is passed over");
            observed.let_through(code);
            None
        }
        Failure::Calling { why, code } => {
            tracing::warn!(
                webhook = hook.name,
                error = why,
                "a webhook cannot be asked, which refuses the request"
            );
            observed.rejected("calling_webhook_error", code);
            Some(failed(hook, &why))
        }
        Failure::Refused(status) => {
            observed.rejected("apiserver_internal_error", 0);
            Some(status)
        }
    }
}

/// Webhooks that change objects.
#[derive(Debug)]
pub(crate) struct MutatingWebhooks {
    shared: Webhooks,
    hooks: Followed<Vec<Arc<Hook>>>,
}

impl MutatingWebhooks {
    pub(crate) fn new(shared: &Webhooks, feed: &Arc<Feed>, catalog: &Catalog) -> Option<Self> {
        let hooks = Followed::new(feed, catalog, &REGISTRATION, "mutatingwebhookconfigurations")?;
        Some(Self { shared: shared.clone(), hooks })
    }

    /// Asks one webhook and does what it wants; says whether that changed anything.
    async fn ask(
        &self,
        hook: &Hook,
        (request, target): (&AdmissionRequest<'_>, &Target),
        object: &mut Value,
        key: &str,
    ) -> Result<bool, StatusError> {
        let observed = Observed::begin(&self.shared.metrics, hook, "admit", request);
        let seen = (request.operation != Operation::Delete).then_some(&*object);
        let answer = match self.shared.caller.ask(hook, request, target, seen, true).await {
            Ok(answer) => answer,
            Err(failure) => {
                return match consequence(hook, failure, observed) {
                    Some(refused) => Err(refused),
                    None => {
                        let key = format!("failed-open.mutation.webhook.admission.k8s.io/{key}");
                        request.annotate(key, hook.name.as_str());
                        Ok(false)
                    }
                };
            }
        };
        if !answer.is_allowed {
            let refused = denied(hook, answer.status);
            observed.rejected("no_error", refused.code().as_u16());
            return Err(refused);
        }
        let Some(patch) = answer.patch else {
            observed.allowed();
            return Ok(false);
        };
        match self.patched(hook, (request, target), object, &patch).await {
            Ok(new) => {
                observed.allowed();
                let changed = new != *object;
                *object = new;
                Ok(changed)
            }
            Err(refused) => {
                observed.rejected("apiserver_internal_error", 0);
                Err(refused)
            }
        }
    }

    /// The object after a patch, which is meant for it in the version that the webhook got.
    async fn patched(
        &self,
        hook: &Hook,
        (request, target): (&AdmissionRequest<'_>, &Target),
        object: &Value,
        patch: &Value,
    ) -> Result<Value, StatusError> {
        if request.operation == Operation::Delete {
            return Err(StatusError::internal(format!(
                "admission webhook {:?} attempted to modify the object, which is not supported for this operation",
                hook.name
            )));
        }
        if patch.as_array().is_some_and(|operations| operations.len() > MOST_OPERATIONS) {
            return Err(StatusError::internal(format!(
                "admission webhook {:?} returned a patch of more than {MOST_OPERATIONS} operations",
                hook.name
            )));
        }
        let caller = &self.shared.caller;
        let seen = caller.versions.converted(request, target, object).await?;
        let new = json_patch::apply(&seen, patch).map_err(StatusError::internal)?;
        let same = |field: &str| new.get(field) == seen.get(field);
        if !new.is_object() || !same("kind") || !same("apiVersion") || !new["metadata"].is_object() {
            let why = format!("admission webhook {:?} made another kind of object", hook.name);
            return Err(StatusError::internal(why));
        }
        let mut new = caller.versions.back(request, target, new).await?;
        request.fit(&mut new)?;
        Ok(new)
    }
}

#[async_trait]
impl Admission for MutatingWebhooks {
    fn name(&self) -> &str {
        "MutatingAdmissionWebhook"
    }

    fn phases(&self) -> Phases {
        Phases::Mutation
    }

    fn concerns(&self, _request: &AdmissionRequest<'_>) -> bool {
        !self.hooks.is_known_empty()
    }

    async fn mutate(&self, request: &AdmissionRequest<'_>, object: &mut Value) -> Result<(), StatusError> {
        let hooks = self.hooks.get(|all| read_all(all, &self.shared.caller.client)).await?;
        if hooks.is_empty() || is_exempt(request) {
            return Ok(());
        }
        let rounds = request.rounds.lane(Lane::Webhooks);
        // What built-in rules did since is a change, too.
        rounds.compare(object);
        let mut was_asked = false;
        for (at, hook) in hooks.iter().enumerate() {
            let seen = (request.operation != Operation::Delete).then_some(&*object);
            let Some(target) = self.shared.caller.target(hook, request, seen).await? else { continue };
            if !rounds.is_due(&hook.id) {
                continue;
            }
            was_asked = true;
            let key = format!("round_{}_index_{at}", u8::from(rounds.is_second()));
            let changed = self.ask(hook, (request, &target), object, &key).await?;
            let said = json!({"configuration": hook.configuration, "webhook": hook.name, "mutated": changed});
            request.annotate(format!("mutation.webhook.admission.k8s.io/{key}"), said.to_string());
            if changed {
                rounds.changed();
            }
            if hook.is_reinvoked {
                rounds.remember(hook.id.as_str());
            }
        }
        if was_asked {
            rounds.keep(object);
        }
        Ok(())
    }
}

/// Webhooks that only refuse.
#[derive(Debug)]
pub(crate) struct ValidatingWebhooks {
    shared: Webhooks,
    hooks: Followed<Vec<Arc<Hook>>>,
}

impl ValidatingWebhooks {
    pub(crate) fn new(shared: &Webhooks, feed: &Arc<Feed>, catalog: &Catalog) -> Option<Self> {
        let hooks = Followed::new(feed, catalog, &REGISTRATION, "validatingwebhookconfigurations")?;
        Some(Self { shared: shared.clone(), hooks })
    }

    async fn ask(
        &self,
        hook: &Hook,
        target: &Target,
        request: &AdmissionRequest<'_>,
        object: Option<&Value>,
        at: usize,
    ) -> Result<(), StatusError> {
        let observed = Observed::begin(&self.shared.metrics, hook, "validating", request);
        match self.shared.caller.ask(hook, request, target, object, false).await {
            Ok(answer) if answer.is_allowed => {
                observed.allowed();
                Ok(())
            }
            Ok(answer) => {
                let refused = denied(hook, answer.status);
                observed.rejected("no_error", refused.code().as_u16());
                Err(refused)
            }
            Err(failure) => match consequence(hook, failure, observed) {
                Some(refused) => Err(refused),
                None => {
                    let key = format!("failed-open.validating.webhook.admission.k8s.io/round_0_index_{at}");
                    request.annotate(key, hook.name.as_str());
                    Ok(())
                }
            },
        }
    }
}

#[async_trait]
impl Admission for ValidatingWebhooks {
    fn name(&self) -> &str {
        "ValidatingAdmissionWebhook"
    }

    fn phases(&self) -> Phases {
        Phases::Validation
    }

    fn concerns(&self, _request: &AdmissionRequest<'_>) -> bool {
        !self.hooks.is_known_empty()
    }

    async fn validate(&self, request: &AdmissionRequest<'_>, object: &Value) -> Result<(), StatusError> {
        let hooks = self.hooks.get(|all| read_all(all, &self.shared.caller.client)).await?;
        if hooks.is_empty() || is_exempt(request) {
            return Ok(());
        }
        let object = (request.operation != Operation::Delete).then_some(object);
        let mut relevant = Vec::new();
        for hook in hooks.iter() {
            if let Some(target) = self.shared.caller.target(hook, request, object).await? {
                relevant.push((hook, target));
            }
        }
        let asked = relevant.iter().enumerate();
        let asked = asked.map(|(at, (hook, target))| self.ask(hook, target, request, object, at));
        // All have their say; the first refusal is the answer.
        join_all(asked).await.into_iter().collect()
    }
}
