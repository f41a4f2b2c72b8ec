//! The schema of one field.

use serde_json::{Map, Value, json};

use crate::schema::{Default, Field, Item, ListType, ObjectType, Scalar, Shape};

/// The schema of a field, and the names of the types it refers to.
pub(super) fn schema(field: &Field) -> Value {
    let mut schema = match field.shape {
        Shape::Single => single(field),
        Shape::List => list(item(field, true)),
        Shape::Map => json!({"type": "object", "additionalProperties": item(field, true)}),
        Shape::MapOfLists => json!({"type": "object", "additionalProperties": list(item(field, true))}),
    };
    if let Value::Object(map) = &mut schema {
        extensions(field, map);
    }
    schema
}

/// The name under which a scalar with a schema of its own is found in `components`.
pub(super) fn scalar_name(scalar: Scalar) -> Option<&'static str> {
    Some(match scalar {
        Scalar::Quantity => "io.k8s.apimachinery.pkg.api.resource.Quantity",
        Scalar::IntOrString => "io.k8s.apimachinery.pkg.util.intstr.IntOrString",
        Scalar::Time => "io.k8s.apimachinery.pkg.apis.meta.v1.Time",
        Scalar::MicroTime => "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime",
        Scalar::RawExtension => "io.k8s.apimachinery.pkg.runtime.RawExtension",
        Scalar::FieldsV1 => "io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1",
        Scalar::Json => "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON",
        Scalar::SchemaOrBool => {
            "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrBool"
        }
        Scalar::SchemaOrArray => {
            "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrArray"
        }
        Scalar::SchemaOrStringArray => {
            "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrStringArray"
        }
        Scalar::String | Scalar::Bool | Scalar::Int32 | Scalar::Int64 | Scalar::Float64 | Scalar::Bytes => {
            return None;
        }
    })
}

/// The schema of such a scalar.
pub(super) fn scalar_component(scalar: Scalar) -> Value {
    match scalar {
        Scalar::Quantity => json!({"oneOf": [{"type": "string"}, {"type": "number"}]}),
        Scalar::IntOrString => {
            json!({"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]})
        }
        Scalar::Time | Scalar::MicroTime => json!({"type": "string", "format": "date-time"}),
        Scalar::RawExtension | Scalar::FieldsV1 => json!({"type": "object"}),
        _ => json!({}),
    }
}

/// A reference to a schema of the document.
pub(super) fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

fn single(field: &Field) -> Value {
    let mut schema = item(field, false);
    let default = match field.default {
        Default::None => None,
        Default::Zero => Some(zero(field.item)),
        Default::Json(text) => serde_json::from_str(text).ok(),
    };
    if let (Some(default), Value::Object(map)) = (default, &mut schema) {
        beside_reference(map);
        map.insert("default".to_owned(), default);
    }
    if let (Some(_), Value::Object(map)) = (field.enum_values, &mut schema) {
        map.insert("enum".to_owned(), field.enumeration().collect());
    }
    schema
}

/// The value of a field or, `nested`, of an item in it; items that cannot be null have a default.
fn item(field: &Field, nested: bool) -> Value {
    let mut schema = match field.item {
        Item::Object(_) => reference(field.object().map_or("", |ty: &ObjectType| ty.name)),
        Item::Scalar(scalar) => match scalar_name(scalar) {
            Some(name) => return reference(name),
            None => plain(scalar),
        },
    };
    if let (true, Value::Object(map)) = (nested, &mut schema) {
        beside_reference(map);
        map.insert("default".to_owned(), zero(field.item));
        if let Some(values) = field.item_enum_values {
            map.insert("enum".to_owned(), values.split('|').collect());
        }
    }
    schema
}

fn list(items: Value) -> Value {
    json!({"type": "array", "items": items})
}

fn plain(scalar: Scalar) -> Value {
    match scalar {
        Scalar::Bool => json!({"type": "boolean"}),
        Scalar::Int32 => json!({"type": "integer", "format": "int32"}),
        Scalar::Int64 => json!({"type": "integer", "format": "int64"}),
        Scalar::Float64 => json!({"type": "number", "format": "double"}),
        Scalar::Bytes => json!({"type": "string", "format": "byte"}),
        _ => json!({"type": "string"}),
    }
}

fn zero(item: Item) -> Value {
    match item {
        Item::Object(_) => json!({}),
        Item::Scalar(Scalar::Bool) => json!(false),
        Item::Scalar(Scalar::Int32 | Scalar::Int64 | Scalar::Float64) => json!(0),
        Item::Scalar(_) => json!(""),
    }
}

/// OpenAPI 3.0 ignores what stands beside a reference, so the reference moves into `allOf`.
pub(super) fn beside_reference(schema: &mut Map<String, Value>) {
    if let Some(target) = schema.remove("$ref") {
        schema.insert("allOf".to_owned(), json!([{"$ref": target}]));
    }
}

fn extensions(field: &Field, schema: &mut Map<String, Value>) {
    let list_type = field.list_type.map(|list_type| match list_type {
        ListType::Atomic => "atomic",
        ListType::Set => "set",
        ListType::Map => "map",
    });
    for (name, value) in [
        ("x-kubernetes-list-type", list_type),
        ("x-kubernetes-map-type", field.map_type),
        ("x-kubernetes-patch-strategy", field.patch_strategy.text()),
        ("x-kubernetes-patch-merge-key", field.merge_key),
    ] {
        if let Some(value) = value {
            beside_reference(schema);
            schema.insert(name.to_owned(), value.into());
        }
    }
    if field.list_map_keys.is_some() {
        schema.insert("x-kubernetes-list-map-keys".to_owned(), field.map_keys().collect());
    }
}
