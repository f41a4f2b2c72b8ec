//! The messages of gnostic-models' `openapiv2/OpenAPIv2.proto`: names in JSON, field numbers, forms.

use serde_json::Value;

use super::Form::{Any, Anys, Flag, Many, Number, One, Text, TextList, Texts, Whole};
use super::Message;

/// A message with fields; `extensions` and `others` are where their kind of members goes.
macro_rules! message {
    ($(#[$doc:meta])* $name:ident { $($key:literal: $number:literal $form:expr),* $(,)? }
     $(extensions $extensions:literal)? $(others $others:literal $of:expr)?) => {
        $(#[$doc])*
        pub(super) static $name: Message = Message::Fields {
            known: &[$(($key, $number, $form)),*],
            extensions: message!(@optional $($extensions)?),
            others: message!(@optional $(($others, $of))?),
        };
    };
    (@optional) => { None };
    (@optional $value:expr) => { Some($value) };
}

message!(DOCUMENT {
    "swagger": 1 Text, "info": 2 One(&INFO), "host": 3 Text, "basePath": 4 Text, "schemes": 5 Texts, "consumes": 6 Texts,
    "produces": 7 Texts, "paths": 8 One(&PATHS), "definitions": 9 One(&DEFINITIONS), "parameters": 10 One(&PARAMETERS),
    "responses": 11 One(&RESPONSE_DEFINITIONS), "security": 12 Many(&SECURITY_REQUIREMENT),
    "securityDefinitions": 13 One(&SECURITY_DEFINITIONS), "tags": 14 Many(&TAG), "externalDocs": 15 One(&EXTERNAL_DOCS),
} extensions 16);

message!(INFO {
    "title": 1 Text, "version": 2 Text, "description": 3 Text, "termsOfService": 4 Text, "contact": 5 One(&CONTACT),
    "license": 6 One(&LICENSE),
} extensions 7);
message!(CONTACT { "name": 1 Text, "url": 2 Text, "email": 3 Text } extensions 4);
message!(LICENSE { "name": 1 Text, "url": 2 Text } extensions 3);
message!(TAG { "name": 1 Text, "description": 2 Text, "externalDocs": 3 One(&EXTERNAL_DOCS) } extensions 4);
message!(EXTERNAL_DOCS { "description": 1 Text, "url": 2 Text } extensions 3);

message!(PATHS {} extensions 1 others 2 One(&PATH_ITEM));
message!(PATH_ITEM {
    "$ref": 1 Text, "get": 2 One(&OPERATION), "put": 3 One(&OPERATION), "post": 4 One(&OPERATION),
    "delete": 5 One(&OPERATION), "options": 6 One(&OPERATION), "head": 7 One(&OPERATION), "patch": 8 One(&OPERATION),
    "parameters": 9 Many(&PARAMETERS_ITEM),
} extensions 10);
message!(OPERATION {
    "tags": 1 Texts, "summary": 2 Text, "description": 3 Text, "externalDocs": 4 One(&EXTERNAL_DOCS),
    "operationId": 5 Text, "produces": 6 Texts, "consumes": 7 Texts, "parameters": 8 Many(&PARAMETERS_ITEM),
    "responses": 9 One(&RESPONSES), "schemes": 10 Texts, "deprecated": 11 Flag,
    "security": 12 Many(&SECURITY_REQUIREMENT),
} extensions 13);
message!(RESPONSES {} extensions 2 others 1 One(&RESPONSE_VALUE));
message!(RESPONSE_DEFINITIONS {} others 1 One(&RESPONSE));
message!(RESPONSE {
    "description": 1 Text, "schema": 2 One(&SCHEMA_ITEM), "headers": 3 One(&HEADERS), "examples": 4 One(&EXAMPLES),
} extensions 5);
message!(HEADERS {} others 1 One(&HEADER));
message!(EXAMPLES {} others 1 Any);

message!(PARAMETERS {} others 1 One(&PARAMETER));
message!(JSON_REFERENCE { "$ref": 1 Text, "description": 2 Text });
message!(BODY_PARAMETER {
    "description": 1 Text, "name": 2 Text, "in": 3 Text, "required": 4 Flag, "schema": 5 One(&SCHEMA),
} extensions 6);
// Those of a path and those of a header are alike.
message!(NAMED_PARAMETER {
    "required": 1 Flag, "in": 2 Text, "description": 3 Text, "name": 4 Text, "type": 5 Text, "format": 6 Text,
    "items": 7 One(&PRIMITIVES), "collectionFormat": 8 Text, "default": 9 Any, "maximum": 10 Number,
    "exclusiveMaximum": 11 Flag, "minimum": 12 Number, "exclusiveMinimum": 13 Flag, "maxLength": 14 Whole,
    "minLength": 15 Whole, "pattern": 16 Text, "maxItems": 17 Whole, "minItems": 18 Whole, "uniqueItems": 19 Flag,
    "enum": 20 Anys, "multipleOf": 21 Number,
} extensions 22);
// Those of a query and those of a form are alike.
message!(QUERY_PARAMETER {
    "required": 1 Flag, "in": 2 Text, "description": 3 Text, "name": 4 Text, "allowEmptyValue": 5 Flag, "type": 6 Text,
    "format": 7 Text, "items": 8 One(&PRIMITIVES), "collectionFormat": 9 Text, "default": 10 Any, "maximum": 11 Number,
    "exclusiveMaximum": 12 Flag, "minimum": 13 Number, "exclusiveMinimum": 14 Flag, "maxLength": 15 Whole,
    "minLength": 16 Whole, "pattern": 17 Text, "maxItems": 18 Whole, "minItems": 19 Whole, "uniqueItems": 20 Flag,
    "enum": 21 Anys, "multipleOf": 22 Number,
} extensions 23);
message!(PRIMITIVES {
    "type": 1 Text, "format": 2 Text, "items": 3 One(&PRIMITIVES), "collectionFormat": 4 Text, "default": 5 Any,
    "maximum": 6 Number, "exclusiveMaximum": 7 Flag, "minimum": 8 Number, "exclusiveMinimum": 9 Flag,
    "maxLength": 10 Whole, "minLength": 11 Whole, "pattern": 12 Text, "maxItems": 13 Whole, "minItems": 14 Whole,
    "uniqueItems": 15 Flag, "enum": 16 Anys, "multipleOf": 17 Number,
} extensions 18);
message!(HEADER {
    "type": 1 Text, "format": 2 Text, "items": 3 One(&PRIMITIVES), "collectionFormat": 4 Text, "default": 5 Any,
    "maximum": 6 Number, "exclusiveMaximum": 7 Flag, "minimum": 8 Number, "exclusiveMinimum": 9 Flag,
    "maxLength": 10 Whole, "minLength": 11 Whole, "pattern": 12 Text, "maxItems": 13 Whole, "minItems": 14 Whole,
    "uniqueItems": 15 Flag, "enum": 16 Anys, "multipleOf": 17 Number, "description": 18 Text,
} extensions 19);

message!(DEFINITIONS {} others 1 One(&SCHEMA));
message!(SCHEMA {
    "$ref": 1 Text, "format": 2 Text, "title": 3 Text, "description": 4 Text, "default": 5 Any, "multipleOf": 6 Number,
    "maximum": 7 Number, "exclusiveMaximum": 8 Flag, "minimum": 9 Number, "exclusiveMinimum": 10 Flag,
    "maxLength": 11 Whole, "minLength": 12 Whole, "pattern": 13 Text, "maxItems": 14 Whole, "minItems": 15 Whole,
    "uniqueItems": 16 Flag, "maxProperties": 17 Whole, "minProperties": 18 Whole, "required": 19 Texts, "enum": 20 Anys,
    "additionalProperties": 21 One(&ADDITIONAL_PROPERTIES), "type": 22 TextList, "items": 23 One(&ITEMS),
    "allOf": 24 Many(&SCHEMA), "properties": 25 One(&DEFINITIONS), "discriminator": 26 Text, "readOnly": 27 Flag,
    "xml": 28 One(&XML), "externalDocs": 29 One(&EXTERNAL_DOCS), "example": 30 Any,
} extensions 31);
message!(FILE_SCHEMA {
    "format": 1 Text, "title": 2 Text, "description": 3 Text, "default": 4 Any, "required": 5 Texts, "type": 6 Text,
    "readOnly": 7 Flag, "externalDocs": 8 One(&EXTERNAL_DOCS), "example": 9 Any,
} extensions 10);
message!(XML {
    "name": 1 Text, "namespace": 2 Text, "prefix": 3 Text, "attribute": 4 Flag, "wrapped": 5 Flag,
} extensions 6);

message!(SECURITY_DEFINITIONS {} others 1 One(&SECURITY_SCHEME));
message!(SECURITY_REQUIREMENT {} others 1 TextList);
message!(BASIC { "type": 1 Text, "description": 2 Text } extensions 3);
message!(API_KEY { "type": 1 Text, "name": 2 Text, "in": 3 Text, "description": 4 Text } extensions 5);
message!(OAUTH_IMPLICIT {
    "type": 1 Text, "flow": 2 Text, "scopes": 3 One(&SCOPES), "authorizationUrl": 4 Text, "description": 5 Text,
} extensions 6);
// That with a password and that of an application are alike.
message!(OAUTH_TOKEN {
    "type": 1 Text, "flow": 2 Text, "scopes": 3 One(&SCOPES), "tokenUrl": 4 Text, "description": 5 Text,
} extensions 6);
message!(OAUTH_CODE {
    "type": 1 Text, "flow": 2 Text, "scopes": 3 One(&SCOPES), "authorizationUrl": 4 Text, "tokenUrl": 5 Text,
    "description": 6 Text,
} extensions 7);
message!(SCOPES {} others 1 Text);

static PARAMETERS_ITEM: Message =
    Message::Choice(
        |value| if is_reference(value) { (2, One(&JSON_REFERENCE)) } else { (1, One(&PARAMETER)) },
    );
static PARAMETER: Message = Message::Choice(|value| match text(value, "in") {
    "body" => (1, One(&BODY_PARAMETER)),
    _ => (2, One(&NON_BODY_PARAMETER)),
});
static NON_BODY_PARAMETER: Message = Message::Choice(|value| match text(value, "in") {
    "header" => (1, One(&NAMED_PARAMETER)),
    "formData" => (2, One(&QUERY_PARAMETER)),
    "path" => (4, One(&NAMED_PARAMETER)),
    _ => (3, One(&QUERY_PARAMETER)),
});
static RESPONSE_VALUE: Message =
    Message::Choice(
        |value| if is_reference(value) { (2, One(&JSON_REFERENCE)) } else { (1, One(&RESPONSE)) },
    );
static SCHEMA_ITEM: Message = Message::Choice(|value| match text(value, "type") {
    "file" => (2, One(&FILE_SCHEMA)),
    _ => (1, One(&SCHEMA)),
});
static ADDITIONAL_PROPERTIES: Message =
    Message::Choice(|value| if value.is_boolean() { (2, Flag) } else { (1, One(&SCHEMA)) });
static ITEMS: Message = Message::Choice(|_| (1, One(&SCHEMA)));
static SECURITY_SCHEME: Message = Message::Choice(|value| match (text(value, "type"), text(value, "flow")) {
    ("basic", _) => (1, One(&BASIC)),
    ("oauth2", "implicit") => (3, One(&OAUTH_IMPLICIT)),
    ("oauth2", "password") => (4, One(&OAUTH_TOKEN)),
    ("oauth2", "application") => (5, One(&OAUTH_TOKEN)),
    ("oauth2", _) => (6, One(&OAUTH_CODE)),
    _ => (2, One(&API_KEY)),
});

fn is_reference(value: &Value) -> bool {
    value.get("$ref").is_some()
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}
