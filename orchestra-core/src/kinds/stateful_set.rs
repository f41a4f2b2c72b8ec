//! `StatefulSet`.

use serde_json::{Value, json};

use super::frame::cells::{self, column};
use super::frame::check::{count_or_percent, not_negative, one_of, optional_name, refuse, required_one_of};
use super::frame::{Builtin, Fill, Generation, Object, View};
use super::persistent_volume_claim;
use super::workload::{self, counts};
use crate::gvk::GroupVersion;
use crate::kind::Scope;
use crate::meta::name;
use crate::violation::{Violation, Violations};

/// What of the specification may change.
const CHANGEABLE: [&str; 7] = [
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
];

pub(super) fn kind() -> Builtin {
    let mut columns = vec![
        cells::name(),
        column("Ready", "string", "How many of the wanted pods are ready.", |set, _| {
            workload::ready_of_wanted(set)
        }),
        cells::age(),
    ];
    columns.extend(workload::wide_columns());
    Builtin::new(GroupVersion::new("apps", "v1"), "StatefulSet", "statefulsets", Scope::Namespaced)
        .short_names(&["sts"])
        .in_category_all()
        .generation(Generation::Spec)
        .name(name::is_dns1123_label)
        .status(|| json!({"replicas": 0, "availableReplicas": 0}))
        .scale("/spec/selector")
        .default(default)
        .validate(|set, out| validate(out, &set.get("spec")))
        .validate_change(change)
        .validate_status(|new, _, out| status(out, &new.get("status")))
        .columns(columns)
}

fn default(set: &mut Object) {
    let spec = set.object("spec");
    spec.fill_text("podManagementPolicy", "OrderedReady");
    let strategy = spec.object("updateStrategy");
    strategy.fill_text("type", "RollingUpdate");
    if strategy.text("type") == "RollingUpdate" {
        strategy.object("rollingUpdate").fill("partition", 0);
    }
    let retention = spec.object("persistentVolumeClaimRetentionPolicy");
    retention.fill_text("whenDeleted", "Retain");
    retention.fill_text("whenScaled", "Retain");
    spec.fill("replicas", 1);
    spec.fill("revisionHistoryLimit", 10);
    spec.fill("serviceName", "");
    workload::default_template(spec, "template");
    for claim in spec.objects("volumeClaimTemplates") {
        claim.fill_text("apiVersion", "v1");
        claim.fill_text("kind", "PersistentVolumeClaim");
        claim.object("metadata");
        persistent_volume_claim::default_spec(claim.object("spec"));
        claim.object("status").fill_text("phase", "Pending");
    }
    let status = set.object("status");
    status.fill("replicas", 0);
    status.fill("availableReplicas", 0);
}

/// After `ValidateStatefulSetSpec`.
fn validate(out: &mut Violations, spec: &View) {
    let policy = spec.get("podManagementPolicy");
    match policy.text() {
        "OrderedReady" | "Parallel" => (),
        "" => out.push(Violation::required(policy.path(), "")),
        _ => refuse(out, &policy, "must be 'OrderedReady' or 'Parallel'"),
    }
    update_strategy(out, &spec.get("updateStrategy"));
    retention(out, &spec.get("persistentVolumeClaimRetentionPolicy"));
    counts(out, spec, &["replicas", "minReadySeconds"]);
    not_negative(out, &spec.get("ordinals").get("start"));
    workload::selector(out, spec, "statefulset");
    workload::selected(out, spec);
    let template = spec.get("template");
    // Upstream leaves the rest of the template to the pods: its mounts may name claims that are no volumes yet.
    workload::template_metadata(out, &template);
    workload::long_running(out, &template, "StatefulSet");
    optional_name(out, &spec.get("serviceName"), name::is_dns1123_subdomain);
    counts(out, spec, &["revisionHistoryLimit"]);
}

