//! All rules in their order, asked in the two phases.
//!
//! The order is upstream's: its plugins, then the rules of whoever embeds the server, then what users of the API bring:
//! policies that change, webhooks that change; and once the object is whole, policies and webhooks that only refuse; the quota
//! comes last, so that nothing is charged that somebody else refuses.

use std::any::Any;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use futures::FutureExt;
use orchestra_core::violation::{FieldPath, Violation};
use serde_json::Value;

use super::{Admission, AdmissionRequest, Phases};
use crate::metrics::{AdmissionMetrics, Phase};
use crate::status::StatusError;
use crate::storage::meta;

/// The places at the end of the chain, each for one rule.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    /// `MutatingAdmissionPolicy`.
    pub(crate) mutating_policies: Option<Arc<dyn Admission>>,
    /// `MutatingAdmissionWebhook`.
    pub(crate) mutating_webhooks: Option<Arc<dyn Admission>>,
    /// `ValidatingAdmissionPolicy`.
    pub(crate) validating_policies: Option<Arc<dyn Admission>>,
    /// `ValidatingAdmissionWebhook`.
    pub(crate) validating_webhooks: Option<Arc<dyn Admission>>,
    /// `ResourceQuota`.
    pub(crate) quota: Option<Arc<dyn Admission>>,
}

/// Every rule of a server.
#[derive(Debug)]
pub(crate) struct Chain {
    rules: Vec<Arc<dyn Admission>>,
    /// Those of them that are not the server's own, so that nobody knows what of an object they look at.
    outsiders: Range<usize>,
    /// Of those that change, whom a removal concerns as well.
    removals: Option<Arc<dyn Admission>>,
    metrics: AdmissionMetrics,
}

impl Chain {
    /// Built-in rules, then those of the embedding program, then what fills the slots.
    pub(crate) fn new(builtin: Vec<Arc<dyn Admission>>, own: Vec<Arc<dyn Admission>>, slots: Slots) -> Self {
        let Slots { mutating_policies, mutating_webhooks, validating_policies, validating_webhooks, quota } =
            slots;
        let removals = mutating_webhooks.clone();
        let hooks = [mutating_policies, mutating_webhooks, validating_policies, validating_webhooks];
        let mut rules = builtin;
        let begin = rules.len();
        rules.extend(own.into_iter().chain(hooks.into_iter().flatten()));
        let outsiders = begin..rules.len();
        rules.extend(quota);
        let metrics = AdmissionMetrics::new(&rules);
        Self { rules, outsiders, removals, metrics }
    }

    pub(crate) fn metrics(&self) -> &AdmissionMetrics {
        &self.metrics
    }

    /// Lets every rule change the object; all of them once more when a late one asks for it.
    pub(crate) async fn mutate(
        &self,
        request: &AdmissionRequest<'_>,
        object: &mut Value,
    ) -> Result<(), StatusError> {
        self.mutate_once(request, object).await?;
        if request.rounds.begin_second() {
            self.mutate_once(request, object).await?;
        }
        keeps_identity(request, object)
    }

    /// The rules to be asked about a request in a phase, with their places.
    fn concerned<'a>(
        &'a self,
        phase: Phase,
        request: &'a AdmissionRequest<'_>,
    ) -> impl Iterator<Item = (usize, &'a Arc<dyn Admission>)> {
        let idle = match phase {
            Phase::Admit => Phases::Validation,
            Phase::Validate => Phases::Mutation,
        };
        self.rules
            .iter()
            .enumerate()
            .filter(move |(_, rule)| is_asked(|| rule.phases() != idle && rule.concerns(request)))
    }

    /// Whether rules that are not the server's own have a say in a request.
    pub(crate) fn concerns_outsiders(&self, request: &AdmissionRequest<'_>) -> bool {
        let outsiders = self.rules.get(self.outsiders.clone());
        outsiders.into_iter().flatten().any(|rule| is_asked(|| rule.concerns(request)))
    }

    async fn mutate_once(
        &self,
        request: &AdmissionRequest<'_>,
        object: &mut Value,
    ) -> Result<(), StatusError> {
        let mut laps = self.metrics.laps(Phase::Admit, request.operation);
        for (at, rule) in self.concerned(Phase::Admit, request) {
            let asked = AssertUnwindSafe(async { rule.mutate(request, object).await }).catch_unwind();
            laps.said(at, asked.await.unwrap_or_else(|panic| Err(panicked(rule.name(), &*panic))))?;
        }
        laps.end();
        Ok(())
    }

    /// Lets every rule refuse that an object is removed. Webhooks that change are asked as well, though there is nothing to
    /// change.
    pub(crate) async fn remove(
        &self,
        request: &AdmissionRequest<'_>,
        object: &Value,
    ) -> Result<(), StatusError> {
        if let Some(rule) = &self.removals {
            rule.mutate(request, &mut Value::Null).await?;
        }
        self.validate(request, object).await
    }

    /// Lets every rule refuse the object.
    pub(crate) async fn validate(
        &self,
        request: &AdmissionRequest<'_>,
        object: &Value,
    ) -> Result<(), StatusError> {
        let mut laps = self.metrics.laps(Phase::Validate, request.operation);
        for (at, rule) in self.concerned(Phase::Validate, request) {
            let asked = AssertUnwindSafe(async { rule.validate(request, object).await }).catch_unwind();
            laps.said(at, asked.await.unwrap_or_else(|panic| Err(panicked(rule.name(), &*panic))))?;
        }
        laps.end();
        Ok(())
    }
}

/// Whether a rule says so. Who panics here is asked, and does so where it is told.
fn is_asked(says: impl FnOnce() -> bool) -> bool {
    catch_unwind(AssertUnwindSafe(says)).unwrap_or(true)
}

/// No rule makes another object of the one that the request is about.
fn keeps_identity(request: &AdmissionRequest<'_>, object: &Value) -> Result<(), StatusError> {
    let Some(old) = request.old else {
        let is_own = request.request.subresource.is_none() && !request.namespace.is_empty();
        if is_own && meta::text(object, "namespace") != request.namespace {
            return Err(StatusError::bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            ));
        }
        return Ok(());
    };
    let changed = ["name", "namespace", "uid"].into_iter();
    let changed = changed.filter(|field| meta::text(object, field) != meta::text(old, field));
    let violations: Vec<Violation> = changed
        .map(|field| {
            let path = FieldPath::new("metadata").child(field);
            Violation::invalid(&path, meta::text(object, field), "field is immutable")
        })
        .collect();
    if violations.is_empty() {
        return Ok(());
    }
    Err(StatusError::invalid(&request.kind_version.group, request.kind, request.name, &violations))
}

/// A rule that panics fails the request it was asked about; its panic was printed where it happened.
fn panicked(name: &str, panic: &(dyn Any + Send)) -> StatusError {
    let said = panic.downcast_ref::<&str>().copied();
    let said = said.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or_default();
    tracing::error!(plugin = name, panic = said, "an admission plugin panicked");
    StatusError::internal(format!("admission plugin {name:?} panicked"))
}
