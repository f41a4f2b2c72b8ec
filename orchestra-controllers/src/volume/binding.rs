//! What a bound pair looks like. Each function answers the object to write, or nothing if it is right already.

use k8s_openapi::api::core::v1::{ObjectReference, PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::fit::{claim_of, volume_of};
use super::{
    BETA_STORAGE_PROVISIONER, BIND_COMPLETED, BOUND_BY_CONTROLLER, PROVISIONED_BY, STORAGE_PROVISIONER,
};

/// A full reference to a claim.
pub(super) fn reference(claim: &PersistentVolumeClaim) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".into()),
        kind: Some("PersistentVolumeClaim".into()),
        name: claim.metadata.name.clone(),
        namespace: claim.metadata.namespace.clone(),
        uid: claim.metadata.uid.clone(),
        resource_version: claim.metadata.resource_version.clone(),
        field_path: None,
    }
}

/// The volume that names its claim. One that was not meant for a claim remembers that this was the controller's doing.
pub(super) fn volume(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> Option<PersistentVolume> {
    let held = claim_of(volume);
    if held.is_some_and(|held| held.uid.is_some() && held.uid == claim.metadata.uid) {
        return None;
    }
    let mut new = volume.clone();
    if held.is_none() {
        annotate(&mut new.metadata, BOUND_BY_CONTROLLER, "yes");
    }
    new.spec.get_or_insert_default().claim_ref = Some(reference(claim));
    Some(new)
}

/// The claim that names its volume.
pub(super) fn claim(
    claim: &PersistentVolumeClaim,
    volume: &PersistentVolume,
) -> Option<PersistentVolumeClaim> {
    let mut new = claim.clone();
    if volume_of(claim) != volume.metadata.name.as_deref() {
        new.spec.get_or_insert_default().volume_name.clone_from(&volume.metadata.name);
        annotate(&mut new.metadata, BOUND_BY_CONTROLLER, "yes");
    }
    annotate(&mut new.metadata, BIND_COMPLETED, "yes");
    let maker = volume.metadata.annotations.as_ref().and_then(|held| held.get(PROVISIONED_BY));
    if let Some(maker) = maker {
        provisioned_by(&mut new.metadata, maker);
    }
    (new != *claim).then_some(new)
}

/// The claim whose status tells of its volume.
pub(super) fn claim_status(
    claim: &PersistentVolumeClaim,
    volume: &PersistentVolume,
) -> Option<PersistentVolumeClaim> {
    let mut new = claim.clone();
    let status = new.status.get_or_insert_default();
    let spec = volume.spec.as_ref();
    status.phase = Some("Bound".into());
    status.access_modes = spec.and_then(|spec| spec.access_modes.clone());
    status.capacity = spec.and_then(|spec| spec.capacity.clone());
    (new != *claim).then_some(new)
}

/// The claim for which a provisioner is to make a volume.
pub(super) fn awaiting(claim: &PersistentVolumeClaim, provisioner: &str) -> Option<PersistentVolumeClaim> {
    let mut new = claim.clone();
    provisioned_by(&mut new.metadata, provisioner);
    (new != *claim).then_some(new)
}

/// The volume that is free of its claim: quite, or, if it was made for a claim of this name, for the next of the name.
pub(super) fn unbound(volume: &PersistentVolume) -> PersistentVolume {
    let mut new = volume.clone();
    let annotations = new.metadata.annotations.as_mut();
    let by_controller = annotations.and_then(|held| held.remove(BOUND_BY_CONTROLLER)).is_some();
    let spec = new.spec.get_or_insert_default();
    match &mut spec.claim_ref {
        Some(reference) if !by_controller => {
            reference.uid = None;
            reference.resource_version = None;
        }
        held => *held = None,
    }
    new
}

fn provisioned_by(meta: &mut ObjectMeta, provisioner: &str) {
    annotate(meta, STORAGE_PROVISIONER, provisioner);
    annotate(meta, BETA_STORAGE_PROVISIONER, provisioner);
}

fn annotate(meta: &mut ObjectMeta, key: &str, value: &str) {
    meta.annotations.get_or_insert_default().insert(key.to_owned(), value.to_owned());
}
