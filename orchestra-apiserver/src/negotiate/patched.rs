//! The outcome of a patch, fitted to its kind.
//!
//! Where a body that does not fit gets 400, the outcome of a patch gets 422 with the field `patch`, and the bad value shown
//! is the patch (strategic) or the whole patched object (the others): see `applyPatchToObject` and `jsonPatcher` upstream.

use std::fmt::Write as _;

use orchestra_core::custom::CustomKind;
use orchestra_core::schema::{self, DecodeError, ObjectType, Problem};
use orchestra_core::violation::{FieldPath, Violation};
use serde_json::Value;

use super::decode::{self, Decoded};
use crate::state::Call;
use crate::status::StatusError;

/// What a patch was made of, for what is said of its outcome.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Origin<'a> {
    /// A strategic merge of this patch.
    Strategic(&'a Value),
    /// A patch that knows nothing of types.
    Untyped,
}

/// What says how an object is to look.
#[derive(Clone, Copy)]
enum Shape<'a> {
    Builtin(&'static ObjectType),
    Custom(&'a CustomKind),
}

/// Prunes and checks the outcome of a patch.
pub(crate) fn fit(call: &Call, origin: Origin<'_>, mut value: Value) -> Result<Decoded, StatusError> {
    let custom = call.resource.custom();
    let Some(shape) =
        call.resource.object_type().map(Shape::Builtin).or(custom.map(|kind| Shape::Custom(kind)))
    else {
        return Ok(Decoded { value, warnings: Vec::new() });
    };
    let shown = match origin {
        Origin::Strategic(_) => None,
        // The conversion takes the tree apart, so what may have to be shown is kept.
        Origin::Untyped => Some(value.clone()),
    };
    let fitted = match (shape, origin) {
        (Shape::Builtin(ty), Origin::Strategic(_)) => schema::conform_merged(&mut value, ty),
        (Shape::Builtin(ty), Origin::Untyped) => schema::conform(&mut value, ty),
        (Shape::Custom(kind), _) => kind.conform(&mut value),
    };
    let refuse = |error: &DecodeError| {
        let bad = match (origin, &shown) {
            (Origin::Strategic(patch), _) => go_text(patch),
            (Origin::Untyped, Some(object)) => object.to_string(),
            (Origin::Untyped, None) => String::new(),
        };
        let violation = Violation::invalid(&FieldPath::new("patch"), bad, error.to_string());
        StatusError::invalid("", "", "", &[violation])
    };
    let problems: Vec<Problem> = fitted.map_err(|error| refuse(&error))?;
    let validation = call.options.field_validation;
    match decode::refused(&problems, validation) {
        Some(error) => Err(refuse(&error)),
        None => Ok(Decoded { value, warnings: decode::warnings(&problems, validation) }),
    }
}

/// JSON as Go's `%+v` shows the maps and slices it becomes there: `map[spec:map[replicas:three]]`.
fn go_text(value: &Value) -> String {
    let mut out = String::new();
    write_go_text(value, &mut out);
    out
}

fn write_go_text(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("<nil>"),
        Value::String(text) => out.push_str(text),
        Value::Bool(_) | Value::Number(_) => {
            // Writing to a string cannot fail.
            let _ = write!(out, "{value}");
        }
        Value::Array(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(' ');
                }
                write_go_text(item, out);
            }
            out.push(']');
        }
        Value::Object(entries) => {
            let mut entries: Vec<_> = entries.iter().collect();
            entries.sort_by_key(|(key, _)| *key);
            out.push_str("map[");
            for (at, (key, item)) in entries.into_iter().enumerate() {
                if at > 0 {
                    out.push(' ');
                }
                out.push_str(key);
                out.push(':');
                write_go_text(item, out);
            }
            out.push(']');
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::go_text;

    #[test]
    fn values_are_shown_as_go_prints_maps() {
        let patch = json!({"spec": {"replicas": "three", "b": null, "a": [1, true, {}]}});
        assert_eq!(go_text(&patch), "map[spec:map[a:[1 true map[]] b:<nil> replicas:three]]");
    }
}
