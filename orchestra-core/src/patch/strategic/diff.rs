//! The patch that leads from one object to another.
//!
//! What `CreateTwoWayMergePatch` of `k8s.io/apimachinery/pkg/util/strategicpatch` is to Go clients: only what differs, items
//! of merged lists by their keys, and the order of such lists in `$setElementOrder`.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value, json};

use super::directive::{DELETE_FROM, PATCH, RETAIN_KEYS, SET_ORDER};
use super::{Child, FieldRule, MergeStrategy, PatchSchema, order, rule_of};
use crate::patch::PatchError;

/// The patch that makes `to` of `from`, both objects of the type `schema` without `null`s, which no merge patch can express.
///
/// # Errors
/// When two items of a merged list have the same key, or one has none: no patch of this sort tells them apart.
pub fn diff(from: &Value, to: &Value, schema: &dyn PatchSchema) -> Result<Value, PatchError> {
    let (Value::Object(from), Value::Object(to)) = (from, to) else { return Ok(to.clone()) };
    objects(from, to, Child::Object(schema)).map(Value::Object)
}

type Object = Map<String, Value>;

fn objects(from: &Object, to: &Object, kind: Child<'_>) -> Result<Object, PatchError> {
    let mut patch = Object::new();
    for key in from.keys().filter(|key| !to.contains_key(*key)) {
        patch.insert(key.clone(), Value::Null);
    }
    for (key, new) in to {
        match (from.get(key), new) {
            (Some(old), new) if old == new => {}
            (Some(Value::Object(old)), Value::Object(new)) => {
                patch.insert(key.clone(), below(old, new, &rule_of(kind, key)?)?.into());
            }
            (Some(Value::Array(old)), Value::Array(new)) => {
                list(&mut patch, key, old, new, &rule_of(kind, key)?)?;
            }
            (_, new) => {
                patch.insert(key.clone(), new.clone());
            }
        }
    }
    Ok(patch)
}

/// The patch of an object that is the value of a field, or an item of a list.
fn below(old: &Object, new: &Object, rule: &FieldRule<'_>) -> Result<Object, PatchError> {
    if rule.strategy == MergeStrategy::Replace {
        return Ok(new.clone());
    }
    let has_fields = matches!(rule.child, Child::Object(_));
    let is_deep = |key: &String, value: &Value| {
        value != &old[key]
            && (value.is_object() && old[key].is_object() || value.is_array() && old[key].is_array())
    };
    // No patch reaches into what has no fields.
    if !has_fields && new.iter().any(|(key, value)| old.contains_key(key) && is_deep(key, value)) {
        let mut whole = new.clone();
        whole.insert(PATCH.to_owned(), "replace".into());
        return Ok(whole);
    }
    let mut patch = objects(old, new, rule.child)?;
    if rule.retain_keys {
        patch.insert(RETAIN_KEYS.to_owned(), new.keys().cloned().collect());
    }
    Ok(patch)
}

fn list(
    patch: &mut Object,
    field: &str,
    old: &[Value],
    new: &[Value],
    rule: &FieldRule<'_>,
) -> Result<(), PatchError> {
    if rule.strategy != MergeStrategy::Merge {
        patch.insert(field.to_owned(), new.into());
        return Ok(());
    }
    let order = format!("{SET_ORDER}/{field}");
    let Some(key) = rule.merge_key else {
        apart(old, None)?;
        apart(new, None)?;
        let without = |items: &[Value], others: &[Value]| -> Vec<Value> {
            let others: HashSet<&Value> = others.iter().collect();
            items.iter().filter(|item| !others.contains(item)).cloned().collect()
        };
        let (added, gone) = (without(new, old), without(old, new));
        patch.insert(order, new.into());
        if !added.is_empty() {
            patch.insert(field.to_owned(), added.into());
        }
        if !gone.is_empty() {
            patch.insert(format!("{DELETE_FROM}/{field}"), gone.into());
        }
        return Ok(());
    };
    apart(old, Some(key))?;
    apart(new, Some(key))?;
    let by_name = |items: &'_ [Value]| -> HashMap<Value, usize> {
        let names = items.iter().enumerate().filter_map(|(at, item)| Some((item.get(key)?.clone(), at)));
        names.collect()
    };
    let (befores, afters) = (by_name(old), by_name(new));
    let mut items = Vec::new();
    for item in new {
        let name = order::key_of(item, key)?;
        match befores.get(name).and_then(|at| old.get(*at)) {
            Some(before) if before == item => {}
            Some(Value::Object(before)) => {
                let Value::Object(item) = item else { continue };
                let mut change = below(before, item, rule)?;
                change.insert(key.to_owned(), name.clone());
                items.push(change.into());
            }
            _ => items.push(item.clone()),
        }
    }
    for item in old {
        let name = order::key_of(item, key)?;
        if !afters.contains_key(name) {
            items.push(json!({PATCH: "delete", key: name}));
        }
    }
    let keys: Vec<Value> = new.iter().map(|item| json!({key: item.get(key)})).collect();
    patch.insert(order, keys.into());
    if !items.is_empty() {
        patch.insert(field.to_owned(), items.into());
    }
    Ok(())
}

