//! `CSIDriver`.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::frame::cells::{self, Show, column, list};
use super::frame::check::{IMMUTABLE, one_of, refuse};
use super::frame::{Builtin, Fill, Object, View};
use crate::gvk::GroupVersion;
use crate::kind::Scope;
use crate::violation::{FieldPath, Violation, Violations};

pub(super) fn kind() -> Builtin {
    Builtin::new(GroupVersion::new("storage.k8s.io", "v1"), "CSIDriver", "csidrivers", Scope::Cluster)
        .default(default)
        .validate(|driver, out| validate(&driver.get("spec"), out))
        .validate_change(|new, old, out| {
            // The first name is misspelt upstream.
            for (field, shown) in
                [("attachRequired", "attachedRequired"), ("volumeLifecycleModes", "volumeLifecycleModes")]
            {
                let (new, old) = (new.get("spec").get(field), old.get("spec").get(field));
                if new != old {
                    out.push(Violation::invalid(&FieldPath::new("spec").child(shown), new.json(), IMMUTABLE));
                }
            }
        })
        .columns(vec![
            cells::name(),
            flag("AttachRequired", "Whether volumes are attached before they are mounted.", |driver, _| {
                at(driver, "attachRequired")
            }),
            flag("PodInfoOnMount", "Whether it is told of the pod it mounts for.", |driver, _| {
                at(driver, "podInfoOnMount")
            }),
            flag("StorageCapacity", "Whether it says how much room there is.", |driver, _| {
                at(driver, "storageCapacity")
            }),
            column(
                "TokenRequests",
                "string",
                "For whom it wants tokens of service accounts.",
                |driver, _| {
                    let audiences = list(driver, "/spec/tokenRequests").iter();
                    let audiences: Vec<&str> =
                        audiences.filter_map(|request| request.get("audience")?.as_str()).collect();
                    if audiences.is_empty() { "<unset>".into() } else { audiences.join(",").into() }
                },
            ),
            flag("RequiresRepublish", "Whether it is called again and again.", |driver, _| {
                at(driver, "requiresRepublish")
            }),
            column("Modes", "string", "How long its volumes live.", |driver, _| {
                let modes: Vec<&str> =
                    list(driver, "/spec/volumeLifecycleModes").iter().filter_map(Value::as_str).collect();
                if modes.is_empty() { "<none>".into() } else { modes.join(",").into() }
            }),
            cells::age(),
        ])
}

fn flag(name: &'static str, description: &'static str, cell: fn(&Value, i64) -> Value) -> Show {
    column(name, "boolean", description, cell)
}

fn at(driver: &Value, field: &str) -> Value {
    driver.get("spec").and_then(|spec| spec.get(field)).and_then(Value::as_bool).unwrap_or_default().into()
}

fn default(driver: &mut Object) {
    let spec = driver.object("spec");
    spec.fill("attachRequired", true);
    for field in ["podInfoOnMount", "storageCapacity", "requiresRepublish", "seLinuxMount"] {
        spec.fill(field, false);
    }
    spec.fill("fsGroupPolicy", "ReadWriteOnceWithFSType");
    if spec.get("volumeLifecycleModes").and_then(Value::as_array).is_none_or(Vec::is_empty) {
        spec.insert("volumeLifecycleModes".to_owned(), json!(["Persistent"]));
    }
}

fn validate(spec: &View, out: &mut Violations) {
    one_of(out, &spec.get("fsGroupPolicy"), &["File", "None", "ReadWriteOnceWithFSType"]);
    let mut audiences = HashSet::new();
    for request in spec.get("tokenRequests").items() {
        let audience = request.get("audience");
        if !audiences.insert(audience.text()) {
            out.push(Violation::duplicate(audience.path(), audience.text()));
            continue;
        }
        let seconds = request.get("expirationSeconds");
        if seconds.int().is_some_and(|seconds| seconds < 600) {
            refuse(out, &seconds, "may not specify a duration less than 10 minutes");
        }
        if seconds.int().is_some_and(|seconds| seconds > 1 << 32) {
            refuse(out, &seconds, "may not specify a duration larger than 2^32 seconds");
        }
    }
    let modes = spec.get("volumeLifecycleModes");
    for mode in modes.items() {
        if !matches!(mode.text(), "Persistent" | "Ephemeral") {
            out.push(Violation::not_supported(modes.path(), mode.text(), &["Persistent", "Ephemeral"]));
        }
    }
    let period = spec.get("nodeAllocatableUpdatePeriodSeconds");
    if period.int().is_some_and(|seconds| seconds < 10) {
        refuse(out, &period, "must be greater than or equal to 10 seconds");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::frame::testing::{defaulted, said, said_of_change, served};

    fn driver(spec: Value) -> Value {
        json!({"metadata": {"name": "csi.example.com", "resourceVersion": "1"}, "spec": spec})
    }

    #[test]
    fn a_driver_attaches_persistent_volumes_unless_it_says_otherwise() {
        let plain = defaulted(kind(), driver(json!({})));
        assert_eq!(plain["spec"]["attachRequired"], true);
        assert_eq!(
            served(kind()).row(&plain, 0)[1..7],
            [json!(true), json!(false), json!(false), json!("<unset>"), json!(false), json!("Persistent")]
        );
        assert_eq!(said(kind(), plain.clone()), [""; 0]);
        let mut new = plain.clone();
        new["spec"]["attachRequired"] = false.into();
        assert_eq!(
            said_of_change(kind(), &new, &plain),
            ["spec.attachedRequired: Invalid value: false: field is immutable"]
        );
    }

    #[test]
    fn tokens_and_modes_are_checked() {
        let spec = json!({
            "fsGroupPolicy": "Some", "volumeLifecycleModes": ["Short"], "nodeAllocatableUpdatePeriodSeconds": 9,
            "tokenRequests": [{"audience": "a", "expirationSeconds": 60}, {"audience": "a"}],
        });
        assert_eq!(
            said(kind(), driver(spec)),
            [
                r#"spec.fsGroupPolicy: Unsupported value: "Some": supported values: "File", "None", "ReadWriteOnceWithFSType""#,
                "spec.tokenRequests[0].expirationSeconds: Invalid value: 60: may not specify a duration less than 10 minutes",
                r#"spec.tokenRequests[1].audience: Duplicate value: "a""#,
                r#"spec.volumeLifecycleModes: Unsupported value: "Short": supported values: "Persistent", "Ephemeral""#,
                "spec.nodeAllocatableUpdatePeriodSeconds: Invalid value: 9: must be greater than or equal to 10 seconds",
            ]
        );
    }
}
