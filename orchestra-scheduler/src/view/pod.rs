//! A pod as the scheduler sees it.

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use jiff::Timestamp;
use k8s_openapi::api::core::v1 as api;

use super::affinity::{SelectorOperator, SelectorTerm};
use super::group::{NamespacedName, OwnerKey, OwnerKind};
use super::request::Demand;
use super::{
    ClaimKey, ClaimReference, ContainerDevices, DeviceClaimReference, Labels, Mounts, NodeFacts, NodeName,
    NodeSelector, PodAffinity, PodUid, PreferredTerm, SpreadConstraint, Toleration, ViewError,
};
use crate::profile::DEFAULT_NAME;
use crate::unit::Priority;

// Most pods share these, so they share one allocation.
static NO_RULES: LazyLock<Arc<PlacementRules>> = LazyLock::new(Arc::default);
static DEFAULT_SCHEDULER: LazyLock<Arc<str>> = LazyLock::new(|| DEFAULT_NAME.into());

/// Namespace and name of a pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodKey {
    /// `metadata.namespace`.
    pub namespace: Arc<str>,
    /// `metadata.name`.
    pub name: Arc<str>,
}

impl PodKey {
    /// The key of the pod `name` in `namespace`.
    #[must_use]
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for PodKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.namespace, self.name)
    }
}

/// The transport protocol of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP, also when nothing is said.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

/// A port that a pod wants on its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostPort {
    /// The transport.
    pub protocol: Protocol,
    /// The address; `None` is every address of the node.
    pub address: Option<IpAddr>,
    /// The number.
    pub port: u16,
}

impl HostPort {
    /// Whether both cannot be had on one node: same protocol and number, and one wants every address or both
    /// want the same.
    #[must_use]
    pub fn conflicts_with(&self, other: &Self) -> bool {
        self.protocol == other.protocol
            && self.port == other.port
            && (self.address.is_none() || other.address.is_none() || self.address == other.address)
    }
}

/// What a pod demands and prefers of its node; not kept for pods that have one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlacementRules {
    /// `spec.nodeSelector`.
    pub node_selector: Labels,
    /// `spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution`.
    pub required_affinity: Option<NodeSelector>,
    /// `spec.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution`.
    pub preferred_affinity: Vec<PreferredTerm>,
    /// `spec.tolerations`.
    pub tolerations: Vec<Toleration>,
    /// `spec.schedulingGates`.
    pub gates: Vec<Box<str>>,
    /// `spec.topologySpreadConstraints`.
    pub spread: Vec<SpreadConstraint>,
    /// The controller that made the pod, if its selector says which pods belong together.
    pub owner: Option<OwnerKey>,
    /// The images of init and app containers, one for each, as they are written.
    pub images: Vec<Box<str>>,
    /// The images that are mounted as volumes.
    pub image_volumes: Vec<Box<str>>,
    /// `spec.resourceClaims`.
    pub device_claims: Vec<DeviceClaimReference>,
    /// What containers ask for of extended resources that device classes may stand for.
    pub devices: Vec<ContainerDevices>,
    /// The features its node has to declare.
    pub features: Vec<&'static str>,
    /// Whether it waits for room rather than take it from others (`preemptionPolicy: Never`).
    pub never_preempts: bool,
}

impl PlacementRules {
    /// Whether `spec.nodeSelector` and the required node affinity admit a node.
    #[must_use]
    pub fn admit(&self, node: &NodeFacts) -> bool {
        self.node_selector.iter().all(|(key, value)| node.labels.get(key) == Some(value))
            && self
                .required_affinity
                .as_ref()
                .is_none_or(|selector| selector.matches(&node.labels, &node.name))
    }

    /// Whether the required node affinity can only be fulfilled by nodes it names.
    pub(crate) fn name_nodes(&self) -> bool {
        let named = |term: &SelectorTerm| term.fields.iter().any(|one| one.operator == SelectorOperator::In);
        self.required_affinity
            .as_ref()
            .is_some_and(|selector| !selector.terms.is_empty() && selector.terms.iter().flatten().all(named))
    }
}

/// The `PodScheduled` condition a pod already carries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReportedCondition {
    /// `True`, `False` or `Unknown`.
    pub status: Box<str>,
    /// Why.
    pub reason: Box<str>,
    /// In words.
    pub message: Box<str>,
    /// The generation it was made for.
    pub observed_generation: Option<i64>,
}

