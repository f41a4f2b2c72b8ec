//! Numbers with a meaning, so that a millicore is never added to a byte.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Defines a whole-number quantity that adds and subtracts without wrapping.
macro_rules! whole_number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub i64);

        impl $name {
            /// The sum, held at the ends of the range.
            #[must_use]
            pub fn plus(self, other: Self) -> Self {
                Self(self.0.saturating_add(other.0))
            }

            /// The difference, held at the ends of the range.
            #[must_use]
            pub fn minus(self, other: Self) -> Self {
                Self(self.0.saturating_sub(other.0))
            }
        }
    };
}

whole_number! {
    /// Thousandths of a CPU.
    Millicores
}
whole_number! {
    /// Bytes of memory or storage.
    Bytes
}
whole_number! {
    /// What a scoring plugin gives a node; between [`Points::MIN`] and [`Points::MAX`] once normalised.
    Points
}

impl Points {
    /// The worst score.
    pub const MIN: Self = Self(0);
    /// The best score of one plugin, before its weight.
    pub const MAX: Self = Self(100);
}

/// The importance of a pod, `spec.priority`; absent is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Priority(pub i32);

/// The name of a resource that scoring and requests speak of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResourceName {
    /// `cpu`, in millicores.
    Cpu,
    /// `memory`, in bytes.
    Memory,
    /// `ephemeral-storage`, in bytes.
    EphemeralStorage,
    /// An extended resource, huge pages, attachable volumes.
    Scalar(Arc<str>),
}

impl ResourceName {
    /// The name as the API spells it; `None` for a name that scheduling does not count.
    ///
    /// Counted besides the native three are huge pages, attachable volumes, and names with a domain
    /// (upstream's `IsScalarResourceName`).
    #[must_use]
    pub fn from_api(name: &str) -> Option<Self> {
        match name {
            "cpu" => Some(Self::Cpu),
            "memory" => Some(Self::Memory),
            "ephemeral-storage" => Some(Self::EphemeralStorage),
            _ if name.starts_with("hugepages-") || name.starts_with("attachable-volumes-") => {
                Some(Self::Scalar(name.into()))
            }
            _ if name.contains("kubernetes.io/") => Some(Self::Scalar(name.into())),
            _ if name.contains('/') && !name.starts_with("requests.") => Some(Self::Scalar(name.into())),
            _ => None,
        }
    }
}

impl fmt::Display for ResourceName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::EphemeralStorage => "ephemeral-storage",
            Self::Scalar(name) => name,
        })
    }
}

/// An amount of each resource.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Resources {
    /// CPU time.
    pub cpu: Millicores,
    /// Memory.
    pub memory: Bytes,
    /// Local scratch storage.
    pub ephemeral_storage: Bytes,
    /// Everything else, by name; a name that is absent differs from one that is zero.
    pub scalars: BTreeMap<Arc<str>, i64>,
}

impl Resources {
    /// The amount of one resource; an absent scalar is 0.
    #[must_use]
    #[inline]
    pub fn amount(&self, name: &ResourceName) -> i64 {
        match name {
            ResourceName::Cpu => self.cpu.0,
            ResourceName::Memory => self.memory.0,
            ResourceName::EphemeralStorage => self.ephemeral_storage.0,
            ResourceName::Scalar(name) => self.scalars.get(name).copied().unwrap_or(0),
        }
    }

    /// Sets the amount of one resource.
    pub fn set(&mut self, name: ResourceName, amount: i64) {
        match name {
            ResourceName::Cpu => self.cpu = Millicores(amount),
            ResourceName::Memory => self.memory = Bytes(amount),
            ResourceName::EphemeralStorage => self.ephemeral_storage = Bytes(amount),
            ResourceName::Scalar(name) => {
                self.scalars.insert(name, amount);
            }
        }
    }

    /// Adds another amount to this one.
    pub fn add(&mut self, other: &Self) {
        self.cpu = self.cpu.plus(other.cpu);
        self.memory = self.memory.plus(other.memory);
        self.ephemeral_storage = self.ephemeral_storage.plus(other.ephemeral_storage);
        for (name, amount) in &other.scalars {
            let sum = self.scalars.entry(name.clone()).or_default();
            *sum = sum.saturating_add(*amount);
        }
    }

    /// Takes another amount away from this one.
    pub fn remove(&mut self, other: &Self) {
        self.cpu = self.cpu.minus(other.cpu);
        self.memory = self.memory.minus(other.memory);
        self.ephemeral_storage = self.ephemeral_storage.minus(other.ephemeral_storage);
        for (name, amount) in &other.scalars {
            let sum = self.scalars.entry(name.clone()).or_default();
            *sum = sum.saturating_sub(*amount);
        }
    }
}

/// CPU and memory, where every container counts for something even if it asks for nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct NonZero {
    /// CPU time.
    pub cpu: Millicores,
    /// Memory.
    pub memory: Bytes,
}

impl NonZero {
    /// The sum.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self { cpu: self.cpu.plus(other.cpu), memory: self.memory.plus(other.memory) }
    }

    /// The difference.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Self { cpu: self.cpu.minus(other.cpu), memory: self.memory.minus(other.memory) }
    }
}
