//! Which volume suits which claim.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{ObjectReference, PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use orchestra_core::meta::labels::DEFAULT_STORAGE_CLASS;
use orchestra_core::quantity::Quantity;

use super::BETA_CLASS;
use crate::ownership::{selector, selects};

pub(super) fn annotation<'a>(meta: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    meta.annotations.as_ref()?.get(key).map(String::as_str)
}

pub(super) fn class_of_claim(claim: &PersistentVolumeClaim) -> &str {
    let named = claim.spec.as_ref().and_then(|spec| spec.storage_class_name.as_deref());
    annotation(&claim.metadata, BETA_CLASS).or(named).unwrap_or("")
}

/// Whether a claim leaves its class to the cluster; one that names the empty class does not.
pub(super) fn wants_default(claim: &PersistentVolumeClaim) -> bool {
    let named = claim.spec.as_ref().and_then(|spec| spec.storage_class_name.as_ref());
    named.is_none() && annotation(&claim.metadata, BETA_CLASS).is_none()
}

/// The class of claims that leave it to the cluster: of several, the newest.
pub(super) fn default_class(classes: &[Arc<StorageClass>]) -> Option<&StorageClass> {
    let marked =
        classes.iter().filter(|class| annotation(&class.metadata, DEFAULT_STORAGE_CLASS) == Some("true"));
    let rank = |class: &&Arc<StorageClass>| {
        let created = class.metadata.creation_timestamp.as_ref().map(|time| time.0);
        (created, std::cmp::Reverse(class.metadata.name.clone()))
    };
    marked.max_by_key(rank).map(|class| &**class)
}

fn class_of_volume(volume: &PersistentVolume) -> &str {
    let named = volume.spec.as_ref().and_then(|spec| spec.storage_class_name.as_deref());
    annotation(&volume.metadata, BETA_CLASS).or(named).unwrap_or("")
}

/// The volume a claim names.
pub(super) fn volume_of(claim: &PersistentVolumeClaim) -> Option<&str> {
    claim.spec.as_ref()?.volume_name.as_deref().filter(|name| !name.is_empty())
}

/// The claim a volume names.
pub(super) fn claim_of(volume: &PersistentVolume) -> Option<&ObjectReference> {
    volume.spec.as_ref()?.claim_ref.as_ref()
}

/// Whether a volume is meant for this claim, already or from the beginning.
pub(super) fn is_for(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    claim_of(volume).is_some_and(|reference| {
        let named = reference.name == claim.metadata.name && reference.namespace == claim.metadata.namespace;
        let uid = reference.uid.as_deref().unwrap_or("");
        named && (uid.is_empty() || claim.metadata.uid.as_deref() == Some(uid))
    })
}

fn size(volume: &PersistentVolume) -> Quantity {
    let capacity = volume.spec.as_ref().and_then(|spec| spec.capacity.as_ref()?.get("storage"));
    capacity.and_then(|text| Quantity::parse(&text.0).ok()).unwrap_or(Quantity::ZERO)
}

fn wanted_size(claim: &PersistentVolumeClaim) -> Quantity {
    let resources = claim.spec.as_ref().and_then(|spec| spec.resources.as_ref());
    let request = resources.and_then(|resources| resources.requests.as_ref()?.get("storage"));
    request.and_then(|text| Quantity::parse(&text.0).ok()).unwrap_or(Quantity::ZERO)
}

fn has_mode(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    let of = |mode: Option<&String>| mode.map_or("Filesystem", String::as_str).to_owned();
    let has = of(volume.spec.as_ref().and_then(|spec| spec.volume_mode.as_ref()));
    has == of(claim.spec.as_ref().and_then(|spec| spec.volume_mode.as_ref()))
}

fn has_access(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    let has = volume.spec.as_ref().and_then(|spec| spec.access_modes.as_deref()).unwrap_or_default();
    let wanted = claim.spec.as_ref().and_then(|spec| spec.access_modes.as_deref()).unwrap_or_default();
    wanted.iter().all(|mode| has.contains(mode))
}

/// Why a volume that a claim names will not do for it.
pub(super) fn objection(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> Option<&'static str> {
    if size(volume) < wanted_size(claim) {
        Some("requested PV is too small")
    } else if class_of_volume(volume) != class_of_claim(claim) {
        Some("storageClassName does not match")
    } else if !has_mode(volume, claim) {
        Some("incompatible volumeMode")
    } else if !has_access(volume, claim) {
        Some("incompatible accessMode")
    } else {
        None
    }
}

/// The volume to bind a claim to: one that is meant for it, else the smallest that suits. A claim that waits for its
/// first consumer gets only what is meant for it.
pub(super) fn best(
    claim: &PersistentVolumeClaim,
    volumes: &[Arc<PersistentVolume>],
    waits: bool,
) -> Option<Arc<PersistentVolume>> {
    let usable = |volume: &&Arc<PersistentVolume>| {
        volume.metadata.deletion_timestamp.is_none()
            && size(volume) >= wanted_size(claim)
            && has_mode(volume, claim)
    };
    if let Some(meant) = volumes.iter().filter(usable).find(|volume| is_for(volume, claim)) {
        return Some(meant.clone());
    }
    if waits {
        return None;
    }
    // A selector that cannot be read selects nothing.
    let selects_all = claim.spec.as_ref().and_then(|spec| spec.selector.as_ref()).map(selector);
    let selected = |volume: &PersistentVolume| match &selects_all {
        None => true,
        Some(Ok(selector)) => selects(selector, &volume.metadata),
        Some(Err(_)) => false,
    };
    let is_free = |volume: &PersistentVolume| {
        let phase = volume.status.as_ref().and_then(|status| status.phase.as_deref());
        claim_of(volume).is_none() && phase == Some("Available")
    };
    let free = volumes
        .iter()
        .filter(usable)
        .filter(|volume| is_free(volume) && selected(volume) && objection(volume, claim).is_none());
    free.min_by(|a, b| size(a).cmp(&size(b)).then_with(|| a.metadata.name.cmp(&b.metadata.name))).cloned()
}
