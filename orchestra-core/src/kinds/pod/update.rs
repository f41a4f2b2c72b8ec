//! What of a pod may change while it lives: images, gates, tolerations and little else.

use std::collections::HashSet;

use serde_json::Value;

use crate::kinds::frame::check::{in_range, refuse, required};
use crate::kinds::frame::{Fill, Object, View};
use crate::violation::{Violation, Violations};

const ALLOWED: &str = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

/// Rules of a change, after `ValidatePodUpdate`.
pub(super) fn validate(new: &View, old: &View, out: &mut Violations) {
    let (spec, before) = (new.get("spec"), old.get("spec"));
    if !containers(out, &spec.get("containers"), &before.get("containers"))
        || !containers(out, &spec.get("initContainers"), &before.get("initContainers"))
    {
        return;
    }
    active_deadline(out, &spec.get("activeDeadlineSeconds"), &before.get("activeDeadlineSeconds"));
    gates(out, &spec.get("schedulingGates"), &before.get("schedulingGates"));
    tolerations(out, &spec.get("tolerations"), &before.get("tolerations"));
    if let Some((spec, before)) = fields(&spec).zip(fields(&before)) {
        rest(out, new, spec, before);
    }
}

fn fields<'a>(spec: &View<'a>) -> Option<&'a Object> {
    spec.value().and_then(Value::as_object)
}

/// Containers stay in number and have images. Says whether further comparison makes sense.
fn containers(out: &mut Violations, new: &View, old: &View) -> bool {
    if new.len() != old.len() {
        out.push(Violation::forbidden(new.path(), "pod updates may not add or remove containers"));
        return false;
    }
    for container in new.items() {
        let image = container.get("image");
        if required(out, &image) && image.text().trim() != image.text() {
            refuse(out, &image, "must not have leading or trailing whitespace");
        }
    }
    true
}

fn active_deadline(out: &mut Violations, new: &View, old: &View) {
    match (new.int(), old.int()) {
        (Some(seconds), before) => {
            in_range(out, new, 1, i64::from(i32::MAX));
            if before.is_some_and(|before| seconds > before) {
                refuse(out, new, "must be less than or equal to previous value");
            }
        }
        (None, Some(_)) => refuse(out, new, "must not update from a positive integer to nil value"),
        (None, None) => (),
    }
}

fn gates(out: &mut Violations, new: &View, old: &View) {
    let held: HashSet<String> = old.items().map(|gate| gate.json().to_string()).collect();
    for gate in new.items() {
        if !held.contains(&gate.json().to_string()) {
            let name = gate.get("name").text();
            let detail = format!("only deletion is allowed, but found new scheduling gate '{name}'");
            out.push(Violation::forbidden(gate.path(), detail));
        }
    }
}

fn tolerations(out: &mut Violations, new: &View, old: &View) {
    let without_seconds = |toleration: &View| {
        let mut fields = toleration.value().and_then(Value::as_object).cloned().unwrap_or_default();
        fields.remove("tolerationSeconds");
        Value::Object(fields).to_string()
    };
    let kept: HashSet<String> = new.items().map(|toleration| without_seconds(&toleration)).collect();
    if !old.items().all(|held| kept.contains(&without_seconds(&held))) {
        let detail = "existing toleration can not be modified except its tolerationSeconds";
        out.push(Violation::forbidden(new.path(), detail));
        return;
    }
    for toleration in new.items() {
        crate::kinds::pod_spec::toleration(out, &toleration);
    }
}

/// All else stays: what may change is taken over from the old, then both must be equal.
fn rest(out: &mut Violations, pod: &View, new: &Object, old: &Object) {
    let mut munged = new.clone();
    for field in ["activeDeadlineSeconds", "tolerations", "schedulingGates"] {
        keep(&mut munged, old, field);
    }
    for list in ["containers", "initContainers"] {
        let before: Vec<Object> = old
            .get(list)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_object)
            .cloned()
            .collect();
        for (container, before) in munged.objects(list).zip(before) {
            keep(container, &before, "image");
        }
    }
    let seconds = |spec: &Object| spec.get("terminationGracePeriodSeconds").and_then(Value::as_i64);
    if seconds(old).is_some_and(|seconds| seconds < 0) && seconds(new) == Some(1) {
        keep(&mut munged, old, "terminationGracePeriodSeconds");
    }
    // A gated pod has not been seen by the scheduler: where it may run can still be narrowed.
    let gated = old.get("schedulingGates").and_then(Value::as_array).is_some_and(|gates| !gates.is_empty());
    if gated {
        narrowing(out, pod, &mut munged, old);
    }
    if munged != *old {
        out.push(Violation::forbidden(pod.get("spec").path(), ALLOWED));
    }
}

fn narrowing(out: &mut Violations, pod: &View, munged: &mut Object, old: &Object) {
    let selector = pod.get("spec").get("nodeSelector");
    let kept = old
        .get("nodeSelector")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .all(|(key, value)| selector.value().and_then(|selector| selector.get(key)) == Some(value));
    if !kept {
        refuse(out, &selector, "only additions are allowed (no mutations or deletions)");
    }
    keep(munged, old, "nodeSelector");
    if !old.has("affinity") {
        munged.remove("affinity");
    }
}

fn keep(new: &mut Object, old: &Object, field: &str) {
    match old.get(field) {
        Some(value) => {
            new.insert(field.to_owned(), value.clone());
        }
        None => {
            new.remove(field);
        }
    }
}
