//! What a decision changes in the world, as data; the driver carries it out.

use std::sync::Arc;

use crate::view::{
    ClaimKey, ClaimUser, DeviceAllocation, NamespacedName, NodeName, PodKey, PodUid, TranslatedClaim,
};

/// A claim that a scheduler makes of extended resources.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NewClaim {
    /// The pod that asks for them.
    pub pod: PodKey,
    /// Its identity.
    pub uid: PodUid,
    /// What the claim says, and how it follows from the pod.
    pub wanted: Arc<TranslatedClaim>,
    /// Its devices.
    pub allocation: Arc<DeviceAllocation>,
}

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
    /// Make a claim of extended resources that a pod asks for, give it its devices, note the pod as its user, and write into
    /// the pod's status how it is called. What was begun and cannot be ended is taken back as far as possible.
    MakeClaim(Arc<NewClaim>),
    /// Take away a claim that was made of extended resources, with the devices it has.
    DropClaim {
        /// The claim.
        claim: NamespacedName,
        /// The pod it was made for; a claim of another pod stays.
        pod: PodUid,
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
