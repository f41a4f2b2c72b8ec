//! `ResourceClaim` and `ResourceClaimTemplate`.

use std::collections::HashSet;

use serde_json::json;

use super::{GROUP, bounded, request};
use crate::kind::Scope;
use crate::kinds::frame::cells::{self, column, list, text};
use crate::kinds::frame::check::{required, unchanged};
use crate::kinds::frame::{Builtin, Fill, View};
use crate::kinds::meta;
use crate::violation::{Violation, Violations};

/// How many may share a claim.
const MOST_CONSUMERS: usize = 256;
/// As many as a claim can be given. Upstream has a state only of devices that were.
const MOST_DEVICES: usize = 32;

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
        .validate_status(status)
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

fn status(new: &View, old: &View, out: &mut Violations) {
    let (status, before) = (new.get("status"), old.get("status"));
    let consumers = status.get("reservedFor");
    bounded(out, &consumers, MOST_CONSUMERS, |consumer| consumer.get("uid").text());
    for consumer in consumers.items() {
        for field in ["resource", "name", "uid"] {
            required(out, &consumer.get(field));
        }
    }
    let devices = status.get("devices");
    if devices.items().count() > MOST_DEVICES {
        out.push(Violation::too_many(devices.path(), devices.items().count(), MOST_DEVICES));
    }
    let allocation = status.get("allocation");
    if !consumers.is_empty() && !allocation.is_set() {
        let detail = "may not be specified when `allocated` is not set";
        out.push(Violation::forbidden(consumers.path(), detail));
    }
    // Who was let in while the claim goes would hold it for good.
    let going = new.get("metadata").get("deletionTimestamp").is_set();
    let known: HashSet<&str> = before.get("reservedFor").items().map(|c| c.get("uid").text()).collect();
    if going && consumers.items().any(|consumer| !known.contains(consumer.get("uid").text())) {
        let detail = "new entries may not be added while `deletionTimestamp` is set";
        out.push(Violation::forbidden(consumers.path(), detail));
    }
    if before.get("allocation").is_set() && allocation.is_set() {
        unchanged(out, &allocation, &before.get("allocation"));
    }
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
        assert_eq!(served(kind()).row(&whole, 0)[1], "pending");
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
                r#"spec.devices.constraints[0].matchAttribute: Invalid value: "numa": must include a domain"#,
            ]
        );
    }

    #[test]
    fn a_claim_is_reserved_only_when_it_is_allocated_and_has_few_devices() {
        let old = claim(json!({"name": "gpu", "exactly": {"deviceClassName": "g"}}));
        let mut new = old.clone();
        new["status"] = json!({"reservedFor": [{"resource": "pods", "name": "p", "uid": "1"}]});
        let kind = served(kind());
        let said: Vec<String> =
            kind.validate_status_update(&new, &old).iter().map(ToString::to_string).collect();
        assert_eq!(said, ["status.reservedFor: Forbidden: may not be specified when `allocated` is not set"]);
        new["status"]["allocation"] = json!({"devices": {}});
        assert_eq!(kind.validate_status_update(&new, &old), []);
        assert_eq!(kind.row(&new, 0)[1], "allocated,reserved");
        let device = |at: usize| json!({"driver": format!("d{at}.io"), "pool": "p", "device": "d"});
        new["status"]["devices"] = (0..32).map(device).collect();
        assert_eq!(kind.validate_status_update(&new, &old), []);
        new["status"]["devices"] = (0..33).map(device).collect();
        let said: Vec<String> =
            kind.validate_status_update(&new, &old).iter().map(ToString::to_string).collect();
        assert_eq!(said, ["status.devices: Too many: 33: must have at most 32 items"]);
    }
}
