//! How an object lies in the store, and how its resourceVersion gets into it.
//!
//! A stored object is its JSON without `metadata.resourceVersion`, written so that it begins with
//! `{"kind":…,"apiVersion":…,"metadata":{`. The revision of the store is the resourceVersion; it is spliced in behind
//! that head without parsing anything. The same head can be cut off, because items of a list do not repeat it.

use bytes::{BufMut, Bytes, BytesMut};
use orchestra_store::Revision;
use serde_json::{Map, Value};

/// The fixed beginning of every stored object of one kind.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    head: Box<str>,
    /// Where `"metadata"` begins.
    item_at: usize,
}

/// Why stored bytes cannot be served.
#[derive(Debug, thiserror::Error)]
#[error("stored value is no object of kind {0}")]
pub(crate) struct ForeignValue(String);

/// An object's JSON with its resourceVersion, and where the latter stands.
#[derive(Clone, Debug)]
pub(crate) struct Encoded {
    pub(crate) json: Bytes,
    item_at: u32,
    version_at: u32,
    version_end: u32,
}

impl Layout {
    pub(crate) fn new(api_version: &str, kind: &str) -> Self {
        let head = format!("{{\"kind\":{},\"apiVersion\":{},", quoted(kind), quoted(api_version));
        let item_at = head.len();
        Self { head: format!("{head}\"metadata\":{{").into(), item_at }
    }

    /// The stored form of an object.
    pub(crate) fn encode(&self, object: &Value) -> Bytes {
        let mut out = Vec::with_capacity(1024);
        out.extend_from_slice(self.head.as_bytes());
        let empty = Map::new();
        let object = object.as_object().unwrap_or(&empty);
        let metadata = object.get("metadata").and_then(Value::as_object).unwrap_or(&empty);
        write_fields(&mut out, metadata.iter().filter(|(key, _)| *key != "resourceVersion"), false);
        out.push(b'}');
        let rest =
            object.iter().filter(|(key, _)| !matches!(key.as_str(), "kind" | "apiVersion" | "metadata"));
        write_fields(&mut out, rest, true);
        out.push(b'}');
        out.into()
    }

    /// Puts the resourceVersion into stored bytes.
    pub(crate) fn attach(&self, stored: &[u8], revision: Revision) -> Result<Encoded, ForeignValue> {
        let Some(rest) = stored.strip_prefix(self.head.as_bytes()) else {
            // Somebody else wrote this value; bring it into our form once.
            let value: Value = serde_json::from_slice(stored).map_err(|_| self.foreign())?;
            if !value.is_object() {
                return Err(self.foreign());
            }
            let stored = self.encode(&value);
            let rest = stored.get(self.head.len()..).unwrap_or_default();
            return Ok(self.splice(rest, revision));
        };
        Ok(self.splice(rest, revision))
    }

    fn foreign(&self) -> ForeignValue {
        ForeignValue(self.head.to_string())
    }

    fn splice(&self, rest: &[u8], revision: Revision) -> Encoded {
        let version = revision.to_string();
        let mut json = BytesMut::with_capacity(self.head.len() + rest.len() + version.len() + 24);
        json.put_slice(self.head.as_bytes());
        json.put_slice(b"\"resourceVersion\":\"");
        let version_at = json.len();
        json.put_slice(version.as_bytes());
        let version_end = json.len();
        json.put_slice(if rest.first() == Some(&b'}') { b"\"" } else { b"\"," });
        json.put_slice(rest);
        Encoded {
            json: json.freeze(),
            item_at: offset(self.item_at),
            version_at: offset(version_at),
            version_end: offset(version_end),
        }
    }
}

impl Encoded {
    /// What stands in a list behind the item's opening brace: the object without kind and apiVersion.
    pub(crate) fn item_tail(&self) -> Bytes {
        self.json.slice(self.item_at as usize..)
    }

    /// How long that is.
    pub(crate) fn item_length(&self) -> usize {
        self.json.len().saturating_sub(self.item_at as usize)
    }

    /// The same object under another resourceVersion, as the event of its removal carries it.
    pub(crate) fn at(&self, revision: Revision) -> Bytes {
        let (before, after) =
            (&self.json[..self.version_at as usize], &self.json[self.version_end as usize..]);
        let mut json = BytesMut::with_capacity(self.json.len() + 20);
        json.put_slice(before);
        json.put_slice(revision.to_string().as_bytes());
        json.put_slice(after);
        json.freeze()
    }
}

fn offset(at: usize) -> u32 {
    // Offsets lie in the head of an object, a few hundred bytes at most.
    u32::try_from(at).unwrap_or(u32::MAX)
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

fn write_fields<'a>(
    out: &mut Vec<u8>,
    fields: impl Iterator<Item = (&'a String, &'a Value)>,
    mut comma: bool,
) {
    for (key, value) in fields {
        if comma {
            out.push(b',');
        }
        comma = true;
        // Writing JSON into a Vec cannot fail: there is no I/O and every key is a string.
        let _ = serde_json::to_writer(&mut *out, key);
        out.push(b':');
        let _ = serde_json::to_writer(&mut *out, value);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn layout() -> Layout {
        Layout::new("v1", "ConfigMap")
    }

    #[test]
    fn an_object_comes_back_with_the_revision_of_the_store() {
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "b"},
            "metadata": {"name": "x", "resourceVersion": "3"}});
        let stored = layout().encode(&object);
        let encoded = layout().attach(&stored, Revision(17)).unwrap();
        let read: Value = serde_json::from_slice(&encoded.json).unwrap();
        assert_eq!(read["metadata"], json!({"name": "x", "resourceVersion": "17"}));
        assert_eq!(read["data"], json!({"a": "b"}));
        let later: Value = serde_json::from_slice(&encoded.at(Revision(100))).unwrap();
        assert_eq!(later["metadata"]["resourceVersion"], "100");
    }

    #[test]
    fn an_item_of_a_list_has_no_kind() {
        let stored = layout().encode(&json!({"metadata": {}}));
        let tail = layout().attach(&stored, Revision(1)).unwrap().item_tail();
        let item: Value = serde_json::from_slice(&[b"{", tail.as_ref()].concat()).unwrap();
        assert_eq!(item, json!({"metadata": {"resourceVersion": "1"}}));
    }

    #[test]
    fn a_value_written_by_somebody_else_is_brought_into_form() {
        let encoded = layout().attach(br#"{"metadata":{"name":"x"},"a":1}"#, Revision(2)).unwrap();
        let read: Value = serde_json::from_slice(&encoded.json).unwrap();
        assert_eq!(read["kind"], "ConfigMap");
        assert_eq!(read["metadata"]["resourceVersion"], "2");
        assert!(layout().attach(b"[]", Revision(2)).is_err());
    }
}
