//! The roles and bindings every cluster has, after upstream's `bootstrappolicy`.
//!
//! They are kept right at every start: what somebody took away from one of them comes back, what was added stays, unless the
//! object says `rbac.authorization.kubernetes.io/autoupdate: "false"`.

mod controllers;
mod namespaced;
#[cfg(test)]
mod tests;

use serde_json::{Value, json};

use super::GROUP;
use super::rule::{Rule, missing};

/// Roles as a table; the format is described at its head.
const ROLES: &str = include_str!("roles.txt");

const AUTO_UPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";

/// Cluster roles, and who holds each by a binding of the same name.
const BINDINGS: &[(&str, &[Subject<'static>])] = &[
    ("cluster-admin", &[Subject::Group("system:masters")]),
    ("system:basic-user", &[Subject::Group("system:authenticated")]),
    ("system:discovery", &[Subject::Group("system:authenticated")]),
    ("system:kube-controller-manager", &[Subject::User("system:kube-controller-manager")]),
    ("system:kube-dns", &[Subject::ServiceAccount("kube-system", "kube-dns")]),
    ("system:kube-scheduler", &[Subject::User("system:kube-scheduler")]),
    ("system:monitoring", &[Subject::Group("system:monitoring")]),
    // Nodes are let in by an authorizer of their own.
    ("system:node", &[]),
    ("system:node-proxier", &[Subject::User("system:kube-proxy")]),
    (
        "system:public-info-viewer",
        &[Subject::Group("system:authenticated"), Subject::Group("system:unauthenticated")],
    ),
    ("system:service-account-issuer-discovery", &[Subject::Group("system:serviceaccounts")]),
    ("system:volume-scheduler", &[Subject::User("system:kube-scheduler")]),
];

#[derive(Clone, Copy, Debug)]
enum Subject<'a> {
    User(&'a str),
    Group(&'a str),
    /// A namespace, and a name there.
    ServiceAccount(&'a str, &'a str),
}

impl Subject<'_> {
    fn object(self) -> Value {
        match self {
            Self::User(name) => json!({"apiGroup": GROUP, "kind": "User", "name": name}),
            Self::Group(name) => json!({"apiGroup": GROUP, "kind": "Group", "name": name}),
            Self::ServiceAccount(namespace, name) => {
                json!({"kind": "ServiceAccount", "name": name, "namespace": namespace})
            }
        }
    }
}

/// All of them, as they are made in an empty cluster.
pub(crate) fn objects() -> Vec<Value> {
    let mut objects = roles(ROLES);
    objects.extend(BINDINGS.iter().map(|(name, subjects)| binding(name, subjects)));
    objects.extend(controllers::objects());
    objects.extend(namespaced::objects());
    objects
}

/// Gives `subjects` the cluster role of the binding's own name.
fn binding(name: &str, subjects: &[Subject<'_>]) -> Value {
    let subjects: Vec<Value> = subjects.iter().map(|subject| subject.object()).collect();
    let mut binding = json!({
        "apiVersion": format!("{GROUP}/v1"), "kind": "ClusterRoleBinding",
        "metadata": metadata(name, &[]),
        "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": name},
    });
    if !subjects.is_empty() {
        binding["subjects"] = subjects.into();
    }
    binding
}

/// Lets whoever may see a namespace see what its pods use, where this server knows; the role that metrics-server brings.
pub(crate) fn metrics_reader() -> Value {
    let rule = json!({"apiGroups": ["metrics.k8s.io"], "resources": ["pods", "nodes"], "verbs": ["get", "list", "watch"]});
    json!({
        "apiVersion": format!("{GROUP}/v1"), "kind": "ClusterRole",
        "metadata": metadata("system:aggregated-metrics-reader", &["admin", "edit", "view"]), "rules": [rule],
    })
}

/// What one of the roles allows.
pub(crate) fn rules_of(role: &str) -> Vec<Rule> {
    let roles = roles(ROLES);
    let found = roles.iter().find(|object| object["metadata"]["name"] == role);
    let rules = found.and_then(|role| role["rules"].as_array()).into_iter().flatten();
    rules.filter_map(|rule| serde_json::from_value(rule.clone()).ok()).collect()
}

/// What `stored` lacks of `wanted` put into it; `None` when nothing is to be done.
pub(crate) fn reconciled(stored: &Value, wanted: &Value) -> Option<Value> {
    let annotations = stored.pointer("/metadata/annotations");
    if annotations.and_then(|annotations| annotations.get(AUTO_UPDATE)).and_then(Value::as_str)
        == Some("false")
    {
        return None;
    }
    let mut next = stored.clone();
    for at in ["labels", "annotations"] {
        let Some(wanted) = wanted.pointer(&format!("/metadata/{at}")).and_then(Value::as_object) else {
            continue;
        };
        for (key, value) in wanted {
            next["metadata"][at][key] = value.clone();
        }
    }
    // The rules of a role that gathers others' are made by those others.
    if wanted.get("aggregationRule").is_none_or(Value::is_null) {
        add_rules(&mut next, wanted);
    } else if next.get("aggregationRule").is_none_or(Value::is_null) {
        next["aggregationRule"] = wanted["aggregationRule"].clone();
    }
    if let Some(subjects) = wanted.get("subjects").and_then(Value::as_array) {
        add_missing(&mut next["subjects"], subjects);
    }
    (next != *stored).then_some(next)
}

fn add_rules(next: &mut Value, wanted: &Value) {
    let rules = |role: &Value| -> Vec<Rule> {
        let rules = role.get("rules").and_then(Value::as_array).into_iter().flatten();
        rules.filter_map(|rule| serde_json::from_value(rule.clone()).ok()).collect()
    };
    let lacking = missing(&rules(next), &rules(wanted));
    let lacking: Vec<Value> = lacking.iter().map(|rule| json!(rule)).collect();
    add_missing(&mut next["rules"], &lacking);
}

fn add_missing(list: &mut Value, wanted: &[Value]) {
    if wanted.is_empty() {
        return;
    }
    if !list.is_array() {
        *list = json!([]);
    }
    if let Some(list) = list.as_array_mut() {
        for one in wanted {
            if !list.contains(one) {
                list.push(one.clone());
            }
        }
    }
}

fn metadata(name: &str, gathered_by: &[&str]) -> Value {
    let mut labels = json!({"kubernetes.io/bootstrapping": "rbac-defaults"});
    for label in gathered_by {
        labels[aggregate_label(label)] = "true".into();
    }
    json!({"name": name, "labels": labels, "annotations": {AUTO_UPDATE: "true"}})
}

fn aggregate_label(to: &str) -> String {
    format!("rbac.authorization.k8s.io/aggregate-to-{to}")
}

/// Reads the table.
fn roles(table: &str) -> Vec<Value> {
    let mut roles: Vec<Value> = Vec::new();
    for line in table.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match (words.as_slice(), roles.last_mut()) {
            (["role", name, labels @ ..], _) => {
                let labels: Vec<&str> = labels.iter().map(|label| label.trim_start_matches('+')).collect();
                roles.push(json!({
                    "apiVersion": format!("{GROUP}/v1"), "kind": "ClusterRole",
                    "metadata": metadata(name, &labels), "rules": null,
                }));
            }
            (["gathers", to], Some(role)) => {
                let selector = json!({"matchLabels": {aggregate_label(to): "true"}});
                role["aggregationRule"] = json!({"clusterRoleSelectors": [selector]});
            }
            (["paths", paths, verbs], Some(role)) => {
                add_missing(
                    &mut role["rules"],
                    &[json!({"nonResourceURLs": list(paths), "verbs": verbs_of(verbs)})],
                );
            }
            ([groups, resources, verbs, names @ ..], Some(role)) => {
                let mut rule = json!({"apiGroups": list(groups), "resources": list(resources), "verbs": verbs_of(verbs)});
                if let ["only", names] = names {
                    rule["resourceNames"] = json!(list(names));
                }
                add_missing(&mut role["rules"], &[rule]);
            }
            // The table is part of the program, and a test reads all of it.
            _ => debug_assert!(false, "not a line of the table: {line}"),
        }
    }
    gather(&mut roles);
    roles
}

/// Gives the roles that gather others' rules those rules, so that they count from the first moment; later the controller of
/// aggregated roles keeps them right.
fn gather(roles: &mut [Value]) {
    let selected = |role: &Value, by: &Value| {
        let wanted =
            by.pointer("/aggregationRule/clusterRoleSelectors/0/matchLabels").and_then(Value::as_object);
        wanted.is_some_and(|wanted| {
            wanted
                .iter()
                .all(|(key, value)| role.pointer("/metadata/labels").and_then(|l| l.get(key)) == Some(value))
        })
    };
    // Each gathers from another that gathers: as many rounds as there can be steps.
    for _ in 0..3 {
        let known = roles.to_vec();
        for role in roles.iter_mut().filter(|role| role.get("aggregationRule").is_some()) {
            let selected = known.iter().filter(|from| selected(from, role));
            let rules: Vec<Value> =
                selected.filter_map(|from| from["rules"].as_array()).flatten().cloned().collect();
            add_missing(&mut role["rules"], &rules);
        }
    }
}

fn list(words: &str) -> Vec<&str> {
    words.split(',').map(|word| if word == "-" { "" } else { word }).collect()
}

fn verbs_of(words: &str) -> Vec<&str> {
    match words {
        "R" => vec!["get", "list", "watch"],
        "W" => vec!["create", "delete", "deletecollection", "patch", "update"],
        words => words.split(',').collect(),
    }
}
