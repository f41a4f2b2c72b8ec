//! Claims of volumes: a node says how large a volume has become, and nothing else about it.

use serde_json::Value;

use super::same;
use crate::admission::AdmissionRequest;

/// What of a claim is a node's to say.
const OWN: [&str; 4] = ["capacity", "conditions", "allocatedResourceStatuses", "allocatedResources"];
/// What is not compared: a client may leave it out, and the server writes it.
const NOT_COMPARED: [&str; 2] = ["resourceVersion", "managedFields"];

/// Whether nothing but the size and the state of its change is written.
pub(super) fn status(node: &str, request: &AdmissionRequest<'_>, claim: &Value) -> Result<(), String> {
    let Some(old) = request.old else {
        return Err(format!("unexpected operation {:?}", request.operation.as_str()));
    };
    let (before, after) = (rest(old), rest(claim));
    if same(Some(&before), Some(&after)) {
        return Ok(());
    }
    // Upstream ends with a difference as its Go library shows it for people, in a form that changes from build to build.
    let mut paths = Vec::new();
    differences(&before, &after, "", &mut paths);
    Err(format!(
        "node {node:?} is not allowed to update fields other than status.quantity and status.conditions: {}",
        paths.join(", ")
    ))
}

fn rest(claim: &Value) -> Value {
    let mut claim = claim.clone();
    for (at, fields) in [("metadata", &NOT_COMPARED[..]), ("status", &OWN[..])] {
        if let Some(map) = claim.get_mut(at).and_then(Value::as_object_mut) {
            map.retain(|field, _| !fields.contains(&field.as_str()));
        }
    }
    claim
}

/// The fields that differ, in their order by name.
fn differences(before: &Value, after: &Value, at: &str, paths: &mut Vec<String>) {
    let (Some(old), Some(new)) = (before.as_object(), after.as_object()) else {
        paths.push(at.to_owned());
        return;
    };
    let mut names: Vec<&String> = old.keys().chain(new.keys()).collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        let (old, new) = (old.get(name), new.get(name));
        if !same(old, new) {
            let at = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
            differences(old.unwrap_or(&Value::Null), new.unwrap_or(&Value::Null), &at, paths);
        }
    }
}
