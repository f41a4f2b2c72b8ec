//! A node as the scheduler sees it: what it offers, and who is on it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1 as api;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::change::Stamp;
use super::request::{resource_list, resources};
use super::{Labels, NodeName, PodUid, PodView, Taint, TaintEffect, ViewError};
use crate::unit::{NonZero, Resources};

/// What a node says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeFacts {
    /// Its name.
    pub name: NodeName,
    /// Its labels.
    pub labels: Labels,
    /// Its taints.
    pub taints: Vec<Taint>,
    /// `spec.unschedulable`.
    pub unschedulable: bool,
    /// What pods may use in all.
    pub allocatable: Resources,
    /// How many pods it takes.
    pub allocatable_pods: i64,
    /// What it says it can do beyond what every node can.
    pub declared_features: BTreeSet<Box<str>>,
    /// The images on it: the size of each by every name it goes by.
    pub images: BTreeMap<Box<str>, i64>,
}

impl NodeFacts {
    /// Reads a node of the API.
    ///
    /// # Errors
    /// When an amount of `status.allocatable` does not parse or is negative.
    pub fn from_api(node: &api::Node) -> Result<Self, ViewError> {
        const FIELD: &str = "status.allocatable";
        let spec = node.spec.as_ref();
        let allocatable = node.status.as_ref().and_then(|status| status.allocatable.as_ref());
        let amounts = resource_list(allocatable, FIELD)?;
        if let Some((name, _)) = amounts.iter().find(|(_, amount)| **amount < 0) {
            return Err(ViewError::new(format!("{FIELD}[{name}]"), "must not be negative"));
        }
        Ok(Self {
            name: NodeName::from(node.metadata.name.as_deref().unwrap_or_default()),
            labels: node.metadata.labels.clone().unwrap_or_default(),
            taints: spec
                .iter()
                .flat_map(|spec| spec.taints.iter().flatten())
                .filter_map(Taint::from_api)
                .collect(),
            unschedulable: spec.and_then(|spec| spec.unschedulable).unwrap_or(false),
            allocatable: resources(amounts),
            allocatable_pods: pods(allocatable)?,
            declared_features: node
                .status
                .iter()
                .flat_map(|status| status.declared_features.iter().flatten())
                .map(|name| name.as_str().into())
                .collect(),
            images: images(node),
        })
    }

    /// Region and zone, by which nodes are dealt out round-robin; empty when the node names neither.
    #[must_use]
    pub fn zone(&self) -> (String, String) {
        let of = |stable: &str, beta: &str| {
            self.labels.get(stable).or_else(|| self.labels.get(beta)).cloned().unwrap_or_default()
        };
        (
            of("topology.kubernetes.io/region", "failure-domain.beta.kubernetes.io/region"),
            of("topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone"),
        )
    }
}

fn images(node: &api::Node) -> BTreeMap<Box<str>, i64> {
    let mut sizes = BTreeMap::new();
    for image in node.status.iter().flat_map(|status| status.images.iter().flatten()) {
        for name in image.names.iter().flatten() {
            sizes.entry(name.as_str().into()).or_insert(image.size_bytes.unwrap_or(0));
        }
    }
    sizes
}

fn pods(allocatable: Option<&BTreeMap<String, Quantity>>) -> Result<i64, ViewError> {
    let Some(quantity) = allocatable.and_then(|list| list.get("pods")) else { return Ok(0) };
    super::amount::amount(
        &crate::unit::ResourceName::Scalar("pods".into()),
        quantity,
        "status.allocatable[pods]",
    )
}

/// A node and the pods on it, with their sums kept as pods come and go.
#[derive(Clone, Debug)]
pub struct NodeView {
    facts: Arc<NodeFacts>,
    pods: Vec<Arc<PodView>>,
    with_affinity: Vec<Arc<PodView>>,
    requested: Resources,
    occupied: NonZero,
    /// How many claims its pods mount, the same one for each of them.
    claims: usize,
    stamp: Stamp,
}

impl NodeView {
    /// A node without pods.
    #[must_use]
    pub fn new(facts: Arc<NodeFacts>) -> Self {
        Self {
            facts,
            pods: Vec::new(),
            with_affinity: Vec::new(),
            requested: Resources::default(),
            occupied: NonZero::default(),
            claims: 0,
            stamp: Stamp::fresh(),
        }
    }

    /// The node's name.
    #[must_use]
    pub fn name(&self) -> &NodeName {
        &self.facts.name
    }

    /// What the node says about itself.
    #[must_use]
    pub fn facts(&self) -> &Arc<NodeFacts> {
        &self.facts
    }

    /// The pods on it, assumed ones included.
    #[must_use]
    pub fn pods(&self) -> &[Arc<PodView>] {
        &self.pods
    }

    /// Those of its pods that want others near or away.
    #[must_use]
    pub fn pods_with_affinity(&self) -> &[Arc<PodView>] {
        &self.with_affinity
    }

