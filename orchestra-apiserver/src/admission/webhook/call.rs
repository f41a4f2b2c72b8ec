//! Asks one webhook about one request.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};

use super::hook::{FailurePolicy, Hook};
use super::review::{self, Answer, Question, Wrong};
use crate::admission::AdmissionRequest;
use crate::admission::conditions::Matched;
use crate::admission::matching::Target;
use crate::admission::versions::Versions;
use crate::auth::Authorizer;
use crate::clock::Chance;
use crate::status::StatusError;
use crate::webhook::Client;

/// What asking takes.
#[derive(Debug)]
pub(super) struct Caller {
    pub(super) client: Arc<Client>,
    pub(super) versions: Versions,
    pub(super) chance: Arc<Chance>,
    pub(super) authorizer: Arc<dyn Authorizer>,
}

/// How asking went wrong.
#[derive(Debug)]
pub(super) enum Failure {
    /// The webhook could not be asked or gave no answer; the code is for the metrics.
    Calling { why: String, code: u16 },
    /// It was asked in vain, whatever it would have said.
    Refused(StatusError),
}

impl Failure {
    fn calling(why: impl Into<String>, code: u16) -> Self {
        Self::Calling { why: why.into(), code }
    }
}

impl Caller {
    /// As what a webhook is to be asked about a request; `None` if it is not.
    pub(super) async fn target(
        &self,
        hook: &Hook,
        request: &AdmissionRequest<'_>,
        object: Option<&Value>,
    ) -> Result<Option<Target>, StatusError> {
        let Some(target) = self.matching(hook, request) else { return Ok(None) };
        if !hook.selectors.matches(request, object).await? {
            return Ok(None);
        }
        let asked = hook.conditions.ask((request, &target), object, &self.versions, &self.authorizer);
        match asked.await? {
            Matched::Yes => Ok(Some(target)),
            Matched::No => Ok(None),
            Matched::Failed(_) if hook.failure == FailurePolicy::Ignore => Ok(None),
            Matched::Failed(why) => Err(request.refuse(why)),
        }
    }

    /// The resource of the first rule that matches: that of the request or, if the webhook wants those, another version of it.
    fn matching(&self, hook: &Hook, request: &AdmissionRequest<'_>) -> Option<Target> {
        let own = Target::own(request);
        if hook.rules.iter().any(|rule| rule.matches(request, &own)) {
            return Some(own);
        }
        if !hook.is_equivalent {
            return None;
        }
        let others = self.versions.others(request);
        let found =
            hook.rules.iter().find_map(|rule| others.iter().find(|other| rule.matches(request, other)));
        found.cloned()
    }

    /// Asks, and reads the answer.
    pub(super) async fn ask(
        &self,
        hook: &Hook,
        request: &AdmissionRequest<'_>,
        target: &Target,
        object: Option<&Value>,
        is_mutating: bool,
    ) -> Result<Answer, Failure> {
        if request.dry_run && !hook.knows_dry_run {
            let why = format!("admission webhook {:?} does not support dry run", hook.name);
            return Err(Failure::Refused(StatusError::bad_request(why)));
        }
        let Some(form) = hook.review else {
            let why = "could not create admission objects: webhook does not accept known AdmissionReview versions (v1, v1beta1)";
            return Err(Failure::calling(why, 400));
        };
        let endpoint = hook.endpoint.as_ref();
        let endpoint =
            endpoint.map_err(|why| Failure::calling(format!("could not get REST client: {why}"), 500))?;
        let uid = self.chance.uuid();
        let object = self.versions.seen(request, target, object).await.map_err(Failure::Refused)?;
        let old = self.versions.seen(request, target, request.old).await.map_err(Failure::Refused)?;
        let kind_version =
            if request.kind_version == &request.request.gv { &target.gv } else { request.kind_version };
        let question =
            Question { uid: &uid, target, kind_version, object: object.as_deref(), old: old.as_deref() };
        let body = Bytes::from(review::ask(form, request, &question).to_string());
        let answer = self.client.post(endpoint, body, hook.patience).await;
        let body = answer.map_err(|why| Failure::calling(format!("failed to call webhook: {why}"), 503))?;
        let answer = review::read(form, &uid, is_mutating, &body).map_err(|wrong| match wrong {
            Wrong::Unreadable(why) => Failure::calling(format!("failed to call webhook: {why}"), 503),
            Wrong::Invalid(why) => Failure::calling(format!("received invalid webhook response: {why}"), 503),
            Wrong::Patch(why) => Failure::calling(why, 503),
        })?;
        for (key, value) in &answer.annotations {
            request.annotate(format!("{}/{key}", hook.name), value);
        }
        for warning in &answer.warnings {
            request.warn(warning.as_str());
        }
        Ok(answer)
    }
}

/// What a client is told when a webhook that must be asked cannot be.
pub(super) fn failed(hook: &Hook, why: &str) -> StatusError {
    StatusError::internal(format!("failed calling webhook {:?}: {why}", hook.name))
}

/// What a client is told when a webhook says no.
pub(super) fn denied(hook: &Hook, status: Option<Value>) -> StatusError {
    let denied = format!("admission webhook {:?} denied the request", hook.name);
    let mut status = status.filter(Value::is_object).unwrap_or_else(|| json!({}));
    let text = |field: &str| status.get(field).and_then(Value::as_str).filter(|text| !text.is_empty());
    let message = match (text("message"), text("reason")) {
        (Some(message), _) => format!("{denied}: {message}"),
        (None, Some(reason)) => format!("{denied}: {reason}"),
        (None, None) => format!("{denied} without explanation"),
    };
    status["message"] = message.into();
    StatusError::from_json(&status)
}