/// A pod, reduced to what scheduling needs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PodView {
    /// Namespace and name.
    pub key: PodKey,
    /// Identity.
    pub uid: PodUid,
    /// `spec.schedulerName`.
    pub scheduler: Arc<str>,
    /// `metadata.generation`.
    pub generation: Option<i64>,
    /// The node it is bound to.
    pub node: Option<NodeName>,
    /// `status.nominatedNodeName`.
    pub nominated: Option<NodeName>,
    /// Its importance.
    pub priority: Priority,
    /// Its labels.
    pub labels: Arc<Labels>,
    /// What it takes of its node.
    pub demand: Arc<Demand>,
    /// What it wants of a node; empty once it has one.
    pub rules: Arc<PlacementRules>,
    /// The pod group it belongs to, in its namespace.
    pub group: Option<Box<str>>,
    /// What it mounts.
    pub mounts: Arc<Mounts>,
    /// Which pods it wants near and which not; other pods are bound by that too.
    pub affinity: Arc<PodAffinity>,
    /// When its node took it on (`status.startTime`).
    pub started: Option<Timestamp>,
    /// Whether a scheduler evicted it to make room.
    pub preempted: bool,
    /// Whether its deletion has begun.
    pub terminating: bool,
    /// Whether it has run to its end and occupies nothing.
    pub finished: bool,
    /// The `PodScheduled` condition found on it; not kept once it has a node.
    pub reported: Option<Box<ReportedCondition>>,
}

impl PodView {
    /// Reads a pod of the API.
    ///
    /// # Errors
    /// When a quantity does not parse.
    pub fn from_api(pod: &api::Pod) -> Result<Self, ViewError> {
        let (meta, no_spec) = (&pod.metadata, api::PodSpec::default());
        let spec = pod.spec.as_ref().unwrap_or(&no_spec);
        let status = pod.status.as_ref();
        let text =
            |field: &Option<String>| field.as_deref().filter(|text| !text.is_empty()).map(str::to_owned);
        let node = text(&spec.node_name).map(|name| NodeName::from(name.as_str()));
        let key = PodKey::new(
            meta.namespace.as_deref().unwrap_or_default(),
            meta.name.as_deref().unwrap_or_default(),
        );
        let labels = meta.labels.clone().unwrap_or_default();
        let phase = status.and_then(|status| status.phase.as_deref());
        Ok(Self {
            group: spec
                .scheduling_group
                .as_ref()
                .and_then(|group| group.pod_group_name.as_deref())
                .map(Into::into),
            mounts: Mounts::from_api(&key.name, spec),
            affinity: PodAffinity::from_api(spec.affinity.as_ref(), &key.namespace, &labels),
            uid: PodUid::from(meta.uid.as_deref().unwrap_or_default()),
            scheduler: match spec.scheduler_name.as_deref() {
                None | Some(DEFAULT_NAME) => DEFAULT_SCHEDULER.clone(),
                Some(name) => name.into(),
            },
            generation: meta.generation,
            nominated: status
                .and_then(|status| text(&status.nominated_node_name))
                .map(|name| NodeName::from(name.as_str())),
            priority: Priority(spec.priority.unwrap_or(0)),
            demand: Arc::new(Demand::from_api(spec, status.filter(|_| node.is_some()))?),
            rules: if node.is_none() {
                Arc::new(placement_rules(&key, &labels, pod, spec)?)
            } else {
                NO_RULES.clone()
            },
            reported: status.filter(|_| node.is_none()).and_then(reported).map(Box::new),
            node,
            started: status.and_then(|status| status.start_time.as_ref()).map(|time| time.0),
            preempted: status.is_some_and(preempted),
            terminating: meta.deletion_timestamp.is_some(),
            finished: matches!(phase, Some("Succeeded" | "Failed")),
            key,
            labels: Arc::new(labels),
        })
    }

    /// Whether a decision about this pod could turn out differently from one about `other`.
    #[must_use]
    pub fn wants_differ(&self, other: &Self) -> bool {
        self.demand != other.demand
            || self.labels != other.labels
            || self.rules != other.rules
            || self.affinity != other.affinity
            || self.mounts != other.mounts
            || self.group != other.group
            || self.priority != other.priority
            || self.terminating != other.terminating
    }