fn update_strategy(out: &mut Violations, strategy: &View) {
    let rolling = strategy.get("rollingUpdate");
    match strategy.get("type").text() {
        "" => out.push(Violation::required(strategy.path(), "")),
        "OnDelete" => {
            if rolling.is_set() {
                let detail = "only allowed for updateStrategy 'RollingUpdate'";
                out.push(Violation::invalid(rolling.path(), rolling.json(), detail));
            }
        }
        "RollingUpdate" => {
            not_negative(out, &rolling.get("partition"));
            let unavailable = rolling.get("maxUnavailable");
            if unavailable.is_set() {
                count_or_percent(out, &unavailable);
                if unavailable.int() == Some(0) {
                    refuse(out, &unavailable, "cannot be 0");
                }
            }
        }
        _ => refuse(out, strategy, "must be 'RollingUpdate' or 'OnDelete'"),
    }
}

fn retention(out: &mut Violations, policy: &View) {
    if policy.is_set() {
        required_one_of(out, &policy.get("whenDeleted"), &["Retain", "Delete"]);
        one_of(out, &policy.get("whenScaled"), &["Retain", "Delete"]);
    }
}

fn change(new: &View, old: &View, out: &mut Violations) {
    let fixed = |object: &View| {
        let mut spec = object.get("spec").value().and_then(Value::as_object).cloned().unwrap_or_default();
        for field in CHANGEABLE {
            spec.remove(field);
        }
        spec
    };
    if fixed(new) != fixed(old) {
        let detail = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";
        out.push(Violation::forbidden(new.get("spec").path(), detail));
    }
}

/// After `ValidateStatefulSetStatus`.
fn status(out: &mut Violations, status: &View) {
    let parts = ["readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas"];
    counts(
        out,
        status,
        &["replicas", parts[0], parts[1], parts[2], parts[3], "observedGeneration", "collisionCount"],
    );
    let number = |field: &'static str| status.get(field).int().unwrap_or_default();
    for field in parts {
        if number(field) > number("replicas") {
            refuse(out, &status.get(field), "cannot be greater than status.replicas");
        }
    }
    if number("availableReplicas") > number("readyReplicas") {
        refuse(out, &status.get("availableReplicas"), "cannot be greater than status.readyReplicas");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::frame::testing::{defaulted, said, said_of_change};

    fn set() -> Value {
        json!({
            "metadata": {"name": "s", "namespace": "n", "resourceVersion": "1"},
            "spec": {
                "serviceName": "s",
                "selector": {"matchLabels": {"app": "a"}},
                "template": {
                    "metadata": {"labels": {"app": "a"}},
                    "spec": {"containers": [{"name": "c", "image": "i:1"}]},
                },
                "volumeClaimTemplates": [{
                    "metadata": {"name": "data"},
                    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1024Mi"}}},
                }],
            },
        })
    }

    #[test]
    fn a_bare_set_gets_what_upstream_gives_it() {
        let object = defaulted(kind(), set());
        let spec = &object["spec"];
        assert_eq!(spec["podManagementPolicy"], "OrderedReady");
        assert_eq!(
            spec["updateStrategy"],
            json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 0}})
        );
        assert_eq!(
            spec["persistentVolumeClaimRetentionPolicy"],
            json!({"whenDeleted": "Retain", "whenScaled": "Retain"})
        );
        assert_eq!((&spec["replicas"], &spec["revisionHistoryLimit"]), (&json!(1), &json!(10)));
        assert_eq!(
            spec["volumeClaimTemplates"][0],
            json!({
                "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"},
                "spec": {
                    "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}},
                    "volumeMode": "Filesystem",
                },
                "status": {"phase": "Pending"},
            })
        );
        assert_eq!(said(kind(), object), [""; 0]);
    }

    #[test]
    fn only_some_fields_change() {
        let old = defaulted(kind(), set());
        let mut new = old.clone();
        new["spec"]["replicas"] = 3.into();
        new["spec"]["template"]["spec"]["containers"][0]["image"] = "i:2".into();
        assert_eq!(said_of_change(kind(), &new, &old), [""; 0]);
        new["spec"]["serviceName"] = "other".into();
        let said = said_of_change(kind(), &new, &old);
        assert!(
            said[0]
                .starts_with("spec: Forbidden: updates to statefulset spec for fields other than 'replicas'")
        );
    }

    #[test]
    fn unknown_policies_are_refused() {
        let mut object = set();
        object["spec"]["podManagementPolicy"] = "Chaotic".into();
        assert_eq!(
            said(kind(), object),
            [r#"spec.podManagementPolicy: Invalid value: "Chaotic": must be 'OrderedReady' or 'Parallel'"#]
        );
    }
}
