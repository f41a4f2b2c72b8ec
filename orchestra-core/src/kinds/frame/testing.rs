//! What the tests of kinds share.

use serde_json::Value;

use super::Builtin;
use crate::kind::Kind;
use crate::schema;

/// A kind as the server sees it.
pub(crate) fn served(kind: Builtin) -> Box<dyn Kind> {
    Box::new(kind)
}

/// The object with its defaults.
pub(crate) fn defaulted(kind: Builtin, mut object: Value) -> Value {
    served(kind).default(&mut object);
    object
}

/// What is said of a new object once it has its defaults and what the encoder always writes, as in the server.
pub(crate) fn said(kind: Builtin, mut object: Value) -> Vec<String> {
    let kind = served(kind);
    let description = kind.description();
    let shape = schema::of_kind(&description.gv, &description.kind).expect("every kind has a shape");
    schema::conform(&mut object, shape).expect("the object fits its shape");
    kind.default(&mut object);
    schema::complete(&mut object, shape);
    kind.validate_create(&object).iter().map(ToString::to_string).collect()
}

/// What is said of a change.
pub(crate) fn said_of_change(kind: Builtin, new: &Value, old: &Value) -> Vec<String> {
    served(kind).validate_update(new, old).iter().map(ToString::to_string).collect()
}