/// An error unless all items differ in the key; in themselves where there is none.
fn apart(items: &[Value], key: Option<&str>) -> Result<(), PatchError> {
    let mut seen = HashSet::with_capacity(items.len());
    for item in items {
        let name = key.map_or(Ok(item), |key| order::key_of(item, key))?;
        if !seen.insert(name) {
            return Err(PatchError::Internal(format!("more than one item of a merged list is {name}")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::kinds::Registry;
    use crate::patch::strategic::apply;
    use crate::schema::sample::{Seed, cases};
    use crate::schema::{self, by_name};

    #[test]
    fn only_what_differs_is_told() {
        let spec = by_name("io.k8s.api.core.v1.PodSpec").unwrap();
        let old = json!({"nodeName": "n", "containers": [{"name": "a", "image": "a:1"}, {"name": "b", "image": "b:1"}]});
        let new = json!({"containers": [{"name": "b", "image": "b:1"}, {"name": "c"}]});
        let patch = diff(&old, &new, spec).unwrap();
        let wanted = json!({
            "nodeName": null,
            "$setElementOrder/containers": [{"name": "b"}, {"name": "c"}],
            "containers": [{"name": "c"}, {"$patch": "delete", "name": "a"}],
        });
        assert_eq!(patch, wanted);
        assert_eq!(apply(&old, &patch, spec).unwrap(), new);
        assert_eq!(diff(&new, &new, spec).unwrap(), json!({}));
    }

    #[test]
    fn items_that_nothing_tells_apart_are_refused() {
        let spec = by_name("io.k8s.api.core.v1.ServiceSpec").unwrap();
        let ports = |protocols: &[&str]| json!({"ports": protocols.iter().map(|p| json!({"port": 53, "protocol": p})).collect::<Vec<_>>()});
        let problem = diff(&ports(&["TCP"]), &ports(&["TCP", "UDP"]), spec).unwrap_err();
        assert_eq!(problem.to_string(), "more than one item of a merged list is 53");
    }

    proptest! {
        #![proptest_config(cases(24))]

        #[test]
        fn the_patch_between_two_objects_of_a_kind_leads_from_one_to_the_other(seed in any::<u64>()) {
            for kind in Registry::builtin().iter() {
                let description = kind.description();
                let shape = schema::of_kind(&description.gv, &description.kind).unwrap();
                let mut seed = Seed::new(seed);
                let (one, other) = (seed.tidy(shape), seed.tidy(shape));
                let blend = seed.blend(&one, &other, shape);
                for (from, to) in [(&one, &other), (&one, &blend), (&blend, &other), (&other, &other)] {
                    let patch = diff(from, to, shape).unwrap();
                    let found = apply(from, &patch, shape);
                    prop_assert_eq!(found.as_ref(), Ok(to), "{:?}: {}", kind, patch);
                    prop_assert_eq!(patch == json!({}), from == to, "{:?}", kind);
                }
            }
        }
    }
}
