//! The roles that hold in one namespace, and who has them.

use serde_json::{Value, json};

use super::{GROUP, Subject, metadata};

const SYSTEM: &str = "kube-system";
const PUBLIC: &str = "kube-public";
const READ: &[&str] = &["get", "list", "watch"];

/// Group, resource, verbs, and the names it is about, where it is not about all.
type Rule = (&'static str, &'static str, &'static [&'static str], &'static [&'static str]);

/// A role with one rule for each resource, and a binding to it.
struct Grant {
    namespace: &'static str,
    role: &'static str,
    rules: &'static [Rule],
    binding: &'static str,
    subjects: &'static [Subject<'static>],
}

const EVENTS: &[&str] = &["create", "patch", "update"];

const GRANTS: [Grant; 7] = [
    Grant {
        namespace: SYSTEM,
        role: "extension-apiserver-authentication-reader",
        rules: &[("", "configmaps", READ, &["extension-apiserver-authentication"])],
        binding: "system::extension-apiserver-authentication-reader",
        subjects: &[Subject::User("system:kube-controller-manager"), Subject::User("system:kube-scheduler")],
    },
    Grant {
        namespace: SYSTEM,
        role: "system::leader-locking-kube-controller-manager",
        rules: &[
            ("", "configmaps", &["watch"], &[]),
            ("", "configmaps", &["get", "update"], &["kube-controller-manager"]),
        ],
        binding: "system::leader-locking-kube-controller-manager",
        subjects: &[
            Subject::User("system:kube-controller-manager"),
            Subject::ServiceAccount(SYSTEM, "kube-controller-manager"),
        ],
    },
    Grant {
        namespace: SYSTEM,
        role: "system::leader-locking-kube-scheduler",
        rules: &[
            ("", "configmaps", &["watch"], &[]),
            ("", "configmaps", &["get", "update"], &["kube-scheduler"]),
        ],
        binding: "system::leader-locking-kube-scheduler",
        subjects: &[
            Subject::User("system:kube-scheduler"),
            Subject::ServiceAccount(SYSTEM, "kube-scheduler"),
        ],
    },
    Grant {
        namespace: SYSTEM,
        role: "system:controller:bootstrap-signer",
        rules: &[("", "secrets", READ, &[])],
        binding: "system:controller:bootstrap-signer",
        subjects: &[Subject::ServiceAccount(SYSTEM, "bootstrap-signer")],
    },
    Grant {
        namespace: SYSTEM,
        role: "system:controller:cloud-provider",
        rules: &[("", "configmaps", &["create", "get", "list", "watch"], &[])],
        binding: "system:controller:cloud-provider",
        subjects: &[Subject::ServiceAccount(SYSTEM, "cloud-provider")],
    },
    Grant {
        namespace: SYSTEM,
        role: "system:controller:token-cleaner",
        rules: &[
            ("", "secrets", &["delete", "get", "list", "watch"], &[]),
            ("", "events", EVENTS, &[]),
            ("events.k8s.io", "events", EVENTS, &[]),
        ],
        binding: "system:controller:token-cleaner",
        subjects: &[Subject::ServiceAccount(SYSTEM, "token-cleaner")],
    },
    Grant {
        namespace: PUBLIC,
        role: "system:controller:bootstrap-signer",
        rules: &[
            ("", "configmaps", READ, &[]),
            ("", "configmaps", &["update"], &["cluster-info"]),
            ("", "events", EVENTS, &[]),
            ("events.k8s.io", "events", EVENTS, &[]),
        ],
        binding: "system:controller:bootstrap-signer",
        subjects: &[Subject::ServiceAccount(SYSTEM, "bootstrap-signer")],
    },
];

/// All of them.
pub(super) fn objects() -> impl Iterator<Item = Value> {
    GRANTS.iter().flat_map(|grant| [role(grant), binding(grant)])
}

fn within(grant: &Grant, name: &str) -> Value {
    let mut metadata = metadata(name, &[]);
    metadata["namespace"] = grant.namespace.into();
    metadata
}

fn role(grant: &Grant) -> Value {
    let rules = grant.rules.iter().map(|(group, resource, verbs, names)| {
        let mut rule = json!({"apiGroups": [group], "resources": [resource], "verbs": verbs});
        if !names.is_empty() {
            rule["resourceNames"] = json!(names);
        }
        rule
    });
    let rules: Vec<Value> = rules.collect();
    json!({
        "apiVersion": format!("{GROUP}/v1"), "kind": "Role",
        "metadata": within(grant, grant.role), "rules": rules,
    })
}

fn binding(grant: &Grant) -> Value {
    let subjects: Vec<Value> = grant.subjects.iter().map(|subject| subject.object()).collect();
    json!({
        "apiVersion": format!("{GROUP}/v1"), "kind": "RoleBinding",
        "metadata": within(grant, grant.binding), "subjects": subjects,
        "roleRef": {"apiGroup": GROUP, "kind": "Role", "name": grant.role},
    })
}
