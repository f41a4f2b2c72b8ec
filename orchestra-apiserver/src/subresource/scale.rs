//! `/scale`: the number of replicas, the same way for every kind that has one.

use async_trait::async_trait;
use http::{Response, StatusCode};
use orchestra_core::gvk::GroupVersion;
use orchestra_core::kind::{ScalePaths, Subresource};
use orchestra_core::selector::LabelSelector;
use orchestra_core::violation::{FieldPath, Violation};
use serde_json::{Map, Value, json};

use crate::admission::Operation;
use crate::body::{self, Body};
use crate::negotiate::decode;
use crate::request::Verb;
use crate::state::{Call, State};
use crate::status::StatusError;
use crate::storage::meta;
use crate::storage::writer::{Edit, Step};
use crate::verbs::manage::Account;
use crate::verbs::patch::Patch;
use crate::verbs::update::{self, Part};
use crate::verbs::{apply, get};
use crate::warning;

const AUTOSCALING: GroupVersion = GroupVersion::new("autoscaling", "v1");

fn paths(call: &Call) -> Result<ScalePaths, StatusError> {
    let found = call.resource.description().subresources.iter().find_map(|s| match s {
        Subresource::Scale(paths) => Some(paths.clone()),
        Subresource::Status | Subresource::Part(_) => None,
    });
    found.ok_or_else(StatusError::no_such_resource)
}

/// GET, PUT and PATCH of `/scale`.
pub(crate) async fn scale(state: &State, call: &Call) -> Result<Response<Body>, StatusError> {
    let paths = &paths(call)?;
    let change = match call.request.verb {
        Verb::Get => {
            let object = call.resource.tree(&get::entry(state, call).await?)?;
            if paths.spec_is_required && object.pointer(&paths.spec).is_none() {
                let field = paths.spec.replace('/', ".");
                return Err(StatusError::internal(format!(
                    "the spec replicas field {field:?} does not exist"
                )));
            }
            return Ok(body::tree(StatusCode::OK, &view(&object, paths)));
        }
        Verb::Update => Change::Put(decode::other(call, &AUTOSCALING, "Scale")?.value),
        Verb::Patch if decode::media_type(&call.headers) == apply::MEDIA_TYPE => {
            let config = apply::Config::read(call, &AUTOSCALING, "Scale")?;
            let config = config.map(|scale| replicas_only(call, paths, &scale));
            let written = apply::write(state, call, Part::Scale, &config).await?;
            return shown(&written.into_encoded().json(), paths, &config.warnings);
        }
        Verb::Patch => Change::Patch(Patch::read(call)?),
        _ => return Err(StatusError::method_not_supported()),
    };
    let written = update::write(state, call, &ScaleEdit { state, call, paths, change }).await?;
    shown(&written.into_encoded().json(), paths, &[])
}

fn shown(json: &[u8], paths: &ScalePaths, warnings: &[String]) -> Result<Response<Body>, StatusError> {
    let object: Value = serde_json::from_slice(json).map_err(StatusError::internal)?;
    let mut response = body::tree(StatusCode::OK, &view(&object, paths));
    warning::add(&mut response, warnings);
    Ok(response)
}

/// What applying a `Scale` applies to the object itself.
fn replicas_only(call: &Call, paths: &ScalePaths, scale: &Value) -> Value {
    let mut config = json!({
        "apiVersion": call.resource.api_version, "kind": call.resource.kind_name(),
        "metadata": {"name": call.name()},
    });
    if let Some(replicas) = scale.pointer("/spec/replicas") {
        set(&mut config, &paths.spec, replicas.clone());
    }
    config
}

