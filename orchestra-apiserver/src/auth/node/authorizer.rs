//! Lets nodes read what their pods refer to, and write about themselves.

use std::sync::Arc;

use async_trait::async_trait;
use orchestra_core::gvk::GroupVersion;
use serde_json::Value;

use super::graph::Graph;
use super::node_name;
use crate::admission::Reader;
use crate::auth::User;
use crate::auth::authorize::{AccessRequest, Authorizer, Decision, RuleSet};
use crate::auth::rbac::{Rule, bootstrap};
use crate::cache::feed::Feed;
use crate::catalog::Catalog;
use crate::metrics::DecisionMetrics;
use crate::request::{RequestInfo, ResourceRequest};
use crate::status::StatusError;

const CORE: GroupVersion = GroupVersion::new("", "v1");
const STORAGE: GroupVersion = GroupVersion::new("storage.k8s.io", "v1");
const DEVICES: GroupVersion = GroupVersion::new("resource.k8s.io", "v1");
const LEASES: &str = "kube-node-lease";

/// Decides about nodes, and leaves everybody else, and what it does not allow, to the next authorizer.
pub(crate) struct NodeAuthorizer {
    graph: Graph,
    reader: Reader,
    /// What is not looked at more closely.
    rules: Vec<Rule>,
    next: Arc<dyn Authorizer>,
    decisions: DecisionMetrics,
}

impl std::fmt::Debug for NodeAuthorizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NodeAuthorizer").field("next", &self.next).finish_non_exhaustive()
    }
}

/// Why not; empty when there is no more to say than that no rule allows it.
type Refusal = String;

impl NodeAuthorizer {
    /// `None` when a registry of one's own serves no pods.
    pub(crate) fn new(
        feed: Arc<Feed>,
        catalog: &Catalog,
        reader: Reader,
        next: Arc<dyn Authorizer>,
        decisions: DecisionMetrics,
    ) -> Option<Self> {
        let pods = catalog.find(&CORE, "pods")?.clone();
        let rules = bootstrap::rules_of("system:node");
        Some(Self { graph: Graph::new(feed, pods), reader, rules, next, decisions })
    }

    async fn decide(
        &self,
        node: &str,
        request: &AccessRequest<'_>,
    ) -> Result<Result<(), Refusal>, StatusError> {
        let RequestInfo::Resource(info) = request.info else { return Ok(self.by_rules(request)) };
        let (group, resource) = (info.gv.group.as_ref(), info.resource.as_str());
        let (verb, name) = (request.verb, info.name.as_deref().unwrap_or_default());
        let below = info.subresource.as_deref().unwrap_or_default();
        Ok(match (group, resource) {
            ("", "secrets" | "configmaps") => match (verb, below, name) {
                ("get" | "list" | "watch", "", name) if !name.is_empty() => {
                    self.related(node, info, name).await?
                }
                ("get" | "list" | "watch", "", _) => Err("No Object name found".to_owned()),
                _ => Err("can only read resources of this type".to_owned()),
            },
            ("", "persistentvolumeclaims") if below == "status" => match verb {
                "update" | "patch" => self.related(node, info, name).await?,
                _ => Err("can only get/update/patch this type".to_owned()),
            },
            ("", "persistentvolumeclaims" | "persistentvolumes")
            | ("resource.k8s.io", "resourceclaims")
            | ("storage.k8s.io", "volumeattachments") => match (verb, below) {
                ("get", "") => self.related(node, info, name).await?,
                ("get", _) => Err("cannot get subresource".to_owned()),
                _ => Err("can only get individual resources of this type".to_owned()),
            },
            ("", "serviceaccounts") => match (verb, below) {
                ("create", "token") => self.related(node, info, name).await?,
                _ => Err("can only create tokens for individual service accounts".to_owned()),
            },
            ("coordination.k8s.io", "leases") => own_lease(node, request, info),
            ("storage.k8s.io", "csinodes") => own_csi_node(node, request, info),
            ("resource.k8s.io", "resourceslices") => match own_slices(node, request, info) {
                Some(decided) => decided,
                None => self.related(node, info, name).await?,
            },
            ("", "nodes") => own_node(node, request, info),
            ("", "pods") => match own_pods(node, request, info) {
                Some(decided) => decided,
                None => self.related(node, info, name).await?,
            },
            _ => self.by_rules(request),
        })
    }