    /// The claims it mounts, each with the key it is found by.
    pub fn claims(&self) -> impl Iterator<Item = (&ClaimReference, ClaimKey)> {
        let namespace = &self.key.namespace;
        self.mounts
            .claims
            .iter()
            .map(move |claim| (claim, ClaimKey { namespace: namespace.clone(), name: (&*claim.name).into() }))
    }

    /// Whether some toleration of the pod lets it ignore `taint`.
    #[must_use]
    pub fn tolerates(&self, taint: &super::Taint) -> bool {
        self.rules.tolerations.iter().any(|toleration| toleration.tolerates(taint))
    }
}

fn placement_rules(
    key: &PodKey,
    labels: &Labels,
    pod: &api::Pod,
    spec: &api::PodSpec,
) -> Result<PlacementRules, ViewError> {
    let affinity = spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
    let required =
        affinity.and_then(|affinity| affinity.required_during_scheduling_ignored_during_execution.as_ref());
    let preferred =
        affinity.and_then(|affinity| affinity.preferred_during_scheduling_ignored_during_execution.as_ref());
    Ok(PlacementRules {
        node_selector: spec.node_selector.clone().unwrap_or_default(),
        required_affinity: required.map(NodeSelector::from_api),
        preferred_affinity: preferred.into_iter().flatten().filter_map(PreferredTerm::from_api).collect(),
        tolerations: spec.tolerations.iter().flatten().filter_map(Toleration::from_api).collect(),
        gates: spec.scheduling_gates.iter().flatten().map(|gate| gate.name.as_str().into()).collect(),
        spread: spec
            .topology_spread_constraints
            .iter()
            .flatten()
            .map(|constraint| SpreadConstraint::from_api(constraint, labels))
            .collect(),
        owner: owner(key, pod),
        images: spec
            .init_containers
            .iter()
            .flatten()
            .chain(&spec.containers)
            .map(|container| container.image.as_deref().unwrap_or_default().into())
            .collect(),
        device_claims: DeviceClaimReference::from_api(spec, pod.status.as_ref()),
        devices: ContainerDevices::from_api(spec)?,
        features: needed_features(spec),
        never_preempts: spec.preemption_policy.as_deref() == Some("Never"),
        image_volumes: spec
            .volumes
            .iter()
            .flatten()
            .filter_map(|volume| Some(volume.image.as_ref()?.reference.as_deref()?.into()))
            .collect(),
    })
}

/// The features that upstream reads from a specification and asks of the node.
fn needed_features(spec: &api::PodSpec) -> Vec<&'static str> {
    let mut containers = spec.init_containers.iter().flatten().chain(&spec.containers);
    let restarts_all = containers.any(|container| {
        container.restart_policy_rules.iter().flatten().any(|rule| rule.action == "RestartAllContainers")
    });
    let on_host = spec.host_network == Some(true) && spec.host_users == Some(false);
    let needed = [
        (restarts_all, "RestartAllContainersOnContainerExits"),
        (on_host, "UserNamespacesHostNetworkSupport"),
    ];
    needed.into_iter().filter(|(needs, _)| *needs).map(|(_, name)| name).collect()
}

fn owner(key: &PodKey, pod: &api::Pod) -> Option<OwnerKey> {
    let owners = pod.metadata.owner_references.iter().flatten();
    let controller = owners.into_iter().find(|owner| owner.controller == Some(true))?;
    let kind = match (controller.api_version.as_str(), controller.kind.as_str()) {
        ("v1", "ReplicationController") => OwnerKind::ReplicationController,
        ("apps/v1", "ReplicaSet") => OwnerKind::ReplicaSet,
        ("apps/v1", "StatefulSet") => OwnerKind::StatefulSet,
        _ => return None,
    };
    Some(OwnerKey { kind, name: NamespacedName::new(&key.namespace, &controller.name) })
}

fn preempted(status: &api::PodStatus) -> bool {
    status.conditions.iter().flatten().any(|condition| {
        condition.type_ == "DisruptionTarget"
            && condition.status == "True"
            && condition.reason.as_deref() == Some("PreemptionByScheduler")
    })
}

fn reported(status: &api::PodStatus) -> Option<ReportedCondition> {
    let condition = status.conditions.iter().flatten().find(|condition| condition.type_ == "PodScheduled")?;
    let text = |field: &Option<String>| field.as_deref().unwrap_or_default().into();
    Some(ReportedCondition {
        status: condition.status.as_str().into(),
        reason: text(&condition.reason),
        message: text(&condition.message),
        observed_generation: condition.observed_generation,
    })
}
