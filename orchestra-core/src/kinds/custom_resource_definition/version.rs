//! The rules for one version: its schema, its subresources, its columns.
//!
//! Where all versions say the same, upstream's own form of the object says it once, above the versions, and errors
//! name it there: `spec.validation.openAPIV3Schema` for a definition of one version.

use std::collections::HashSet;

use serde_json::Value;

use crate::kinds::frame::cells::text;
use crate::structural::{Structural, Type, definition};
use crate::violation::{FieldPath, Violation, Violations};

const MAX_SELECTABLE: usize = 8;
const MAX_WARNING: usize = 256;
const TYPES: [&str; 5] = ["boolean", "date", "integer", "number", "string"];
const FORMATS: [&str; 8] = ["byte", "date", "date-time", "double", "float", "int32", "int64", "password"];
/// What may stand at the root of a schema beside the status subresource, as upstream prints it.
const AT_ROOT: &str = "[Description Type Format Title Maximum ExclusiveMaximum Minimum ExclusiveMinimum MaxLength \
                       MinLength Pattern MaxItems MinItems UniqueItems MultipleOf Required Items Properties \
                       ExternalDocs Example XPreserveUnknownFields XValidations]";
const FIELDS_AT_ROOT: [&str; 22] = [
    "description",
    "type",
    "format",
    "title",
    "maximum",
    "exclusiveMaximum",
    "minimum",
    "exclusiveMinimum",
    "maxLength",
    "minLength",
    "pattern",
    "maxItems",
    "minItems",
    "uniqueItems",
    "multipleOf",
    "required",
    "items",
    "properties",
    "externalDocs",
    "example",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-validations",
];

/// What all versions have in common.
pub(super) struct Hoisted<'a> {
    pub(super) schema: Option<&'a Value>,
    subresources: Option<&'a Value>,
    columns: Option<&'a Value>,
    selectable: Option<&'a Value>,
}

impl<'a> Hoisted<'a> {
    pub(super) fn of(versions: &'a [Value]) -> Self {
        let common = |field: &str| {
            let first = versions.first()?.get(field).filter(|value| !value.is_null())?;
            versions.iter().all(|version| version.get(field) == Some(first)).then_some(first)
        };
        Self {
            schema: common("schema"),
            subresources: common("subresources"),
            columns: common("additionalPrinterColumns"),
            selectable: common("selectableFields"),
        }
    }

    /// Checks what stands above the versions.
    pub(super) fn validate(&self, versions: &[Value], path: &FieldPath, out: &mut Violations) {
        let has_status = versions
            .iter()
            .any(|version| version.pointer("/subresources/status").is_some_and(Value::is_object));
        if let Some(schema) = self.schema {
            validate_schema(schema, has_status, &path.child("validation"), out);
        }
        if let Some(below) = self.subresources {
            subresources(below, &path.child("subresources"), out);
        }
        if let Some(Value::Array(all)) = self.columns {
            columns(all, &path.child("additionalPrinterColumns"), out);
        }
        if let (Some(Value::Array(fields)), Some(schema)) = (self.selectable, self.schema) {
            selectable(fields, schema, &path.child("selectableFields"), out);
        }
    }
}

/// Checks what a version says for itself.
pub(super) fn validate(version: &Value, hoisted: &Hoisted<'_>, path: &FieldPath, out: &mut Violations) {
    deprecation(version, &path.child("deprecationWarning"), out);
    let own = |field: &str, common: Option<&Value>| {
        version.get(field).filter(|value| common.is_none() && !value.is_null())
    };
    let has_status = version.pointer("/subresources/status").is_some_and(Value::is_object);
    if let Some(schema) = own("schema", hoisted.schema) {
        validate_schema(schema, has_status, &path.child("schema"), out);
    }
    if let Some(below) = own("subresources", hoisted.subresources) {
        subresources(below, &path.child("subresources"), out);
    }
    if let Some(Value::Array(all)) = own("additionalPrinterColumns", hoisted.columns) {
        columns(all, &path.child("additionalPrinterColumns"), out);
    }
    if let Some(Value::Array(fields)) = own("selectableFields", hoisted.selectable) {
        let schema = version.get("schema").unwrap_or(&Value::Null);
        selectable(fields, schema, &path.child("selectableFields"), out);
    }
}

fn deprecation(version: &Value, path: &FieldPath, out: &mut Violations) {
    let Some(warning) = version.get("deprecationWarning").and_then(Value::as_str) else { return };
    let mut refuse = |why: String| out.push(Violation::invalid(path, warning, why));
    if version.get("deprecated") != Some(&Value::Bool(true)) {
        refuse("can only be set for deprecated versions".to_owned());
    }
    if warning.len() > MAX_WARNING {
        refuse(format!("must be <= {MAX_WARNING} characters long"));
    }
    if warning.is_empty() {
        refuse("must not be an empty string".to_owned());
    }
    if let Some((at, _)) = warning.char_indices().find(|(_, letter)| letter.is_control()) {
        refuse(format!(
            "must only contain printable UTF-8 characters; non-printable character found at index {at}"
        ));
    }
}

