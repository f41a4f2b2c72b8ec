//! Which keys stand twice in YAML, and on which lines: Go's reader of YAML names the line where the others name the path.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_yaml::Spanned;

use super::decode::{first_document, yaml_options};

/// What `sigs.k8s.io/yaml` says of a document in which keys stand twice; nothing if none does, or if it cannot be read.
///
/// ```
/// use orchestra_core::schema::repeated_keys;
///
/// let said = repeated_keys(b"spec:\n  a: 1\n  a: 2\n").unwrap();
/// assert_eq!(said, "error converting YAML to JSON: yaml: unmarshal errors:\n  line 3: key \"a\" already set in map");
/// assert_eq!(repeated_keys(b"spec: {a: 1}"), None);
/// ```
pub fn repeated_keys(body: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(body);
    let mut found = Vec::new();
    let read = serde_yaml::with_deserializer_from_str_with_options(
        first_document(&text),
        yaml_options(),
        |deserializer| Look(&mut found).deserialize(deserializer),
    );
    if read.is_err() || found.is_empty() {
        return None;
    }
    Some(format!("error converting YAML to JSON: yaml: unmarshal errors:\n{}", found.join("\n")))
}

/// Goes through a value and notes every key that was there before.
struct Look<'a>(&'a mut Vec<String>);

impl<'de> DeserializeSeed<'de> for Look<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Look<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_none<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element_seed(Look(&mut *self.0))?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut keys = std::collections::HashSet::new();
        while let Some(Spanned { value: key, referenced, .. }) = map.next_key::<Spanned<String>>()? {
            if !keys.insert(key.clone()) {
                self.0.push(format!("  line {}: key {key:?} already set in map", referenced.line()));
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            map.next_value_seed(Look(&mut *self.0))?;
        }
        Ok(())
    }
}
