//! Takes away what a manager applied before and now leaves out.

use serde_json::{Map, Value};

use super::element;
use super::field_set::FieldSet;
use super::node::Node;

/// Removes from `value` the places of `last`, unless one of the `kept` sets has them or something below them.
/// What becomes empty by it goes, too.
pub(super) fn dropped(value: &mut Value, last: &FieldSet<'_>, kept: &[&FieldSet<'_>], node: Node<'_>) {
    match value {
        Value::Object(map) if node.is_object(Some(&Value::Object(Map::new()))) => {
            let names: Vec<String> = map.keys().cloned().collect();
            for name in names {
                let place = element::field(&name);
                let Some(last) = last.child(&place) else { continue };
                let below = below(kept, &place);
                let declared = node.declares(&name);
                let Some(child) = map.get_mut(&name) else { continue };
                let Some(node) = node.field(&name) else { continue };
                if goes(last, &below, declared) || emptied(child, last, &below, node) {
                    map.remove(&name);
                }
            }
        }
        Value::Array(items) if node.is_list() => {
            let Ok(names) = node.names(items) else { return };
            let mut names = names.into_iter();
            items.retain_mut(|item| {
                let Some(place) = names.next() else { return true };
                let Some(last) = last.child(&place) else { return true };
                let below = below(kept, &place);
                !goes(last, &below, false) && !emptied(item, last, &below, node.item())
            });
        }
        _ => {}
    }
}

fn below<'s>(sets: &[&'s FieldSet<'s>], place: &str) -> Vec<&'s FieldSet<'s>> {
    sets.iter().filter_map(|set| set.child(place)).collect()
}

/// A declared field counts as owned by whoever owns anything in it; keys of maps and items of lists do not.
fn goes(last: &FieldSet<'_>, kept: &[&FieldSet<'_>], declared: bool) -> bool {
    let owns = |set: &FieldSet<'_>| set.is_member() || (declared && set.has_children());
    owns(last) && !kept.iter().any(|set| owns(set))
}

fn emptied(value: &mut Value, last: &FieldSet<'_>, kept: &[&FieldSet<'_>], node: Node<'_>) -> bool {
    let is_empty = |value: &Value| match value {
        Value::Object(map) => map.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    };
    if is_empty(value) {
        return false;
    }
    dropped(value, last, kept, node);
    is_empty(value)
}
