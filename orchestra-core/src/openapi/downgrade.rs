//! A document of OpenAPI 3.0 as one of 2.0.
//!
//! Upstream builds both forms from its routes (`pkg/builder/openapi.go` of kube-openapi); what differs between them is
//! told by its converter, which goes the other way (`pkg/openapiconv/convert.go`). Three things are upstream's habit
//! and do not follow from the forms: defaults are left out of definitions (`pkg/handler/default_pruning.go`), what
//! has alternatives is a text, and parameters stand in a section of their own (`pkg/builder/parameters.go`).

mod schema;
mod shared;

use serde_json::{Map, Value, json};

use schema::schema;

/// What an operation takes that has no body, and so does not say.
const ANYTHING: &str = "*/*";

/// The document in the older form. What 2.0 has no place for is left out.
pub(super) fn downgraded(document: Value) -> Value {
    let mut document = members(document);
    let mut components = members(document.remove("components").unwrap_or_default());
    let mut section = |name: &str| members(components.remove(name).unwrap_or_default());
    let definitions: Map<String, Value> =
        section("schemas").into_iter().map(|(name, value)| (name, schema(value))).collect();
    let schemes = section("securitySchemes");
    let security: Vec<Value> = schemes.keys().map(|name| json!({ name: [] })).collect();
    let paths = members(document.remove("paths").unwrap_or_default());
    let mut paths: Map<String, Value> =
        paths.into_iter().map(|(path, item)| (path, path_item(item))).collect();
    let parameters = shared::taken_from(&mut paths);
    json!({
        "swagger": "2.0",
        "info": document.remove("info").unwrap_or_default(),
        "paths": paths,
        "definitions": definitions,
        "parameters": parameters,
        "securityDefinitions": schemes,
        "security": security,
    })
}

/// The members of an object; none of anything else.
fn members(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

fn items(value: Option<Value>) -> Vec<Value> {
    match value {
        Some(Value::Array(items)) => items,
        _ => Vec::new(),
    }
}

fn path_item(item: Value) -> Value {
    let members = members(item).into_iter().map(|(key, value)| {
        let value = match key.as_str() {
            "parameters" => sorted(items(Some(value)).into_iter().map(parameter).collect()),
            "get" | "put" | "post" | "delete" | "options" | "head" | "patch" => operation(value),
            _ => value,
        };
        (key, value)
    });
    Value::Object(members.collect())
}

fn operation(operation: Value) -> Value {
    let mut operation = members(operation);
    let mut parameters: Vec<Value> =
        items(operation.remove("parameters")).into_iter().map(parameter).collect();
    let mut consumes = vec![Value::from(ANYTHING)];
    if let Some(body) = operation.remove("requestBody") {
        let mut body = members(body);
        let (media, of_body) = content(body.remove("content"));
        body.extend([("name".to_owned(), "body".into()), ("in".to_owned(), "body".into())]);
        body.insert("schema".to_owned(), of_body.unwrap_or_else(|| json!({})));
        parameters.push(body.into());
        consumes = media;
    }
    let mut produces = Vec::new();
    let responses = members(operation.remove("responses").unwrap_or_default()).into_iter();
    let responses: Map<String, Value> = responses
        .map(|(code, response)| {
            let mut response = members(response);
            let (media, of_response) = content(response.remove("content"));
            produces.extend(media);
            response.extend(of_response.map(|schema| ("schema".to_owned(), schema)));
            (code, response.into())
        })
        .collect();
    produces.sort_by(|one, other| one.as_str().cmp(&other.as_str()));
    produces.dedup();
    operation.insert("responses".to_owned(), responses.into());
    operation.insert("schemes".to_owned(), json!(["https"]));
    for (key, values) in [("consumes", consumes.into()), ("produces", produces.into())] {
        operation.insert(key.to_owned(), values);
    }
    if !parameters.is_empty() {
        operation.insert("parameters".to_owned(), sorted(parameters));
    }
    operation.into()
}

/// The media types of a content, and its schema: in 2.0 all have the same.
fn content(content: Option<Value>) -> (Vec<Value>, Option<Value>) {
    let (mut types, mut found) = (Vec::new(), None);
    for (media, value) in members(content.unwrap_or_default()) {
        types.push(media.into());
        found = found.or_else(|| members(value).remove("schema").map(schema));
    }
    (types, found)
}

/// In 2.0 the type of a parameter that is no body stands beside its name.
fn parameter(parameter: Value) -> Value {
    let mut parameter = members(parameter);
    if let Some(of_parameter) = parameter.remove("schema") {
        parameter.extend(members(of_parameter));
    }
    parameter.into()
}

/// Parameters in the order of upstream: by name.
fn sorted(mut parameters: Vec<Value>) -> Value {
    parameters.sort_by(|one, other| {
        let place = |parameter: &Value| ["name", "in"].map(|key| text(parameter, key).map(str::to_owned));
        place(one).cmp(&place(other))
    });
    parameters.into()
}

fn text<'v>(value: &'v Value, key: &str) -> Option<&'v str> {
    value.get(key).and_then(Value::as_str)
}

#[cfg(test)]
mod tests;
