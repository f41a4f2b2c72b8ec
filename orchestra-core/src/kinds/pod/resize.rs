//! `/resize`: what the containers of a pod ask for and may use, changed while they run.

use std::collections::HashMap;

use serde_json::Value;

use super::ephemeral::is_mirror;
use super::qos;
use crate::kinds::frame::{Fill, Object, View};
use crate::kinds::pod_spec::{self, Holder};
use crate::violation::{FieldPath, Violation, Violations};

/// What a running container can have more or less of.
const MUTABLE: [&str; 2] = ["cpu", "memory"];
const FIELDS: [&str; 2] = ["resources", "resizePolicy"];

/// Puts back everything but the resources of containers; which containers there are is left for the rules to judge.
pub(super) fn prepare(new: &mut Object, old: &Value) {
    let Some(old) = old.as_object() else { return };
    let wanted = new.get("spec").cloned().unwrap_or_default();
    new.clone_from(old);
    let Some(spec) = new.get_mut("spec").and_then(Value::as_object_mut) else { return };
    for list in ["containers", "initContainers"] {
        let before: Vec<Object> = spec.objects(list).map(|container| container.clone()).collect();
        let before: HashMap<&str, &Object> =
            before.iter().map(|container| (container.text("name"), container)).collect();
        let Some(asked) = wanted.get(list).and_then(Value::as_array) else { continue };
        let merged = asked.iter().map(|asked| {
            let same = asked.get("name").and_then(Value::as_str).and_then(|name| before.get(name));
            same.map_or_else(|| asked.clone(), |before| Value::Object(resized(before, asked)))
        });
        let merged: Vec<Value> = merged.collect();
        spec.insert(list.to_owned(), merged.into());
    }
    if let Some(resources) = wanted.get("resources") {
        spec.insert("resources".to_owned(), resources.clone());
    }
}

fn resized(container: &Object, asked: &Value) -> Object {
    let mut out = container.clone();
    for field in FIELDS {
        match asked.get(field) {
            Some(value) => {
                out.insert(field.to_owned(), value.clone());
            }
            None => {
                out.remove(field);
            }
        }
    }
    out
}

/// Rules of a change, after `ValidatePodResize`.
pub(super) fn validate(new: &View, old: &View, out: &mut Violations) {
    let spec = new.get("spec");
    pod_spec::validate(out, &spec, Holder::Pod);
    if is_mirror(old) {
        out.push(Violation::forbidden(&FieldPath::root(), "static pods cannot be resized"));
        return;
    }
    if !is_supported(old) {
        out.push(Violation::forbidden(spec.path(), "Pod running on node without support for resize"));
    }
    let held = old.get("spec");
    let same =
        ["containers", "initContainers"].map(|list| same_containers(&spec.get(list), &held.get(list), out));
    if same.contains(&false) {
        return;
    }
    for list in ["containers", "initContainers"] {
        for (container, before) in spec.get(list).items().zip(held.get(list).items()) {
            removal(out, &container.get("resources"), &before.get("resources"));
        }
    }
    removal(out, &spec.get("resources"), &held.get("resources"));
    let class = old.get("status").get("qosClass").text();
    let class = if class.is_empty() { qos::class(held.value().unwrap_or(&Value::Null)) } else { class };
    if class != qos::class(spec.value().unwrap_or(&Value::Null)) {
        let detail = "Pod QOS Class may not change as a result of resizing";
        out.push(Violation::invalid(spec.path(), class, detail));
    }
    if unresized(&spec) != unresized(&held) {
        out.push(Violation::forbidden(spec.path(), "only cpu and memory resources are mutable"));
    }
}

/// Whether the node says what running containers have; one that does not cannot change it either.
fn is_supported(pod: &View) -> bool {
    let statuses = pod.get("status").get("containerStatuses");
    let mut running = statuses.items().filter(|status| status.get("state").get("running").is_set());
    running.all(|status| status.get("resources").is_set())
}

fn same_containers(new: &View, old: &View, out: &mut Violations) -> bool {
    if new.len() != old.len() {
        let detail = "containers may not be added or removed on resize";
        out.push(Violation::forbidden(new.path(), detail));
        return false;
    }
    let mut same = true;
    for (container, before) in new.items().zip(old.items()) {
        if container.get("name") != before.get("name") {
            let detail = "containers may not be renamed or reordered on resize";
            out.push(Violation::forbidden(container.get("name").path(), detail));
            same = false;
        }
    }
    same
}

fn removal(out: &mut Violations, new: &View, old: &View) {
    for (list, detail) in
        [("limits", "resource limits cannot be removed"), ("requests", "resource requests cannot be removed")]
    {
        let now = new.get(list);
        let kept = |resource: &str| {
            now.value().and_then(|now| now.get(resource)).is_some_and(|amount| !amount.is_null())
        };
        if old.get(list).entries().any(|(resource, _)| !kept(resource)) {
            out.push(Violation::forbidden(now.path(), detail));
        }
    }
}

