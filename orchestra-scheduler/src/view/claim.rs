//! Claims as the scheduler sees them.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use k8s_openapi::api::core::v1 as api;
use orchestra_core::selector::LabelSelector;

use super::amount::amount;
use super::catalog::{Catalog, shelf};
use super::group::read_selector;
use super::kept::{Kept, Shelf};
use super::{NodeName, ViewError};
use crate::event::ClusterEvent;
use crate::unit::{Bytes, ResourceName};

/// Set on a claim: the node its first consumer was placed on.
pub(crate) const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
const BIND_COMPLETED: &str = "pv.kubernetes.io/bind-completed";
pub(super) const BETA_CLASS: &str = "volume.beta.kubernetes.io/storage-class";

/// How volumes may be, or are to be, mounted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessModes(BTreeSet<Box<str>>);

impl AccessModes {
    pub(super) fn from_api(modes: Option<&[String]>) -> Self {
        Self(modes.into_iter().flatten().map(|mode| mode.as_str().into()).collect())
    }

    /// Whether all of the modes `wanted` are among these.
    #[must_use]
    pub fn cover(&self, wanted: &Self) -> bool {
        wanted.0.is_subset(&self.0)
    }

    /// Whether only a single pod at a time may mount it.
    #[must_use]
    pub fn one_pod_only(&self) -> bool {
        self.0.contains("ReadWriteOncePod")
    }
}

/// Namespace and name of a claim.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClaimKey {
    /// `metadata.namespace`.
    pub namespace: Arc<str>,
    /// `metadata.name`.
    pub name: Arc<str>,
}

impl fmt::Display for ClaimKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.namespace, self.name)
    }
}

/// How far a claim has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClaimPhase {
    /// No volume yet; `selected` is the node chosen for its first consumer.
    Unbound {
        /// The node the volume has to suit.
        selected: Option<NodeName>,
    },
    /// Names a volume that has not yet accepted it.
    Binding,
    /// Bound to the volume of this name.
    Bound(Arc<str>),
    /// Its volume is gone.
    Lost(Arc<str>),
}

/// A PersistentVolumeClaim, reduced to what scheduling needs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClaimView {
    /// Namespace and name.
    pub key: ClaimKey,
    /// How far it has come.
    pub phase: ClaimPhase,
    /// Its storage class.
    pub class: Option<Arc<str>>,
    /// How much it asks for.
    pub request: Bytes,
    /// Identity.
    pub uid: Box<str>,
    /// How it is to be mounted.
    pub access: AccessModes,
    /// Whether it wants a device rather than a file system.
    pub block: bool,
    /// The volumes it may be bound to; `None` is all.
    pub selector: Option<LabelSelector>,
    /// Whether its deletion has begun.
    pub terminating: bool,
}

impl ClaimView {
    /// Reads a claim of the API.
    ///
    /// # Errors
    /// When the request does not parse.
    pub fn from_api(claim: &api::PersistentVolumeClaim) -> Result<Self, ViewError> {
        let (meta, spec) = (&claim.metadata, claim.spec.as_ref());
        let annotation =
            |key: &str| meta.annotations.as_ref().and_then(|all| all.get(key)).map(String::as_str);
        let phase = claim.status.as_ref().and_then(|status| status.phase.as_deref());
        let volume = spec.and_then(|spec| spec.volume_name.as_deref()).filter(|name| !name.is_empty());
        let storage = spec
            .and_then(|spec| spec.resources.as_ref()?.requests.as_ref()?.get("storage"))
            .map(|quantity| amount(&ResourceName::Memory, quantity, "spec.resources.requests[storage]"));
        Ok(Self {
            key: ClaimKey {
                namespace: meta.namespace.as_deref().unwrap_or_default().into(),
                name: meta.name.as_deref().unwrap_or_default().into(),
            },
            phase: match volume {
                _ if phase == Some("Lost") => ClaimPhase::Lost(volume.unwrap_or_default().into()),
                Some(volume) if phase == Some("Bound") || annotation(BIND_COMPLETED).is_some() => {
                    ClaimPhase::Bound(volume.into())
                }
                Some(_) => ClaimPhase::Binding,
                None => ClaimPhase::Unbound { selected: annotation(SELECTED_NODE).map(NodeName::from) },
            },
            class: annotation(BETA_CLASS)
                .or_else(|| spec.and_then(|spec| spec.storage_class_name.as_deref()))
                .filter(|name| !name.is_empty())
                .map(Arc::from),
            uid: meta.uid.as_deref().unwrap_or_default().into(),
            access: AccessModes::from_api(spec.and_then(|spec| spec.access_modes.as_deref())),
            block: spec.is_some_and(|spec| spec.volume_mode.as_deref() == Some("Block")),
            selector: spec
                .and_then(|spec| spec.selector.as_ref())
                .map(|selector| read_selector(Some(selector))),
            request: Bytes(storage.transpose()?.unwrap_or(0)),
            terminating: meta.deletion_timestamp.is_some(),
        })
    }
}

impl Kept for ClaimView {
    type Key = ClaimKey;
    shelf!(claims);

    fn key(&self) -> ClaimKey {
        self.key.clone()
    }

    fn applied(_: Option<Arc<Self>>, now: Arc<Self>) -> Option<ClusterEvent> {
        Some(ClusterEvent::ClaimChanged(now))
    }

    fn deleted(_: Arc<Self>) -> Option<ClusterEvent> {
        None
    }
}
