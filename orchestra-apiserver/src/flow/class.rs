//! Which flow schema a request is of, and which level of priority that gives it: clients are told, as upstream tells them.
//!
//! After `pkg/util/flowcontrol/rule.go` of upstream's apiserver. Levels bound nothing here: see [`Flow`](super::Flow).

use std::collections::HashMap;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};
use k8s_openapi::api::flowcontrol::v1::{
    FlowSchema, NonResourcePolicyRule, PolicyRulesWithSubjects, PriorityLevelConfiguration,
    ResourcePolicyRule, Subject,
};
use orchestra_core::gvk::GroupVersion;
use serde_json::Value;

use crate::admission::followed::Followed;
use crate::auth::User;
use crate::cache::feed::Feed;
use crate::catalog::Catalog;
use crate::request::{RequestInfo, ResourceRequest};

const GROUP: GroupVersion = GroupVersion::new("flowcontrol.apiserver.k8s.io", "v1");
const SCHEMA: HeaderName = HeaderName::from_static("x-kubernetes-pf-flowschema-uid");
const LEVEL: HeaderName = HeaderName::from_static("x-kubernetes-pf-prioritylevel-uid");
const ALL: &str = "*";

/// What a request is of.
#[derive(Debug)]
pub(crate) struct Class {
    schema: HeaderValue,
    level: Option<HeaderValue>,
}

impl Class {
    /// Tells the client.
    pub(crate) fn tell(self, headers: &mut HeaderMap) {
        headers.insert(SCHEMA, self.schema);
        if let Some(level) = self.level {
            headers.insert(LEVEL, level);
        }
    }
}

/// All schemas and levels, as they are at the moment.
#[derive(Debug)]
pub(crate) struct Classes {
    schemas: Followed<Vec<Schema>>,
    levels: Followed<HashMap<String, HeaderValue>>,
}

/// A flow schema, ready to be compared with requests.
#[derive(Debug)]
struct Schema {
    uid: HeaderValue,
    level: String,
    rules: Vec<PolicyRulesWithSubjects>,
}

impl Classes {
    /// `None` when a registry of one's own does not serve them.
    pub(crate) fn new(feed: &Arc<Feed>, catalog: &Catalog) -> Option<Self> {
        Some(Self {
            schemas: Followed::new(feed, catalog, &GROUP, "flowschemas")?,
            levels: Followed::new(feed, catalog, &GROUP, "prioritylevelconfigurations")?,
        })
    }

    /// What a request is of; `None` when no schema matches, or none can be read at the moment.
    pub(crate) async fn find(
        &self,
        user: &User,
        verb: &str,
        info: &RequestInfo,
        path: &str,
    ) -> Option<Class> {
        let unread = |problem| tracing::debug!(%problem, "a request is of no flow schema");
        let schemas = self.schemas.get(arranged).await.map_err(unread).ok()?;
        let schema = schemas
            .iter()
            .find(|schema| schema.rules.iter().any(|rule| matches(rule, user, verb, info, path)))?;
        let levels = self.levels.get(by_name).await.map_err(unread).ok()?;
        Some(Class { schema: schema.uid.clone(), level: levels.get(&schema.level).cloned() })
    }
}

/// Schemas in the order in which they are tried.
fn arranged(objects: Vec<Value>) -> Vec<Schema> {
    let read = objects.into_iter().filter_map(|object| serde_json::from_value::<FlowSchema>(object).ok());
    let mut all: Vec<(i32, String, Schema)> = read
        .filter_map(|object| {
            let spec = object.spec?;
            let uid = HeaderValue::try_from(object.metadata.uid?).ok()?;
            let (level, rules) = (spec.priority_level_configuration.name, spec.rules.unwrap_or_default());
            // As upstream's default.
            let precedence = spec.matching_precedence.unwrap_or(1000);
            Some((precedence, object.metadata.name?, Schema { uid, level, rules }))
        })
        .collect();
    all.sort_by(|(a, name, _), (b, other, _)| a.cmp(b).then_with(|| name.cmp(other)));
    all.into_iter().map(|(.., schema)| schema).collect()
}

fn by_name(objects: Vec<Value>) -> HashMap<String, HeaderValue> {
    let read = objects
        .into_iter()
        .filter_map(|object| serde_json::from_value::<PriorityLevelConfiguration>(object).ok());
    read.filter_map(|object| Some((object.metadata.name?, HeaderValue::try_from(object.metadata.uid?).ok()?)))
        .collect()
}

fn matches(rule: &PolicyRulesWithSubjects, user: &User, verb: &str, info: &RequestInfo, path: &str) -> bool {
    rule.subjects.iter().any(|subject| is_meant(subject, user))
        && match info {
            RequestInfo::Resource(request) => {
                rule.resource_rules.iter().flatten().any(|rule| is_about(rule, verb, request))
            }
            RequestInfo::NonResource(_) => {
                rule.non_resource_rules.iter().flatten().any(|rule| leads_to(rule, verb, path))
            }
        }
}

