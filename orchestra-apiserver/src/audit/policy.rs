//! What is told of which request: `audit.k8s.io/v1` Policy.
//!
//! The first rule that a request meets decides, as upstream's `pkg/audit/policy/checker.go` has it; what meets none is not told.

use serde::{Deserialize, Serialize};

use crate::auth::User;
use crate::request::RequestInfo;

/// How much of a request is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum AuditLevel {
    /// Nothing.
    None,
    /// Who, what, when, and how it ended.
    Metadata,
    /// That, and what was sent.
    Request,
    /// That, and what was answered.
    RequestResponse,
}

impl AuditLevel {
    pub(crate) const ALL: [Self; 4] = [Self::None, Self::Metadata, Self::Request, Self::RequestResponse];

    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Metadata => "Metadata",
            Self::Request => "Request",
            Self::RequestResponse => "RequestResponse",
        }
    }
}

/// When it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AuditStage {
    /// It is known who asks.
    RequestReceived,
    /// Of what stays open: it was opened.
    ResponseStarted,
    /// The answer is complete.
    ResponseComplete,
    /// The handler failed as it never should.
    Panic,
}

impl AuditStage {
    pub(crate) const ALL: [Self; 4] =
        [Self::RequestReceived, Self::ResponseStarted, Self::ResponseComplete, Self::Panic];

    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RequestReceived => "RequestReceived",
            Self::ResponseStarted => "ResponseStarted",
            Self::ResponseComplete => "ResponseComplete",
            Self::Panic => "Panic",
        }
    }
}

/// Rules in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditPolicy {
    pub(super) rules: Vec<Rule>,
    pub(super) omit_stages: Vec<AuditStage>,
    pub(super) omit_managed_fields: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) level: AuditLevel,
    pub(super) users: Vec<String>,
    pub(super) user_groups: Vec<String>,
    pub(super) verbs: Vec<String>,
    pub(super) resources: Vec<GroupResources>,
    pub(super) namespaces: Vec<String>,
    pub(super) non_resource_urls: Vec<String>,
    pub(super) omit_stages: Vec<AuditStage>,
    pub(super) omit_managed_fields: Option<bool>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct GroupResources {
    pub(super) group: String,
    pub(super) resources: Vec<String>,
    pub(super) resource_names: Vec<String>,
}

/// What the policy says of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Telling {
    pub(super) level: AuditLevel,
    pub(super) omit_stages: Vec<AuditStage>,
    pub(super) omit_managed_fields: bool,
}

/// What a request is judged by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attributes<'a> {
    pub(super) user: Option<&'a User>,
    pub(super) verb: &'a str,
    pub(super) path: &'a str,
    pub(super) info: &'a RequestInfo,
}

impl AuditPolicy {
    /// Tells of every request who, what, when, and how it ended.
    pub fn metadata() -> Self {
        let rule = Rule {
            level: AuditLevel::Metadata,
            users: Vec::new(),
            user_groups: Vec::new(),
            verbs: Vec::new(),
            resources: Vec::new(),
            namespaces: Vec::new(),
            non_resource_urls: Vec::new(),
            omit_stages: Vec::new(),
            omit_managed_fields: None,
        };
        Self { rules: vec![rule], ..Self::default() }
    }

    pub(super) fn of(&self, request: Attributes<'_>) -> Telling {
        let Some(rule) = self.rules.iter().find(|rule| rule.matches(request)) else {
            return Telling {
                level: AuditLevel::None,
                omit_stages: self.omit_stages.clone(),
                omit_managed_fields: self.omit_managed_fields,
            };
        };
        Telling {
            level: rule.level,
            omit_stages: self.omit_stages.iter().chain(&rule.omit_stages).copied().collect(),
            omit_managed_fields: rule.omit_managed_fields.unwrap_or(self.omit_managed_fields),
        }
    }
}

fn has(list: &[String], text: &str) -> bool {
    list.iter().any(|entry| entry == text)
}

impl Rule {
    fn matches(&self, request: Attributes<'_>) -> bool {
        if !self.users.is_empty() && !request.user.is_some_and(|user| has(&self.users, &user.name)) {
            return false;
        }
        let in_group = |user: &User| user.groups.iter().any(|group| has(&self.user_groups, group));
        if !self.user_groups.is_empty() && !request.user.is_some_and(in_group) {
            return false;
        }
        if !self.verbs.is_empty() && !has(&self.verbs, request.verb) {
            return false;
        }
        if !self.namespaces.is_empty() || !self.resources.is_empty() {
            return self.matches_resource(request.info);
        }
        if !self.non_resource_urls.is_empty() {
            return matches!(request.info, RequestInfo::NonResource(_))
                && self.non_resource_urls.iter().any(|spec| path_matches(request.path, spec));
        }
        true
    }

