//! Server-side apply: PATCH with a configuration of which every field is meant to be the manager's.

use async_trait::async_trait;
use http::Response;
use orchestra_core::gvk::GroupVersion;
use orchestra_core::patch::apply::{self, Applied, ApplyError, Force, Target};
use orchestra_core::schema::{self, Format};
use orchestra_core::violation::{FieldPath, Violation};
use serde_json::Value;

use super::create;
use super::manage::{self, Account};
use super::update::{self, Part};
use crate::body::Body;
use crate::query::FieldValidation;
use crate::state::{Call, State};
use crate::status::StatusError;
use crate::storage::meta;
use crate::storage::writer::{Edit, Step, Written};
use crate::warning;

/// YAML, and so JSON as well.
pub(crate) const MEDIA_TYPE: &str = "application/apply-patch+yaml";

/// A configuration, read and checked as far as that goes without the object.
#[derive(Debug)]
pub(crate) struct Config {
    value: Value,
    pub(crate) warnings: Vec<String>,
}

impl Config {
    /// Reads the body, which must be of this kind.
    pub(crate) fn read(call: &Call, gv: &GroupVersion, kind: &str) -> Result<Self, StatusError> {
        if call.options.field_manager.is_empty() {
            let violation =
                Violation::required(&FieldPath::new("fieldManager"), "is required for apply patch");
            return Err(StatusError::invalid("meta.k8s.io", "PatchOptions", "", &[violation]));
        }
        let is_json = call.body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
        let json = is_json.then(|| schema::decode_untyped(&call.body, Format::Json).ok()).flatten();
        let decoded = match json {
            Some(decoded) => decoded,
            None => schema::decode_untyped(&call.body, Format::Yaml)
                .map_err(|error| StatusError::bad_request(format!("error decoding YAML: {error}")))?,
        };
        let Value::Object(map) = &decoded.value else {
            return Err(StatusError::bad_request("error decoding YAML: the configuration must be an object"));
        };
        let text = |field: &str| map.get(field).and_then(Value::as_str).unwrap_or_default();
        if text("apiVersion") != gv.to_string() || text("kind") != kind {
            let version = text("apiVersion");
            let slash = if version.contains('/') { "" } else { "/" };
            let message = format!("invalid object type: {slash}{version}, Kind={}", text("kind"));
            return Err(StatusError::bad_request(message));
        }
        if meta::metadata(&decoded.value).and_then(|m| m.get("managedFields")).is_some_and(|f| !f.is_null()) {
            return Err(StatusError::bad_request("metadata.managedFields must be nil"));
        }
        let problems: Vec<String> = decoded.problems.iter().map(ToString::to_string).collect();
        let warnings = match call.options.field_validation {
            FieldValidation::Strict if !problems.is_empty() => {
                let said = schema::repeated_keys(&call.body).unwrap_or_else(|| problems.join(", "));
                return Err(StatusError::bad_request(format!("error strict decoding YAML: {said}")));
            }
            FieldValidation::Warn => problems,
            _ => Vec::new(),
        };
        Ok(Self { value: decoded.value, warnings })
    }

    /// The same configuration in other terms.
    pub(crate) fn map(self, change: impl FnOnce(Value) -> Value) -> Self {
        Self { value: change(self.value), warnings: self.warnings }
    }

    /// What the configuration makes of an object.
    async fn onto(&self, state: &State, call: &Call, live: Option<&Value>) -> Result<Applied, StatusError> {
        let now = state.stamp();
        let author = manage::author(call, &call.options.field_manager, &now);
        let force = if call.options.force == Some(true) { Force::Yes } else { Force::No };
        let attempt = |target: Target<'_>| match apply::apply(live, &self.value, author, target, force) {
            Err(ApplyError::Unseen(question)) => Err(question),
            outcome => Ok(outcome),
        };
        manage::seen(call, attempt).await?.map_err(|error| match error {
            ApplyError::Conflict(conflicts) => StatusError::apply_conflict(&conflicts),
            other => {
                let (namespace, name) = (meta::text(&self.value, "namespace"), meta::name(&self.value));
                let gv = &call.resource.description().gv;
                StatusError::unforeseen(format!(
                    "failed to create typed patch object ({namespace}/{name}; {}/{}, Kind={}): {other}",
                    gv.group,
                    gv.version,
                    call.resource.kind_name()
                ))
            }
        })
    }
}

/// PATCH of an object or its status by apply.
pub(crate) async fn apply(state: &State, call: &Call, part: Part) -> Result<Response<Body>, StatusError> {
    let config = Config::read(call, &call.resource.description().gv, call.resource.kind_name())?;
    let written = write(state, call, part, &config).await?;
    let mut response = update::respond(state, call, written)?;
    warning::add(&mut response, &config.warnings);
    Ok(response)
}

/// Applies a configuration to the object the path names.
pub(crate) async fn write(
    state: &State,
    call: &Call,
    part: Part,
    config: &Config,
) -> Result<Written, StatusError> {
    update::write(state, call, &ApplyEdit { state, call, part, config }).await
}

struct ApplyEdit<'a> {
    state: &'a State,
    call: &'a Call,
    part: Part,
    config: &'a Config,
}

impl ApplyEdit<'_> {
    async fn applied(&self, live: Option<&Value>) -> Result<(Value, Account), StatusError> {
        let applied = self.config.onto(self.state, self.call, live).await?;
        let mut new = applied.object;
        if let Some(ty) = self.call.resource.object_type() {
            schema::conform(&mut new, ty).map_err(|error| StatusError::unforeseen(error.to_string()))?;
        }
        if let Some(custom) = self.call.resource.custom() {
            custom.conform(&mut new).map_err(|error| StatusError::unforeseen(error.to_string()))?;
        }
        create::place(self.call, &mut new)?;
        Ok((new, Account::Known(applied.account)))
    }
}

#[async_trait]
impl Edit for ApplyEdit<'_> {
    async fn edit(&self, current: &Value) -> Result<Step, StatusError> {
        let (new, account) = self.applied(Some(current)).await?;
        if meta::name(&new) != self.call.name() {
            return Err(other_name(&new, self.call));
        }
        update::finish(self.state, self.call, self.part, new, current, account).await.map(Step::Put)
    }

    async fn create(&self) -> Result<Option<Value>, StatusError> {
        if self.part != Part::Main || self.call.request.subresource.is_some() {
            return Ok(None);
        }
        let uid = meta::text(&self.config.value, "uid");
        if !uid.is_empty() {
            let why = format!(
                "uid mismatch: the provided object specified uid {uid}, and no existing object was found"
            );
            return Err(StatusError::conflict(&self.call.resource.gr, self.call.name(), why));
        }
        let (mut new, account) = self.applied(None).await?;
        if meta::name(&new).is_empty() {
            meta::set(&mut new, "name", self.call.name());
        }
        if meta::name(&new) != self.call.name() {
            return Err(other_name(&new, self.call));
        }
        create::prepare(self.state, self.call, new, account).await.map(Some)
    }
}

fn other_name(object: &Value, call: &Call) -> StatusError {
    StatusError::bad_request(format!(
        "the name of the object ({}) does not match the name on the URL ({})",
        meta::name(object),
        call.name()
    ))
}
