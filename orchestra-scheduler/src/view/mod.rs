//! What plugins see: compact, typed readings of pods, nodes, claims and volumes.
//!
//! Whole API objects are read once, at the rim, and dropped; only what a decision needs is kept. Views are
//! values: a [`ClusterView`] can be forked cheaply, changed, and asked again.

mod affinity;
mod alike;
mod amount;
mod budget;
mod catalog;
mod change;
mod claim;
mod cluster;
mod device_claim;
mod device_class;
mod device_slice;
mod extended;
mod group;
mod kept;
pub(crate) mod load;
mod mount;
mod node;
mod peer;
mod pod;
mod pod_group;
mod promise;
mod request;
mod shared;
mod spread;
mod storage;
mod taint;
mod volume;

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

pub use affinity::{NodeSelector, PreferredTerm, Requirement, SelectorOperator, SelectorTerm};
pub(crate) use alike::Alike;
pub use budget::BudgetView;
pub use catalog::Catalog;
pub(crate) use change::Bookmark;
pub use change::Stamp;
pub(crate) use claim::SELECTED_NODE;
pub use claim::{AccessModes, ClaimKey, ClaimPhase, ClaimView};
pub use cluster::{ClusterView, ImageSpread};
pub(crate) use device_claim::{CLAIM_GUARD, MADE_OF_RESOURCES};
pub use device_claim::{ClaimUser, DeviceAllocation, DeviceClaimReference, DeviceClaimView};
pub use device_class::DeviceClassView;
pub(crate) use device_slice::Said;
pub use device_slice::{DeviceSliceView, DeviceView, Reach};
pub(crate) use extended::is_named_for;
pub use extended::{ContainerDevices, WantedDevices, may_be_devices};
pub use group::{NamespaceView, NamespacedName, OwnerKey, OwnerKind, OwnerView, ServiceView};
pub use kept::{Kept, Shelf};
pub(crate) use load::{Brief, Load};
pub use mount::{ClaimReference, Disk, Mounts};
pub use node::{NodeFacts, NodeView};
pub use peer::{PodAffinity, PodTerm, WeightedPodTerm};
pub use pod::{HostPort, PlacementRules, PodKey, PodView, Protocol, ReportedCondition};
pub use pod_group::PodGroupView;
pub use promise::{Promise, PromisedResources, TranslatedClaim};
pub use request::Demand;
pub use spread::{InclusionPolicy, SpreadConstraint, Unsatisfiable};
pub use storage::{
    AttachmentKey, AttachmentView, BindingMode, CapacityView, ClassView, CsiDriverView, CsiNodeView,
};
pub use taint::{Taint, TaintEffect, Toleration, TolerationOperator};
pub use volume::{VolumeHandle, VolumeOwner, VolumeView};

/// The labels of an object.
pub type Labels = BTreeMap<String, String>;

/// Defines a shared string with a meaning.
macro_rules! shared_name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.into())
            }
        }

        impl Deref for $name {
            type Target = str;
            fn deref(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(&self.0)
            }
        }
    };
}

shared_name! {
    /// The name of a node.
    NodeName
}
shared_name! {
    /// The identity of one pod over its whole life, `metadata.uid`.
    PodUid
}

/// An API object that cannot be read for scheduling: which field, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct ViewError {
    field: String,
    problem: String,
}

impl ViewError {
    pub(crate) fn new(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { field: field.into(), problem: problem.into() }
    }

    /// The path of the field that could not be read.
    #[must_use]
    pub fn field(&self) -> &str {
        &self.field
    }
}
