//! What a pod mounts, as far as other pods may want the same.

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

use k8s_openapi::api::core::v1 as api;

/// A claim that a pod mounts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClaimReference {
    /// The claim's name, in the pod's namespace.
    pub name: Box<str>,
    /// Whether the claim is made for this pod from a template in its specification.
    pub ephemeral: bool,
}

/// A network disk written out in a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Disk {
    /// A disk of Google's: conflicts unless both only read.
    Gce {
        /// The disk.
        name: Box<str>,
        /// Whether it is only read.
        read_only: bool,
    },
    /// A disk of Amazon's: always conflicts.
    Ebs {
        /// The disk.
        id: Box<str>,
    },
    /// An iSCSI target: conflicts unless both only read.
    Iscsi {
        /// The target.
        iqn: Box<str>,
        /// Whether it is only read.
        read_only: bool,
    },
    /// A Ceph image: conflicts, when some monitor is shared, unless both only read.
    Rbd {
        /// The monitors.
        monitors: BTreeSet<Box<str>>,
        /// The pool.
        pool: Box<str>,
        /// The image.
        image: Box<str>,
        /// Whether it is only read.
        read_only: bool,
    },
}

impl Disk {
    fn from_api(volume: &api::Volume) -> Option<Self> {
        if let Some(disk) = &volume.gce_persistent_disk {
            return Some(Self::Gce {
                name: disk.pd_name.as_str().into(),
                read_only: disk.read_only.unwrap_or(false),
            });
        }
        if let Some(disk) = &volume.aws_elastic_block_store {
            return Some(Self::Ebs { id: disk.volume_id.as_str().into() });
        }
        if let Some(disk) = &volume.iscsi {
            return Some(Self::Iscsi {
                iqn: disk.iqn.as_str().into(),
                read_only: disk.read_only.unwrap_or(false),
            });
        }
        let disk = volume.rbd.as_ref()?;
        Some(Self::Rbd {
            monitors: disk.monitors.iter().map(|monitor| monitor.as_str().into()).collect(),
            pool: disk.pool.as_deref().unwrap_or("rbd").into(),
            image: disk.image.as_str().into(),
            read_only: disk.read_only.unwrap_or(false),
        })
    }

    /// Whether both cannot be on one node.
    #[must_use]
    pub fn conflicts_with(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Gce { name, read_only }, Self::Gce { name: other, read_only: reads }) => {
                name == other && !(*read_only && *reads)
            }
            (Self::Ebs { id }, Self::Ebs { id: other }) => id == other,
            (Self::Iscsi { iqn, read_only }, Self::Iscsi { iqn: other, read_only: reads }) => {
                iqn == other && !(*read_only && *reads)
            }
            (
                Self::Rbd { monitors, pool, image, read_only },
                Self::Rbd { monitors: others, pool: in_pool, image: other, read_only: reads },
            ) => {
                !monitors.is_disjoint(others) && pool == in_pool && image == other && !(*read_only && *reads)
            }
            _ => false,
        }
    }
}

/// What a pod mounts; kept also when it has a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mounts {
    /// Claims among `spec.volumes`.
    pub claims: Vec<ClaimReference>,
    /// Network disks among `spec.volumes`.
    pub disks: Vec<Disk>,
}

// Most pods share this one.
static NOTHING: LazyLock<Arc<Mounts>> = LazyLock::new(Arc::default);

impl Mounts {
    pub(super) fn from_api(pod: &str, spec: &api::PodSpec) -> Arc<Self> {
        let volumes = || spec.volumes.iter().flatten();
        let mounts = Self {
            claims: volumes().filter_map(|volume| claim(pod, volume)).collect(),
            disks: volumes().filter_map(Disk::from_api).collect(),
        };
        if mounts == Self::default() { NOTHING.clone() } else { Arc::new(mounts) }
    }
}

fn claim(pod: &str, volume: &api::Volume) -> Option<ClaimReference> {
    if let Some(source) = &volume.persistent_volume_claim {
        return Some(ClaimReference { name: source.claim_name.as_str().into(), ephemeral: false });
    }
    volume.ephemeral.as_ref()?;
    let name = format!("{pod}-{}", volume.name).into();
    Some(ClaimReference { name, ephemeral: true })
}
