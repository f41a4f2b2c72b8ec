//! The members of a strategic merge patch that are no fields but say how to merge.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::go;
use crate::patch::PatchError;

pub(super) const PATCH: &str = "$patch";
pub(super) const RETAIN_KEYS: &str = "$retainKeys";
pub(super) const DELETE_FROM: &str = "$deleteFromPrimitiveList";
pub(super) const SET_ORDER: &str = "$setElementOrder";

pub(super) enum Directive {
    Replace,
    Delete,
    Merge,
}

/// Reads the value of `$patch`; `object` is what it stood in.
pub(super) fn read(directive: &Value, object: &Map<String, Value>) -> Result<Directive, PatchError> {
    match directive.as_str() {
        Some("replace") => Ok(Directive::Replace),
        Some("delete") => Ok(Directive::Delete),
        Some("merge") => Ok(Directive::Merge),
        _ => Err(unknown(directive, object)),
    }
}

pub(super) fn unknown(directive: &Value, object: &Map<String, Value>) -> PatchError {
    let mut whole = object.clone();
    whole.insert(PATCH.to_owned(), directive.clone());
    PatchError::Internal(format!(
        "unknown patch type: {} in map: {}",
        go_text(directive),
        go_text(&whole.into())
    ))
}

/// Obeys `$retainKeys`: the target keeps the members listed there and no others.
pub(super) fn retain_keys(
    target: &mut Map<String, Value>,
    patch: &mut Map<String, Value>,
) -> Result<(), PatchError> {
    let Some(list) = patch.remove(RETAIN_KEYS) else { return Ok(()) };
    let malformed = || PatchError::Malformed("invalid patch format of retainKeys".to_owned());
    let kept: BTreeSet<&str> =
        list.as_array().ok_or_else(malformed)?.iter().filter_map(Value::as_str).collect();
    let directive = |key: &str| key.starts_with(DELETE_FROM) || key.starts_with(SET_ORDER);
    if patch.iter().any(|(key, value)| !value.is_null() && !directive(key) && !kept.contains(key.as_str())) {
        return Err(malformed());
    }
    target.retain(|key, _| kept.contains(key.as_str()));
    Ok(())
}

/// The field a member of the patch is about, and whether its items are to be deleted from it.
pub(super) fn deletion_key(key: String) -> Result<(String, bool), PatchError> {
    if !key.starts_with(DELETE_FROM) {
        return Ok((key, false));
    }
    let field = directed_field(&key, DELETE_FROM)
        .ok_or_else(|| PatchError::Malformed("invalid patch format of primitive list".to_owned()))?;
    Ok((field.to_owned(), true))
}

/// The `x` of `prefix/x`.
pub(super) fn directed_field<'k>(key: &'k str, prefix: &str) -> Option<&'k str> {
    key.strip_prefix(prefix)?.strip_prefix('/')
}

/// A value of the patch that meets nothing to be merged with: objects with a `$patch` directive vanish from it, and
/// members that are `null`. `None` if it is such an object itself.
pub(super) fn brought_anew(value: Value) -> Option<Value> {
    prune(value, true)
}

/// As [`brought_anew`], but members that are `null` stay.
pub(super) fn without_directives(value: Value) -> Option<Value> {
    prune(value, false)
}

fn prune(value: Value, nulls: bool) -> Option<Value> {
    match value {
        Value::Object(map) if map.contains_key(PATCH) => None,
        Value::Object(map) => {
            let members = map.into_iter().filter(|(_, value)| !(nulls && value.is_null()));
            Some(members.filter_map(|(key, value)| Some((key, prune(value, nulls)?))).collect())
        }
        Value::Array(items) => Some(items.into_iter().filter_map(|item| prune(item, nulls)).collect()),
        other => Some(other),
    }
}

/// What Go calls a value's type, in a message that has no place for none.
pub(super) fn go_type(value: &Value) -> &'static str {
    if value.is_null() { "%!s(<nil>)" } else { go::type_of(value) }
}

pub(super) fn wrong_type(expected: &str, found: &Value) -> PatchError {
    PatchError::Internal(format!("expected a {expected}, but received a {}", go_type(found)))
}

/// A value as Go's `%v` prints it.
pub(super) fn go_text(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(go_text).collect::<Vec<_>>().join(" ")),
        Value::Object(map) => {
            let members: Vec<String> =
                map.iter().map(|(key, value)| format!("{key}:{}", go_text(value))).collect();
            format!("map[{}]", members.join(" "))
        }
        other => other.to_string(),
    }
}
