//! `ResourceClaim` and `ResourceClaimTemplate`.

use serde_json::json;

use super::{GROUP, request, state};
use crate::kind::Scope;
use crate::kinds::frame::cells::{self, column, list, text};
use crate::kinds::frame::check::unchanged;
use crate::kinds::frame::{Builtin, Fill};
use crate::kinds::meta;

pub(crate) fn kind() -> Builtin {
    Builtin::new(GROUP, "ResourceClaim", "resourceclaims", Scope::Namespaced)
        .status(|| json!({}))
        .default(|claim| {
            request::default(claim.object("spec").object("devices"));
            if let Some(status) = claim.object_if("status") {
                request::default_allocated(status);
            }
        })
        .validate_create(|claim, out| request::validate(out, &claim.get("spec").get("devices")))
        .validate_change(|new, old, out| {
            unchanged(out, &new.get("spec"), &old.get("spec"));
        })
        .validate_status(state::validate)
        .columns(vec![
            cells::name(),
            column("State", "string", "What became of it.", |claim, _| {
                let going = !text(claim, "/metadata/deletionTimestamp").is_empty();
                let allocated = claim.pointer("/status/allocation").is_some_and(|value| !value.is_null());
                let reserved = !list(claim, "/status/reservedFor").is_empty();
                let states = [
                    (going, "deleted"),
                    (!allocated && !going, "pending"),
                    (allocated, "allocated"),
                    (allocated && reserved, "reserved"),
                ];
                let states: Vec<&str> = states.iter().filter(|(is, _)| *is).map(|(_, name)| *name).collect();
                states.join(",").into()
            }),
            cells::age(),
        ])
}

pub(crate) fn template() -> Builtin {
    Builtin::new(GROUP, "ResourceClaimTemplate", "resourceclaimtemplates", Scope::Namespaced)
        .default(|template| {
            let spec = template.object("spec");
            spec.object("metadata");
            request::default(spec.object("spec").object("devices"));
        })
        .validate_create(|template, out| {
            let spec = template.get("spec");
            meta::only_labels_and_annotations(out, &spec.get("metadata"));
            request::validate(out, &spec.get("spec").get("devices"));
        })
        .validate_change(|new, old, out| {
            unchanged(out, &new.get("spec"), &old.get("spec"));
        })
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::kinds::frame::testing::{defaulted, said, said_of_change, served};

    fn claim(request: Value) -> Value {
        json!({"metadata": {"name": "c", "namespace": "n", "resourceVersion": "1"},
            "spec": {"devices": {"requests": [request]}}})
    }

    #[test]
    fn one_device_is_asked_for_by_default() {
        let whole = defaulted(
            kind(),
            claim(json!({"name": "gpu", "exactly": {"deviceClassName": "gpu.example.com"}})),
        );
        let exact = &whole["spec"]["devices"]["requests"][0]["exactly"];
        assert_eq!((&exact["allocationMode"], &exact["count"]), (&json!("ExactCount"), &json!(1)));
        assert_eq!(said(kind(), whole.clone()), [""; 0]);
        let shown = |claim: &Value| served(kind()).row(claim, 0)[1].clone();
        assert_eq!(shown(&whole), "pending");
        let mut used = whole.clone();
        used["status"] = json!({"allocation": {"devices": {}}, "reservedFor": [{"uid": "1"}]});
        assert_eq!(shown(&used), "allocated,reserved");
        let mut other = whole.clone();
        other["spec"]["devices"]["requests"][0]["exactly"]["count"] = 2.into();
        assert!(said_of_change(kind(), &other, &whole)[0].ends_with("field is immutable"));
    }

    #[test]
    fn requests_are_checked() {
        assert_eq!(
            said(kind(), claim(json!({"name": "gpu"}))),
            [
                "spec.devices.requests[0]: Required value: exactly one of `exactly` or `firstAvailable` is required"
            ]
        );
        let mut wrong = claim(json!({"name": "gpu", "exactly": {"allocationMode": "All", "count": 2}}));
        wrong["spec"]["devices"]["constraints"] = json!([{"requests": ["cpu"], "matchAttribute": "numa"}]);
        assert_eq!(
            said(kind(), wrong),
            [
                "spec.devices.requests[0].exactly.deviceClassName: Required value",
                "spec.devices.requests[0].exactly.count: Invalid value: 2: must not be specified when allocationMode is 'All'",
                r#"spec.devices.constraints[0].requests[0]: Invalid value: "cpu": must be the name of a request in the claim or the name of a request and a subrequest separated by '/'"#,
                r#"spec.devices.constraints[0].matchAttribute: Invalid value: "numa": a fully qualified name must be a domain and a name separated by a slash"#,
            ]
        );
    }
}
