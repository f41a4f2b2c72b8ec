//! `ConfigMap`, and the rules of immutable data that it shares with `Secret`.

use serde_json::Value;

use super::frame::cells::{self, column};
use super::frame::{Builtin, View};
use crate::gvk::GroupVersion;
use crate::kind::Scope;
use crate::meta::name;
use crate::violation::{FieldPath, Violation, Violations};

/// The most bytes that one object of data can hold.
pub(crate) const MAX_DATA: usize = 1024 * 1024;

pub(super) fn kind() -> Builtin {
    Builtin::new(GroupVersion::new("", "v1"), "ConfigMap", "configmaps", Scope::Namespaced)
        .short_names(&["cm"])
        .validate(validate)
        .validate_change(|new, old, out| frozen(out, new, old, &["data", "binaryData"]))
        .columns(vec![
            cells::name(),
            column("Data", "string", "How many entries there are.", |map, _| {
                (entries(map, "data") + entries(map, "binaryData")).into()
            }),
            cells::age(),
        ])
}

/// How many entries a field of an object has.
pub(crate) fn entries(object: &Value, field: &str) -> i64 {
    object.get(field).and_then(Value::as_object).map_or(0, |entries| entries.len() as i64)
}

fn validate(map: &View, out: &mut Violations) {
    let (data, binary) = (map.get("data"), map.get("binaryData"));
    let mut size = 0;
    for (key, value) in data.entries() {
        keys(out, &value, key);
        if binary.value().is_some_and(|binary| binary.get(key).is_some()) {
            let detail = "duplicate of key present in binaryData";
            out.push(Violation::invalid(value.path(), key, detail));
        }
        size += value.text().len();
    }
    for (key, value) in binary.entries() {
        keys(out, &value, key);
        size += decoded_len(value.text());
    }
    if size > MAX_DATA {
        // Upstream's path of the object as a whole.
        out.push(Violation::too_long(&FieldPath::root().key(""), MAX_DATA));
    }
}

/// The key of an entry.
pub(crate) fn keys(out: &mut Violations, value: &View, key: &str) {
    for message in name::is_config_map_key(key) {
        out.push(Violation::invalid(value.path(), key, message));
    }
}

/// How many bytes a base64 text stands for.
pub(crate) fn decoded_len(text: &str) -> usize {
    let padding = text.bytes().rev().take_while(|&byte| byte == b'=').count();
    (text.len() / 4 * 3).saturating_sub(padding)
}

/// Once `immutable` is set, it stays, and so do the fields of data.
pub(crate) fn frozen(out: &mut Violations, new: &View, old: &View, fields: &[&'static str]) {
    if !old.get("immutable").flag() {
        return;
    }
    let detail = "field is immutable when `immutable` is set";
    if !new.get("immutable").flag() {
        out.push(Violation::forbidden(new.get("immutable").path(), detail));
    }
    for field in fields {
        if new.get(field) != old.get(field) {
            out.push(Violation::forbidden(new.get(field).path(), detail));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kinds::frame::testing::{said, said_of_change, served};

    fn map(data: Value) -> Value {
        json!({"metadata": {"name": "m", "namespace": "n", "resourceVersion": "1"}, "data": data})
    }

    #[test]
    fn keys_and_size_are_limited() {
        assert_eq!(said(kind(), map(json!({"a.b_c-D": "x"}))), [""; 0]);
        assert!(
            said(kind(), map(json!({"a b": ""})))[0]
                .starts_with(r#"data[a b]: Invalid value: "a b": a valid config key"#)
        );
        let big = "x".repeat(MAX_DATA + 1);
        assert_eq!(
            said(kind(), map(json!({"a": big}))),
            ["[]: Too long: may not be more than 1048576 bytes"]
        );
    }

    #[test]
    fn what_is_immutable_stays() {
        let mut old = map(json!({"a": "1"}));
        old["immutable"] = true.into();
        let new = map(json!({"a": "2"}));
        assert_eq!(
            said_of_change(kind(), &new, &old),
            [
                "immutable: Forbidden: field is immutable when `immutable` is set",
                "data: Forbidden: field is immutable when `immutable` is set",
            ]
        );
    }

    #[test]
    fn a_row_counts_entries() {
        let mut object = map(json!({"a": "1", "b": "2"}));
        object["binaryData"] = json!({"c": "AA=="});
        assert_eq!(served(kind()).row(&object, 0), [json!("m"), json!(3), json!("<unknown>")]);
        assert_eq!(decoded_len("AA=="), 1);
    }
}
