//! Transactions: compares, then writes, all or nothing.

use bytes::Bytes;

use crate::key::Key;
use crate::lease::LeaseId;
use crate::revision::Revision;
use crate::store::Entry;

/// What must hold for a transaction to be applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compare {
    /// The key looked at.
    pub key: Key,
    /// Its `mod_revision`; [`Revision::NONE`] demands that it does not exist.
    pub mod_revision: Revision,
}

/// One write of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Sets a key.
    Put {
        /// The key.
        key: Key,
        /// Its new value.
        value: Bytes,
        /// The lease it is attached to from now on. Whatever it was attached to before, it is no longer.
        lease: Option<LeaseId>,
    },
    /// Removes a key; nothing happens when it is absent.
    Delete {
        /// The key.
        key: Key,
    },
}

impl Op {
    /// The lease that the key is attached to by it.
    #[cfg(feature = "etcd")]
    pub(crate) fn lease(&self) -> Option<LeaseId> {
        match self {
            Self::Put { lease, .. } => *lease,
            Self::Delete { .. } => None,
        }
    }

    /// The key it writes.
    pub fn key(&self) -> &Key {
        match self {
            Self::Put { key, .. } | Self::Delete { key } => key,
        }
    }
}

/// Compares, then writes: applied as a whole when every compare holds, not at all otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Txn {
    /// What must hold.
    pub compares: Vec<Compare>,
    /// What is written then; a key may occur once.
    pub ops: Vec<Op>,
}

impl Txn {
    /// A transaction without compares or writes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Demands that `key` was last changed at `mod_revision` ([`Revision::NONE`]: does not exist).
    #[must_use]
    pub fn when(mut self, key: Key, mod_revision: Revision) -> Self {
        self.compares.push(Compare { key, mod_revision });
        self
    }

    /// Writes `value` under `key`, without a lease.
    #[must_use]
    pub fn put(mut self, key: Key, value: impl Into<Bytes>) -> Self {
        self.ops.push(Op::Put { key, value: value.into(), lease: None });
        self
    }

    /// Writes `value` under `key`, to be removed when `lease` ends.
    #[must_use]
    pub fn put_leased(mut self, key: Key, value: impl Into<Bytes>, lease: LeaseId) -> Self {
        self.ops.push(Op::Put { key, value: value.into(), lease: Some(lease) });
        self
    }

    /// Removes `key`.
    #[must_use]
    pub fn delete(mut self, key: Key) -> Self {
        self.ops.push(Op::Delete { key });
        self
    }
}

/// What became of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The revision the writes took; for a refused or empty one, the revision it was decided at.
    pub revision: Revision,
    /// Applied or refused.
    pub outcome: Outcome,
}

/// Applied or refused; a refusal is an answer, not an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every compare held and every write is durable.
    Applied,
    /// A compare failed, nothing was written. What each compared key holds now, in the order of the compares.
    Refused(Vec<Option<Entry>>),
}
