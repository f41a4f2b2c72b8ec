//! What a volume needs done: the pure part.

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};

use super::PROVISIONED_BY;
use super::fit::{annotation, claim_of, volume_of};

/// What a volume needs next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing, until something changes.
    Rest,
    /// Its status should show this phase.
    SetPhase(&'static str),
    /// Look at the claim it names, which is not bound yet.
    LookAtClaim,
    /// Free it of its claim, which is bound to another volume.
    Unbind,
    /// Delete what it stands for, then it.
    Reclaim,
}

/// What a volume needs next. `claim` is the very claim it names, if that exists.
pub fn plan(volume: &PersistentVolume, claim: Option<&PersistentVolumeClaim>) -> Action {
    let phase = volume.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or("");
    let to = |wanted: &'static str| if phase == wanted { Action::Rest } else { Action::SetPhase(wanted) };
    let Some(reference) = claim_of(volume) else { return to("Available") };
    if reference.uid.as_deref().unwrap_or("").is_empty() {
        return to("Available");
    }
    let policy = volume.spec.as_ref().and_then(|spec| spec.persistent_volume_reclaim_policy.as_deref());
    let released = || match (phase, policy) {
        ("Released" | "Failed", Some("Delete")) => Action::Reclaim,
        ("Released" | "Failed", _) => Action::Rest,
        _ => Action::SetPhase("Released"),
    };
    let Some(claim) = claim else { return released() };
    match volume_of(claim) {
        None => Action::LookAtClaim,
        name if name == volume.metadata.name.as_deref() => to("Bound"),
        Some(_) if annotation(&volume.metadata, PROVISIONED_BY).is_some() && policy == Some("Delete") => {
            released()
        }
        Some(_) => Action::Unbind,
    }
}