fn is_meant(subject: &Subject, user: &User) -> bool {
    if let Some(meant) = &subject.user {
        return meant.name == ALL || meant.name == user.name;
    }
    if let Some(meant) = &subject.group {
        return meant.name == ALL || user.is_in(&meant.name);
    }
    let Some(meant) = &subject.service_account else { return false };
    let account = user.name.strip_prefix("system:serviceaccount:").and_then(|rest| rest.split_once(':'));
    account.is_some_and(|(namespace, name)| {
        namespace == meant.namespace && (meant.name == ALL || meant.name == name)
    })
}

fn has(list: &[String], wanted: &str) -> bool {
    list.iter().any(|entry| entry == ALL || entry == wanted)
}

fn is_about(rule: &ResourcePolicyRule, verb: &str, request: &ResourceRequest) -> bool {
    let is_place = match &request.namespace {
        Some(namespace) => has(rule.namespaces.as_deref().unwrap_or_default(), namespace),
        None => rule.cluster_scope == Some(true),
    };
    let is_resource = || match &request.subresource {
        Some(below) => has(&rule.resources, &format!("{}/{below}", request.resource)),
        None => has(&rule.resources, &request.resource),
    };
    is_place && has(&rule.verbs, verb) && has(&rule.api_groups, &request.gv.group) && is_resource()
}

fn leads_to(rule: &NonResourcePolicyRule, verb: &str, path: &str) -> bool {
    let fits = |pattern: &String| match pattern.strip_suffix('*') {
        Some(start) => path.starts_with(start),
        None => pattern == path,
    };
    has(&rule.verbs, verb) && rule.non_resource_urls.iter().any(fits)
}

#[cfg(test)]
mod tests {
    use http::Method;
    use serde_json::json;

    use super::*;
    use crate::query::Query;

    fn schema(name: &str, precedence: i32, rule: Value) -> Value {
        json!({"apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": "FlowSchema",
            "metadata": {"name": name, "uid": name},
            "spec": {"matchingPrecedence": precedence, "priorityLevelConfiguration": {"name": "l"}, "rules": [rule]}})
    }

    fn found(schemas: &[Schema], user: &User, verb: &str, path: &str) -> String {
        let method = if verb == "create" { Method::POST } else { Method::GET };
        let info = RequestInfo::parse(&method, path, &Query::default()).unwrap();
        let found = schemas
            .iter()
            .find(|schema| schema.rules.iter().any(|rule| matches(rule, user, verb, &info, path)));
        found.map_or("none", |schema| schema.uid.to_str().unwrap()).to_owned()
    }

    #[test]
    fn the_first_schema_that_fits_is_the_requests() {
        let any = |namespaces: Value, scope: bool| json!([{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": namespaces, "clusterScope": scope}]);
        let group = |name: &str| json!([{"kind": "Group", "group": {"name": name}}]);
        let schemas = arranged(vec![
            schema(
                "rest",
                9000,
                json!({"subjects": group("*"), "resourceRules": any(json!(["*"]), true),
                "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}]}),
            ),
            schema(
                "health",
                20,
                json!({"subjects": group("testers"),
                "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": ["/healthz", "/logs/*"]}]}),
            ),
            schema(
                "accounts",
                30,
                json!({"resourceRules": any(json!(["a"]), false),
                "subjects": [{"kind": "ServiceAccount", "serviceAccount": {"namespace": "a", "name": "*"}}]}),
            ),
            schema(
                "b-jane",
                10,
                json!({"subjects": [{"kind": "User", "user": {"name": "jane"}}],
                "resourceRules": [{"verbs": ["create"], "apiGroups": [""], "resources": ["pods/eviction"],
                    "namespaces": ["*"]}]}),
            ),
            schema(
                "a-jane",
                10,
                json!({"subjects": [{"kind": "User", "user": {"name": "jane"}}],
                "resourceRules": [{"verbs": ["create"], "apiGroups": [""], "resources": ["*"], "namespaces": ["x"]}]}),
            ),
        ]);
        let jane = User::new("jane", ["testers".to_owned()]);
        let account = User::new("system:serviceaccount:a:b", []);
        for (user, verb, path, wanted) in [
            (&jane, "get", "/healthz", "health"),
            (&jane, "get", "/logs/x", "health"),
            (&jane, "get", "/healthz/x", "rest"),
            (&jane, "create", "/api/v1/namespaces/x/pods/p/eviction", "a-jane"),
            (&jane, "create", "/api/v1/namespaces/y/pods/p/eviction", "b-jane"),
            (&jane, "create", "/api/v1/namespaces/y/pods", "rest"),
            (&account, "list", "/api/v1/namespaces/a/pods", "accounts"),
            (&account, "list", "/api/v1/namespaces/b/pods", "rest"),
            (&account, "list", "/api/v1/nodes", "rest"),
        ] {
            assert_eq!(found(&schemas, user, verb, path), wanted, "{} {verb} {path}", user.name);
        }
        assert_eq!(found(&schemas[..1], &account, "list", "/api/v1/nodes"), "none");
    }
}
