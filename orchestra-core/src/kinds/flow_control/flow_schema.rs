//! `FlowSchema`: which requests belong to which level.

use serde_json::json;

use super::{GROUP, conditions, fixed};
use crate::kind::Scope;
use crate::kinds::frame::cells::{self, column, list, number, text};
use crate::kinds::frame::check::{refuse, refuse_all, required, required_because};
use crate::kinds::frame::{Builtin, Fill, Generation, View};
use crate::kinds::meta;
use crate::violation::{Violation, Violations};

/// The greatest precedence, which is the least urgent.
const LAST: i64 = 10_000;
const VERBS: [&str; 11] =
    ["*", "create", "delete", "deletecollection", "get", "head", "list", "patch", "post", "update", "watch"];

pub(crate) fn kind() -> Builtin {
    Builtin::new(GROUP, "FlowSchema", "flowschemas", Scope::Cluster)
        .generation(Generation::Spec)
        .status(|| json!({}))
        .default(|schema| {
            let spec = schema.object("spec");
            if spec.get("matchingPrecedence").and_then(serde_json::Value::as_i64).unwrap_or_default() == 0 {
                spec.insert("matchingPrecedence".to_owned(), 1000.into());
            }
        })
        .validate(|schema, out| {
            validate(schema, out);
            fixed(out, schema, "FlowSchema");
            conditions(out, &schema.get("status").get("conditions"));
        })
        .validate_status(|new, _, out| conditions(out, &new.get("status").get("conditions")))
        .columns(vec![
            cells::name(),
            column("PriorityLevel", "string", "The level of its requests.", |schema, _| {
                text(schema, "/spec/priorityLevelConfiguration/name").into()
            }),
            column("MatchingPrecedence", "string", "Lower goes first.", |schema, _| {
                number(schema, "/spec/matchingPrecedence").into()
            }),
            column("DistinguisherMethod", "string", "What tells its flows apart.", |schema, _| {
                cells::or_none(text(schema, "/spec/distinguisherMethod/type")).into()
            }),
            cells::age(),
            column("MissingPL", "string", "Whether its level is missing.", |schema, _| {
                let dangling =
                    list(schema, "/status/conditions").iter().find(|c| text(c, "/type") == "Dangling");
                dangling.map_or("?", |condition| text(condition, "/status")).into()
            }),
        ])
}

fn validate(schema: &View, out: &mut Violations) {
    let spec = schema.get("spec");
    let precedence = spec.get("matchingPrecedence");
    let value = precedence.int().unwrap_or_default();
    if value <= 0 {
        out.push(Violation::invalid(precedence.path(), value, "must be a positive value"));
    }
    if value > LAST {
        refuse(out, &precedence, format!("must not be greater than {LAST}"));
    }
    if value == 1 && schema.get("metadata").get("name").text() != "exempt" {
        refuse(out, &precedence, "only the schema named 'exempt' may have matchingPrecedence 1");
    }
    let method = spec.get("distinguisherMethod");
    let kind = method.get("type");
    if method.is_set() && !matches!(kind.text(), "ByNamespace" | "ByUser") {
        out.push(Violation::not_supported(kind.path(), method.json(), &["ByNamespace", "ByUser"]));
    }
    let level = spec.get("priorityLevelConfiguration").get("name");
    if required_because(out, &level, "must reference a priority level") {
        refuse_all(out, &level, meta::subdomain(level.text()));
    }
    for rule in spec.get("rules").items() {
        required_because(out, &rule.get("subjects"), "subjects must contain at least one value");
        for one in rule.get("subjects").items() {
            subject(out, &one);
        }
        let (resources, paths) = (rule.get("resourceRules"), rule.get("nonResourceRules"));
        if resources.is_empty() && paths.is_empty() {
            let detail = "at least one of resourceRules and nonResourceRules has to be non-empty";
            out.push(Violation::required(rule.path(), detail));
        }
        for one in resources.items() {
            resource_rule(out, &one);
        }
        for one in paths.items() {
            path_rule(out, &one);
        }
    }
}

fn subject(out: &mut Violations, subject: &View) {
    const KINDS: [(&str, &str); 3] =
        [("Group", "group"), ("ServiceAccount", "serviceAccount"), ("User", "user")];
    let kind = subject.get("kind");
    let Some((_, field)) = KINDS.iter().find(|(name, _)| *name == kind.text()) else {
        return out.push(Violation::not_supported(
            kind.path(),
            kind.text(),
            &["Group", "ServiceAccount", "User"],
        ));
    };
    let own = subject.get(field);
    if own.is_set() {
        let name = own.get("name");
        let named = required(out, &name);
        if *field == "serviceAccount" {
            if named && name.text() != "*" {
                refuse_all(out, &name, meta::subdomain(name.text()));
            }
            let namespace = own.get("namespace");
            if required_because(out, &namespace, "must specify namespace for service account") {
                refuse_all(out, &namespace, meta::label(namespace.text()));
            }
        }
    } else {
        let detail = format!("{field} is required when subject kind is '{}'", kind.text());
        out.push(Violation::required(own.path(), detail));
    }
    for (other, field) in [("ServiceAccount", "serviceAccount"), ("User", "user"), ("Group", "group")] {
        let view = subject.get(field);
        if other != kind.text() && view.is_set() {
            let detail = format!("{field} is forbidden when subject kind is not '{other}'");
            out.push(Violation::forbidden(view.path(), detail));
        }
    }
}

