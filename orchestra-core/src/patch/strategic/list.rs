//! Merging of lists: sets of plain values, and lists of objects told apart by a merge key.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::directive::{self, Directive, PATCH};
use super::order::{self, Places};
use super::{FieldRule, MergeStrategy, merge_objects};
use crate::patch::PatchError;

pub(super) fn merge(
    target: Vec<Value>,
    patch: Vec<Value>,
    rule: &FieldRule<'_>,
    deletes: bool,
) -> Result<Vec<Value>, PatchError> {
    if rule.strategy != MergeStrategy::Merge && !deletes {
        return Ok(patch);
    }
    if target.is_empty() && patch.is_empty() {
        return Ok(target);
    }
    if items_are_objects(&target, &patch)? {
        return merge_objects_by_key(target, patch, rule);
    }
    if deletes {
        let gone: HashSet<&Value> = patch.iter().collect();
        return Ok(target.into_iter().filter(|item| !gone.contains(item)).collect());
    }
    if let Some(key) = rule.merge_key {
        let plain = target.first().or(patch.first()).unwrap_or(&Value::Null);
        return Err(order::without_key(plain, key));
    }
    let mut seen = HashSet::new();
    let merged = target.iter().chain(&patch).filter(|item| seen.insert(*item)).cloned().collect();
    order::arrange(merged, &patch, &target, None)
}

/// Whether all items of both lists are objects; an error if they are not all of one type.
pub(super) fn items_are_objects(target: &[Value], patch: &[Value]) -> Result<bool, PatchError> {
    let mut items = target.iter().chain(patch);
    let Some(first) = items.next() else {
        return Err(PatchError::Internal("no elements in any of the given slices".to_owned()));
    };
    if first.is_array() {
        return Err(PatchError::Unprocessable { cause: "lists of lists are not supported".to_owned() });
    }
    let kind = directive::go_type(first);
    if first.is_null() || items.any(|item| directive::go_type(item) != kind) {
        let both = Value::from(vec![Value::from(target), Value::from(patch)]);
        let both = directive::go_text(&both);
        return Err(PatchError::Internal(format!("list element types are not identical: {both}")));
    }
    Ok(first.is_object())
}

fn merge_objects_by_key(
    target: Vec<Value>,
    patch: Vec<Value>,
    rule: &FieldRule<'_>,
) -> Result<Vec<Value>, PatchError> {
    let Some(key) = rule.merge_key else {
        return Err(PatchError::Internal("cannot merge lists without merge key for struct".to_owned()));
    };
    let (mut merged, patch) = obey_directives(target, patch, key)?;
    // The items themselves go into the merged ones.
    let known: Vec<Option<Value>> = merged.iter().map(|item| item.get(key).cloned()).collect();
    let named: Vec<Value> =
        patch.iter().map(|item| order::key_of(item, key).cloned().unwrap_or_default()).collect();
    let mut places: HashMap<&Value, usize> = HashMap::new();
    for (at, name) in known.iter().enumerate() {
        if let Some(name) = name {
            places.entry(name).or_insert(at);
        }
    }
    for (item, name) in patch.into_iter().zip(&named) {
        order::key_of(&item, key)?;
        match (places.get(name).and_then(|at| merged.get_mut(*at)), item) {
            (Some(Value::Object(old)), Value::Object(change)) => {
                *old = merge_objects(std::mem::take(old), change, rule.child)?;
            }
            (_, item) => {
                places.insert(name, merged.len());
                merged.push(item);
            }
        }
    }
    for item in &merged {
        order::key_of(item, key)?;
    }
    let (named, known) = (Places::of(&named, Some(key)), Places::of(known.iter().flatten(), Some(key)));
    Ok(order::arrange_by(merged, &named, &known))
}

// Deletes from the target what the patch's items with `$patch: delete` name; all of it if one says `replace`. Gives
// back the target and the items without a directive.
fn obey_directives(
    mut target: Vec<Value>,
    patch: Vec<Value>,
    key: &str,
) -> Result<(Vec<Value>, Vec<Value>), PatchError> {
    let mut plain = Vec::with_capacity(patch.len());
    let mut gone = HashSet::new();
    let mut replaces = false;
    for item in patch {
        let Some((directive, map)) = item.get(PATCH).zip(item.as_object()) else {
            plain.push(item);
            continue;
        };
        match directive::read(directive, map)? {
            Directive::Delete => {
                gone.insert(order::key_of(&item, key)?.clone());
            }
            Directive::Replace => replaces = true,
            Directive::Merge => {
                return Err(PatchError::Internal(
                    "merging lists cannot yet be specified in the patch".to_owned(),
                ));
            }
        }
    }
    target.retain(|old| old.get(key).is_none_or(|name| !gone.contains(name)));
    Ok(if replaces { (plain, Vec::new()) } else { (target, plain) })
}
