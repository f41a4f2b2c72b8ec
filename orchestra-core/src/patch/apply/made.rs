//! What the maker of an object sets: all it says.
//!
//! This is what [`compare`](super::compare) finds between an object and nothing, but written as `fieldsV1` at once. Objects are
//! made more often than anything else is done with them, and nobody asks for the set itself.

use serde_json::map::Entry;
use serde_json::{Map, Value};

use super::element;
use super::node::Node;

const METADATA: &str = "f:metadata";

/// The places of `new` that differ from `empty`, what the type holds before anything is set, but for those of the paths
/// `left_out`. As `fieldsV1`; `None` when there are none.
pub(super) fn fields(new: &Value, empty: &Value, root: Node<'_>, left_out: &[&[&str]]) -> Option<Value> {
    let mut set = beyond(new, empty, root, Way { left_out, above: None })?;
    if let Value::Object(set) = &mut set
        && let Some(Value::Object(metadata)) = set.get_mut(METADATA)
    {
        // It is there anyway.
        metadata.remove(".");
        if metadata.is_empty() {
            set.remove(METADATA);
            return (!set.is_empty()).then(|| std::mem::take(set).into());
        }
    }
    Some(set)
}

/// The way down to a place, as far as fields below it are left out.
#[derive(Clone, Copy)]
struct Way<'w> {
    left_out: &'w [&'w [&'w str]],
    above: Option<(&'w Way<'w>, &'w str)>,
}

impl<'w> Way<'w> {
    /// The way to a field; `None` if it is left out.
    fn to(&'w self, field: &'w str) -> Option<Self> {
        let is_left_out =
            |path: &&[&str]| path.split_last().is_some_and(|(last, above)| *last == field && self.is(above));
        (!self.left_out.iter().any(is_left_out))
            .then_some(Self { left_out: self.left_out, above: Some((self, field)) })
    }

    fn is(&self, path: &[&str]) -> bool {
        match (self.above, path.split_last()) {
            (None, None) => true,
            (Some((above, name)), Some((last, path))) => name == *last && above.is(path),
            _ => false,
        }
    }

    /// The way into the items of a list.
    fn items(self) -> Self {
        Self { left_out: &[], above: None }
    }
}

/// The places at which a value differs from the empty one that its type has anyway, in which lists have no items.
fn beyond(value: &Value, empty: &Value, node: Node<'_>, way: Way<'_>) -> Option<Value> {
    if value == empty {
        return None;
    }
    let leaf = || Some(Value::Object(Map::new()));
    if node.is_list() {
        let items = value.as_array().and_then(|list| items(list, node, way));
        return items.map_or_else(leaf, |items| Some(items.into()));
    }
    let has_fields = |value: &Value| value.as_object().is_some_and(|fields| !fields.is_empty());
    let is_object = node.is_object(Some(if empty.is_object() { empty } else { value }));
    if !is_object || (!has_fields(value) && !has_fields(empty)) {
        return leaf();
    }
    let below = below(value.as_object()?, Some(empty), node, way);
    (!below.is_empty()).then_some(Value::Object(below))
}

/// All places of a value that its type does not have anyway, and the place of the value.
fn whole(value: &Value, node: Node<'_>, way: Way<'_>) -> Value {
    let mut set = match value {
        Value::Array(list) if node.is_list() => items(list, node, way).unwrap_or_default(),
        Value::Object(object) if node.is_object(Some(value)) => below(object, None, node, way),
        _ => Map::new(),
    };
    if !set.is_empty() {
        set.insert(".".to_owned(), Map::new().into());
    }
    set.into()
}

fn below(
    object: &Map<String, Value>,
    empty: Option<&Value>,
    node: Node<'_>,
    way: Way<'_>,
) -> Map<String, Value> {
    let place = |(name, value): (&String, &Value)| {
        let (way, node) = (way.to(name)?, node.field(name)?);
        let set = match empty.and_then(|empty| empty.get(name)) {
            Some(empty) => beyond(value, empty, node, way)?,
            None => whole(value, node, way),
        };
        Some((element::field(name), set))
    };
    // A map is made of a list, so the list has room for all from the beginning.
    let mut places = Vec::with_capacity(object.len());
    places.extend(object.iter().filter_map(place));
    places.into_iter().collect()
}

/// `None` when an item has no name, so that the list is one value.
fn items(list: &[Value], node: Node<'_>, way: Way<'_>) -> Option<Map<String, Value>> {
    let mut set = Map::new();
    for (name, item) in node.names(list).ok()?.into_iter().zip(list) {
        match set.entry(name) {
            Entry::Vacant(place) => {
                place.insert(whole(item, node.item(), way.items()));
            }
            // Those that occur more than once are not taken apart.
            Entry::Occupied(mut place) => {
                place.insert(Map::new().into());
            }
        }
    }
    Some(set)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::{Schema, UNMANAGED, compare, empty, strip};
    use super::*;
    use crate::kinds::Registry;
    use crate::schema::sample::{Seed, cases};
    use crate::schema::{self, ObjectType};
    use crate::structural::Structural;

    const IGNORED: [&[&[&str]]; 3] = [&[], &[&["status"]], &[&["spec"], &["metadata", "ownerReferences"]]];

    /// By way of the set of all differences.
    fn compared(new: &Value, schema: Schema<'_>, ignored: &[&[&str]]) -> Option<Value> {
        let changes = compare::compare(Some(empty::object(schema)), Some(new), Node::root(schema));
        let mut set = changes.added_or_modified();
        strip(&mut set, ignored);
        (!set.is_empty()).then(|| set.into_value())
    }

    fn made(new: &Value, schema: Schema<'_>, ignored: &[&[&str]]) -> Option<Value> {
        let left_out: Vec<&[&str]> = UNMANAGED.iter().chain(ignored).copied().collect();
        fields(new, empty::object(schema), Node::root(schema), &left_out)
    }

    fn is_the_same(new: &Value, schema: Schema<'_>) -> Result<(), TestCaseError> {
        for ignored in IGNORED {
            prop_assert_eq!(made(new, schema, ignored), compared(new, schema, ignored), "{}", new);
        }
        Ok(())
    }

    fn types() -> impl Iterator<Item = &'static ObjectType> {
        let all: Vec<_> = Registry::builtin()
            .iter()
            .filter_map(|kind| schema::of_kind(&kind.description().gv, &kind.description().kind))
            .collect();
        all.into_iter()
    }

    proptest! {
        #![proptest_config(cases(12))]

        #[test]
        fn what_is_made_differs_from_nothing_in_just_these_fields(seed in any::<u64>()) {
            for ty in types() {
                for mut object in [Value::Object(Seed::new(seed).object(ty, 0)), Seed::new(seed).tidy(ty)] {
                    is_the_same(&object, Schema::Unknown)?;
                    is_the_same(&object, Schema::Builtin(ty))?;
                    schema::complete(&mut object, ty);
                    is_the_same(&object, Schema::Builtin(ty))?;
                }
            }
        }
    }

    #[test]
    fn of_custom_kinds_it_is_the_same() {
        let schema = Structural::read(
            &json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
                "bulbs": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                    "items": {"type": "object", "properties": {"name": {"type": "string"}, "hue": {"type": "string"}}}},
                "rooms": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
                "steps": {"type": "array", "items": {"type": "integer"}},
                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
            }}}}),
        );
        for spec in [
            json!({"bulbs": [{"name": "a", "hue": "b"}, {"name": "a"}, {"name": "b"}], "rooms": ["x", "x", "y"]}),
            json!({"bulbs": [{"hue": "b"}], "rooms": [], "steps": [1], "other": 1}),
            json!({"bulbs": [], "free": {"a": {}, "b": {"c": [1]}}}),
            json!({"bulbs": null, "free": [], "rooms": {"a": 1}}),
            json!({}),
            json!(1),
        ] {
            for metadata in
                [json!({"name": "x"}), json!({"labels": {"a": "b"}, "uid": "u"}), json!({}), json!(1)]
            {
                let object = json!({"kind": "Lamp", "metadata": metadata, "spec": spec});
                is_the_same(&object, Schema::Custom(&schema)).unwrap();
            }
        }
        is_the_same(&json!({}), Schema::Custom(&schema)).unwrap();
        is_the_same(&json!({"metadata": {"name": "x"}}), Schema::Unknown).unwrap();
    }
}
