//! Changing a few fields of an object without making a tree of the rest.
//!
//! A change that is known to look at certain fields only, such as that of a binding or of the status of a pod, sees a tree of those, and
//! where it does not say which of the metadata, of all that but its largest part, the account of who set what. What is stored in the end
//! is the same text as if the whole object had been read, changed and written: all that was not looked at is taken over as it stands
//! there.

use std::fmt;

use bytes::Bytes;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::codec::Layout;

/// What of an object is looked at, by the names of its fields. Where metadata is not among them, all of it is but for `managedFields`.
pub(crate) type Fields = [(&'static str, Look)];

/// What of a field is looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Look {
    /// Everything.
    Whole,
    /// These fields of it.
    Only(&'static [&'static str]),
}

const METADATA: &str = "metadata";
/// What of the metadata is not looked at.
const ACCOUNT: &str = "managedFields";

/// An object of which some fields are read.
#[derive(Debug)]
pub(crate) struct Narrow<'t> {
    /// What is looked at.
    pub(crate) tree: Value,
    rest: Rest<'t>,
}

/// The fields that are not, as they are written.
#[derive(Debug, Default)]
struct Rest<'t> {
    own: Texts<'t>,
    /// Those beside fields that are looked at, by the name of what holds both.
    beside: Vec<(&'static str, Texts<'t>)>,
}

type Texts<'t> = Vec<(&'t str, &'t RawValue)>;