    fn by_rules(&self, request: &AccessRequest<'_>) -> Result<(), Refusal> {
        if self.rules.iter().any(|rule| rule.allows(request)) { Ok(()) } else { Err(String::new()) }
    }

    /// Whether a pod of the node needs an object.
    async fn related(
        &self,
        node: &str,
        info: &ResourceRequest,
        name: &str,
    ) -> Result<Result<(), Refusal>, StatusError> {
        let namespace = info.namespace.as_deref().unwrap_or_default();
        let found = match info.resource.as_str() {
            "secrets" => self.graph.any(node, namespace, |_, pod| pod.secrets.contains(name)).await?,
            "configmaps" => self.graph.any(node, namespace, |_, pod| pod.config_maps.contains(name)).await?,
            "persistentvolumeclaims" => {
                self.graph.any(node, namespace, |_, pod| pod.claims.contains(name)).await?
            }
            "resourceclaims" => {
                self.graph.any(node, namespace, |_, pod| pod.resource_claims.contains(name)).await?
            }
            "serviceaccounts" => self.graph.any(node, namespace, |_, pod| pod.account == name).await?,
            "pods" => self.graph.any(node, namespace, |pod, _| pod == name).await?,
            "persistentvolumes" => self.holds_volume(node, name).await?,
            "volumeattachments" => self.is_on(node, &STORAGE, "volumeattachments", name).await?,
            "resourceslices" => self.is_on(node, &DEVICES, "resourceslices", name).await?,
            _ => false,
        };
        if found {
            return Ok(Ok(()));
        }
        Ok(Err(format!("no relationship found between node '{node}' and this object")))
    }

    /// Whether a pod of the node has the claim that a volume is bound to.
    async fn holds_volume(&self, node: &str, volume: &str) -> Result<bool, StatusError> {
        let Some(volume) = self.reader.get(&CORE, "persistentvolumes", "", volume).await? else {
            return Ok(false);
        };
        let claim = |field: &str| {
            volume.pointer(&format!("/spec/claimRef/{field}")).and_then(Value::as_str).unwrap_or_default()
        };
        let name = claim("name");
        if name.is_empty() {
            return Ok(false);
        }
        self.graph.any(node, claim("namespace"), |_, pod| pod.claims.contains(name)).await
    }

    /// Whether an object of the whole cluster is about the node.
    async fn is_on(
        &self,
        node: &str,
        gv: &GroupVersion,
        plural: &str,
        name: &str,
    ) -> Result<bool, StatusError> {
        let object = self.reader.get(gv, plural, "", name).await?;
        let on = object.as_ref().and_then(|object| object.pointer("/spec/nodeName")).and_then(Value::as_str);
        Ok(on == Some(node))
    }
}

/// A lease named as the node, where the leases of nodes are.
fn own_lease(node: &str, request: &AccessRequest<'_>, info: &ResourceRequest) -> Result<(), Refusal> {
    let name = info.name.as_deref().unwrap_or_default();
    if !matches!(request.verb, "get" | "create" | "update" | "patch" | "delete") {
        return Err("can only get, create, update, patch, or delete a node lease".to_owned());
    }
    if info.namespace.as_deref() != Some(LEASES) {
        return Err(format!("can only access leases in the {LEASES:?} system namespace"));
    }
    if request.verb != "create" && name != node {
        return Err("can only access node lease with the same name as the requesting node".to_owned());
    }
    Ok(())
}

