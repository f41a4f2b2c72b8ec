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

    fn added(set: FieldSet<'static>) -> Self {
        Self { added: set, ..Self::default() }
    }

    fn removed(set: FieldSet<'static>) -> Self {
        Self { removed: set, ..Self::default() }
    }

    fn modified() -> Self {
        Self { modified: FieldSet::leaf(), ..Self::default() }
    }
}

/// Compares two values at a place. An absent value differs from an empty one.
pub(super) fn compare(old: Option<&Value>, new: Option<&Value>, node: Node<'_>) -> Changes {
    match (old, new) {
        (None, None) => Changes::default(),
        (None, Some(new)) => Changes::added(whole(new, node)),
        (Some(old), None) => Changes::removed(whole(old, node)),
        (Some(old), Some(new)) => of_both(old, new, node),
    }
}

fn of_both(old: &Value, new: &Value, node: Node<'_>) -> Changes {
    let leaf = || if old == new { Changes::default() } else { Changes::modified() };
    if node.is_list() {
        let (a, b) =
            (old.as_array().map_or(&[][..], Vec::as_slice), new.as_array().map_or(&[][..], Vec::as_slice));
        if a.is_empty() && b.is_empty() {
            return leaf();
        }
        items(a, b, node).unwrap_or_else(leaf)
    } else if node.is_object(Some(if old.is_object() { old } else { new })) {
        let empty = Map::new();
        let (a, b) = (old.as_object().unwrap_or(&empty), new.as_object().unwrap_or(&empty));
        if a.is_empty() && b.is_empty() {
            return leaf();
        }
        fields(a, b, node)
    } else {
        leaf()
    }
}

/// All places of a value that the other state has nothing of.
fn whole(value: &Value, node: Node<'_>) -> FieldSet<'static> {
    let mut set = FieldSet::leaf();
    match value {
        Value::Array(list) if node.is_list() => {
            let Ok(names) = node.names(list) else { return set };
            let mut items: Vec<_> = names.into_iter().zip(list).collect();
            items.sort_by(|(a, _), (b, _)| a.cmp(b));
            for same in items.chunk_by_mut(|(a, _), (b, _)| a == b) {
                // Those that occur more than once are not taken apart.
                let below = match same {
                    [(_, item)] => whole(item, node.item()),
                    _ => FieldSet::leaf(),
                };
                if let Some((name, _)) = same.first_mut() {
                    set.push(|| std::mem::take(name), below);
                }
            }
        }
        Value::Object(object) if node.is_object(Some(value)) => {
            set.reserve(object.len());
            for (name, value) in object {
                if let Some(node) = node.field(name) {
                    set.push(|| element::field(name), whole(value, node));
                }
            }
            set.sort();
        }
        _ => {}
    }
    set
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
            ([], _) => Changes::added(FieldSet::leaf()),
            (_, []) => Changes::removed(FieldSet::leaf()),
            _ => Changes::modified(),
        };
        changes.adopt(|| name.clone(), below);
    }
    changes.sort();
    Some(changes)
}
