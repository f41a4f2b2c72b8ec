//! Finalizers that keep claims and volumes while they are in use.

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::pod;

const CLAIM: &str = "kubernetes.io/pvc-protection";
const VOLUME: &str = "kubernetes.io/pv-protection";

/// The names of the claims that a pod uses.
pub(super) fn claims_of(pod: &Pod) -> impl Iterator<Item = String> + '_ {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let volumes = pod.spec.as_ref().and_then(|spec| spec.volumes.as_deref()).unwrap_or_default();
    volumes.iter().filter_map(move |volume| match (&volume.persistent_volume_claim, &volume.ephemeral) {
        (Some(source), _) => Some(source.claim_name.clone()),
        (None, Some(_)) => Some(format!("{name}-{}", volume.name)),
        (None, None) => None,
    })
}

/// Whether a pod keeps a claim of its namespace: from when it has a node until it is deleted. A pod without a node
/// will not be started with a claim that is going.
pub(super) fn keeps(pod: &Pod, claim: &str) -> bool {
    pod::node_name(pod).is_some() && claims_of(pod).any(|name| name == claim)
}

/// The finalizers a claim should have, if not those it has.
pub(super) fn of_claim(claim: &PersistentVolumeClaim, in_use: bool) -> Option<Vec<String>> {
    change(&claim.metadata, CLAIM, in_use)
}

/// The finalizers a volume should have, if not those it has.
pub(super) fn of_volume(volume: &PersistentVolume) -> Option<Vec<String>> {
    let bound = volume.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Bound");
    change(&volume.metadata, VOLUME, bound)
}

/// Whether a claim waits to be let go.
pub(super) fn awaits_release(claim: &PersistentVolumeClaim) -> bool {
    claim.metadata.deletion_timestamp.is_some()
        && claim.metadata.finalizers.iter().flatten().any(|held| held == CLAIM)
}

fn change(meta: &ObjectMeta, finalizer: &str, in_use: bool) -> Option<Vec<String>> {
    let held = meta.finalizers.clone().unwrap_or_default();
    let has = held.iter().any(|name| name == finalizer);
    match (meta.deletion_timestamp.is_some(), has) {
        (true, true) if !in_use => Some(held.into_iter().filter(|name| name != finalizer).collect()),
        // Whoever admitted it did not protect it. What is going already takes no new finalizers.
        (false, false) => Some(held.into_iter().chain([finalizer.to_owned()]).collect()),
        _ => None,
    }
}
