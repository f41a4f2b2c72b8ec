//! How an object lies in the store, and how its resourceVersion gets into it.
//!
//! A stored object is its JSON without `metadata.resourceVersion`, written so that it begins with
//! `{"kind":…,"apiVersion":…,"metadata":{`. The revision of the store is the resourceVersion; it is written in behind
//! that head whenever the object is written out, without parsing anything, so that what is kept of an object is the
//! store's own bytes. The same head can be left out, because items of a list do not repeat it.

use bytes::Bytes;
use orchestra_store::Revision;
use serde_json::Value;

/// The fixed beginning of every stored object of one kind.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    head: Box<str>,
    /// Where `"metadata"` begins.
    item_at: usize,
}

/// Room for most objects, so that few are copied while they are written.
const USUAL_BYTES: usize = 3 * 1024;

/// What a resourceVersion adds at most: its field, twenty digits and a comma.
const VERSION_BYTES: usize = r#""resourceVersion":"","#.len() + 20;

/// Why stored bytes cannot be served.
#[derive(Debug, thiserror::Error)]
#[error("stored value is no object of kind {0}")]
pub(crate) struct ForeignValue(String);

/// A stored object under a resourceVersion: no copy of what the store keeps.
#[derive(Clone, Debug)]
pub(crate) struct Encoded {
    stored: Bytes,
    /// Where `"metadata"` begins.
    item_at: u32,
    /// Where the fields of the metadata begin.
    fields_at: u32,
    revision: Revision,
}

impl Layout {
    pub(crate) fn new(api_version: &str, kind: &str) -> Self {
        let head = format!("{{\"kind\":{},\"apiVersion\":{},", quoted(kind), quoted(api_version));
        let item_at = head.len();
        Self { head: format!("{head}\"metadata\":{{").into(), item_at }
    }

    /// The stored form of an object.
    pub(crate) fn encode(&self, object: &Value) -> Bytes {
        let mut out = self.open();
        let metadata = object.get("metadata").and_then(Value::as_object).into_iter().flatten();
        write_fields(&mut out, metadata.filter(|(name, _)| Self::keeps(name)), false);
        out.push(b'}');
        let rest = object.as_object().into_iter().flatten().filter(|(name, _)| !Self::holds(name));
        write_fields(&mut out, rest, true);
        out.push(b'}');
        out.into()
    }

    /// The beginning of an object, to which the fields of its metadata are written next.
    pub(super) fn open(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(USUAL_BYTES);
        out.extend_from_slice(self.head.as_bytes());
        out
    }

    /// Whether a field of an object stands at its beginning, out of the order of names.
    pub(super) fn holds(field: &str) -> bool {
        matches!(field, "kind" | "apiVersion" | "metadata")
    }

    /// Whether a field of an object's metadata is stored.
    pub(super) fn keeps(field: &str) -> bool {
        field != "resourceVersion"
    }

    /// Whether an object is stored in this form.
    pub(super) fn is_of(&self, stored: &[u8]) -> bool {
        stored.starts_with(self.head.as_bytes())
    }

    /// Stored bytes under their resourceVersion.
    pub(crate) fn attach(&self, stored: &Bytes, revision: Revision) -> Result<Encoded, ForeignValue> {
        if self.is_of(stored) {
            return Ok(self.under(stored.clone(), revision));
        }
        // Somebody else wrote this value; bring it into our form once.
        let value: Value = serde_json::from_slice(stored).map_err(|_| self.foreign())?;
        if !value.is_object() {
            return Err(self.foreign());
        }
        Ok(self.under(self.encode(&value), revision))
    }

    fn under(&self, stored: Bytes, revision: Revision) -> Encoded {
        let (item_at, fields_at) = (offset(self.item_at), offset(self.head.len()));
        Encoded { stored, item_at, fields_at, revision }
    }

    fn foreign(&self) -> ForeignValue {
        ForeignValue(self.head.to_string())
    }
}

impl Encoded {
    /// The object as JSON.
    pub(crate) fn json(&self) -> Bytes {
        let mut out = Vec::with_capacity(self.length());
        self.write(&mut out);
        out.into()
    }

    /// The object as JSON, but for its resourceVersion: no copy.
    pub(crate) fn stored(&self) -> &[u8] {
        &self.stored
    }

    /// Of its last change.
    pub(crate) fn revision(&self) -> Revision {
        self.revision
    }

    /// About how long the JSON is, never less.
    pub(crate) fn length(&self) -> usize {
        self.stored.len() + VERSION_BYTES
    }

    /// Writes the object's JSON.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        self.write_from(0, out);
    }

    /// Writes what stands in a list behind the item's opening brace: the object without kind and apiVersion.
    pub(crate) fn write_item(&self, out: &mut Vec<u8>) {
        self.write_from(self.item_at as usize, out);
    }

    /// The same object under another resourceVersion, as the event of its removal carries it.
    pub(crate) fn at(&self, revision: Revision) -> Self {
        Self { revision, ..self.clone() }
    }

    fn write_from(&self, start: usize, out: &mut Vec<u8>) {
        out.reserve(self.length());
        let (head, fields) = self.stored.split_at(self.fields_at as usize);
        out.extend_from_slice(head.get(start..).unwrap_or_default());
        out.extend_from_slice(b"\"resourceVersion\":\"");
        out.extend_from_slice(self.revision.to_string().as_bytes());
        out.extend_from_slice(if fields.first() == Some(&b'}') { b"\"" } else { b"\"," });
        out.extend_from_slice(fields);
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
        let read: Value = serde_json::from_slice(&encoded.json()).unwrap();
        assert_eq!(read["metadata"], json!({"name": "x", "resourceVersion": "17"}));
        assert_eq!(read["data"], json!({"a": "b"}));
        let later: Value = serde_json::from_slice(&encoded.at(Revision(100)).json()).unwrap();
        assert_eq!(later["metadata"]["resourceVersion"], "100");
    }

    #[test]
    fn an_item_of_a_list_has_no_kind() {
        let stored = layout().encode(&json!({"metadata": {}}));
        let mut item = b"{".to_vec();
        layout().attach(&stored, Revision(1)).unwrap().write_item(&mut item);
        let item: Value = serde_json::from_slice(&item).unwrap();
        assert_eq!(item, json!({"metadata": {"resourceVersion": "1"}}));
    }

    #[test]
    fn a_value_written_by_somebody_else_is_brought_into_form() {
        let encoded =
            layout().attach(&Bytes::from_static(br#"{"metadata":{"name":"x"},"a":1}"#), Revision(2)).unwrap();
        let read: Value = serde_json::from_slice(&encoded.json()).unwrap();
        assert_eq!(read["kind"], "ConfigMap");
        assert_eq!(read["metadata"]["resourceVersion"], "2");
        assert!(layout().attach(&Bytes::from_static(b"[]"), Revision(2)).is_err());
    }
}
