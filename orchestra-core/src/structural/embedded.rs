//! Metadata of custom resources, and of objects embedded in them: it has a type of its own, whatever the schema says.

use serde_json::Value;

use super::model::Structural;
use crate::gvk::GroupVersion;
use crate::kind::Scope;
use crate::meta::{self, name};
use crate::schema::{self, DecodeError, ObjectType, Problem};
use crate::violation::{FieldPath, Violation, Violations};

fn object_meta() -> Option<&'static ObjectType> {
    schema::by_name("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta")
}

/// Brings the metadata of an object, and of those embedded in it, into the form of its type, and says which of its
/// fields are unknown.
///
/// # Errors
/// A field of the metadata has a wrong type.
pub fn coerce_metadata(object: &mut Value, schema: &Structural) -> Result<Vec<Problem>, DecodeError> {
    let mut problems = Vec::new();
    coerce(object, schema, true, &mut String::new(), &mut problems)?;
    Ok(problems)
}

fn coerce(
    value: &mut Value,
    schema: &Structural,
    is_object: bool,
    path: &mut String,
    problems: &mut Vec<Problem>,
) -> Result<(), DecodeError> {
    let length = path.len();
    match value {
        Value::Object(map) => {
            if is_object
                && let Some(metadata) = map.get_mut("metadata").filter(|metadata| !metadata.is_null())
                && let Some(ty) = object_meta()
            {
                let prefix = if path.is_empty() { "metadata".to_owned() } else { format!("{path}.metadata") };
                let found = schema::conform(metadata, ty)
                    .map_err(|error| DecodeError::Content(format!("{prefix}: {error}")))?;
                problems.extend(found.into_iter().map(|problem| match problem {
                    Problem::UnknownField(field) => Problem::UnknownField(format!("{prefix}.{field}")),
                    Problem::DuplicateField(field) => Problem::DuplicateField(format!("{prefix}.{field}")),
                }));
            }
            for (key, value) in map {
                let Some(below) = schema.property(key) else { continue };
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(key);
                coerce(value, below, below.embedded, path, problems)?;
                path.truncate(length);
            }
        }
        Value::Array(items) => {
            let Some(below) = schema.items.as_deref() else { return Ok(()) };
            for (index, item) in items.iter_mut().enumerate() {
                path.push_str(&format!("[{index}]"));
                coerce(item, below, below.embedded, path, problems)?;
                path.truncate(length);
            }
        }
        _ => {}
    }
    Ok(())
}

/// What is wrong with type and metadata of embedded objects, as `objectmeta.Validate`.
pub fn validate_embedded(object: &Value, schema: &Structural) -> Violations {
    let mut out = Violations::new();
    validate(object, schema, &FieldPath::root(), &mut out);
    out
}

fn validate(value: &Value, schema: &Structural, path: &FieldPath, out: &mut Violations) {
    match value {
        Value::Object(map) => {
            if schema.embedded {
                of_object(value, path, out);
            }
            for (key, value) in map {
                match schema.properties.get(key) {
                    Some(below) => validate(value, below, &path.child(key), out),
                    None => {
                        if let Some(below) = schema.property(key) {
                            validate(value, below, &path.key(key), out);
                        }
                    }
                }
            }
        }
        Value::Array(items) => {
            let Some(below) = schema.items.as_deref() else { return };
            for (index, item) in items.iter().enumerate() {
                validate(item, below, &path.index(index), out);
            }
        }
        _ => {}
    }
}

fn of_object(object: &Value, path: &FieldPath, out: &mut Violations) {
    for field in ["apiVersion", "kind"] {
        if object.get(field).is_none() {
            out.push(Violation::required(&path.child(field), ""));
        }
    }
    for field in ["apiVersion", "kind"] {
        let Some(value) = object.get(field) else { continue };
        let at = path.child(field);
        match value.as_str() {
            None => out.push(Violation::invalid(&at, value.clone(), "must be a string")),
            Some("") => out.push(Violation::invalid(&at, "", "must not be empty")),
            Some(text) if field == "apiVersion" => {
                if GroupVersion::parse(text).is_none() {
                    let why = format!("unexpected GroupVersion string: {text}");
                    out.push(Violation::invalid(&at, text, why));
                }
            }
            Some(text) => {
                let messages = name::is_dns1035_label(&text.to_ascii_lowercase());
                if !messages.is_empty() {
                    let why =
                        format!("may have mixed case, but should otherwise match: {}", messages.join(","));
                    out.push(Violation::invalid(&at, text, why));
                }
            }
        }
    }
    let Some(metadata) = object.get("metadata").filter(|metadata| metadata.is_object()) else { return };
    let text = |field: &str| metadata.get(field).and_then(Value::as_str).unwrap_or_default();
    let scope = if text("namespace").is_empty() { Scope::Cluster } else { Scope::Namespaced };
    let mut named = serde_json::json!({ "metadata": metadata });
    if text("name").is_empty() {
        // An embedded object needs no name.
        named["metadata"]["name"] = "fakename".into();
    }
    out.extend(meta::validate_object_meta(&named, scope, name::is_path_segment, &path.child("metadata")));
}
