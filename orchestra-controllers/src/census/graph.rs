//! Objects and their owners as a graph: pure, changed one sighting at a time.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::core::ApiResource;

/// What identifies an object for all time.
pub type Uid = Arc<str>;

/// A kind of object and where it is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kind {
    /// Group, version, kind and plural.
    pub api: ApiResource,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
}

impl Kind {
    /// `plural.group`, or the plural alone in the core group.
    pub fn resource(&self) -> String {
        match self.api.group.as_str() {
            "" => self.api.plural.clone(),
            group => format!("{}.{group}", self.api.plural),
        }
    }
}

/// What is to become of the objects that a terminating object owns, as its finalizers say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// They are kept, without this owner (`orphan`).
    Orphan,
    /// They go first (`foregroundDeletion`).
    Foreground,
}

impl Propagation {
    /// The finalizer that stands for it.
    pub fn finalizer(self) -> &'static str {
        match self {
            Self::Orphan => "orphan",
            Self::Foreground => "foregroundDeletion",
        }
    }

    fn of(meta: &ObjectMeta) -> Option<Self> {
        let has = |wanted: Self| meta.finalizers.iter().flatten().any(|held| held == wanted.finalizer());
        [Self::Orphan, Self::Foreground].into_iter().find(|wanted| has(*wanted))
    }
}

/// A reference to an owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Which object.
    pub uid: Uid,
    /// The API group of its kind.
    pub group: Box<str>,
    /// Its kind.
    pub kind: Box<str>,
    /// Its name.
    pub name: Box<str>,
    /// Whether the owner, deleted in the foreground, waits for this dependent.
    pub blocks: bool,
}

impl Owner {
    /// The part of an owner reference that matters here.
    pub fn of(reference: &OwnerReference) -> Self {
        let group = reference.api_version.rsplit_once('/').map_or("", |(group, _)| group);
        Self {
            uid: reference.uid.as_str().into(),
            group: group.into(),
            kind: reference.kind.as_str().into(),
            name: reference.name.as_str().into(),
            blocks: reference.block_owner_deletion == Some(true),
        }
    }
}

/// An object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its kind.
    pub kind: Arc<Kind>,
    /// Its namespace; empty for cluster-wide objects.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Box<str>,
    /// Its owners.
    pub owners: Box<[Owner]>,
    /// Whether its deletion has begun.
    pub terminating: bool,
    /// What its finalizers say about its dependents.
    pub propagation: Option<Propagation>,
}

impl Node {
    /// An object as its metadata shows it.
    pub fn of(kind: &Arc<Kind>, meta: &ObjectMeta) -> Self {
        Self {
            kind: kind.clone(),
            namespace: meta.namespace.as_deref().unwrap_or_default().into(),
            name: meta.name.as_deref().unwrap_or_default().into(),
            owners: meta.owner_references.iter().flatten().map(Owner::of).collect(),
            terminating: meta.deletion_timestamp.is_some(),
            propagation: Propagation::of(meta),
        }
    }

    /// Whether it stays until its dependents are dealt with.
    pub fn holds_for(&self, propagation: Propagation) -> bool {
        self.terminating && self.propagation == Some(propagation)
    }

    /// Whether this is the object that `owner`, written on an object in `namespace`, speaks of.
    fn answers_to(&self, owner: &Owner, namespace: &str) -> bool {
        *self.name == *owner.name
            && *self.kind.api.kind == *owner.kind
            && *self.kind.api.group == *owner.group
            && (!self.kind.namespaced || *self.namespace == *namespace)
    }
}

/// What a removal leaves to do.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Removal {
    /// Objects to look at again.
    pub touched: Vec<Uid>,
    /// Of which kind and in which namespace nothing is left.
    pub emptied: Option<(String, Arc<str>)>,
}

/// Objects and their owners.
#[derive(Debug, Default)]
pub struct Graph {
    /// In order, so that those who ask for all of a kind are answered alike each time.
    nodes: BTreeMap<Uid, Node>,
    /// By the uid of an owner, seen or not.
    dependents: HashMap<Uid, BTreeSet<Uid>>,
    /// By resource and namespace.
    counts: HashMap<(String, Arc<str>), usize>,
}

impl Graph {
    /// An object, if it is known.
    pub fn node(&self, uid: &str) -> Option<&Node> {
        self.nodes.get(uid)
    }

