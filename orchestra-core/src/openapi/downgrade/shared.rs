//! Parameters that many operations have, in one place. They are most of what a document would be otherwise.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::text;

/// What was found already: by the name of a parameter, all of that name, and what refers to them.
type Found = BTreeMap<String, Vec<(Value, Value)>>;

/// Takes the parameters that can be shared out of the operations, which refer to them from now on.
pub(super) fn taken_from(paths: &mut Map<String, Value>) -> Map<String, Value> {
    let (mut found, mut section) = (Found::new(), Map::new());
    for item in paths.values_mut().filter_map(Value::as_object_mut) {
        for (key, value) in item {
            let parameters = if key == "parameters" { Some(value) } else { value.get_mut("parameters") };
            let parameters = parameters.and_then(Value::as_array_mut).into_iter().flatten();
            for parameter in parameters.filter(|parameter| can_be_shared(parameter)) {
                share(parameter, &mut found, &mut section);
            }
        }
    }
    section
}

fn share(parameter: &mut Value, found: &mut Found, section: &mut Map<String, Value>) {
    let name = text(parameter, "name").unwrap_or_default();
    if let Some((_, reference)) =
        found.get(name).and_then(|alike| alike.iter().find(|(known, _)| known == parameter))
    {
        *parameter = reference.clone();
        return;
    }
    let digest = Sha256::digest(parameter.to_string());
    let place = format!("{name}-{}", BASE64_URL_SAFE_NO_PAD.encode(&digest[..6]));
    // Two that have one digest do not happen; if they do, the second stays where it is.
    if section.contains_key(&place) {
        return;
    }
    let reference = json!({"$ref": format!("#/parameters/{place}")});
    let whole = std::mem::replace(parameter, reference.clone());
    section.insert(place, whole.clone());
    found.entry(text(&whole, "name").unwrap_or_default().to_owned()).or_default().push((whole, reference));
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
