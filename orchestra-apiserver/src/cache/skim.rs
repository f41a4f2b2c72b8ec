//! Reading of a JSON text only what is looked at: the rest is passed over without a tree being made of it.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Which parts of an object are looked at: field names and what lies below them; below a last name, everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Parts(Vec<(Box<str>, Parts)>);

impl Parts {
    /// The parts at `paths`, each made of field names with dots between them.
    pub(crate) fn at<'p>(paths: impl IntoIterator<Item = &'p str>) -> Self {
        let mut parts = Self::default();
        for path in paths {
            parts.add(path);
        }
        parts
    }

    fn add(&mut self, path: &str) {
        let (name, rest) = path.split_once('.').map_or((path, None), |(name, rest)| (name, Some(rest)));
        let at = self.0.iter().position(|(known, _)| **known == *name).unwrap_or_else(|| {
            self.0.push((name.into(), Self::default()));
            self.0.len() - 1
        });
        if let (Some(rest), Some((_, below))) = (rest, self.0.get_mut(at)) {
            below.add(rest);
        }
    }

    /// The object in `json` with these parts only.
    ///
    /// # Errors
    /// When the text is no JSON, in whichever part.
    pub(crate) fn skim(&self, json: &[u8]) -> serde_json::Result<Value> {
        let mut reader = serde_json::Deserializer::from_slice(json);
        let skimmed = self.deserialize(&mut reader)?;
        reader.end()?;
        Ok(skimmed)
    }
}

impl<'de> DeserializeSeed<'de> for &Parts {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        if self.0.is_empty() {
            return serde::Deserialize::deserialize(deserializer);
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for &Parts {
    type Value = Value;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(part) = fields.next_key_seed(Name(self))? {
            match part {
                Some((name, below)) => {
                    object.insert(name.to_string(), fields.next_value_seed(below)?);
                }
                None => {
                    fields.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(Value::Object(object))
    }

    // Where fields are looked for there are none: nothing of this is looked at.

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Value::Null)
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Value, E> {
        Ok(Value::Null)
    }
}

/// Finds the part a field name stands for.
struct Name<'p>(&'p Parts);

impl<'de, 'p> DeserializeSeed<'de> for Name<'p> {
    type Value = Option<&'p (Box<str>, Parts)>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'p> Visitor<'_> for Name<'p> {
    type Value = Option<&'p (Box<str>, Parts)>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a field name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.0.iter().find(|(known, _)| **known == *name))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_is_looked_at_is_read() {
        let parts = Parts::at(["metadata.labels", "spec.nodeName", "status.podIPs"]);
        let pod = json!({
            "metadata": {"name": "a", "labels": {"x": "1", "y": "2"}},
            "spec": {"nodeName": "n", "containers": [{"name": "c"}]},
            "status": {"podIPs": [{"ip": "10.0.0.1"}], "phase": "Running"},
        });
        assert_eq!(
            parts.skim(pod.to_string().as_bytes()).unwrap(),
            json!({
                "metadata": {"labels": {"x": "1", "y": "2"}},
                "spec": {"nodeName": "n"},
                "status": {"podIPs": [{"ip": "10.0.0.1"}]},
            })
        );
    }

    #[test]
    fn what_is_no_object_has_no_parts() {
        let parts = Parts::at(["spec.nodeName"]);
        for spec in ["null", "true", "1", "-1", "1.5", "\"n\"", "[{\"nodeName\":\"n\"}]"] {
            let read = parts.skim(format!("{{\"spec\":{spec}}}").as_bytes()).unwrap();
            assert_eq!(read, json!({"spec": null}), "{spec}");
        }
    }

    #[test]
    fn a_text_that_is_broken_where_nobody_looks_is_an_error() {
        let parts = Parts::at(["metadata.labels"]);
        for text in [r#"{"spec":{"a":}}"#, r#"{"spec":1"#, r#"{"spec":1}}"#, ""] {
            assert!(parts.skim(text.as_bytes()).is_err(), "{text}");
        }
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            "[a-c]{0,2}".prop_map(Value::from)
        ];
        leaf.prop_recursive(4, 24, 4, |below| {
            prop_oneof![
                prop::collection::vec(below.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[a-c]", below, 0..4).prop_map(|map| map.into_iter().collect()),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_part_that_is_looked_at_is_read_as_in_the_whole_tree(object in values(), path in "[a-c](\\.[a-c]){0,2}") {
            let skimmed = Parts::at([path.as_str()]).skim(object.to_string().as_bytes()).unwrap();
            let find = |value: &Value| path.split('.').try_fold(value.clone(), |value, name| value.get(name).cloned());
            prop_assert_eq!(find(&skimmed), find(&object));
        }
    }
}
