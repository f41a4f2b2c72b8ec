//! `ResourceQuota`.

use serde_json::{Value, json};

use super::frame::cells::{self, column};
use super::frame::check::refuse;
use super::frame::{Builtin, Fill, View};
use super::pod_spec::resources;
use crate::gvk::GroupVersion;
use crate::kind::Scope;
use crate::violation::{Violation, Violations};

pub(super) fn kind() -> Builtin {
    Builtin::new(GroupVersion::new("", "v1"), "ResourceQuota", "resourcequotas", Scope::Namespaced)
        .short_names(&["quota"])
        .status(|| json!({}))
        .default(|quota| {
            if let Some(hard) = quota.object("spec").object_if("hard") {
                resources::canonical(hard);
            }
            let status = quota.object("status");
            for field in ["hard", "used"] {
                if let Some(list) = status.object_if(field) {
                    resources::canonical(list);
                }
            }
        })
        .validate(|quota, out| {
            for (resource, amount) in quota.get("spec").get("hard").entries() {
                resources::amount(out, &amount, resource);
            }
            scopes(out, &quota.get("spec").get("scopes"));
            for one in quota.get("spec").get("scopeSelector").get("matchExpressions").items() {
                selected(out, &one, &quota.get("spec").get("scopeSelector").get("matchExpressions"));
            }
        })
        .validate_change(|new, old, out| {
            let (scopes, before) = (new.get("spec").get("scopes"), old.get("spec").get("scopes"));
            if scopes != before {
                out.push(Violation::invalid(scopes.path(), scopes.json(), "field is immutable"));
            }
        })
        .columns(vec![
            cells::name(),
            column("Request", "string", "Used and allowed, of all but limits.", |quota, _| {
                used(quota, false).into()
            }),
            column("Limit", "string", "Used and allowed, of limits.", |quota, _| used(quota, true).into()),
            cells::age(),
        ])
}

/// Scopes of the same objects seen two ways, of which a quota can have one.
const OPPOSITES: [[&str; 2]; 2] = [["BestEffort", "NotBestEffort"], ["NotTerminating", "Terminating"]];
const SCOPES: [&str; 7] = [
    "BestEffort",
    "CrossNamespacePodAffinity",
    "NotBestEffort",
    "NotTerminating",
    "PriorityClass",
    "Terminating",
    "VolumeAttributesClass",
];

/// After `validateResourceQuotaScopes`.
fn scopes(out: &mut Violations, scopes: &View) {
    let given: Vec<&str> = scopes.items().map(|scope| scope.text()).collect();
    for _ in given.iter().filter(|scope| !SCOPES.contains(scope)) {
        refuse(out, scopes, "unsupported scope");
    }
    for pair in OPPOSITES {
        if pair.iter().all(|scope| given.contains(scope)) {
            refuse(out, scopes, "conflicting scopes");
        }
    }
}

/// After `validateScopedResourceSelectorRequirement`, which names the list and not the item.
fn selected(out: &mut Violations, one: &View, list: &View) {
    let (scope, operator, values) = (one.get("scopeName"), one.get("operator"), one.get("values"));
    let place = |field: &str| list.path().child(field);
    if !SCOPES.contains(&scope.text()) {
        out.push(Violation::invalid(&place("scopeName"), scope.text(), "unsupported scope"));
    }
    let is_plain = !matches!(scope.text(), "PriorityClass" | "VolumeAttributesClass");
    if SCOPES.contains(&scope.text()) && is_plain && operator.text() != "Exists" {
        let detail = "must be 'Exist' when scope is any of ResourceQuotaScopeTerminating, \
                      ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, \
                      ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity";
        out.push(Violation::invalid(&place("operator"), operator.text(), detail));
    }
    match operator.text() {
        "In" | "NotIn" if values.is_empty() => out.push(Violation::required(
            &place("values"),
            "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector",
        )),
        "In" | "NotIn" => (),
        "Exists" | "DoesNotExist" if values.is_empty() => (),
        "Exists" | "DoesNotExist" => out.push(Violation::invalid(
            &place("values"),
            values.json(),
            "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector",
        )),
        _ => {
            out.push(Violation::invalid(&place("operator"), operator.text(), "not a valid selector operator"))
        }
    }
}

/// `name: used/hard` of each resource, of limits or of the others.
fn used(quota: &Value, limits: bool) -> String {
    let hard = quota.pointer("/status/hard").and_then(Value::as_object);
    let mut parts: Vec<String> = hard
        .into_iter()
        .flatten()
        .filter(|(resource, _)| resource.starts_with("limits.") == limits)
        .map(|(resource, hard)| {
            let used = quota.pointer("/status/used").and_then(|used| used.get(resource));
            let used = used.and_then(Value::as_str).unwrap_or("0");
            format!("{resource}: {used}/{}", hard.as_str().unwrap_or_default())
        })
        .collect();
    parts.sort();
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::frame::testing::{said, served};

    #[test]
    fn a_row_tells_requests_from_limits() {
        let quota = json!({
            "metadata": {"name": "q", "namespace": "n"}, "spec": {"hard": {"pods": "10"}},
            "status": {"hard": {"pods": "10", "limits.cpu": "2"}, "used": {"pods": "3"}},
        });
        assert_eq!(served(kind()).row(&quota, 0)[1..3], ["pods: 3/10", "limits.cpu: 0/2"].map(Value::from));
        assert_eq!(said(kind(), quota.clone()), [""; 0]);
        let mut negative = quota;
        negative["spec"]["hard"]["pods"] = "-1".into();
        assert_eq!(
            said(kind(), negative),
            [r#"spec.hard[pods]: Invalid value: "-1": must be greater than or equal to 0"#]
        );
    }
}
