//! Parameters that many operations have, in one place. They are most of what a document would be otherwise.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::text;

/// Takes the parameters that can be shared out of the operations, which refer to them from now on.
pub(super) fn taken_from(paths: &mut Map<String, Value>) -> Map<String, Value> {
    let mut shared = Map::new();
    for item in paths.values_mut().filter_map(Value::as_object_mut) {
        for (key, value) in item {
            let parameters = if key == "parameters" { Some(value) } else { value.get_mut("parameters") };
            for parameter in parameters.and_then(Value::as_array_mut).into_iter().flatten() {
                share(parameter, &mut shared);
            }
        }
    }
    shared
}

fn share(parameter: &mut Value, shared: &mut Map<String, Value>) {
    if !can_be_shared(parameter) {
        return;
    }
    let digest = Sha256::digest(parameter.to_string());
    let name = text(parameter, "name").unwrap_or("param");
    let name = format!("{name}-{}", BASE64_URL_SAFE_NO_PAD.encode(&digest[..6]));
    let reference = json!({"$ref": format!("#/parameters/{name}")});
    let own = shared.entry(name).or_insert_with(|| parameter.clone());
    if own == parameter {
        *parameter = reference;
    }
}

/// Not what is about one kind, nor what kubectl before 1.27 looks for in the operations themselves.
fn can_be_shared(parameter: &Value) -> bool {
    let body = parameter.get("schema").and_then(|schema| text(schema, "$ref")).unwrap_or_default();
    match (text(parameter, "in"), text(parameter, "name")) {
        (Some("query"), Some("name" | "fieldValidation" | "dryRun")) | (Some("path"), Some("name")) => false,
        (Some("body"), _) => body.starts_with("#/definitions/io.k8s.apimachinery"),
        (Some(_), Some(_)) => true,
        _ => false,
    }
}