/// The `Scale` of an object.
fn view(object: &Value, paths: &ScalePaths) -> Value {
    let mut metadata = Map::new();
    for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if let Some(value) = meta::metadata(object).and_then(|m| m.get(field)) {
            metadata.insert(field.into(), value.clone());
        }
    }
    let number = |at: &str| object.pointer(at).and_then(Value::as_i64);
    let mut spec = Map::new();
    if let Some(replicas) = number(&paths.spec).filter(|n| *n != 0) {
        spec.insert("replicas".into(), replicas.into());
    }
    let mut status = json!({"replicas": number(&paths.status).unwrap_or(0)});
    let selector = object
        .pointer(&paths.selector)
        .filter(|_| !paths.selector.is_empty())
        .map(selector_text)
        .unwrap_or_default();
    if !selector.is_empty() {
        status["selector"] = selector.into();
    }
    json!({"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata, "spec": spec, "status": status})
}

fn selector_text(selector: &Value) -> String {
    if let Some(text) = selector.as_str() {
        return text.to_owned();
    }
    let is_selector = selector.get("matchLabels").is_some() || selector.get("matchExpressions").is_some();
    let parsed = if is_selector {
        LabelSelector::from_json(selector)
    } else {
        LabelSelector::from_json(&json!({"matchLabels": selector}))
    };
    parsed.map(|s| s.to_string()).unwrap_or_default()
}

enum Change {
    Put(Value),
    Patch(Patch),
}

struct ScaleEdit<'a> {
    state: &'a State,
    call: &'a Call,
    paths: &'a ScalePaths,
    change: Change,
}

impl ScaleEdit<'_> {
    fn wanted(&self, current: &Value) -> Result<Value, StatusError> {
        match &self.change {
            Change::Put(scale) => Ok(scale.clone()),
            Change::Patch(patch) => patch.apply(self.call, &view(current, self.paths)),
        }
    }
}

#[async_trait]
impl Edit for ScaleEdit<'_> {
    async fn edit(&self, current: &Value) -> Result<Step, StatusError> {
        let wanted = self.wanted(current)?;
        let replicas = wanted.pointer("/spec/replicas").map_or(Some(0), Value::as_i64).ok_or_else(|| {
            StatusError::bad_request(
                "Scale in version \"v1\" cannot be handled as a Scale: spec.replicas must be a number",
            )
        })?;
        if replicas < 0 || replicas > i64::from(i32::MAX) {
            let path = FieldPath::new("spec").child("replicas");
            let why = "must be greater than or equal to 0";
            let violation = Violation::invalid(&path, replicas, why);
            return Err(StatusError::invalid("autoscaling", "Scale", self.call.name(), &[violation]));
        }
        let mut new = current.clone();
        for field in ["resourceVersion", "uid"] {
            let given = meta::text(&wanted, field);
            if !given.is_empty() {
                meta::set(&mut new, field, given);
            }
        }
        set(&mut new, &self.paths.spec, replicas.into());
        update::finish(self.state, self.call, Part::Scale, new, current, Account::Track).await.map(Step::Put)
    }

    async fn create(&self) -> Result<Option<Value>, StatusError> {
        Ok(None)
    }
}

/// Lets admission change the `Scale` of an object that is about to be written.
pub(crate) async fn admit(
    state: &State,
    call: &Call,
    object: &mut Value,
    old: &Value,
) -> Result<(), StatusError> {
    let paths = paths(call)?;
    let (mut scale, old) = (view(object, &paths), view(old, &paths));
    call.admit_as(state, Operation::Update, (&AUTOSCALING, "Scale"), &mut scale, Some(&old)).await?;
    let replicas = scale.pointer("/spec/replicas").cloned().unwrap_or_else(|| 0.into());
    if object.pointer(&paths.spec) != Some(&replicas) {
        set(object, &paths.spec, replicas);
    }
    Ok(())
}

/// Lets admission refuse what the `Scale` of an object is about to be.
pub(crate) async fn check(
    state: &State,
    call: &Call,
    object: &Value,
    old: &Value,
) -> Result<(), StatusError> {
    let paths = paths(call)?;
    let (scale, old) = (view(object, &paths), view(old, &paths));
    call.check_as(state, Operation::Update, (&AUTOSCALING, "Scale"), &scale, Some(&old)).await
}

/// Writes at a JSON pointer, making the objects on the way.
fn set(object: &mut Value, pointer: &str, value: Value) {
    let mut at = object;
    for part in pointer.split('/').skip(1) {
        if !at.is_object() {
            *at = Value::Object(Map::new());
        }
        let Some(map) = at.as_object_mut() else { return };
        at = map.entry(part).or_insert(Value::Null);
    }
    *at = value;
}
