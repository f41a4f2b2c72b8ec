//! Making objects.

use http::{Response, StatusCode};
use serde_json::Value;

use super::devices;
use super::manage::Account;
use crate::admission::Operation;
use crate::body::Body;
use crate::negotiate::decode;
use crate::pki::proof;
use crate::state::{Call, State};
use crate::status::StatusError;
use crate::storage::codec::Encoded;
use crate::storage::meta;
use crate::storage::writer::Refused;
use crate::warning;

/// Longest part of a `generateName` that is kept, so that the name still fits.
const MAX_GENERATED_BASE: usize = 58;
/// How often another name is drawn when one is taken.
const NAME_TRIES: usize = 8;

/// POST to a collection.
pub(crate) async fn create(state: &State, call: &Call) -> Result<Response<Body>, StatusError> {
    let decoded = decode::object(call, call.options.field_validation)?;
    let encoded = create_object(state, call, decoded.value).await?;
    let mut response = call.renderer(state).object(StatusCode::CREATED, encoded.json())?;
    warning::add(&mut response, &decoded.warnings);
    Ok(response)
}

/// Admits, checks and stores a new object.
pub(crate) async fn create_object(state: &State, call: &Call, object: Value) -> Result<Encoded, StatusError> {
    // Only what the server chose itself can be chosen otherwise: a name, or the addresses of a service.
    let is_nameless = meta::name(&object).is_empty();
    let wanted = (is_nameless || call.resource.is("", "services")).then(|| object.clone());
    let mut object = object;
    let mut tries = NAME_TRIES;
    loop {
        let prepared = prepare(state, call, object, Account::Track).await?;
        let refused =
            match state.writer.create(&call.resource, &prepared, call.options.dry_run.into()).await? {
                Ok(encoded) => return Ok(encoded),
                Err(refused) => refused,
            };
        tries -= 1;
        object = match &wanted {
            Some(wanted) if tries > 0 && (is_nameless || matches!(refused, Refused::Claimed)) => {
                wanted.clone()
            }
            _ => return Err(StatusError::already_exists(&call.resource.gr, meta::name(&prepared))),
        };
    }
}

/// An object as it will be stored.
pub(crate) async fn prepare(
    state: &State,
    call: &Call,
    mut object: Value,
    account: Account,
) -> Result<Value, StatusError> {
    if call.resource.is_closed() {
        let why = "create not allowed while custom resource definition is terminating";
        return Err(StatusError::forbidden(&call.resource.gr, meta::name(&object), why));
    }
    place(call, &mut object)?;
    if !meta::text(&object, "resourceVersion").is_empty() {
        return Err(StatusError::internal("resourceVersion should not be set on objects to be created"));
    }
    let kind = &call.resource.kind;
    kind.default(&mut object);
    let account = account.settle(state, call, None, &mut object).await;
    call.admit(state, Operation::Create, &mut object, None).await?;
    kind.default(&mut object);
    generate_name(state, &mut object);
    for field in ["deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "generation"] {
        meta::remove(&mut object, field);
    }
    meta::set(&mut object, "uid", state.chance.uuid());
    meta::set(&mut object, "creationTimestamp", state.stamp());
    kind.prepare_create(&mut object);
    call.resource.complete(&mut object);
    account.write(&mut object);
    let mut wrong = kind.validate_create(&object);
    wrong.extend(proof::violation(call.resource.description(), &object));
    wrong.extend(devices::in_new(state, call, &object).await?);
    call.refuse_invalid(state, &object, wrong)?;
    if call.resource.is("", "services") {
        state.network.allocate(state.store.as_ref(), &state.chance, &mut object, None).await?;
    }
    call.check(state, Operation::Create, &object, None).await?;
    Ok(object)
}

/// Checks that the object is of the kind and in the namespace the path says, and fills in what it leaves out.
pub(crate) fn place(call: &Call, object: &mut Value) -> Result<(), StatusError> {
    let description = call.resource.description();
    let Some(map) = object.as_object_mut() else {
        return Err(StatusError::bad_request("the object provided is unrecognized (must be of type object)"));
    };
    let text = |field: &str| map.get(field).and_then(Value::as_str).unwrap_or_default();
    let (version, kind) = (text("apiVersion"), text("kind"));
    if !version.is_empty() && version != call.resource.api_version {
        return Err(StatusError::bad_request(format!(
            "the API version in the data ({version}) does not match the expected API version ({})",
            call.resource.api_version
        )));
    }
    if !kind.is_empty() && kind != description.kind {
        return Err(StatusError::bad_request(format!(
            "{kind} in version {:?} cannot be handled as a {}",
            description.gv.version, description.kind
        )));
    }
    map.insert("apiVersion".into(), call.resource.api_version.as_str().into());
    map.insert("kind".into(), description.kind.as_ref().into());
    let Some(metadata) = meta::metadata_mut(object) else {
        return Err(StatusError::bad_request("metadata must be an object"));
    };
    let given = metadata.get("namespace").and_then(Value::as_str).unwrap_or_default().to_owned();
    match call.namespace() {
        Some(namespace) if given.is_empty() => {
            metadata.insert("namespace".into(), namespace.into());
        }
        Some(namespace) if given != namespace => {
            return Err(StatusError::bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            ));
        }
        Some(_) => {}
        None => {
            metadata.remove("namespace");
        }
    }
    Ok(())
}

fn generate_name(state: &State, object: &mut Value) {
    if !meta::name(object).is_empty() {
        return;
    }
    let base: String = meta::text(object, "generateName").chars().take(MAX_GENERATED_BASE).collect();
    if !base.is_empty() {
        let name = format!("{base}{}", state.chance.name_suffix());
        meta::set(object, "name", name);
    }
}
