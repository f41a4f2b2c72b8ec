//! The outcome of a patch, fitted to its kind.
//!
//! Where a body that does not fit gets 400, the outcome of a patch gets 422 with the field `patch`, and the bad value shown
//! is the patch (strategic) or the whole patched object (the others): see `applyPatchToObject` and `jsonPatcher` upstream.

use std::fmt::Write as _;

use orchestra_core::custom::CustomKind;
use orchestra_core::schema::{self, DecodeError, ObjectType, Problem};
use orchestra_core::violation::{FieldPath, Violation};
use serde_json::{Map, Value};

use super::decode::{self, Decoded};
use crate::state::Call;
use crate::status::StatusError;

/// What made an object, for what may have to be looked at and what is said of it.
#[derive(Clone, Copy)]
pub(crate) enum Origin<'a> {
    /// A strategic merge of this patch.
    Strategic(&'a Value),
    /// A merge of this patch, which knows nothing of types, and a way to make its outcome again.
    Merge(&'a Value, &'a dyn Fn() -> Option<Value>),
    /// A list of operations, and a way to make its outcome again.
    Operations(&'a dyn Fn() -> Option<Value>),
}

impl Origin<'_> {
    /// The fields that may have changed, where the patch says it by its own.
    fn touched(&self) -> Option<&Value> {
        match self {
            Self::Strategic(patch) | Self::Merge(patch, _) => Some(patch),
            Self::Operations(_) => None,
        }
    }

    /// The bad value of a refusal.
    fn shown(&self) -> String {
        match self {
            Self::Strategic(patch) => go_text(patch),
            Self::Merge(_, again) | Self::Operations(again) => {
                again().map_or_else(String::new, |object| object.to_string())
            }
        }
    }
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
    let fitted = match shape {
        Shape::Builtin(ty) => conform(&mut value, ty, origin),
        Shape::Custom(kind) => kind.conform(&mut value),
    };
    let refuse = |error: &DecodeError| {
        let violation = Violation::invalid(&FieldPath::new("patch"), origin.shown(), error.to_string());
        StatusError::invalid("", "", "", &[violation])
    };
    let problems: Vec<Problem> = fitted.map_err(|error| refuse(&error))?;
    let validation = call.options.field_validation;
    match decode::refused(&problems, validation) {
        Some(error) => Err(refuse(&error)),
        None => Ok(Decoded { value, warnings: decode::warnings(&problems, validation) }),
    }
}

/// How far down is looked for what a patch leaves alone: the fields of `metadata`, `spec` and `status`.
const DEPTH: usize = 1;

/// What a patch does not name, out of the way of the walk over its outcome: it comes from the store, perhaps with items of lists
/// taken out or in another order, and so fits already. It is by far the most of an object whose status is patched.
#[derive(Default)]
struct Aside {
    whole: Map<String, Value>,
    below: Vec<(String, Aside)>,
}

impl Aside {
    fn take(value: &mut Value, patch: &Value, depth: usize) -> Self {
        let (Some(map), Some(patch)) = (value.as_object_mut(), patch.as_object()) else {
            return Self::default();
        };
        let (whole, named): (Map<_, _>, _) =
            std::mem::take(map).into_iter().partition(|(name, _)| !patch.contains_key(name));
        *map = named;
        let below = match depth {
            0 => Vec::new(),
            _ => map
                .iter_mut()
                .filter_map(|(name, value)| {
                    let aside = Self::take(value, patch.get(name)?, depth - 1);
                    Some((name.clone(), aside))
                })
                .collect(),
        };
        Self { whole, below }
    }

    fn give_back(self, value: &mut Value) {
        if self.whole.is_empty() && self.below.is_empty() {
            return;
        }
        // What was left of an object may have been nothing, which is not written.
        if !value.is_object() {
            *value = Map::new().into();
        }
        let Some(map) = value.as_object_mut() else { return };
        for (name, below) in self.below {
            if !below.whole.is_empty() {
                below.give_back(map.entry(name).or_insert(Value::Null));
            }
        }
        map.extend(self.whole);
    }
}

