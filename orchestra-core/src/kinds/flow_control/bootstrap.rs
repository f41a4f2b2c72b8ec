//! The levels and schemas that upstream makes in every cluster: some must be, the others are suggested.

use serde_json::{Value, json};

/// A level that is limited.
struct Level {
    name: &'static str,
    shares: i64,
    lendable_percent: i64,
    /// How requests wait, where they do: in how many queues, of which so many are dealt to a flow. All hold 50.
    queues: Option<Queues>,
}

struct Queues {
    count: i64,
    hand: i64,
}

const LEVELS: [Level; 7] = [
    Level { name: "catch-all", shares: 5, lendable_percent: 0, queues: None },
    level("system", 30, 33, Queues { count: 64, hand: 6 }),
    level("node-high", 40, 25, Queues { count: 64, hand: 6 }),
    level("leader-election", 10, 0, Queues { count: 16, hand: 4 }),
    level("workload-high", 40, 50, Queues { count: 128, hand: 6 }),
    level("workload-low", 100, 90, Queues { count: 128, hand: 6 }),
    level("global-default", 20, 50, Queues { count: 128, hand: 6 }),
];

const fn level(name: &'static str, shares: i64, lendable_percent: i64, queues: Queues) -> Level {
    Level { name, shares, lendable_percent, queues: Some(queues) }
}

/// Every level and schema of a new cluster, as a client would create it.
pub fn objects() -> Vec<Value> {
    let levels =
        LEVELS.iter().map(|level| (level.name, "PriorityLevelConfiguration", level_spec(level.name)));
    let exempt = ("exempt", "PriorityLevelConfiguration", level_spec("exempt"));
    let schemas = SCHEMAS.iter().map(|schema| (schema.name, "FlowSchema", schema.spec()));
    std::iter::once(exempt)
        .chain(levels)
        .chain(schemas)
        .map(|(name, kind, spec)| {
            json!({
                "apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": kind,
                "metadata": {"name": name, "annotations": {"apf.kubernetes.io/autoupdate-spec": "true"}},
                "spec": spec,
            })
        })
        .collect()
}

/// The spec that an object of this kind and name must have, if it is one that must be.
pub(super) fn mandatory(kind: &str, name: &str) -> Option<Value> {
    match (kind, name) {
        // How much of the exempt level may be lent is for the administrator to say.
        ("PriorityLevelConfiguration", "catch-all") => Some(level_spec(name)),
        ("FlowSchema", "exempt" | "catch-all") => {
            SCHEMAS.iter().find(|schema| schema.name == name).map(Schema::spec)
        }
        _ => None,
    }
}

fn level_spec(name: &str) -> Value {
    let Some(level) = LEVELS.iter().find(|level| level.name == name) else {
        return json!({"type": "Exempt", "exempt": {"nominalConcurrencyShares": 0, "lendablePercent": 0}});
    };
    let response = match &level.queues {
        Some(Queues { count, hand }) => {
            json!({"type": "Queue", "queuing": {"queues": count, "handSize": hand, "queueLengthLimit": 50}})
        }
        None => json!({"type": "Reject"}),
    };
    json!({"type": "Limited", "limited": {
        "nominalConcurrencyShares": level.shares, "lendablePercent": level.lendable_percent,
        "limitResponse": response,
    }})
}

/// A schema with one rule.
struct Schema {
    name: &'static str,
    level: &'static str,
    precedence: i64,
    /// `ByUser` or `ByNamespace`; empty for none.
    distinguisher: &'static str,
    subjects: &'static [Subject],
    resources: &'static [Resources],
    paths: Option<Paths>,
}

/// Requests about objects.
struct Resources {
    verbs: &'static [&'static str],
    group: &'static str,
    resources: &'static [&'static str],
    /// Whether those of the whole cluster are meant, too.
    cluster_scope: bool,
}

/// Requests about other paths.
#[derive(Clone, Copy)]
struct Paths {
    verbs: &'static [&'static str],
    paths: &'static [&'static str],
}

