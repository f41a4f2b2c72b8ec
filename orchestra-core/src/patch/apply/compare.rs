//! What differs between two states of an object.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::element;
use super::field_set::FieldSet;
use super::node::Node;

/// The places that differ.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub(super) added: FieldSet<'static>,
    pub(super) modified: FieldSet<'static>,
    pub(super) removed: FieldSet<'static>,
}

impl Changes {
    pub(super) fn is_empty(&self) -> bool {
        self.added.is_empty() && self.modified.is_empty() && self.removed.is_empty()
    }

    pub(super) fn added_or_modified(self) -> FieldSet<'static> {
        self.added.union(self.modified)
    }

    /// What the new state has that the old one has not, and what it lacks.
    pub(super) fn split(self) -> (FieldSet<'static>, FieldSet<'static>) {
        (self.added.union(self.modified), self.removed)
    }

    pub(super) fn strip(&mut self, ignored: &[&[&str]]) {
        for set in [&mut self.added, &mut self.modified, &mut self.removed] {
            super::strip(set, ignored);
        }
    }

    fn adopt(&mut self, name: impl Fn() -> String, below: Self) {
        self.added.push(&name, below.added);
        self.modified.push(&name, below.modified);
        self.removed.push(&name, below.removed);
    }

    fn sort(&mut self) {
        for set in [&mut self.added, &mut self.modified, &mut self.removed] {
            set.sort();
        }
    }

    fn leaf(old: Option<&Value>, new: Option<&Value>) -> Self {
        let mut changes = Self::default();
        match (old, new) {
            (None, Some(_)) => changes.added.set_member(),
            (Some(_), None) => changes.removed.set_member(),
            (Some(old), Some(new)) if old != new => changes.modified.set_member(),
            _ => {}
        }
        changes
    }
}

/// Compares two values at a place. An absent value differs from an empty one.
pub(super) fn compare(old: Option<&Value>, new: Option<&Value>, node: Node<'_>) -> Changes {
    let mut changes = if node.is_list() {
        let (a, b) = (old.and_then(Value::as_array), new.and_then(Value::as_array));
        let (a, b) = (a.map_or(&[][..], Vec::as_slice), b.map_or(&[][..], Vec::as_slice));
        if a.is_empty() && b.is_empty() {
            return Changes::leaf(old, new);
        }
        match items(a, b, node) {
            Some(changes) => changes,
            None => return Changes::leaf(old, new),
        }
    } else if node.is_object(old.filter(|v| v.is_object()).or(new)) {
        let empty = Map::new();
        let a = old.and_then(Value::as_object).unwrap_or(&empty);
        let b = new.and_then(Value::as_object).unwrap_or(&empty);
        if a.is_empty() && b.is_empty() {
            return Changes::leaf(old, new);
        }
        fields(a, b, node)
    } else {
        return Changes::leaf(old, new);
    };
    match (old, new) {
        (None, Some(_)) => changes.added.set_member(),
        (Some(_), None) => changes.removed.set_member(),
        _ => {}
    }
    changes
}

fn fields(old: &Map<String, Value>, new: &Map<String, Value>, node: Node<'_>) -> Changes {
    let mut changes = Changes::default();
    for (name, a) in old {
        let b = new.get(name);
        // The type matters only where something differs; most of an object does not.
        if b == Some(a) {
            continue;
        }
        if let Some(node) = node.field(name) {
            changes.adopt(|| element::field(name), compare(Some(a), b, node));
        }
    }
    for (name, b) in new.iter().filter(|(name, _)| !old.contains_key(*name)) {
        if let Some(node) = node.field(name) {
            changes.adopt(|| element::field(name), compare(None, Some(b), node));
        }
    }
    changes.sort();
    changes
}

/// `None` when an item has no name, so that the list can only be compared as a whole.
fn items(old: &[Value], new: &[Value], node: Node<'_>) -> Option<Changes> {
    let mut changes = Changes::default();
    if old == new {
        return Some(changes);
    }
    // Nothing but applied configurations is kept from having the same item twice; such items count as one value.
    let mut by_name = BTreeMap::<String, [Vec<&Value>; 2]>::new();
    for (side, list) in [old, new].into_iter().enumerate() {
        for (name, item) in node.names(list).ok()?.into_iter().zip(list) {
            if let Some(found) = by_name.entry(name).or_default().get_mut(side) {
                found.push(item);
            }
        }
    }
    for (name, [a, b]) in by_name {
        let below = match (a.as_slice(), b.as_slice()) {
            ([] | [_], [] | [_]) => compare(a.first().copied(), b.first().copied(), node.item()),
            _ if a == b => continue,
            _ => Changes::leaf(a.first().copied(), b.first().copied()).or_modified(),
        };
        changes.adopt(|| name.clone(), below);
    }
    changes.sort();
    Some(changes)
}

impl Changes {
    /// For items that occur more than once and differ in number only.
    fn or_modified(mut self) -> Self {
        if self.is_empty() {
            self.modified.set_member();
        }
        self
    }
}
