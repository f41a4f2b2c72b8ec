//! `Pod`: the specification that [`super::pod_spec`] rules, with a life of its own around it.

mod ephemeral;
mod qos;
mod resize;
mod show;
mod status;
mod update;

use std::borrow::Cow;

use serde_json::{Value, json};

use super::frame::{Builtin, Fill, Generation, Object, View};
use super::pod_spec::{self, Holder};
use crate::gvk::GroupVersion;
use crate::kind::{ObjectPart, Scope};
use crate::violation::{Violation, Violations};

pub(super) fn kind() -> Builtin {
    Builtin::new(GroupVersion::new("", "v1"), "Pod", "pods", Scope::Namespaced)
        .short_names(&["po"])
        .in_category_all()
        .generation(Generation::Spec)
        .status(|| json!({"phase": "Pending"}))
        .default(default)
        .prepare_create(prepare_create)
        .prepare_status(status::prepare)
        .validate_create(validate_create)
        .validate_change(update::validate)
        .validate_status(status::validate)
        .part(ObjectPart::EphemeralContainers, ephemeral::prepare, ephemeral::validate)
        .part(ObjectPart::Resize, resize::prepare, resize::validate)
        .fields(&[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.podIPs",
            "status.nominatedNodeName",
        ])
        .field_value(field_value)
        .columns(show::columns())
}

fn default(pod: &mut Object) {
    pod_spec::default_for_pod(pod.object("spec"));
    let status = pod.object("status");
    let ip = status.text("podIP").to_owned();
    if !ip.is_empty() && !status.has("podIPs") {
        status.insert("podIPs".to_owned(), json!([{"ip": ip}]));
    }
    status.fill_text("phase", "Pending");
}

fn prepare_create(pod: &mut Object) {
    let class = qos::class(pod.get("spec").unwrap_or(&Value::Null));
    let gated = pod.get("spec").and_then(|spec| spec.get("schedulingGates")).and_then(Value::as_array);
    let gated = gated.is_some_and(|gates| !gates.is_empty());
    let status = pod.object("status");
    status.insert("qosClass".to_owned(), class.into());
    if gated {
        let condition = json!({
            "type": "PodScheduled",
            "status": "False",
            "reason": "SchedulingGated",
            "message": "Scheduling is blocked due to non-empty scheduling gates",
            "lastProbeTime": null,
            "lastTransitionTime": null,
        });
        status.insert("conditions".to_owned(), json!([condition]));
    }
}

fn validate_create(pod: &View, out: &mut Violations) {
    let spec = pod.get("spec");
    pod_spec::validate(out, &spec, Holder::Pod);
    let ephemeral = spec.get("ephemeralContainers");
    if !ephemeral.is_empty() {
        out.push(Violation::forbidden(ephemeral.path(), "cannot be set on create"));
    }
}

fn field_value<'a>(pod: &'a Value, field: &str) -> Option<Cow<'a, str>> {
    match field {
        "spec.hostNetwork" => {
            let host = pod.pointer("/spec/hostNetwork").and_then(Value::as_bool).unwrap_or_default();
            Some(Cow::Borrowed(if host { "true" } else { "false" }))
        }
        "status.podIP" | "status.podIPs" => {
            let ip = pod.pointer("/status/podIPs/0/ip").or_else(|| pod.pointer("/status/podIP"));
            Some(Cow::Borrowed(ip.and_then(Value::as_str).unwrap_or_default()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
