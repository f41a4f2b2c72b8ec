//! What operations are called: `listAppsV1NamespacedDeployment`, `readCoreV1NamespacedPodStatus`.
//!
//! Clients in other languages name their functions so. After `pkg/endpoints/installer.go` of upstream's apiserver, which
//! makes a name of verb and kind, and `pkg/endpoints/openapi/openapi.go`, which puts group and version into it.

use serde_json::{Value, json};

use super::operation::{is_connection, method};
use super::resource::{ResourcePaths, Verb};
use crate::gvk::GroupVersion;

/// What a path is about.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// One object.
    One,
    /// Those of a namespace, or of the cluster.
    Collection,
    /// Those of all namespaces.
    AllNamespaces,
}

/// Whose operations are named: the group and version of the path, and the kind of the resource itself.
#[derive(Clone, Copy)]
pub(super) struct Naming<'a> {
    pub(super) gv: &'a GroupVersion,
    pub(super) kind: &'a str,
}

impl Naming<'_> {
    pub(super) fn operation_id(self, resource: &ResourcePaths, verb: Verb, extent: Extent) -> String {
        let (prefix, action) = match verb {
            _ if is_connection(resource) => ("connect", capitalized(method(verb))),
            Verb::Get => ("read", String::new()),
            Verb::List => ("list", String::new()),
            Verb::Create => ("create", String::new()),
            Verb::Update => ("replace", String::new()),
            Verb::Patch => ("patch", String::new()),
            Verb::Delete => ("delete", String::new()),
            Verb::DeleteCollection => ("delete", "Collection".to_owned()),
        };
        let (scope, suffix) = match (extent, resource.namespaced) {
            (Extent::AllNamespaces, _) => ("", "ForAllNamespaces"),
            (_, true) => ("Namespaced", ""),
            (_, false) => ("", ""),
        };
        let below = resource.subresource.as_deref().map(capitalized).unwrap_or_default();
        format!("{prefix}{}{action}{scope}{}{below}{suffix}", self.place(), self.kind)
    }

    /// The name of the operation that gets something that is no resource.
    pub(super) fn getter(self) -> String {
        format!("get{}{}", self.place(), self.kind)
    }

    /// An operation with its name.
    pub(super) fn named(self, mut operation: Value, id: String) -> Value {
        operation["operationId"] = id.into();
        operation["tags"] = json!([self.tag()]);
        operation
    }

    fn place(self) -> String {
        capitalized(&joined(self.group())) + &capitalized(&self.gv.version)
    }

    /// What operations are sorted under.
    fn tag(self) -> String {
        format!("{}_{}", joined(self.group()), self.gv.version)
    }

    fn group(&self) -> &str {
        match &*self.gv.group {
            "" => "core",
            group => group.strip_suffix(".k8s.io").unwrap_or(group),
        }
    }
}

/// Words as one, each but the first beginning with a capital.
fn joined(text: &str) -> String {
    let mut words =
        text.split(|char: char| !char.is_alphanumeric() && char != '_').filter(|word| !word.is_empty());
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |all, word| all + &capitalized(word))
}

fn capitalized(word: &str) -> String {
    let mut rest = word.chars();
    rest.next().map(|first| first.to_uppercase().chain(rest).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From upstream's `swagger.json`.
    #[test]
    fn operations_are_called_as_upstream_calls_them() {
        let cases = [
            ("", "Pod", true, "", "", Verb::List, Extent::Collection, "listCoreV1NamespacedPod"),
            ("", "Pod", true, "", "", Verb::List, Extent::AllNamespaces, "listCoreV1PodForAllNamespaces"),
            ("", "Pod", true, "status", "Pod", Verb::Get, Extent::One, "readCoreV1NamespacedPodStatus"),
            (
                "",
                "Pod",
                true,
                "eviction",
                "Eviction",
                Verb::Create,
                Extent::One,
                "createCoreV1NamespacedPodEviction",
            ),
            (
                "",
                "Pod",
                true,
                "exec",
                "PodExecOptions",
                Verb::Create,
                Extent::One,
                "connectCoreV1PostNamespacedPodExec",
            ),
            ("", "Node", false, "", "", Verb::Update, Extent::One, "replaceCoreV1Node"),
            (
                "",
                "Namespace",
                false,
                "finalize",
                "Namespace",
                Verb::Update,
                Extent::One,
                "replaceCoreV1NamespaceFinalize",
            ),
            (
                "apps",
                "Deployment",
                true,
                "scale",
                "Scale",
                Verb::Patch,
                Extent::One,
                "patchAppsV1NamespacedDeploymentScale",
            ),
            (
                "batch",
                "Job",
                true,
                "",
                "",
                Verb::DeleteCollection,
                Extent::Collection,
                "deleteBatchV1CollectionNamespacedJob",
            ),
            (
                "rbac.authorization.k8s.io",
                "ClusterRole",
                false,
                "",
                "",
                Verb::Delete,
                Extent::One,
                "deleteRbacAuthorizationV1ClusterRole",
            ),
        ];
        for (group, kind, namespaced, below, sent, verb, extent, expected) in cases {
            let gv = GroupVersion::new(group, "v1");
            let resource = ResourcePaths {
                plural: String::new(),
                subresource: (!below.is_empty()).then(|| below.to_owned()),
                namespaced,
                gv: gv.clone(),
                kind: sent.to_owned(),
                verbs: Vec::new(),
                schema: None,
            };
            assert_eq!(Naming { gv: &gv, kind }.operation_id(&resource, verb, extent), expected);
        }
        let tag = |group: &'static str| Naming { gv: &GroupVersion::new(group, "v1"), kind: "" }.tag();
        assert_eq!(
            ["", "rbac.authorization.k8s.io", "apps"].map(tag),
            ["core_v1", "rbacAuthorization_v1", "apps_v1"]
        );
    }
}