    /// The sum of what its pods asked for.
    #[must_use]
    pub fn requested(&self) -> &Resources {
        &self.requested
    }

    /// The sum of what its pods count for in scoring.
    #[must_use]
    pub fn occupied(&self) -> NonZero {
        self.occupied
    }

    /// How many claims its pods mount; one that several pods mount counts for each.
    pub(crate) fn claims(&self) -> usize {
        self.claims
    }

    /// Names the state the node is in: what it says, what is said of it and who is on it. Whoever works something out of a node may keep
    /// it, by name and state, until the state is another.
    #[must_use]
    pub fn state(&self) -> Stamp {
        self.stamp
    }

    /// Whether the pod could be here by what it asks for and by the labels and taints of the node: what strategies have to see to
    /// at least. What other pods or volumes have to do with it is for plugins.
    #[must_use]
    pub fn has_room_for(&self, pod: &PodView) -> bool {
        let (asked, offered, used) = (&pod.demand.requests, &self.facts.allocatable, &self.requested);
        let enough =
            |asked: i64, offered: i64, used: i64| asked <= 0 || asked <= offered.saturating_sub(used);
        let of = |resources: &Resources, name: &Arc<str>| resources.scalars.get(name).copied().unwrap_or(0);
        enough(asked.cpu.0, offered.cpu.0, used.cpu.0)
            && enough(asked.memory.0, offered.memory.0, used.memory.0)
            && enough(asked.ephemeral_storage.0, offered.ephemeral_storage.0, used.ephemeral_storage.0)
            && asked.scalars.iter().all(|(name, asked)| enough(*asked, of(offered, name), of(used, name)))
            && i64::try_from(self.pods.len()).is_ok_and(|pods| pods < self.facts.allocatable_pods)
            && !self.facts.unschedulable
            && pod.rules.admit(&self.facts)
            && self
                .facts
                .taints
                .iter()
                .all(|taint| taint.effect == TaintEffect::PreferNoSchedule || pod.tolerates(taint))
    }

    /// Why the node's agent would turn the pod away: what it lacks, or that its labels do not match; `None` if it would take it.
    /// Less is asked than by [`NodeView::has_room_for`]: an agent does not mind taints that only keep schedulers off.
    #[must_use]
    pub fn lacks(&self, pod: &PodView) -> Option<String> {
        let (asked, offered, used) = (&pod.demand.requests, &self.facts.allocatable, &self.requested);
        let of = |resources: &Resources, name: &Arc<str>| resources.scalars.get(name).copied().unwrap_or(0);
        let native = [
            ("cpu", asked.cpu.0, offered.cpu.0, used.cpu.0),
            ("memory", asked.memory.0, offered.memory.0, used.memory.0),
            (
                "ephemeral-storage",
                asked.ephemeral_storage.0,
                offered.ephemeral_storage.0,
                used.ephemeral_storage.0,
            ),
            ("pods", 1, self.facts.allocatable_pods, i64::try_from(self.pods.len()).unwrap_or(i64::MAX)),
        ];
        let scalars =
            asked.scalars.iter().map(|(name, asked)| (&**name, *asked, of(offered, name), of(used, name)));
        let short = native
            .into_iter()
            .chain(scalars)
            .find(|(_, asked, offered, used)| *asked > 0 && *asked > offered.saturating_sub(*used));
        match short {
            Some((name, asked, offered, used)) => {
                Some(format!("it asks for {asked} of {name}, and of {offered} there {used} are in use"))
            }
            None if !pod.rules.admit(&self.facts) => {
                Some("its node selector or node affinity does not match".to_owned())
            }
            None => None,
        }
    }

    /// Something else is said of the node than before.
    pub(super) fn is_another(&mut self) {
        self.stamp = Stamp::fresh();
    }

    /// Replaces what the node says about itself.
    pub fn set_facts(&mut self, facts: Arc<NodeFacts>) {
        self.stamp = Stamp::fresh();
        self.facts = facts;
    }

    /// Puts a pod on the node.
    pub fn add(&mut self, pod: Arc<PodView>) {
        self.stamp = Stamp::fresh();
        self.requested.add(&pod.demand.requests);
        self.occupied = self.occupied.plus(pod.demand.occupied);
        self.claims += pod.mounts.claims.len();
        if !pod.affinity.is_empty() {
            self.with_affinity.push(pod.clone());
        }
        self.pods.push(pod);
    }

    /// Takes a pod off the node; `None` if it was not there.
    pub fn remove(&mut self, uid: &PodUid) -> Option<Arc<PodView>> {
        let index = self.pods.iter().position(|pod| pod.uid == *uid)?;
        self.stamp = Stamp::fresh();
        let pod = self.pods.swap_remove(index);
        if !pod.affinity.is_empty() {
            self.with_affinity.retain(|other| other.uid != *uid);
        }
        self.requested.remove(&pod.demand.requests);
        self.occupied = self.occupied.minus(pod.demand.occupied);
        self.claims -= pod.mounts.claims.len();
        Some(pod)
    }
}
