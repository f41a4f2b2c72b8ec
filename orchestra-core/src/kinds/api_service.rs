//! `APIService`: who serves a version of a group.

use serde_json::{Value, json};

use super::frame::cells::{self, column, list, text};
use super::frame::check::{one_of, refuse, refuse_all, required};
use super::frame::{Builtin, Fill, Object, View};
use super::meta;
use crate::gvk::GroupVersion;
use crate::kind::Scope;
use crate::meta::name;
use crate::violation::{Violation, Violations};

pub(super) fn kind() -> Builtin {
    let gv = GroupVersion::new("apiregistration.k8s.io", "v1");
    Builtin::new(gv, "APIService", "apiservices", Scope::Cluster)
        .category("api-extensions")
        .conditional_update()
        .status(|| json!({}))
        .name(meta::path_segment)
        .default(|service| {
            if let Some(service) = service.object("spec").object_if("service") {
                service.fill("port", 443);
            }
        })
        .prepare_create(mark_local)
        .validate(validate)
        .validate_status(|new, _, out| {
            for condition in new.get("status").get("conditions").items() {
                one_of(out, &condition.get("status"), &["True", "False", "Unknown"]);
            }
        })
        .columns(vec![
            cells::name(),
            column(
                "Service",
                "string",
                "The service behind it; Local for this server itself.",
                |service, _| match text(service, "/spec/service/name") {
                    "" => "Local".into(),
                    own => format!("{}/{own}", text(service, "/spec/service/namespace")).into(),
                },
            ),
            column("Available", "string", "Whether it can be asked.", |service, _| available(service).into()),
            cells::age(),
        ])
}

/// What this server serves itself is there at once.
fn mark_local(service: &mut Object) {
    if service.object("spec").has("service") {
        return;
    }
    // The time comes from the moment the object was made.
    let now = service.object("metadata").get("creationTimestamp").cloned().unwrap_or(Value::Null);
    let condition = json!({
        "type": "Available", "status": "True", "reason": "Local", "message": "Local APIServices are always available",
        "lastTransitionTime": now,
    });
    service.insert("status".to_owned(), json!({ "conditions": [condition] }));
}

fn available(service: &Value) -> String {
    let condition = list(service, "/status/conditions").iter().find(|c| text(c, "/type") == "Available");
    match condition {
        None => "Unknown".to_owned(),
        Some(condition) if text(condition, "/status") == "True" => "True".to_owned(),
        Some(condition) => format!("{} ({})", text(condition, "/status"), text(condition, "/reason")),
    }
}

fn validate(service: &View, out: &mut Violations) {
    let spec = service.get("spec");
    let (group, version) = (spec.get("group"), spec.get("version"));
    let own = service.get("metadata").get("name");
    let wanted = format!("{}.{}", version.text(), group.text());
    if own.text() != wanted && meta::path_segment(own.text()).is_empty() {
        refuse(out, &own, format!("must be `spec.version+\".\"+spec.group`: {wanted:?}"));
    }
    if group.is_empty() {
        if version.text() != "v1" {
            let detail = "only v1 may have an empty group and it better be legacy kube";
            out.push(Violation::required(group.path(), detail));
        }
    } else {
        refuse_all(out, &group, meta::subdomain(group.text()));
    }
    refuse_all(out, &version, name::is_dns1035_label(version.text()));
    for (field, most) in [("groupPriorityMinimum", 20_000), ("versionPriority", 1_000)] {
        let priority = spec.get(field);
        let value = priority.int().unwrap_or_default();
        if value <= 0 || value > most {
            let detail = format!("must be positive and less than {most}");
            out.push(Violation::invalid(priority.path(), value, detail));
        }
    }
    let (remote, bundle, insecure) =
        (spec.get("service"), spec.get("caBundle"), spec.get("insecureSkipTLSVerify"));
    if !remote.is_set() {
        if !bundle.is_empty() {
            // Of a bundle upstream shows how long it is.
            let shown = format!("{} bytes", bundle.text().len() / 4 * 3);
            let detail = "local APIServices may not have a caBundle";
            out.push(Violation::invalid(bundle.path(), shown, detail));
        }
        if insecure.flag() {
            refuse(out, &insecure, "local APIServices may not have insecureSkipTLSVerify");
        }
        return;
    }
    required(out, &remote.get("namespace"));
    required(out, &remote.get("name"));
    let port = remote.get("port");
    let wrong = name::is_port_number(port.int().unwrap_or_default());
    if !wrong.is_empty() {
        refuse(out, &port, format!("port is not valid: {}", wrong.join(", ")));
    }
    if insecure.flag() && !bundle.is_empty() {
        refuse(out, &insecure, "may not be true if caBundle is present");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::frame::testing::{defaulted, said, served};

    fn service(name: &str, extra: Value) -> Value {
        let mut spec = json!({"group": "g.example.com", "version": "v1", "groupPriorityMinimum": 1000, "versionPriority": 15});
        spec.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        json!({"metadata": {"name": name}, "spec": spec})
    }

    #[test]
    fn a_service_is_named_after_its_group_and_version() {
        let remote = json!({"service": {"namespace": "n", "name": "s"}});
        let whole = defaulted(kind(), service("v1.g.example.com", remote.clone()));
        assert_eq!(whole["spec"]["service"]["port"], 443);
        assert_eq!(said(kind(), whole.clone()), [""; 0]);
        assert_eq!(served(kind()).row(&whole, 0)[1..3], [json!("n/s"), json!("Unknown")]);
        assert_eq!(
            said(kind(), service("x", remote)),
            [
                r#"metadata.name: Invalid value: "x": must be `spec.version+"."+spec.group`: "v1.g.example.com""#
            ]
        );
    }

    #[test]
    fn what_is_served_here_is_available() {
        let mut local = defaulted(kind(), service("v1.g.example.com", json!({})));
        served(kind()).prepare_create(&mut local);
        assert_eq!(served(kind()).row(&local, 0)[1..3], [json!("Local"), json!("True")]);
        assert_eq!(
            said(
                kind(),
                service("v1.g.example.com", json!({"insecureSkipTLSVerify": true, "versionPriority": 0}))
            ),
            [
                "spec.versionPriority: Invalid value: 0: must be positive and less than 1000",
                "spec.insecureSkipTLSVerify: Invalid value: true: local APIServices may not have insecureSkipTLSVerify",
            ]
        );
    }
}