fn conform(
    value: &mut Value,
    ty: &'static ObjectType,
    origin: Origin<'_>,
) -> Result<Vec<Problem>, DecodeError> {
    let aside = origin.touched().map(|patch| Aside::take(value, patch, DEPTH));
    let problems = match origin {
        Origin::Strategic(_) => schema::conform_merged(value, ty)?,
        Origin::Merge(..) | Origin::Operations(_) => schema::conform(value, ty)?,
    };
    if let Some(aside) = aside {
        aside.give_back(value);
    }
    Ok(problems)
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
    use orchestra_core::gvk::GroupVersion;
    use orchestra_core::patch::{merge, strategic};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn pod() -> Value {
        json!({
            "kind": "Pod", "apiVersion": "v1",
            "metadata": {"name": "a", "uid": "u", "labels": {"x": "1", "y": "2"}, "finalizers": ["a/b", "c/d"],
                "managedFields": [{"manager": "m", "operation": "Update", "fieldsV1": {"f:spec": {}}}]},
            "spec": {"nodeName": "n", "containers": [{"name": "c", "image": "i", "resources": {}}],
                "tolerations": [{"key": "k"}]},
            "status": {"phase": "Pending", "conditions": [
                {"type": "PodScheduled", "status": "True", "lastProbeTime": null}, {"type": "Ready", "status": "False"}]},
        })
    }

    fn part() -> impl Strategy<Value = (&'static str, Value)> {
        prop::sample::select(vec![
            ("metadata", json!({"uid": "u"})),
            ("metadata", json!({"labels": {"x": null, "z": "3"}})),
            ("metadata", json!({"$deleteFromPrimitiveList/finalizers": ["a/b"]})),
            ("metadata", json!({"unknown": 1, "labels": 3})),
            ("metadata", json!({"managedFields": []})),
            ("spec", json!({"nodeName": null, "unknown": {"a": 1}})),
            (
                "spec",
                json!({"containers": [{"name": "d", "image": "i"}], "$setElementOrder/containers": [{"name": "d"}, {"name": "c"}]}),
            ),
            ("spec", json!({"$patch": "replace", "nodeName": "m"})),
            ("spec", json!({"$retainKeys": ["containers"], "containers": [{"name": "c"}]})),
            ("spec", Value::Null),
            ("spec", json!("text")),
            ("spec", json!({"containers": null, "nodeName": null, "tolerations": null})),
            ("status", json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]})),
            ("status", json!({"conditions": [{"type": "Ready", "$patch": "delete"}]})),
            ("status", json!({})),
            ("unknown", json!({"a": {"b": 1}})),
            ("kind", json!("Other")),
        ])
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_a_patch_does_not_name_fits_unlooked_at(
            parts in prop::collection::btree_map(prop::sample::select(vec![0, 1, 2, 3]), part(), 0..4),
            is_typed in any::<bool>(),
        ) {
            let ty = schema::of_kind(&GroupVersion::new("", "v1"), "Pod").unwrap();
            let mut stored = pod();
            schema::conform(&mut stored, ty).unwrap();
            schema::complete(&mut stored, ty);
            let patch: Value = parts.into_values().map(|(name, value)| (name.to_owned(), value)).collect();
            let patched = match is_typed {
                true => strategic::apply(&stored, &patch, ty),
                false => merge::apply(&stored, &patch),
            };
            let Ok(patched) = patched else { return Ok(()) };
            let again = || None;
            let origin = match is_typed {
                true => Origin::Strategic(&patch),
                false => Origin::Merge(&patch, &again),
            };
            let (mut quick, mut slow) = (patched.clone(), patched);
            let found = said(conform(&mut quick, ty, origin));
            let all = if is_typed { schema::conform_merged(&mut slow, ty) } else { schema::conform(&mut slow, ty) };
            prop_assert_eq!(&found, &said(all));
            if found.is_ok() {
                for value in [&mut quick, &mut slow] {
                    schema::complete(value, ty);
                }
                prop_assert_eq!(quick, slow);
            }
        }
    }

    fn said(outcome: Result<Vec<Problem>, DecodeError>) -> Result<Vec<String>, String> {
        outcome
            .map(|problems| problems.iter().map(ToString::to_string).collect())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn values_are_shown_as_go_prints_maps() {
        let patch = json!({"spec": {"replicas": "three", "b": null, "a": [1, true, {}]}});
        assert_eq!(go_text(&patch), "map[spec:map[a:[1 true map[]] b:<nil> replicas:three]]");
    }
}
