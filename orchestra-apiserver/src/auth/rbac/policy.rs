//! All roles and bindings, arranged by who holds them.

use std::collections::HashMap;
use std::sync::Arc;

use serde::Deserialize;

use super::rule::Rule;
use crate::auth::User;
use crate::auth::authorize::{AccessRequest, Decision, RuleSet};
use crate::request::RequestInfo;

/// What matters of a `Role` or `ClusterRole`.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct RoleDocument {
    metadata: Named,
    #[serde(default)]
    rules: Option<Vec<Rule>>,
}

/// What matters of a `RoleBinding` or `ClusterRoleBinding`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BindingDocument {
    metadata: Named,
    role_ref: RoleRef,
    #[serde(default)]
    subjects: Option<Vec<Subject>>,
}

#[derive(Clone, Debug, Deserialize)]
struct Named {
    name: String,
    #[serde(default)]
    namespace: String,
}

#[derive(Clone, Debug, Deserialize)]
struct RoleRef {
    kind: String,
    name: String,
}

#[derive(Clone, Debug, Deserialize)]
struct Subject {
    kind: String,
    name: String,
    #[serde(default)]
    namespace: String,
}

/// Where a role lives: a namespace, or `""` for the whole cluster; and its name.
type RoleKey = (String, String);

/// Whoever a binding names, by the name that a request carries.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Holder {
    User(String),
    Group(String),
}

/// A role given to somebody, in a namespace or, with `""`, everywhere.
#[derive(Debug)]
struct Grant {
    binding: String,
    namespace: String,
    /// `Role` or `ClusterRole`.
    kind: String,
    role: RoleKey,
    /// For people: `User "jane"`.
    to: String,
}

/// Who may do what.
#[derive(Debug, Default)]
pub(crate) struct Policy {
    roles: HashMap<RoleKey, Arc<[Rule]>>,
    grants: HashMap<Holder, Vec<Arc<Grant>>>,
}

impl Policy {
    /// Arranges roles and bindings.
    pub(crate) fn new(
        roles: impl IntoIterator<Item = RoleDocument>,
        bindings: impl IntoIterator<Item = BindingDocument>,
    ) -> Self {
        let mut policy = Self::default();
        for RoleDocument { metadata, rules } in roles {
            let rules = rules.unwrap_or_default().into();
            policy.roles.insert((metadata.namespace, metadata.name), rules);
        }
        for binding in bindings {
            policy.bind(binding);
        }
        policy
    }

    fn bind(&mut self, binding: BindingDocument) {
        let BindingDocument { metadata: Named { name, namespace }, role_ref, subjects } = binding;
        for subject in subjects.unwrap_or_default() {
            let Some((holder, to)) = holder(&subject, &namespace) else { continue };
            let of = if role_ref.kind == "Role" { namespace.clone() } else { String::new() };
            let grant = Grant {
                binding: name.clone(),
                namespace: namespace.clone(),
                kind: role_ref.kind.clone(),
                role: (of, role_ref.name.clone()),
                to,
            };
            self.grants.entry(holder).or_default().push(Arc::new(grant));
        }
    }

    /// The rules of a role; `namespace` is `""` for a cluster role.
    pub(crate) fn role(&self, namespace: &str, name: &str) -> Option<&[Rule]> {
        self.roles.get(&(namespace.to_owned(), name.to_owned())).map(AsRef::as_ref)
    }

    /// What `user` was given that counts in `namespace`; what counts in the whole cluster comes first.
    fn grants<'a>(&'a self, user: &User, namespace: &str) -> Vec<&'a Grant> {
        let holders = std::iter::once(Holder::User(user.name.clone()))
            .chain(user.groups.iter().cloned().map(Holder::Group));
        let all = holders.filter_map(|holder| self.grants.get(&holder)).flatten();
        let counts = |grant: &&Arc<Grant>| grant.namespace.is_empty() || grant.namespace == namespace;
        let mut grants: Vec<&Grant> = all.filter(counts).map(AsRef::as_ref).collect();
        grants.sort_by(|a, b| (&a.namespace, &a.binding).cmp(&(&b.namespace, &b.binding)));
        grants
    }

    /// Decides a request, and says which binding allowed it.
    pub(crate) fn decide(&self, asked: &AccessRequest<'_>) -> Decision {
        let namespace = match asked.info {
            RequestInfo::Resource(request) => request.namespace.as_deref().unwrap_or_default(),
            RequestInfo::NonResource(_) => "",
        };
        let mut problems = Vec::new();
        for grant in self.grants(asked.user, namespace) {
            match self.roles.get(&grant.role) {
                Some(rules) if rules.iter().any(|rule| rule.allows(asked)) => {
                    return Decision::Allow(grant.reason());
                }
                Some(_) => {}
                None => problems.push(grant.dangling()),
            }
        }
        problems.dedup();
        Decision::Deny(match problems.as_slice() {
            [] => String::new(),
            [one] => format!("RBAC: {one}"),
            many => format!("RBAC: [{}]", many.join(", ")),
        })
    }

    /// Everything that `user` holds in `namespace`.
    pub(crate) fn held(&self, user: &User, namespace: &str) -> Vec<Rule> {
        let grants = self.grants(user, namespace).into_iter();
        grants
            .filter_map(|grant| self.roles.get(&grant.role))
            .flat_map(|rules| rules.iter().cloned())
            .collect()
    }

    /// The same as an answer to whoever asks what they may.
    pub(crate) fn rules(&self, user: &User, namespace: &str) -> RuleSet {
        let dangling =
            self.grants(user, namespace).into_iter().filter(|grant| !self.roles.contains_key(&grant.role));
        let problems: Vec<String> = dangling.map(Grant::dangling).collect();
        RuleSet { rules: self.held(user, namespace), problem: problems.join(", ") }
    }
}

impl Grant {
    fn reason(&self) -> String {
        let Self { binding, namespace, kind, role: (_, role), to } = self;
        match namespace.as_str() {
            "" => format!("RBAC: allowed by ClusterRoleBinding {binding:?} of {kind} {role:?} to {to}"),
            _ => format!("RBAC: allowed by RoleBinding \"{binding}/{namespace}\" of {kind} {role:?} to {to}"),
        }
    }

    fn dangling(&self) -> String {
        let plural = if self.kind == "Role" { "role" } else { "clusterrole" };
        format!("{plural}.rbac.authorization.k8s.io {:?} not found", self.role.1)
    }
}

fn holder(subject: &Subject, namespace: &str) -> Option<(Holder, String)> {
    let Subject { kind, name, namespace: own } = subject;
    match kind.as_str() {
        "User" => Some((Holder::User(name.clone()), format!("User {name:?}"))),
        "Group" => Some((Holder::Group(name.clone()), format!("Group {name:?}"))),
        "ServiceAccount" => {
            let of = if own.is_empty() { namespace } else { own };
            // Without a namespace it is nobody.
            (!of.is_empty()).then(|| {
                let user = format!("system:serviceaccount:{of}:{name}");
                (Holder::User(user), format!("ServiceAccount \"{name}/{of}\""))
            })
        }
        _ => None,
    }
}