    fn matches_resource(&self, info: &RequestInfo) -> bool {
        let RequestInfo::Resource(request) = info else { return false };
        // What lies in no namespace is in the empty one.
        let namespace = request.namespace.as_deref().unwrap_or_default();
        if !self.namespaces.is_empty() && !has(&self.namespaces, namespace) {
            return false;
        }
        let subresource = request.subresource.as_deref().unwrap_or_default();
        let name = request.name.as_deref().unwrap_or_default();
        self.resources.is_empty()
            || self.resources.iter().any(|entry| {
                entry.group == request.gv.group
                    && (entry.resources.is_empty()
                        || (entry.resource_names.is_empty() || has(&entry.resource_names, name))
                            && entry
                                .resources
                                .iter()
                                .any(|spec| resource_matches(spec, &request.resource, subresource)))
            })
    }
}

/// `pods`, `pods/log`, `*`, `*/scale`, `pods/*`.
fn resource_matches(spec: &str, resource: &str, subresource: &str) -> bool {
    if spec == "*" {
        return true;
    }
    match spec.split_once('/') {
        None => subresource.is_empty() && spec == resource,
        Some(("*", below)) => !subresource.is_empty() && below == subresource,
        Some((of, "*")) => of == resource,
        Some((of, below)) => of == resource && below == subresource,
    }
}

fn path_matches(path: &str, spec: &str) -> bool {
    spec == "*" || spec == path || spec.ends_with('*') && path.starts_with(spec.trim_end_matches('*'))
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;
    use crate::query::Query;

    fn level(policy: &AuditPolicy, user: &User, verb: &str, path: &str) -> &'static str {
        let info = RequestInfo::parse(&Method::GET, path, &Query::default()).unwrap();
        policy.of(Attributes { user: Some(user), verb, path, info: &info }).level.as_str()
    }

    #[test]
    fn the_first_rule_that_a_request_meets_decides() {
        let policy = AuditPolicy::parse(
            "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n\
             - {level: None, users: ['system:kube-proxy'], verbs: [watch]}\n\
             - {level: None, nonResourceURLs: ['/healthz*', /version]}\n\
             - {level: Metadata, resources: [{group: '', resources: [secrets, 'pods/*']}]}\n\
             - {level: Request, namespaces: [kube-system]}\n\
             - {level: RequestResponse, resources: [{group: '', resources: [configmaps], resourceNames: [a]}]}\n\
             - {level: Request, resources: [{group: apps}, {group: '', resources: ['*/status']}]}\n\
             - {level: Metadata, userGroups: [auditors]}\n",
        )
        .unwrap();
        let (jane, proxy) = (User::new("jane", []), User::new("system:kube-proxy", []));
        let auditor = User::new("ann", ["auditors".to_owned()]);
        for (user, verb, path, expected) in [
            (&proxy, "watch", "/api/v1/pods", "None"),
            (&proxy, "get", "/api/v1/namespaces/kube-system/services/s", "Request"),
            (&jane, "get", "/healthz/etcd", "None"),
            (&auditor, "get", "/version", "None"),
            (&auditor, "get", "/versions", "Metadata"),
            (&jane, "get", "/api/v1/namespaces/a/secrets/s", "Metadata"),
            (&jane, "get", "/api/v1/namespaces/a/pods/p/log", "Metadata"),
            (&jane, "get", "/api/v1/namespaces/a/pods/p", "Metadata"),
            (&jane, "get", "/api/v1/namespaces/a/configmaps/a", "RequestResponse"),
            (&jane, "get", "/api/v1/namespaces/a/configmaps/b", "None"),
            (&jane, "get", "/apis/apps/v1/deployments", "Request"),
            (&jane, "get", "/api/v1/nodes/n/status", "Request"),
            (&jane, "get", "/api/v1/nodes/n", "None"),
            (&auditor, "get", "/api/v1/nodes/n", "Metadata"),
        ] {
            assert_eq!(level(&policy, user, verb, path), expected, "{} {verb} {path}", user.name);
        }
    }
}