    /// The objects that name this one as their owner, and in what words.
    pub fn dependents(&self, uid: &str) -> impl Iterator<Item = (&Uid, &Node, &Owner)> {
        self.dependents.get(uid).into_iter().flatten().filter_map(move |dependent| {
            let node = self.nodes.get(dependent)?;
            let owner = node.owners.iter().find(|owner| *owner.uid == *uid)?;
            Some((dependent, node, owner))
        })
    }

    /// The owner that a reference on an object in `namespace` means, if it has been seen.
    pub fn owner(&self, owner: &Owner, namespace: &str) -> Option<&Node> {
        self.nodes.get(&owner.uid).filter(|node| node.answers_to(owner, namespace))
    }

    /// All objects of a kind.
    pub fn of_kind<'a>(&'a self, kind: &'a Kind) -> impl Iterator<Item = &'a Uid> {
        self.nodes.iter().filter(move |(_, node)| *node.kind == *kind).map(|(uid, _)| uid)
    }

    /// How many objects of a resource a namespace holds.
    pub fn count(&self, resource: &str, namespace: &str) -> usize {
        self.counts.get(&(resource.to_owned(), namespace.into())).copied().unwrap_or(0)
    }

    /// All objects that have owners or wait for dependents.
    pub fn involved(&self) -> impl Iterator<Item = &Uid> {
        self.nodes.iter().filter(|(_, node)| is_involved(node)).map(|(uid, _)| uid)
    }

    /// Takes in an object as just seen. Answers which objects to look at again; none if nothing changed.
    pub fn observe(&mut self, uid: Uid, node: Node) -> Vec<Uid> {
        let old = self.nodes.get(&uid);
        if old == Some(&node) {
            return Vec::new();
        }
        let mut touched = Vec::new();
        if is_involved(&node) {
            touched.push(uid.clone());
        }
        let newly_waiting = node.holds_for(Propagation::Foreground)
            && !old.is_some_and(|old| old.holds_for(Propagation::Foreground));
        for (dependent, held, owner) in self.dependents(&uid) {
            if newly_waiting || !node.answers_to(owner, &held.namespace) {
                touched.push(dependent.clone());
            }
        }
        let before: Box<[Owner]> = old.map(|old| old.owners.clone()).unwrap_or_default();
        if before != node.owners {
            touched.extend(self.waiting(&before));
            self.disown(&uid, &before);
            for owner in &node.owners {
                self.dependents.entry(owner.uid.clone()).or_default().insert(uid.clone());
            }
        }
        if !self.nodes.contains_key(&uid) {
            *self.counts.entry((node.kind.resource(), node.namespace.clone())).or_default() += 1;
        }
        self.nodes.insert(uid, node);
        touched
    }

    /// Takes out an object that is gone.
    pub fn remove(&mut self, uid: &str) -> Removal {
        let mut touched: Vec<Uid> = self.dependents(uid).map(|(dependent, ..)| dependent.clone()).collect();
        let Some((uid, node)) = self.nodes.remove_entry(uid) else {
            return Removal { touched, emptied: None };
        };
        touched.extend(self.waiting(&node.owners));
        self.disown(&uid, &node.owners);
        let place = (node.kind.resource(), node.namespace);
        let left = self.counts.get_mut(&place).map(|count| {
            *count = count.saturating_sub(1);
            *count
        });
        let emptied = (left == Some(0)).then(|| {
            self.counts.remove(&place);
            place
        });
        Removal { touched, emptied }
    }

    /// The owners among these that wait for dependents.
    fn waiting(&self, owners: &[Owner]) -> Vec<Uid> {
        let waits = |owner: &&Owner| {
            let node = self.nodes.get(&owner.uid);
            node.is_some_and(|node| node.terminating && node.propagation.is_some())
        };
        owners.iter().filter(waits).map(|owner| owner.uid.clone()).collect()
    }

    fn disown(&mut self, uid: &Uid, owners: &[Owner]) {
        for owner in owners {
            if let Some(dependents) = self.dependents.get_mut(&owner.uid) {
                dependents.remove(uid);
                if dependents.is_empty() {
                    self.dependents.remove(&owner.uid);
                }
            }
        }
    }
}

fn is_involved(node: &Node) -> bool {
    !node.owners.is_empty() || (node.terminating && node.propagation.is_some())
}

#[cfg(test)]
#[path = "graph_tests.rs"]
mod tests;
