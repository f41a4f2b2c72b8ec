//! Managers who share objects of every kind, field by field.
//!
//! An object is taken apart into its smallest pieces, each of which belongs to one of two managers by the hash of its path.
//! What they apply never overlaps but in the keys of items that both have a part in.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use proptest::prelude::*;
use serde_json::{Map, json};

use super::node::Node;
use super::*;
use crate::kind::Kind;
use crate::kinds::Registry;
use crate::schema::sample::{Seed, cases};
use crate::schema::{self, Shape};

const NOW: &str = "2026-01-01T00:00:00Z";

fn shape(kind: &dyn Kind) -> &'static ObjectType {
    let description = kind.description();
    schema::of_kind(&description.gv, &description.kind).unwrap()
}

fn put(live: Option<&Value>, manager: &str, config: &Value, kind: &dyn Kind) -> Result<Value, ApplyError> {
    let (api_version, ty) = (kind.description().gv.to_string(), shape(kind));
    let author = Author { manager, api_version: &api_version, subresource: "", now: NOW };
    let Applied { mut object, account } = apply(
        live,
        config,
        author,
        Target { schema: Schema::Builtin(ty), versions: Versions::Apart, ignored: &[] },
        Force::No,
    )?;
    schema::conform(&mut object, ty).unwrap();
    schema::complete(&mut object, ty);
    object["metadata"]["managedFields"] = account.unwrap_or_default();
    Ok(object)
}

fn hash(path: &str, salt: u64) -> u64 {
    let mut hasher = DefaultHasher::new();
    (path, salt).hash(&mut hasher);
    hasher.finish()
}

/// Whose pieces are taken, and which of them.
#[derive(Clone, Copy)]
struct Share {
    owner: u64,
    owners: u64,
    round: u64,
}

impl Share {
    fn has(self, path: &str) -> bool {
        hash(path, self.owners) % 2 == self.owner && !hash(path, self.round).is_multiple_of(3)
    }

    fn of(self, value: &Value, node: Node, path: &str) -> Option<Value> {
        match value {
            Value::Object(map) if node.is_object(Some(value)) => {
                let pieces = map.iter().filter_map(|(name, value)| {
                    let piece = self.of(value, node.field(name)?, &format!("{path}.{name}"))?;
                    Some((name.clone(), piece))
                });
                Some(pieces.collect::<Map<_, _>>()).filter(|map| !map.is_empty()).map(Value::Object)
            }
            Value::Array(items) if node.is_list() => {
                let names = node.names(items).unwrap();
                let pieces = names
                    .iter()
                    .zip(items)
                    .filter_map(|(name, item)| self.of_item(item, node, &format!("{path}[{name}]")));
                Some(pieces.collect::<Vec<_>>()).filter(|items| !items.is_empty()).map(Value::Array)
            }
            value => self.has(path).then(|| whole(value, node)),
        }
    }

    fn of_item(self, item: &Value, list: Node, path: &str) -> Option<Value> {
        let (Node::Keyed(field), Value::Object(map)) = (list, item) else {
            return self.has(path).then(|| item.clone());
        };
        let (keys, rest): (Map<String, Value>, Map<String, Value>) =
            map.clone().into_iter().partition(|(name, _)| field.keys().iter().any(|key| key == name));
        match self.of(&Value::Object(rest), list.item(), path) {
            Some(Value::Object(mut piece)) => {
                piece.extend(keys);
                Some(Value::Object(piece))
            }
            Some(atomic) => Some(atomic),
            None => self.has(path).then_some(Value::Object(keys)),
        }
    }

    /// The configuration of this share of an object.
    fn config(self, object: &Value, kind: &dyn Kind) -> Value {
        let mut config =
            self.of(object, Node::root(Schema::Builtin(shape(kind))), "").unwrap_or_else(|| json!({}));
        let description = kind.description();
        config["apiVersion"] = description.gv.to_string().into();
        config["kind"] = description.kind.as_ref().into();
        config["metadata"]["name"] = "sample".into();
        config
    }
}

