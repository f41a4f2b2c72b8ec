//! Claims and volumes: who is bound to whom, volumes made for claims, and what becomes of a volume afterwards.
//!
//! Volumes are made as directories of this machine (provisioner `orchestra.dev/host-path`), if the embedder names a
//! base directory. Their StorageClass `standard` binds immediately: on one machine every node reaches every directory,
//! so waiting for the first consumer would only delay its pod, and the scheduler would not match volumes made by hand.
//! Claims of classes that do wait are provisioned once the scheduler has annotated them with a node.

mod binding;
mod claim;
mod directory;
mod fit;
mod persistent;
mod protection;
mod provision;
mod shell;

pub use claim::{Action as ClaimAction, Observed as ObservedClaim, plan as plan_claim};
pub use persistent::{Action as VolumeAction, plan as plan_volume};
pub(crate) use shell::setup;

/// The provisioner of this crate.
pub const PROVISIONER: &str = "orchestra.dev/host-path";

const BIND_COMPLETED: &str = "pv.kubernetes.io/bind-completed";
const BOUND_BY_CONTROLLER: &str = "pv.kubernetes.io/bound-by-controller";
const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";
const STORAGE_PROVISIONER: &str = "volume.kubernetes.io/storage-provisioner";
const BETA_STORAGE_PROVISIONER: &str = "volume.beta.kubernetes.io/storage-provisioner";
const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
const BETA_CLASS: &str = "volume.beta.kubernetes.io/storage-class";

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
