//! The order of merged lists.
//!
//! Items the patch names stand in the order of `$setElementOrder`, or else of the patch; the others keep theirs. The
//! two rows are then woven together so that an item comes before another if it did so in the target.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::directive::{self, PATCH, SET_ORDER};
use super::{Child, list, rule_of};
use crate::patch::PatchError;

/// The merge key's value of an item.
pub(super) fn key_of<'v>(item: &'v Value, key: &str) -> Result<&'v Value, PatchError> {
    match item.as_object() {
        Some(map) => map.get(key).ok_or_else(|| without_key(item, key)),
        None => Err(directive::wrong_type("map[string]interface {}", item)),
    }
}

pub(super) fn without_key(item: &Value, key: &str) -> PatchError {
    if !item.is_object() {
        return directive::wrong_type("map[string]interface {}", item);
    }
    let item = directive::go_text(item);
    PatchError::Internal(format!("map: {item} does not contain declared merge key: {key}"))
}

// What tells items apart: their key if they have one, or they themselves.
fn identity<'v>(item: &'v Value, key: Option<&str>) -> &'v Value {
    key.and_then(|key| item.get(key)).unwrap_or(item)
}

/// Where items stand in a list.
pub(super) struct Places<'v> {
    key: Option<&'v str>,
    first: HashMap<&'v Value, usize>,
}

impl<'v> Places<'v> {
    fn new(items: &'v [Value], key: Option<&'v str>) -> Self {
        Self::of(items.iter().map(|item| identity(item, key)), key)
    }

    /// Of items that are told apart by these.
    pub(super) fn of(identities: impl IntoIterator<Item = &'v Value>, key: Option<&'v str>) -> Self {
        let mut first = HashMap::new();
        for (at, identity) in identities.into_iter().enumerate() {
            first.entry(identity).or_insert(at);
        }
        Self { key, first }
    }

    fn find(&self, item: &Value) -> Option<usize> {
        self.first.get(identity(item, self.key)).copied()
    }
}

/// Brings the items of `merged` into order: those found in `named` as they stand there, the rest as in `target`.
pub(super) fn arrange(
    merged: Vec<Value>,
    named: &[Value],
    target: &[Value],
    key: Option<&str>,
) -> Result<Vec<Value>, PatchError> {
    if let Some(key) = key {
        for item in merged.iter().chain(named).chain(target) {
            key_of(item, key)?;
        }
    }
    Ok(arrange_by(merged, &Places::new(named, key), &Places::new(target, key)))
}

/// [`arrange`] by what is known of both lists.
pub(super) fn arrange_by(merged: Vec<Value>, named: &Places<'_>, target: &Places<'_>) -> Vec<Value> {
    let by_place = |row: &mut Vec<Value>, order: &Places<'_>| {
        row.sort_by_cached_key(|item| order.find(item).unwrap_or(usize::MAX));
    };
    let (mut ours, mut others): (Vec<Value>, Vec<Value>) =
        merged.into_iter().partition(|item| named.find(item).is_some());
    by_place(&mut ours, named);
    by_place(&mut others, target);
    weave(others, ours, target)
}

fn weave(others: Vec<Value>, ours: Vec<Value>, target: &Places<'_>) -> Vec<Value> {
    let mut woven = Vec::with_capacity(others.len() + ours.len());
    let mut others = others.into_iter().peekable();
    let mut ours = ours.into_iter().peekable();
    while let (Some(other), Some(our)) = (others.peek(), ours.peek()) {
        let places = target.find(other).zip(target.find(our));
        let from = if places.is_some_and(|(other, our)| other < our) { &mut others } else { &mut ours };
        woven.extend(from.next());
    }
    woven.extend(others);
    woven.extend(ours);
    woven
}

/// Merges all lists for which the patch has a `$setElementOrder` and takes them and the directives out of the patch.
pub(super) fn merge_ordered_lists(
    target: &mut Map<String, Value>,
    patch: &mut Map<String, Value>,
    kind: Child<'_>,
) -> Result<(), PatchError> {
    let directives: Vec<String> = patch.keys().filter(|key| key.starts_with(SET_ORDER)).cloned().collect();
    for directive in directives {
        let order = list_of(patch.remove(&directive))?.unwrap_or_default();
        let field = directive::directed_field(&directive, SET_ORDER).ok_or_else(malformed)?;
        let old = list_of(target.get(field).cloned())?;
        let new = list_of(patch.get(field).cloned())?;
        let rule = rule_of(kind, field)?;
        let key = rule.merge_key;
        check_order(new.as_deref().unwrap_or_default(), &order, key)?;
        let merged = match (&old, &new) {
            (None, None) => continue,
            (Some(old), None) => old.clone(),
            (None, Some(new)) => new.iter().cloned().filter_map(directive::without_directives).collect(),
            (Some(old), Some(new)) => list::merge(old.clone(), new.clone(), &rule, false)?,
        };
        let old = old.unwrap_or_default();
        list::items_are_objects(&old, new.as_deref().unwrap_or_default())?;
        target.insert(field.to_owned(), Value::Array(arrange(merged, &order, &old, key)?));
        patch.remove(field);
    }
    Ok(())
}

fn malformed() -> PatchError {
    PatchError::Malformed("invalid patch format of setElementOrder list".to_owned())
}

fn list_of(value: Option<Value>) -> Result<Option<Vec<Value>>, PatchError> {
    match value {
        None => Ok(None),
        Some(Value::Array(items)) => Ok(Some(items)),
        Some(other) => Err(directive::wrong_type("[]interface {}", &other)),
    }
}

// Each item of the patch must be in the order, and they must stand there in the same sequence. Deletions may be absent.
fn check_order(patch: &[Value], order: &[Value], key: Option<&str>) -> Result<(), PatchError> {
    if patch.is_empty() || order.is_empty() {
        return Ok(());
    }
    let mut rest = order.iter();
    for item in patch {
        if key.is_some() && item.get(PATCH).is_some() {
            continue;
        }
        loop {
            let Some(next) = rest.next() else {
                let (patch, order) = (Value::from(patch), Value::from(order));
                return Err(PatchError::Internal(format!(
                    "The order in patch list:\n{}\n doesn't match {SET_ORDER} list:\n{}\n",
                    directive::go_text(&patch),
                    directive::go_text(&order)
                )));
            };
            let equal = match key {
                Some(key) => key_of(item, key)? == key_of(next, key)?,
                None => item == next,
            };
            if equal {
                break;
            }
        }
    }
    Ok(())
}