fn validate_schema(schema: &Value, has_status: bool, path: &FieldPath, out: &mut Violations) {
    let Some(schema) = schema.get("openAPIV3Schema").filter(|schema| schema.is_object()) else { return };
    let at = path.child("openAPIV3Schema");
    if has_status {
        if text(schema, "/type") != "object" && schema.get("type").is_some() {
            let why = "only \"object\" is allowed as the type at the root of the schema if the status subresource \
                       is enabled";
            out.push(Violation::invalid(&at.child("type"), text(schema, "/type"), why));
        }
        let mut fields = schema.as_object().into_iter().flatten();
        if fields
            .any(|(field, value)| !FIELDS_AT_ROOT.contains(&field.as_str()) && *value != Value::Bool(false))
        {
            let why = format!(
                "only {AT_ROOT} fields are allowed at the root of the schema if the status subresource is enabled"
            );
            out.push(Violation::invalid(&at, schema.clone(), why));
        }
    }
    if schema.get("nullable") == Some(&Value::Bool(true)) {
        out.push(Violation::forbidden(&at.child("nullable"), "nullable cannot be true at the root"));
    }
    out.extend(definition::validate(schema, &at));
}

fn subresources(subresources: &Value, path: &FieldPath, out: &mut Violations) {
    let Some(scale) = subresources.get("scale").filter(|scale| scale.is_object()) else { return };
    for (field, under) in [("specReplicasPath", ".spec"), ("statusReplicasPath", ".status")] {
        let at = path.child("scale").child(field);
        let place = text(scale, &format!("/{field}"));
        if place.is_empty() {
            out.push(Violation::required(&at, ""));
        } else if simple_path(place, &at, out) && !place.starts_with(&format!("{under}.")) {
            let why = format!("should be a json path under {under}");
            out.push(Violation::invalid(&at, place, why));
        }
    }
    let at = path.child("scale").child("labelSelectorPath");
    let place = text(scale, "/labelSelectorPath");
    if !place.is_empty()
        && simple_path(place, &at, out)
        && !place.starts_with(".spec.")
        && !place.starts_with(".status.")
    {
        let why = "should be a json path under either .spec or .status";
        out.push(Violation::invalid(&at, place, why));
    }
}

fn simple_path(place: &str, path: &FieldPath, out: &mut Violations) -> bool {
    let is_simple = place.starts_with('.');
    if !is_simple {
        out.push(Violation::invalid(path, place, "must be a simple json path starting with ."));
    }
    is_simple
}

fn columns(columns: &[Value], path: &FieldPath, out: &mut Violations) {
    for (index, column) in columns.iter().enumerate() {
        let at = path.index(index);
        if text(column, "/name").is_empty() {
            out.push(Violation::required(&at.child("name"), ""));
        }
        let ty = text(column, "/type");
        let why = format!("must be one of {}", TYPES.join(","));
        if ty.is_empty() {
            out.push(Violation::required(&at.child("type"), why));
        } else if !TYPES.contains(&ty) {
            out.push(Violation::invalid(&at.child("type"), ty, why));
        }
        let format = text(column, "/format");
        if !format.is_empty() && !FORMATS.contains(&format) {
            let why = format!("must be one of {}", FORMATS.join(","));
            out.push(Violation::invalid(&at.child("format"), format, why));
        }
        let place = text(column, "/jsonPath");
        if place.is_empty() {
            out.push(Violation::required(&at.child("JSONPath"), ""));
        } else {
            simple_path(place, &at.child("JSONPath"), out);
        }
    }
}

fn selectable(fields: &[Value], schema: &Value, path: &FieldPath, out: &mut Violations) {
    let Some(schema) = schema.get("openAPIV3Schema").filter(|schema| schema.is_object()) else {
        let why = "may only be set when `version.schema.openAPIV3Schema` is not included";
        out.push(Violation::invalid(path, "", why));
        return;
    };
    let schema = Structural::read(schema);
    let mut seen = HashSet::new();
    for (index, field) in fields.iter().enumerate() {
        let at = path.index(index).child("jsonPath");
        let place = text(field, "/jsonPath");
        if place.is_empty() {
            out.push(Violation::required(&at, ""));
            continue;
        }
        let found = match resolve(place, &schema) {
            Ok(found) => found,
            Err(why) => {
                out.push(Violation::invalid(&at, place, format!("is an invalid path: {why}")));
                continue;
            }
        };
        if place.starts_with(".metadata") {
            out.push(Violation::invalid(&at, place, "must not point to fields in metadata"));
        }
        if !matches!(found.ty, Some(Type::String | Type::Boolean | Type::Integer)) {
            let why = "must point to a field of type string, boolean or integer. Enum string fields and strings with \
                       formats are allowed.";
            out.push(Violation::invalid(&at, place, why));
        }
        if !seen.insert(place) {
            out.push(Violation::duplicate(&at, place));
        }
    }
    if seen.len() > MAX_SELECTABLE {
        out.push(Violation::too_many(path, seen.len(), MAX_SELECTABLE));
    }
}

/// The schema that a path of fields leads to.
fn resolve<'s>(place: &str, schema: &'s Structural) -> Result<&'s Structural, String> {
    let Some(fields) = place.strip_prefix('.') else {
        return Err("expected [ or . but got: ".to_owned() + place.get(..1).unwrap_or_default());
    };
    fields.split('.').try_fold(schema, |schema, field| {
        schema.property(field).ok_or_else(|| "does not refer to a valid field".to_owned())
    })
}
