//! Changing parts of objects.

use async_trait::async_trait;
use http::{Response, StatusCode};
use orchestra_core::patch::{self, PatchError};
use orchestra_core::violation::{FieldPath, Violation};
use serde_json::Value;

use super::apply;
use super::manage::Account;
use super::update::{self, Part};
use crate::body::Body;
use crate::negotiate::{decode, patched};
use crate::state::{Call, State};
use crate::status::StatusError;
use crate::storage::meta;
use crate::storage::narrow::{Fields, Look};
use crate::storage::writer::{Edit, Step};

pub(crate) const JSON: &str = "application/json-patch+json";
pub(crate) const MERGE: &str = "application/merge-patch+json";
pub(crate) const STRATEGIC: &str = "application/strategic-merge-patch+json";

/// What kinds of patches are understood, for the refusal of others.
const SUPPORTED: &[&str] = &[JSON, MERGE, STRATEGIC, apply::MEDIA_TYPE];

/// A patch of one of the kinds, read but not yet applied.
#[derive(Debug)]
pub(crate) enum Patch {
    /// RFC 6902.
    Json(Value),
    /// RFC 7386.
    Merge(Value),
    /// Kubernetes' own, which knows the keys of lists.
    Strategic(Value),
}

impl Patch {
    /// Reads the body by its media type.
    pub(crate) fn read(call: &Call) -> Result<Self, StatusError> {
        if call.options.force.is_some() {
            let path = FieldPath::new("force");
            let violation = Violation::forbidden(&path, "may not be specified for non-apply patch");
            return Err(StatusError::invalid("meta.k8s.io", "PatchOptions", "", &[violation]));
        }
        let make = match decode::media_type(&call.headers) {
            JSON => Self::Json,
            MERGE => Self::Merge,
            STRATEGIC => Self::Strategic,
            _ => return Err(StatusError::unsupported_media_type(SUPPORTED)),
        };
        let value = serde_json::from_slice(&call.body)
            .map_err(|error| StatusError::bad_request(format!("error decoding patch: {error}")))?;
        Ok(make(value))
    }

    /// The object after the patch.
    pub(crate) fn apply(&self, call: &Call, current: &Value) -> Result<Value, StatusError> {
        let patched = match self {
            Self::Json(patch) => patch::json::apply(current, patch),
            Self::Merge(patch) => patch::merge::apply(current, patch),
            Self::Strategic(patch) => {
                let schema = decode::patch_schema(call)?;
                patch::strategic::apply(current, patch, schema)
            }
        };
        patched.map_err(refusal)
    }

    /// Whether it changes no other fields of an object, whatever they are.
    fn names_only(&self, fields: &[&str]) -> bool {
        let Self::Strategic(Value::Object(patch)) = self else { return false };
        patch.keys().all(|field| fields.contains(&field.as_str()))
    }

    fn origin<'a>(&'a self, again: &'a dyn Fn() -> Option<Value>) -> patched::Origin<'a> {
        match self {
            Self::Strategic(patch) => patched::Origin::Strategic(patch),
            Self::Merge(patch) => patched::Origin::Merge(patch, again),
            Self::Json(_) => patched::Origin::Operations(again),
        }
    }
}

fn refusal(error: PatchError) -> StatusError {
    match StatusCode::from_u16(error.status()) {
        Ok(StatusCode::BAD_REQUEST) => StatusError::bad_request(error.to_string()),
        Ok(StatusCode::PAYLOAD_TOO_LARGE) => StatusError::too_large_patch(error.to_string()),
        Ok(StatusCode::UNPROCESSABLE_ENTITY) => StatusError::unprocessable(error.to_string()),
        _ => StatusError::internal(error),
    }
}

/// PATCH of an object or its status.
pub(crate) async fn patch(state: &State, call: &Call, part: Part) -> Result<Response<Body>, StatusError> {
    if decode::media_type(&call.headers) == apply::MEDIA_TYPE {
        return apply::apply(state, call, part).await;
    }
    let patch = Patch::read(call)?;
    let edit = PatchEdit { state, call, part, patch, warnings: std::sync::Mutex::default() };
    let written = update::write(state, call, &edit).await?;
    let mut response = update::respond(state, call, written)?;
    let warnings = edit.warnings.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    crate::warning::add(&mut response, &warnings);
    Ok(response)
}

struct PatchEdit<'a> {
    state: &'a State,
    call: &'a Call,
    part: Part,
    patch: Patch,
    /// Those of the last try.
    warnings: std::sync::Mutex<Vec<String>>,
}

#[async_trait]
impl Edit for PatchEdit<'_> {
    async fn edit(&self, current: &Value) -> Result<Step, StatusError> {
        let patched = self.patch.apply(self.call, current)?;
        let again = || self.patch.apply(self.call, current).ok();
        let decoded = patched::fit(self.call, self.patch.origin(&again), patched)?;
        *self.warnings.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = decoded.warnings;
        let mut new = decoded.value;
        super::create::place(self.call, &mut new)?;
        if meta::name(&new) != self.call.name() {
            return Err(StatusError::bad_request(format!(
                "the name of the object ({}) does not match the name on the URL ({})",
                meta::name(&new),
                self.call.name()
            )));
        }
        update::finish(self.state, self.call, self.part, new, current, Account::Track).await.map(Step::Put)
    }

    /// What a node reports of a pod, which is most of what is patched, changes nothing of its spec. Of that the kind looks at the policy,
    /// and `NodeRestriction`, alone among the server's own rules, at the node.
    fn looks_at(&self) -> Option<&'static Fields> {
        let is_pod_status = self.part == Part::Status && self.call.resource.is("", "pods");
        (is_pod_status && self.patch.names_only(&["metadata", "status"])).then_some(&[
            ("metadata", Look::Whole),
            ("spec", Look::Only(&["nodeName", "restartPolicy"])),
            ("status", Look::Whole),
        ])
    }

    /// Which containers of a pod that is not always restarted may start again, its spec says.
    fn is_enough(&self, pod: &Value) -> bool {
        let policy = meta::below(pod, "spec", "restartPolicy").and_then(Value::as_str);
        policy == Some("Always") && !self.call.concerns_outsiders(self.state, pod)
    }

    async fn create(&self) -> Result<Option<Value>, StatusError> {
        Ok(None)
    }
}