/// A value on its way out.
enum Written<'a> {
    Tree(&'a Value),
    Text(&'a RawValue),
    Both(&'a Map<String, Value>, &'a Texts<'a>),
}

impl<'t> Narrow<'t> {
    /// Reads a stored object. `None` when it is not written as this server writes them.
    pub(crate) fn read(stored: &'t [u8], layout: &Layout, fields: &'static Fields) -> Option<Self> {
        if !layout.is_of(stored) {
            return None;
        }
        let mut reader = serde_json::Deserializer::from_slice(stored);
        let narrow = Whole(fields).deserialize(&mut reader).ok()?;
        reader.end().ok()?;
        Some(narrow)
    }

    /// The object with `tree` in the place of what was read, as it is stored.
    pub(crate) fn write(&self, tree: &Value, layout: &Layout) -> Bytes {
        let beside = |name: &str| self.rest.beside.iter().find(|(holder, _)| *holder == name);
        let mut out = layout.open();
        if let Some(Value::Object(map)) = tree.get(METADATA) {
            let none = Texts::new();
            let fields = both(map, beside(METADATA).map_or(&none, |(_, texts)| texts));
            write_fields(&mut out, fields.filter(|(name, _)| Layout::keeps(name)).collect(), false);
        }
        out.push(b'}');
        let read = tree.as_object().into_iter().flatten().filter(|(name, _)| !Layout::holds(name));
        let read = read.map(|(name, value)| {
            let written = match (value, beside(name)) {
                (Value::Object(map), Some((_, texts))) => Written::Both(map, texts),
                _ => Written::Tree(value),
            };
            (name.as_str(), written)
        });
        let own = self.rest.own.iter().map(|(name, text)| (*name, Written::Text(text)));
        write_fields(&mut out, read.chain(own).collect(), true);
        out.push(b'}');
        out.into()
    }
}

/// The fields of what was read in part: those of the tree, and those that were not looked at.
fn both<'a>(
    map: &'a Map<String, Value>,
    texts: &'a Texts<'a>,
) -> impl Iterator<Item = (&'a str, Written<'a>)> {
    let read = map.iter().map(|(name, value)| (name.as_str(), Written::Tree(value)));
    let kept = texts.iter().filter(|(name, _)| !map.contains_key(*name));
    read.chain(kept.map(|(name, text)| (*name, Written::Text(text))))
}

/// Writes fields in the order of their names, in which trees keep them.
fn write_fields(out: &mut Vec<u8>, mut fields: Vec<(&str, Written<'_>)>, mut comma: bool) {
    fields.sort_by_key(|(name, _)| *name);
    for (name, value) in fields {
        if comma {
            out.push(b',');
        }
        comma = true;
        // Writing JSON into a Vec cannot fail: there is no I/O and every key is a string.
        let _ = serde_json::to_writer(&mut *out, name);
        out.push(b':');
        match value {
            Written::Tree(value) => drop(serde_json::to_writer(&mut *out, value)),
            Written::Text(text) => out.extend_from_slice(text.get().as_bytes()),
            Written::Both(map, texts) => {
                out.push(b'{');
                write_fields(out, both(map, texts).collect(), false);
                out.push(b'}');
            }
        }
    }
}

/// Reads the object itself.
struct Whole(&'static Fields);

impl<'de> DeserializeSeed<'de> for Whole {
    type Value = Narrow<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Narrow<'de>, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Whole {
    type Value = Narrow<'de>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Narrow<'de>, A::Error> {
        let (mut tree, mut rest) = (Map::new(), Rest::default());
        while let Some(name) = entries.next_key::<&'de str>()? {
            let named = self.0.iter().find(|(field, _)| *field == name);
            let held = match named {
                Some((holder, Look::Only(of))) => Some((*holder, Holder::Only(of))),
                Some((_, Look::Whole)) => None,
                None => (name == METADATA).then_some((METADATA, Holder::AllBut(ACCOUNT))),
            };
            if let Some((holder, part)) = held {
                let (read, texts) = entries.next_value_seed(part)?;
                tree.insert(name.to_owned(), read.into());
                rest.beside.push((holder, texts));
            } else if named.is_some() || Layout::holds(name) {
                tree.insert(name.to_owned(), entries.next_value()?);
            } else {
                rest.own.push((name, entries.next_value()?));
            }
        }
        Ok(Narrow { tree: tree.into(), rest })
    }
}

/// Reads what holds fields that are looked at: these.
enum Holder {
    Only(&'static [&'static str]),
    AllBut(&'static str),
}

impl Holder {
    fn looks_at(&self, field: &str) -> bool {
        match self {
            Self::Only(fields) => fields.contains(&field),
            Self::AllBut(other) => field != *other,
        }
    }
}

impl<'de> DeserializeSeed<'de> for Holder {
    type Value = (Map<String, Value>, Texts<'de>);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Holder {
    type Value = (Map<String, Value>, Texts<'de>);

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let (mut read, mut texts) = (Map::new(), Texts::new());
        while let Some(name) = entries.next_key::<&'de str>()? {
            if self.looks_at(name) {
                read.insert(name.to_owned(), entries.next_value()?);
            } else {
                texts.push((name, entries.next_value()?));
            }
        }
        Ok((read, texts))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const FIELDS: &Fields = &[("a", Look::Only(&["a", "b"])), ("c", Look::Only(&["b"]))];
    const WITH_METADATA: &Fields = &[
        ("a", Look::Only(&["a", "b"])),
        ("c", Look::Only(&["b"])),
        (METADATA, Look::Only(&["b", "x", "z"])),
    ];
    const WITH_WHOLE: &Fields =
        &[("a", Look::Only(&["a", "b"])), ("c", Look::Whole), (METADATA, Look::Whole)];

    fn layout() -> Layout {
        Layout::new("v1", "Pod")
    }

    #[test]
    fn what_is_not_written_as_here_is_not_read_narrowly() {
        for text in [r#"{"a":{"a":1}}"#, r#"{"kind":"Pod","apiVersion":"v1","metadata":{},"a":[]}"#, ""] {
            assert!(Narrow::read(text.as_bytes(), &layout(), FIELDS).is_none(), "{text}");
        }
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<i64>().prop_map(Value::from),
            // Such that reading and writing it again does not change it.
            any::<i32>().prop_map(|eighths| Value::from(f64::from(eighths) / 8.0)),
            "[a\\\"\u{1}é]{0,2}".prop_map(Value::from)
        ];
        leaf.prop_recursive(3, 24, 4, |below| {
            prop_oneof![
                prop::collection::vec(below.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[a-d\\\"]", below, 0..4)
                    .prop_map(|map| map.into_iter().collect()),
            ]
        })
    }

    fn objects() -> impl Strategy<Value = Value> {
        let held = || prop::collection::btree_map("[a-d]", values(), 0..4);
        let object = prop::collection::btree_map(
            "[a-d]",
            prop_oneof![4 => held().prop_map(|map| json!(map)), 1 => values()],
            0..4,
        );
        (object, held(), prop::option::of(values())).prop_map(|(mut object, mut metadata, account)| {
            metadata.extend(account.map(|account| (ACCOUNT.to_owned(), account)));
            object.insert(METADATA.to_owned(), json!(metadata));
            json!(object)
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_change_of_what_is_looked_at_is_stored_as_that_of_the_whole_object(
            object in objects(),
            changes in prop::collection::vec((prop::sample::select(vec![("a", "a"), ("a", "b"), ("c", "b"), ("metadata", "x"), ("metadata", "z")]), values()), 0..4),
            read_again in any::<bool>(),
            fields in prop::sample::select(vec![FIELDS, WITH_METADATA, WITH_WHOLE]),
        ) {
            let stored = layout().encode(&object);
            // As a tree that was read from the store has it.
            let mut whole: Value = serde_json::from_slice(&stored).unwrap();
            let Some(narrow) = Narrow::read(&stored, &layout(), fields) else {
                let is_other = |name: &str| whole.get(name).is_some_and(|value| !value.is_object());
                let text = String::from_utf8_lossy(&stored);
                prop_assert!(is_other("a") || is_other("c") || text.contains('\\'), "{}", text);
                return Ok(());
            };
            let has_account = fields.iter().any(|(name, look)| *name == METADATA && matches!(look, Look::Whole));
            prop_assert!(has_account || narrow.tree[METADATA].get(ACCOUNT).is_none());
            for (holder, look) in fields {
                let Look::Only(of) = look else {
                    prop_assert_eq!(narrow.tree.get(holder), whole.get(holder));
                    continue;
                };
                for field in *of {
                    prop_assert_eq!(narrow.tree.pointer(&format!("/{holder}/{field}")), whole.pointer(&format!("/{holder}/{field}")));
                }
            }
            let mut tree = if read_again { narrow.tree.clone() } else { Narrow::read(&stored, &layout(), fields).unwrap().tree };
            for ((holder, field), value) in changes {
                for object in [&mut whole, &mut tree] {
                    if object.get(holder).is_none_or(Value::is_object) {
                        object[holder][field] = value.clone();
                    }
                }
            }
            prop_assert_eq!(narrow.write(&tree, &layout()), layout().encode(&whole));
        }
    }
}
