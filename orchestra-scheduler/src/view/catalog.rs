//! Everything besides nodes and pods that decisions look at.

use std::sync::{Arc, OnceLock};

use super::extended::{Standing, standing};
use super::kept::Shelf;
use super::{
    AttachmentKey, AttachmentView, BudgetView, CapacityView, ClaimKey, ClaimView, ClassView, CsiDriverView,
    CsiNodeView, DeviceClaimView, DeviceClassView, DeviceSliceView, NamespaceView, NamespacedName, NodeName,
    OwnerKey, OwnerView, PodGroupView, ServiceView, VolumeView,
};

/// The shelves, one for each kind.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    pub(super) claims: Shelf<ClaimKey, ClaimView>,
    pub(super) volumes: Shelf<Arc<str>, VolumeView>,
    pub(super) classes: Shelf<Arc<str>, ClassView>,
    pub(super) csi_nodes: Shelf<NodeName, CsiNodeView>,
    pub(super) csi_drivers: Shelf<Arc<str>, CsiDriverView>,
    pub(super) capacities: Shelf<NamespacedName, CapacityView>,
    pub(super) attachments: Shelf<AttachmentKey, AttachmentView>,
    pub(super) device_claims: Shelf<NamespacedName, DeviceClaimView>,
    pub(super) device_classes: Shelf<Arc<str>, DeviceClassView>,
    pub(super) device_slices: Shelf<Arc<str>, DeviceSliceView>,
    pub(super) pod_groups: Shelf<NamespacedName, PodGroupView>,
    pub(super) namespaces: Shelf<Arc<str>, NamespaceView>,
    pub(super) services: Shelf<NamespacedName, ServiceView>,
    pub(super) owners: Shelf<OwnerKey, OwnerView>,
    pub(super) budgets: Shelf<NamespacedName, BudgetView>,
    /// What follows from the device classes, worked out when it is asked for.
    pub(super) standing: OnceLock<Arc<Standing>>,
}

impl Catalog {
    /// Which device class stands for which extended resource.
    pub(super) fn standing(&self) -> &Standing {
        self.standing.get_or_init(|| Arc::new(standing(self.device_classes.values())))
    }
}

/// Defines where a kind is kept, and by which field its objects name the node they speak of, if they do.
macro_rules! shelf {
    ($field:ident) => {
        shelf!($field, |_| None);
    };
    ($field:ident, |$object:pat_param| $node:expr) => {
        fn shelf(catalog: &Catalog) -> &Shelf<Self::Key, Self> {
            &catalog.$field
        }

        fn shelf_mut(catalog: &mut Catalog) -> &mut Shelf<Self::Key, Self> {
            &mut catalog.$field
        }

        fn node(&self) -> Option<&crate::view::NodeName> {
            let $object = self;
            $node
        }
    };
}
pub(super) use shelf;