/// The specification without what a resize may change.
fn unresized(spec: &View) -> Value {
    let mut spec = spec.json();
    let Some(object) = spec.as_object_mut() else { return spec };
    drop_mutable(object);
    for container in object.objects("containers") {
        drop_mutable(container);
    }
    // Of those that run before the others only the ones that stay are there to be resized.
    for container in object.objects("initContainers") {
        if container.text("restartPolicy") == "Always" {
            drop_mutable(container);
        }
    }
    spec
}

fn drop_mutable(holder: &mut Object) {
    let Some(resources) = holder.object_if("resources") else { return };
    for list in ["limits", "requests"] {
        let Some(amounts) = resources.object_if(list) else { continue };
        for resource in MUTABLE {
            amounts.remove(resource);
        }
        if amounts.is_empty() {
            resources.remove(list);
        }
    }
    if resources.is_empty() {
        holder.remove("resources");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::kind::{Kind, ObjectPart};

    const PART: ObjectPart = ObjectPart::Resize;

    fn pod(resources: &Value) -> Value {
        let mut pod = json!({"metadata": {"name": "p", "namespace": "n", "generation": 1, "resourceVersion": "1"}, "spec": {
            "containers": [{"name": "c", "image": "i", "resources": resources}, {"name": "d", "image": "i"}]}});
        Kind::default(&super::super::kind(), &mut pod);
        pod
    }

    fn said(new: &mut Value, old: &Value) -> String {
        let kind = super::super::kind();
        kind.prepare_part_update(PART, new, old);
        let violations = kind.validate_part_update(PART, new, old);
        violations.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn processor_and_memory_change_and_nothing_else_does() {
        let old = pod(&json!({"requests": {"cpu": "100m", "memory": "1Gi"}, "limits": {"cpu": "1"}}));
        let mut new = pod(&json!({"requests": {"cpu": "200m", "memory": "2Gi"}, "limits": {"cpu": "2"}}));
        new["spec"]["containers"][0]["image"] = json!("other");
        new["metadata"]["labels"] = json!({"a": "b"});
        assert_eq!(said(&mut new, &old), "");
        assert_eq!(new["spec"]["containers"][0]["image"], "i");
        assert!(new["metadata"].get("labels").is_none());
        assert_eq!(new["metadata"]["generation"], 2);
        assert_eq!(new["spec"]["containers"][0]["resources"]["limits"]["cpu"], "2");
        let mut storage = pod(
            &json!({"requests": {"cpu": "100m", "memory": "1Gi", "ephemeral-storage": "1Gi"}, "limits": {"cpu": "1"}}),
        );
        assert!(
            said(&mut storage, &old).contains("spec: Forbidden: only cpu and memory resources are mutable")
        );
    }

    #[test]
    fn what_was_asked_for_stays_asked_for_and_the_class_is_kept() {
        let old = pod(
            &json!({"requests": {"cpu": "100m", "memory": "1Gi"}, "limits": {"cpu": "1", "memory": "2Gi"}}),
        );
        let mut less = pod(&json!({"requests": {"cpu": "100m", "memory": "1Gi"}, "limits": {"cpu": "1"}}));
        let why = said(&mut less, &old);
        assert!(
            why.contains("spec.containers[0].resources.limits: Forbidden: resource limits cannot be removed"),
            "{why}"
        );
        let mut less = pod(&json!({"requests": {"memory": "1Gi"}, "limits": {"memory": "2Gi"}}));
        assert!(said(&mut less, &old).contains("resource requests cannot be removed"));
        let best_effort = pod(&json!({}));
        let why = said(&mut pod(&json!({"requests": {"cpu": "1"}})), &best_effort);
        assert_eq!(
            why,
            r#"spec: Invalid value: "BestEffort": Pod QOS Class may not change as a result of resizing"#
        );
    }

    #[test]
    fn containers_keep_their_places() {
        let old = pod(&json!({"requests": {"cpu": "100m"}}));
        let mut swapped = old.clone();
        swapped["spec"]["containers"].as_array_mut().unwrap().swap(0, 1);
        let moved = "Forbidden: containers may not be renamed or reordered on resize";
        let why = said(&mut swapped, &old);
        assert_eq!(why, format!("spec.containers[0].name: {moved}; spec.containers[1].name: {moved}"));
        let mut fewer = old.clone();
        fewer["spec"]["containers"].as_array_mut().unwrap().pop();
        assert!(said(&mut fewer, &old).contains("containers may not be added or removed on resize"));
    }
}
