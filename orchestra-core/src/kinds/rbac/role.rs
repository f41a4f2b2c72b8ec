//! `Role` and `ClusterRole`.

use serde_json::Value;

use super::GROUP;
use crate::gvk::GroupVersion;
use crate::kind::Scope;
use crate::kinds::frame::cells::{self, Show, column, text};
use crate::kinds::frame::{Builtin, Fill, View};
use crate::kinds::{labels, meta};
use crate::violation::{Violation, Violations};

pub(crate) fn kind() -> Builtin {
    Builtin::new(GroupVersion::new(GROUP, "v1"), "Role", "roles", Scope::Namespaced)
        .create_on_update()
        .name(meta::path_segment)
        .default(|role| role.fill("rules", Value::Null))
        .validate(|role, out| {
            for item in role.get("rules").items() {
                rule(out, &item, Scope::Namespaced);
            }
        })
        .columns(columns())
}

pub(crate) fn cluster_kind() -> Builtin {
    Builtin::new(GroupVersion::new(GROUP, "v1"), "ClusterRole", "clusterroles", Scope::Cluster)
        .create_on_update()
        .name(meta::path_segment)
        .default(|role| role.fill("rules", Value::Null))
        .validate(|role, out| {
            for item in role.get("rules").items() {
                rule(out, &item, Scope::Cluster);
            }
            let aggregation = role.get("aggregationRule");
            if aggregation.is_set() {
                let selectors = aggregation.get("clusterRoleSelectors");
                if selectors.is_empty() {
                    let detail = "at least one clusterRoleSelector required if aggregationRule is non-nil";
                    out.push(Violation::required(selectors.path(), detail));
                }
                for selector in selectors.items() {
                    labels::selector(out, &selector);
                }
            }
        })
        .columns(columns())
}

fn columns() -> Vec<Show> {
    vec![
        cells::name(),
        column("Created At", "date", "When it was created.", |role, _| {
            text(role, "/metadata/creationTimestamp").into()
        }),
    ]
}

/// After `ValidatePolicyRule`.
fn rule(out: &mut Violations, rule: &View, scope: Scope) {
    let mut need = |field: &'static str, detail: &str| {
        let view = rule.get(field);
        if view.is_empty() {
            out.push(Violation::required(view.path(), detail));
        }
    };
    need("verbs", "verbs must contain at least one value");
    let urls = rule.get("nonResourceURLs");
    if urls.is_empty() {
        need("apiGroups", "resource rules must supply at least one api group");
        need("resources", "resource rules must supply at least one resource");
        return;
    }
    let of_resources = ["apiGroups", "resources", "resourceNames"];
    if scope == Scope::Namespaced {
        let detail = "namespaced rules cannot apply to non-resource URLs";
        out.push(Violation::invalid(urls.path(), urls.json(), detail));
    }
    if of_resources.iter().any(|field| !rule.get(field).is_empty()) {
        let detail = "rules cannot apply to both regular resources and non-resource URLs";
        out.push(Violation::invalid(urls.path(), urls.json(), detail));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kinds::frame::testing::said;

    #[test]
    fn a_rule_says_what_may_be_done_to_what() {
        let role = |rule: Value| json!({"metadata": {"name": "a:b", "namespace": "n"}, "rules": [rule]});
        assert_eq!(
            said(kind(), role(json!({}))),
            [
                "rules[0].verbs: Required value: verbs must contain at least one value",
                "rules[0].apiGroups: Required value: resource rules must supply at least one api group",
                "rules[0].resources: Required value: resource rules must supply at least one resource",
            ]
        );
        assert_eq!(
            said(kind(), role(json!({"verbs": ["get"], "nonResourceURLs": ["/metrics"]}))),
            [
                r#"rules[0].nonResourceURLs: Invalid value: ["/metrics"]: namespaced rules cannot apply to non-resource URLs"#
            ]
        );
        let fine = json!({"verbs": ["*"], "apiGroups": [""], "resources": ["pods"]});
        assert_eq!(said(kind(), role(fine)), [""; 0]);
    }
}