/// What is taken as a whole, with what is added to it when it is stored; or the same again would be a change. As upstream.
fn whole(value: &Value, node: Node) -> Value {
    let mut value = value.clone();
    let Node::Leaf(Some(field)) = node else { return value };
    let Some(ty) = field.object() else { return value };
    match (&mut value, field.shape) {
        (Value::Array(items), Shape::List) => items.iter_mut().for_each(|item| schema::complete(item, ty)),
        (Value::Object(map), Shape::Map) => map.values_mut().for_each(|item| schema::complete(item, ty)),
        (value, _) => schema::complete(value, ty),
    }
    value
}

/// The object with the items of its merged lists in the order of their names.
fn in_order(value: &Value, node: Node) -> Value {
    match value {
        Value::Object(map) => map
            .iter()
            .map(|(name, value)| {
                (name.clone(), node.field(name).map_or_else(|| value.clone(), |node| in_order(value, node)))
            })
            .collect(),
        Value::Array(items) if node.is_list() => {
            let names = node.names(items).unwrap();
            let mut named: Vec<(String, Value)> =
                names.into_iter().zip(items.iter().map(|item| in_order(item, node.item()))).collect();
            named.sort_by(|(one, _), (other, _)| one.cmp(other));
            named.into_iter().map(|(_, item)| item).collect()
        }
        other => other.clone(),
    }
}

proptest! {
    #![proptest_config(cases(12))]

    #[test]
    fn managers_of_different_fields_come_to_the_same_object_in_any_order(seed in any::<u64>()) {
        for kind in Registry::builtin().iter().map(AsRef::as_ref) {
            let object = Seed::new(seed).tidy(shape(kind));
            let config = |owner, round| Share { owner, owners: seed, round }.config(&object, kind);
            let (a, b, a2, b2) = (config(0, 1), config(1, 2), config(0, 3), config(1, 4));
            let run = |steps: [(&str, &Value); 4]| {
                steps.into_iter().try_fold(None, |live: Option<Value>, (manager, config)| {
                    put(live.as_ref(), manager, config, kind).map(Some)
                })
            };
            let one = run([("a", &a), ("b", &b), ("a", &a2), ("b", &b2)]);
            let wanted = one.map(|one| in_order(&one.unwrap(), Node::root(Schema::Builtin(shape(kind)))));
            prop_assert!(wanted.is_ok(), "{:?}: {:?}", kind, wanted);
            for steps in [
                [("b", &b), ("b", &b2), ("a", &a), ("a", &a2)],
                [("b", &b), ("a", &a), ("b", &b2), ("a", &a2)],
                [("a", &a), ("a", &a2), ("b", &b), ("b", &b2)],
            ] {
                let found = run(steps).map(|found| in_order(&found.unwrap(), Node::root(Schema::Builtin(shape(kind)))));
                prop_assert_eq!(&found, &wanted, "{:?}: {:?}", kind, steps);
            }
        }
    }

    #[test]
    fn who_applies_what_is_there_shares_it_and_changes_nothing(seed in any::<u64>()) {
        for kind in Registry::builtin().iter().map(AsRef::as_ref) {
            let object = Seed::new(seed).tidy(shape(kind));
            let config = Share { owner: 0, owners: seed, round: 0 }.config(&object, kind);
            let once = put(None, "a", &config, kind).unwrap();
            prop_assert_eq!(&put(Some(&once), "a", &config, kind).unwrap(), &once, "{:?}", kind);
            let both = put(Some(&once), "b", &config, kind).unwrap();
            let account = |object: &Value| object["metadata"]["managedFields"].clone();
            prop_assert_eq!(&account(&both)[0], &account(&once)[0], "{:?}", kind);
            let (mut both, mut once) = (both, once);
            without_account(&mut both);
            without_account(&mut once);
            prop_assert_eq!(both, once, "{:?}", kind);
        }
    }
}
