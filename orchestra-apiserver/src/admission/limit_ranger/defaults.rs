//! What containers get that ask for nothing.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::LimitRangeSpec;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use serde_json::{Value, json};

/// Says what was filled in.
const ANNOTATION: &str = "kubernetes.io/limit-ranger";

/// Gives containers the requests and limits they leave out, and says so in an annotation.
pub(super) fn fill(range: &LimitRangeSpec, pod: &mut Value) {
    let (mut requests, mut limits) = (BTreeMap::new(), BTreeMap::new());
    for item in range.limits.iter().filter(|item| item.type_ == "Container") {
        requests.extend(item.default_request.clone().unwrap_or_default());
        limits.extend(item.default.clone().unwrap_or_default());
    }
    let mut said = Vec::new();
    for (field, what) in [("containers", "container"), ("initContainers", "init container")] {
        let list = pod.pointer_mut(&format!("/spec/{field}")).and_then(Value::as_array_mut);
        for container in list.into_iter().flatten() {
            let name = container.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
            let set_limits = complete(container, "limits", &limits);
            for (set, list) in
                [(complete(container, "requests", &requests), "request"), (set_limits, "limit")]
            {
                if !set.is_empty() {
                    said.push(format!("{} {list} for {what} {name}", set.join(", ")));
                }
            }
        }
    }
    if !said.is_empty() && pod["metadata"].is_object() {
        let annotations = &mut pod["metadata"]["annotations"];
        if !annotations.is_object() {
            *annotations = json!({});
        }
        annotations[ANNOTATION] = format!("LimitRanger plugin set: {}", said.join("; ")).into();
    }
}

/// Adds what a list of a container lacks; returns the names, in order.
fn complete(container: &mut Value, list: &str, defaults: &BTreeMap<String, Quantity>) -> Vec<String> {
    if defaults.is_empty() || !container.is_object() {
        return Vec::new();
    }
    let resources = &mut container["resources"];
    if !resources.is_object() {
        *resources = json!({});
    }
    let list = &mut resources[list];
    if !list.is_object() {
        *list = json!({});
    }
    let Some(list) = list.as_object_mut() else { return Vec::new() };
    let missing = defaults.iter().filter(|(name, _)| !list.contains_key(*name)).collect::<Vec<_>>();
    for (name, amount) in &missing {
        list.insert((*name).clone(), amount.0.as_str().into());
    }
    missing.into_iter().map(|(name, _)| name.clone()).collect()
}
