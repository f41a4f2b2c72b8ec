//! What a claim needs done: the pure part.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::StorageClass;

use super::fit::{annotation, best, claim_of, class_of_claim, is_for, objection, volume_of, wants_default};
use super::{BIND_COMPLETED, PROVISIONER, SELECTED_NODE};

/// What is known when a claim is planned.
#[derive(Debug)]
pub struct Observed<'a> {
    /// The claim.
    pub claim: &'a PersistentVolumeClaim,
    /// All volumes.
    pub volumes: &'a [Arc<PersistentVolume>],
    /// The class the claim names, if it exists.
    pub class: Option<&'a StorageClass>,
    /// The class of claims that leave it to the cluster.
    pub default: Option<&'a StorageClass>,
}

/// What a claim needs next.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Nothing, until something changes.
    Rest,
    /// Bind it to this volume, or complete that.
    Bind(Arc<PersistentVolume>),
    /// Give it this class, because it names none and the default came after it.
    Assume(String),
    /// Make a volume for it and bind it.
    Provision,
    /// Let the provisioner of this name, which is somebody else's, make a volume.
    Await(String),
    /// Keep it pending and say why.
    Wait(Note),
    /// Its volume is lost; say why.
    Lose(Note),
}

/// Why, as events tell it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Whether something is wrong.
    pub warning: bool,
    /// The reason, in a word.
    pub reason: &'static str,
    /// What happened.
    pub message: String,
}

impl Note {
    fn normal(reason: &'static str, message: impl Into<String>) -> Self {
        Self { warning: false, reason, message: message.into() }
    }

    fn warning(reason: &'static str, message: impl Into<String>) -> Self {
        Self { warning: true, reason, message: message.into() }
    }
}

/// What a claim needs next.
pub fn plan(observed: &Observed<'_>) -> Action {
    let claim = observed.claim;
    if annotation(&claim.metadata, BIND_COMPLETED).is_some() {
        return bound(observed);
    }
    if claim.metadata.deletion_timestamp.is_some() {
        return Action::Rest;
    }
    match volume_of(claim) {
        Some(name) => named(observed, name),
        None => unbound(observed),
    }
}

fn find<'a>(observed: &Observed<'a>, name: &str) -> Option<&'a Arc<PersistentVolume>> {
    observed.volumes.iter().find(|volume| volume.metadata.name.as_deref() == Some(name))
}

/// A claim that was bound once.
fn bound(observed: &Observed<'_>) -> Action {
    let lose = |reason, message: &str| Action::Lose(Note::warning(reason, message));
    let Some(name) = volume_of(observed.claim) else {
        return lose(
            "ClaimLost",
            "Bound claim has lost reference to PersistentVolume. Data on the volume is lost!",
        );
    };
    match find(observed, name) {
        None => lose("ClaimLost", "Bound claim has lost its PersistentVolume. Data on the volume is lost!"),
        Some(volume) if claim_of(volume).is_none() || is_for(volume, observed.claim) => {
            Action::Bind(volume.clone())
        }
        Some(_) => {
            lose("ClaimMisbound", "Two claims are bound to the same volume, this one is bound incorrectly")
        }
    }
}

/// A claim that asks for a volume by name.
fn named(observed: &Observed<'_>, name: &str) -> Action {
    let claim = observed.claim;
    let Some(volume) = find(observed, name) else {
        return Action::Wait(Note::normal("FailedBinding", format!("volume {name:?} does not exist yet")));
    };
    if is_for(volume, claim) {
        return Action::Bind(volume.clone());
    }
    if claim_of(volume).is_some() {
        let message = format!("volume {name:?} already bound to a different claim.");
        return Action::Wait(Note::warning("FailedBinding", message));
    }
    match objection(volume, claim) {
        None => Action::Bind(volume.clone()),
        Some(why) => {
            let message = format!("Cannot bind to requested volume {name:?}: {why}");
            Action::Wait(Note::warning("VolumeMismatch", message))
        }
    }
}

/// A claim that takes whatever suits.
fn unbound(observed: &Observed<'_>) -> Action {
    let claim = observed.claim;
    let class = observed.class;
    let late =
        class.is_some_and(|class| class.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer"));
    if let Some(volume) = best(claim, observed.volumes, late) {
        return Action::Bind(volume);
    }
    if let Some(default) = observed.default.filter(|_| wants_default(claim)) {
        return Action::Assume(default.metadata.name.clone().unwrap_or_default());
    }
    if late && annotation(&claim.metadata, SELECTED_NODE).is_none() {
        let message = "waiting for first consumer to be created before binding";
        return Action::Wait(Note::normal("WaitForFirstConsumer", message));
    }
    let name = class_of_claim(claim);
    if name.is_empty() {
        let message = "no persistent volumes available for this claim and no storage class is set";
        return Action::Wait(Note::normal("FailedBinding", message));
    }
    match class.map(|class| class.provisioner.as_str()) {
        None => {
            let message = format!("storageclass.storage.k8s.io {name:?} not found");
            Action::Wait(Note::warning("ProvisioningFailed", message))
        }
        Some(PROVISIONER) => Action::Provision,
        Some("" | "kubernetes.io/no-provisioner") => {
            let message = "no persistent volumes available for this claim and its storage class makes none";
            Action::Wait(Note::normal("FailedBinding", message))
        }
        Some(other) => Action::Await(other.to_owned()),
    }
}
