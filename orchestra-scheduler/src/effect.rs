//! What a decision changes in the world, as data; the driver carries it out.

use std::sync::Arc;

use crate::view::{ClaimKey, ClaimUser, DeviceAllocation, NamespacedName, NodeName, PodKey, PodUid};

/// One write to the API.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Effect {
    /// Bind a pod to a node through `pods/{name}/binding`.
    Bind {
        /// The pod.
        pod: PodKey,
        /// Its identity, so that a namesake is not bound.
        uid: PodUid,
        /// Where to.
        node: NodeName,
    },
    /// Have an extender bind a pod.
    BindThrough {
        /// The extender, by name.
        extender: Box<str>,
        /// The pod.
        pod: PodKey,
        /// Its identity.
        uid: PodUid,
        /// Where to.
        node: NodeName,
    },
    /// Evict a pod for a more important one: say so in its status, then delete it.
    Evict {
        /// The pod.
        pod: PodKey,
        /// Its identity, so that a namesake is not evicted.
        uid: PodUid,
        /// The message of its `DisruptionTarget` condition.
        message: String,
        /// The generation the condition is made for.
        generation: Option<i64>,
    },
    /// Bind a volume to a claim from the volume's side; the volume controller does the rest.
    BindVolume {
        /// The volume.
        volume: Arc<str>,
        /// The version of it that was decided on.
        version: Box<str>,
        /// The claim.
        claim: ClaimKey,
        /// The claim's identity.
        uid: Box<str>,
    },
    /// Write down who uses a resource claim.
    ReserveClaim {
        /// The claim.
        claim: NamespacedName,
        /// The version of it that was decided on.
        version: Box<str>,
        /// All of its users.
        users: Vec<ClaimUser>,
    },
    /// Give a resource claim its devices, and write down who uses it. What keeps it from vanishing comes first.
    AllocateClaim {
        /// The claim.
        claim: NamespacedName,
        /// The version of it that was decided on.
        version: Box<str>,
        /// Whether it is kept from vanishing already.
        guarded: bool,
        /// The devices.
        allocation: Arc<DeviceAllocation>,
        /// All of its users.
        users: Vec<ClaimUser>,
    },
    /// Take a resource claim's devices back.
    FreeClaim {
        /// The claim.
        claim: NamespacedName,
        /// The version of it that was decided on.
        version: Box<str>,
    },
    /// Set an annotation of a claim.
    AnnotateClaim {
        /// The claim.
        claim: ClaimKey,
        /// The annotation's key.
        key: &'static str,
        /// Its value.
        value: String,
    },
}
