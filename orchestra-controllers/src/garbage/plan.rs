//! What becomes of an object, given its owners and dependents: the pure part.

use crate::census::{Graph, Node, Propagation, Uid};

/// How an owner stands, as the server says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It exists and keeps its dependents.
    Solid,
    /// It waits for its dependents to be deleted first.
    Waiting,
    /// There is no such object.
    Absent,
    /// A namespaced owner of a cluster-wide object: there is no telling which one is meant.
    Ambiguous,
}

/// An object that names another as its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dependent {
    /// Which object.
    pub uid: Uid,
    /// Whether a foreground deletion of the owner waits for it.
    pub blocks: bool,
    /// Whether it waits for dependents of its own.
    pub waits: bool,
}

/// An object with everything its fate depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Whether its deletion has begun.
    pub terminating: bool,
    /// What its finalizers say about its dependents.
    pub propagation: Option<Propagation>,
    /// Its owners.
    pub owners: Vec<(Uid, Standing)>,
    /// Its dependents.
    pub dependents: Vec<Dependent>,
}

/// How an object is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Dependents are kept.
    Orphan,
    /// Dependents go afterwards.
    Background,
    /// Dependents go first.
    Foreground,
}

/// What to do about an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing, until something changes.
    Rest,
    /// Take these owners from it; others keep it.
    Release(Vec<Uid>),
    /// Delete it.
    Delete {
        /// What becomes of its own dependents.
        policy: Policy,
        /// Whether its owners must first stop waiting for it, because it would wait for them in a circle.
        unblock: bool,
    },
    /// Take it from the owners of these, then take the finalizer `orphan` from it.
    Orphan(Vec<Uid>),
    /// Take the finalizer `foregroundDeletion` from it: no dependent is left that it waits for.
    Finish,
}

/// Whether nothing need be done about an object, as far as the graph tells. What is not settled deserves the server's
/// word.
pub fn is_settled(node: &Node, uid: &str, graph: &Graph) -> bool {
    if node.terminating {
        return match node.propagation {
            None => true,
            Some(Propagation::Orphan) => false,
            Some(Propagation::Foreground) => graph.dependents(uid).any(|(_, _, owner)| owner.blocks),
        };
    }
    node.owners.iter().all(|owner| {
        let seen = graph.owner(owner, &node.namespace);
        seen.is_some_and(|seen| !seen.holds_for(Propagation::Foreground))
    })
}

/// What to do about an object.
pub fn plan(item: &Item) -> Action {
    if item.terminating {
        return match item.propagation {
            None => Action::Rest,
            Some(Propagation::Orphan) => {
                Action::Orphan(item.dependents.iter().map(|dependent| dependent.uid.clone()).collect())
            }
            Some(Propagation::Foreground) if item.dependents.iter().any(|d| d.blocks) => Action::Rest,
            Some(Propagation::Foreground) => Action::Finish,
        };
    }
    let stands = |standing: Standing| item.owners.iter().any(|(_, held)| *held == standing);
    if item.owners.is_empty() || stands(Standing::Ambiguous) {
        return Action::Rest;
    }
    if stands(Standing::Solid) {
        let lost = item.owners.iter().filter(|(_, standing)| *standing != Standing::Solid);
        let lost: Vec<Uid> = lost.map(|(uid, _)| uid.clone()).collect();
        return if lost.is_empty() { Action::Rest } else { Action::Release(lost) };
    }
    if stands(Standing::Waiting) && !item.dependents.is_empty() {
        let unblock = item.dependents.iter().any(|dependent| dependent.waits);
        return Action::Delete { policy: Policy::Foreground, unblock };
    }
    let policy = match item.propagation {
        Some(Propagation::Orphan) => Policy::Orphan,
        Some(Propagation::Foreground) => Policy::Foreground,
        None => Policy::Background,
    };
    Action::Delete { policy, unblock: false }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