enum Subject {
    Group(&'static str),
    User(&'static str),
    /// Any service account of `kube-system`.
    SystemAccounts,
}

const ALL: &[&str] = &["*"];
const EVERYTHING: &[Resources] = &[Resources { verbs: ALL, group: "*", resources: ALL, cluster_scope: true }];
const LEASES: &str = "coordination.k8s.io";
const EVERYBODY: &[Subject] =
    &[Subject::Group("system:unauthenticated"), Subject::Group("system:authenticated")];

const SCHEMAS: [Schema; 11] = [
    schema("exempt", "exempt", 1, "", &[Subject::Group("system:masters")]),
    schema("catch-all", "catch-all", 10_000, "ByUser", EVERYBODY),
    schema("system-nodes", "system", 500, "ByUser", &[Subject::Group("system:nodes")]),
    Schema {
        resources: &[
            Resources { verbs: ALL, group: "", resources: &["nodes", "nodes/status"], cluster_scope: true },
            Resources { verbs: ALL, group: LEASES, resources: &["leases"], cluster_scope: false },
        ],
        paths: None,
        ..schema("system-node-high", "node-high", 400, "ByUser", &[Subject::Group("system:nodes")])
    },
    Schema {
        resources: &[],
        paths: Some(Paths { verbs: &["get"], paths: &["/healthz", "/readyz", "/livez"] }),
        ..schema("probes", "exempt", 2, "", EVERYBODY)
    },
    Schema {
        resources: &[Resources {
            verbs: &["get", "create", "update"],
            group: LEASES,
            resources: &["leases"],
            cluster_scope: false,
        }],
        paths: None,
        ..schema(
            "system-leader-election",
            "leader-election",
            100,
            "ByUser",
            &[
                Subject::User("system:kube-controller-manager"),
                Subject::User("system:kube-scheduler"),
                Subject::SystemAccounts,
            ],
        )
    },
    schema(
        "kube-controller-manager",
        "workload-high",
        800,
        "ByNamespace",
        &[Subject::User("system:kube-controller-manager")],
    ),
    schema("kube-scheduler", "workload-high", 800, "ByNamespace", &[Subject::User("system:kube-scheduler")]),
    schema("kube-system-service-accounts", "workload-high", 900, "ByNamespace", &[Subject::SystemAccounts]),
    schema("service-accounts", "workload-low", 9_000, "ByUser", &[Subject::Group("system:serviceaccounts")]),
    schema("global-default", "global-default", 9_900, "ByUser", EVERYBODY),
];

/// A schema of everything these subjects do.
const fn schema(
    name: &'static str,
    level: &'static str,
    precedence: i64,
    distinguisher: &'static str,
    subjects: &'static [Subject],
) -> Schema {
    let paths = Some(Paths { verbs: ALL, paths: ALL });
    Schema { name, level, precedence, distinguisher, subjects, resources: EVERYTHING, paths }
}

impl Schema {
    fn spec(&self) -> Value {
        let mut rule = json!({ "subjects": self.subjects.iter().map(Subject::to_json).collect::<Vec<_>>() });
        let resources = self.resources.iter().map(|one| {
            let mut rule = json!({
                "verbs": one.verbs, "apiGroups": [one.group], "resources": one.resources, "namespaces": ["*"],
            });
            if one.cluster_scope {
                rule["clusterScope"] = true.into();
            }
            rule
        });
        if !self.resources.is_empty() {
            rule["resourceRules"] = resources.collect();
        }
        if let Some(Paths { verbs, paths }) = self.paths {
            rule["nonResourceRules"] = json!([{"verbs": verbs, "nonResourceURLs": paths}]);
        }
        let mut spec = json!({
            "priorityLevelConfiguration": {"name": self.level}, "matchingPrecedence": self.precedence,
            "rules": [rule],
        });
        if !self.distinguisher.is_empty() {
            spec["distinguisherMethod"] = json!({ "type": self.distinguisher });
        }
        spec
    }
}

impl Subject {
    fn to_json(&self) -> Value {
        match self {
            Self::Group(name) => json!({"kind": "Group", "group": {"name": name}}),
            Self::User(name) => json!({"kind": "User", "user": {"name": name}}),
            Self::SystemAccounts => {
                json!({"kind": "ServiceAccount", "serviceAccount": {"name": "*", "namespace": "kube-system"}})
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::frame::testing::said;

    #[test]
    fn everything_a_cluster_begins_with_is_valid() {
        let all = objects();
        assert_eq!(all.len(), 8 + 11);
        for mut object in all {
            let is_level = object["kind"] == "PriorityLevelConfiguration";
            let kind = if is_level { super::super::priority_level() } else { super::super::flow_schema() };
            let shown = object["metadata"]["name"].clone();
            object.as_object_mut().unwrap().remove("status");
            assert_eq!(said(kind, object), [""; 0], "{shown}");
        }
    }
}