fn has_star(list: &View) -> bool {
    list.items().any(|item| item.text() == "*")
}

fn verbs(out: &mut Violations, verbs: &View) {
    if verbs.is_empty() {
        out.push(Violation::required(verbs.path(), "verbs must contain at least one value"));
    } else if has_star(verbs) {
        if verbs.len() > 1 {
            refuse(out, verbs, "if '*' is present, must not specify other verbs");
        }
    } else if !verbs.items().all(|verb| VERBS.contains(&verb.text())) {
        out.push(Violation::not_supported(verbs.path(), verbs.json(), &VERBS));
    }
}

fn resource_rule(out: &mut Violations, rule: &View) {
    verbs(out, &rule.get("verbs"));
    for (field, one, many) in
        [("apiGroups", "api group", "api groups"), ("resources", "resource", "resources")]
    {
        let view = rule.get(field);
        if view.is_empty() {
            let detail = format!("resource rules must supply at least one {one}");
            out.push(Violation::required(view.path(), detail));
        } else if view.len() > 1 && has_star(&view) {
            refuse(out, &view, format!("if '*' is present, must not specify other {many}"));
        }
    }
    let namespaces = rule.get("namespaces");
    if namespaces.is_empty() {
        if !rule.get("clusterScope").flag() {
            let detail = "resource rules that are not cluster scoped must supply at least one namespace";
            out.push(Violation::required(namespaces.path(), detail));
        }
    } else if has_star(&namespaces) {
        if namespaces.len() > 1 {
            refuse(out, &namespaces, "if '*' is present, must not specify other namespaces");
        }
    } else {
        for namespace in namespaces.items() {
            for message in meta::label(namespace.text()) {
                let detail = format!("each member of this list must be '*' or a DNS-1123 label; {message}");
                refuse(out, &namespace, detail);
            }
        }
    }
}

fn path_rule(out: &mut Violations, rule: &View) {
    verbs(out, &rule.get("verbs"));
    let urls = rule.get("nonResourceURLs");
    if urls.is_empty() {
        out.push(Violation::required(urls.path(), "nonResourceURLs must contain at least one value"));
    } else if has_star(&urls) {
        if urls.len() > 1 {
            refuse(out, &urls, "if '*' is present, must not specify other non-resource URLs");
        }
    } else {
        for url in urls.items() {
            path(out, &url);
        }
    }
}

/// A path begins with a slash; a star ends it and stands for a segment of its own.
fn path(out: &mut Violations, url: &View) {
    let text = url.text();
    if text.is_empty() {
        refuse(out, url, "must not be empty");
    } else if text == "/" {
    } else if !text.starts_with('/') {
        refuse(out, url, "must start with slash");
    } else if text.contains(' ') {
        refuse(out, url, "must not contain white-space");
    } else if text.contains("//") {
        refuse(out, url, "must not contain double slash");
    } else if text.trim_end_matches("/*").contains('*') {
        refuse(out, url, "wildcard can only do suffix matching");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::kinds::frame::testing::{defaulted, said, served};

    fn schema(name: &str, rule: Value) -> Value {
        json!({"metadata": {"name": name}, "spec": {"priorityLevelConfiguration": {"name": "system"}, "rules": [rule]}})
    }

    #[test]
    fn a_schema_says_whose_requests_it_means() {
        let rule = json!({
            "subjects": [{"kind": "User", "user": {"name": "ann"}}],
            "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["/a/*"]}],
        });
        let whole = defaulted(kind(), schema("s", rule));
        assert_eq!(whole["spec"]["matchingPrecedence"], 1000);
        assert_eq!(said(kind(), whole.clone()), [""; 0]);
        assert_eq!(served(kind()).row(&whole, 0)[1..4], [json!("system"), json!(1000), json!("<none>")]);
        let rule = json!({
            "subjects": [{"kind": "User", "group": {"name": "g"}}],
            "resourceRules": [{"verbs": ["fly"], "apiGroups": [], "resources": ["*", "pods"]}],
        });
        assert_eq!(
            said(kind(), schema("s", rule)),
            [
                "spec.rules[0].subjects[0].user: Required value: user is required when subject kind is 'User'",
                "spec.rules[0].subjects[0].group: Forbidden: group is forbidden when subject kind is not 'Group'",
                r#"spec.rules[0].resourceRules[0].verbs: Unsupported value: ["fly"]: supported values: "*", "create", "delete", "deletecollection", "get", "head", "list", "patch", "post", "update", "watch""#,
                "spec.rules[0].resourceRules[0].apiGroups: Required value: resource rules must supply at least one api group",
                r#"spec.rules[0].resourceRules[0].resources: Invalid value: ["*","pods"]: if '*' is present, must not specify other resources"#,
                "spec.rules[0].resourceRules[0].namespaces: Required value: resource rules that are not cluster scoped must supply at least one namespace",
            ]
        );
    }

    #[test]
    fn what_must_be_stays_as_it_is() {
        let rule = json!({
            "subjects": [{"kind": "User", "user": {"name": "ann"}}],
            "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
        });
        let said = said(kind(), schema("catch-all", rule));
        assert!(said[0].ends_with("spec of 'catch-all' must equal the fixed value"), "{said:?}");
    }
}
