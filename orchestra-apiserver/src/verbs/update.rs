//! Replacing objects, and what every change of an object goes through.

use async_trait::async_trait;
use http::{Response, StatusCode};
use orchestra_core::kind::ObjectPart;
use orchestra_core::violation::{FieldPath, Violation};
use serde_json::Value;

use super::manage::{self, Account};
use super::{create, devices};
use crate::admission::Operation;
use crate::body::Body;
use crate::negotiate::decode;
use crate::request::{RequestInfo, Verb};
use crate::server::ask;
use crate::state::{Call, State};
use crate::status::StatusError;
use crate::storage::meta;
use crate::storage::writer::{Edit, Step, Written};
use crate::subresource::{approval, scale};
use crate::warning;

/// What of an object a request may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Everything but status.
    Main,
    /// Everything but status, by its `Scale`: that is what admission sees.
    Scale,
    /// Status.
    Status,
    /// What has a path of its own.
    Below(ObjectPart),
}

/// PUT of an object or its status.
pub(crate) async fn update(state: &State, call: &Call, part: Part) -> Result<Response<Body>, StatusError> {
    let decoded = decode::object(call, call.options.field_validation)?;
    let mut new = decoded.value;
    create::place(call, &mut new)?;
    if meta::name(&new) != call.name() {
        return Err(StatusError::bad_request(match meta::name(&new) {
            "" => format!(
                "the name of the object ({} based on URL) was undeterminable: name must be provided",
                call.name()
            ),
            name => format!(
                "the name of the object ({name}) does not match the name on the URL ({})",
                call.name()
            ),
        }));
    }
    let written = write(state, call, &Replace { state, call, part, new }).await?;
    let mut response = respond(state, call, written)?;
    warning::add(&mut response, &decoded.warnings);
    Ok(response)
}

/// Commits an edit of the object the path names.
pub(crate) async fn write(state: &State, call: &Call, edit: &dyn Edit) -> Result<Written, StatusError> {
    let key = call.resource.key(call.namespace(), call.name());
    state.writer.update(&call.resource, key, call.name(), call.options.dry_run.into(), edit).await
}

/// The object after a write.
pub(crate) fn respond(state: &State, call: &Call, written: Written) -> Result<Response<Body>, StatusError> {
    let code = if matches!(written, Written::Created(_)) { StatusCode::CREATED } else { StatusCode::OK };
    call.renderer(state).object(code, written.into_encoded().json())
}

struct Replace<'a> {
    state: &'a State,
    call: &'a Call,
    part: Part,
    new: Value,
}

#[async_trait]
impl Edit for Replace<'_> {
    async fn edit(&self, current: &Value) -> Result<Step, StatusError> {
        finish(self.state, self.call, self.part, self.new.clone(), current, Account::Track)
            .await
            .map(Step::Put)
    }

    async fn create(&self) -> Result<Option<Value>, StatusError> {
        if !self.call.resource.description().create_on_update || self.part != Part::Main {
            return Ok(None);
        }
        // So far only `update` was asked about.
        let about = RequestInfo::Resource(self.call.request.clone());
        ask(self.state, &self.call.user, Verb::Create.as_str(), &about, "").await?;
        let mut new = self.new.clone();
        meta::remove(&mut new, "resourceVersion");
        create::prepare(self.state, self.call, new, Account::Track).await.map(Some)
    }
}

/// Takes a wanted state to the one that is stored: versions agree, what may not change is kept, defaults, admission,
/// rules of the kind.
pub(crate) async fn finish(
    state: &State,
    call: &Call,
    part: Part,
    mut new: Value,
    old: &Value,
    account: Account,
) -> Result<Value, StatusError> {
    check_version(state, call, &new, old)?;
    carry_metadata(&mut new, old);
    let kind = &call.resource.kind;
    kind.default(&mut new);
    let account = account.settle(state, call, Some(old), &mut new).await;
    match part {
        Part::Scale => scale::admit(state, call, &mut new, old).await?,
        _ => call.admit(state, Operation::Update, &mut new, Some(old)).await?,
    }
    kind.default(&mut new);
    call.resource.complete(&mut new);
    let mut violations = match part {
        Part::Main | Part::Scale => {
            kind.prepare_update(&mut new, old);
            call.resource.complete(&mut new);
            account.write(&mut new);
            kind.validate_update(&new, old)
        }
        Part::Status => {
            kind.prepare_status_update(&mut new, old);
            call.resource.complete_status(&mut new);
            account.write(&mut new);
            kind.validate_status_update(&new, old)
        }
        Part::Below(below) => {
            kind.prepare_part_update(below, &mut new, old);
            if below == ObjectPart::Approval {
                approval::date(&mut new, old, &state.stamp());
            }
            call.resource.complete(&mut new);
            account.write(&mut new);
            kind.validate_part_update(below, &new, old)
        }
    };
    if violations.is_empty() {
        // Each part may be a question to an authorizer: only of what is within the limits of its kind.
        violations = devices::in_change(state, call, part, &new, old).await?;
    }
    call.refuse_invalid(state, &new, violations)?;
    if part == Part::Main && call.resource.is("", "services") {
        state.network.allocate(state.store.as_ref(), &state.chance, &mut new, Some(old)).await?;
    }
    match part {
        Part::Scale => scale::check(state, call, &new, old).await?,
        _ => call.check(state, Operation::Update, &new, Some(old)).await?,
    }
    manage::keep_times(&mut new, old);
    Ok(new)
}

fn check_version(state: &State, call: &Call, new: &Value, old: &Value) -> Result<(), StatusError> {
    let gr = &call.resource.gr;
    let uid = meta::text(new, "uid");
    if !uid.is_empty() && uid != meta::text(old, "uid") {
        return Err(StatusError::conflict(
            gr,
            call.name(),
            format!(
                "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
                meta::text(old, "uid")
            ),
        ));
    }
    match meta::text(new, "resourceVersion") {
        "" if call.resource.description().unconditional_update => Ok(()),
        "" => {
            let path = FieldPath::new("metadata").child("resourceVersion");
            let violation = Violation::invalid(&path, 0, "must be specified for an update");
            call.refuse_invalid(state, old, vec![violation])
        }
        version if version == meta::text(old, "resourceVersion") => Ok(()),
        _ => Err(StatusError::modified(gr, call.name())),
    }
}

/// What of the metadata no client may change.
fn carry_metadata(new: &mut Value, old: &Value) {
    for field in [
        "uid",
        "resourceVersion",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
    ] {
        meta::keep(new, old, field);
    }
    meta::remove(new, "selfLink");
    let empty = |value: &Value| {
        value.is_null()
            || value.as_object().is_some_and(serde_json::Map::is_empty)
            || value.as_array().is_some_and(Vec::is_empty)
    };
    for field in ["labels", "annotations", "finalizers", "ownerReferences"] {
        let nothing = meta::metadata(new).and_then(|m| m.get(field)).is_some_and(empty);
        if nothing {
            meta::remove(new, field);
        }
    }
}