fn own_csi_node(node: &str, request: &AccessRequest<'_>, info: &ResourceRequest) -> Result<(), Refusal> {
    if !matches!(request.verb, "get" | "create" | "update" | "patch" | "delete") {
        return Err("can only get, create, update, patch, or delete a CSINode".to_owned());
    }
    if info.subresource.is_some() {
        return Err("cannot authorize CSINode subresources".to_owned());
    }
    if request.verb != "create" && info.name.as_deref() != Some(node) {
        return Err("can only access CSINode with the same name as the requesting node".to_owned());
    }
    Ok(())
}

/// Devices that it has to offer; `None` when that depends on the slice. Whose a new one is is looked at by admission.
fn own_slices(
    node: &str,
    request: &AccessRequest<'_>,
    info: &ResourceRequest,
) -> Option<Result<(), Refusal>> {
    if info.subresource.is_some() {
        return Some(Err("cannot authorize ResourceSlice subresources".to_owned()));
    }
    Some(match request.verb {
        "create" => Ok(()),
        "get" | "update" | "patch" | "delete" if info.name.is_none() => {
            Err("No Object name found".to_owned())
        }
        "get" | "update" | "patch" | "delete" => return None,
        "list" | "watch" | "deletecollection" if request.selects("spec.nodeName", node) => Ok(()),
        "list" | "watch" | "deletecollection" => {
            Err("can only list/watch/deletecollection resourceslices with nodeName field selector".to_owned())
        }
        _ => Err(
            "only the following verbs are allowed for a ResourceSlice: get, watch, list, create, update, \
                  patch, delete, deletecollection"
                .to_owned(),
        ),
    })
}

/// Its own Node object; which one it writes is looked at by admission.
fn own_node(node: &str, request: &AccessRequest<'_>, info: &ResourceRequest) -> Result<(), Refusal> {
    match (info.subresource.as_deref(), request.verb, info.name.as_deref()) {
        (None, "create" | "update" | "patch", _) | (Some("status"), "update" | "patch", _) => Ok(()),
        (None, "get" | "list" | "watch", Some(name)) if name == node => Ok(()),
        (None, "get" | "list" | "watch", Some(name)) => {
            Err(format!("node '{node}' cannot read '{name}', only its own Node object"))
        }
        (None, "list" | "watch", None) => {
            Err(format!("node '{node}' cannot read all nodes, only its own Node object"))
        }
        _ => Err(String::new()),
    }
}

/// Its own pods; `None` when that depends on the pod.
fn own_pods(node: &str, request: &AccessRequest<'_>, info: &ResourceRequest) -> Option<Result<(), Refusal>> {
    Some(match (info.subresource.as_deref(), request.verb) {
        (None, "get") => return None,
        (None, "list" | "watch") if request.selects("spec.nodeName", node) => Ok(()),
        (None, "list" | "watch") if info.name.is_some() => return None,
        (None, "list" | "watch") => {
            Err("can only list/watch pods with spec.nodeName field selector".to_owned())
        }
        (None, "create" | "delete") | (Some("status"), "update" | "patch") | (Some("eviction"), "create") => {
            Ok(())
        }
        _ => Err(String::new()),
    })
}

#[async_trait]
impl Authorizer for NodeAuthorizer {
    async fn authorize(&self, request: AccessRequest<'_>) -> Result<Decision, StatusError> {
        let Some(node) = node_name(request.user) else { return self.next.authorize(request).await };
        let why = match self.decide(node, &request).await? {
            Ok(()) => {
                self.decisions.node.inc();
                return Ok(Decision::Allow(String::new()));
            }
            Err(why) => why,
        };
        Ok(match self.next.authorize(request).await? {
            Decision::Deny(also) if !also.is_empty() && !why.is_empty() => {
                Decision::Deny(format!("{why}\n{also}"))
            }
            Decision::Deny(also) if why.is_empty() => Decision::Deny(also),
            Decision::Deny(_) => Decision::Deny(why),
            allowed => allowed,
        })
    }

    async fn rules(&self, user: &User, namespace: &str) -> Result<RuleSet, StatusError> {
        let mut rules = self.next.rules(user, namespace).await?;
        if node_name(user).is_some() {
            rules.problem = "node authorizer does not support user rule resolution".to_owned();
        }
        Ok(rules)
    }
}
