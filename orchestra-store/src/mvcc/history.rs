//! The versions of one key, oldest first.

use bytes::Bytes;

use crate::key::Key;
use crate::revision::Revision;
use crate::store::Entry;

/// A key's state from `mod_revision` on, until its next version.
#[derive(Clone, Debug)]
pub(crate) struct Version {
    pub(crate) mod_revision: Revision,
    pub(crate) create_revision: Revision,
    pub(crate) version: u64,
    /// `None` marks a removal.
    pub(crate) value: Option<Bytes>,
}

impl Version {
    pub(crate) fn entry(&self, key: &Key) -> Option<Entry> {
        let value = self.value.clone()?;
        Some(Entry {
            key: key.clone(),
            value,
            create_revision: self.create_revision,
            mod_revision: self.mod_revision,
            version: self.version,
        })
    }

    /// What keeping this version costs, roughly.
    pub(crate) fn cost(&self) -> usize {
        size_of::<Self>() + self.value.as_ref().map_or(0, Bytes::len)
    }
}

/// At least one version. Nearly every key of a quiet store has exactly one, which then needs no list.
#[derive(Debug)]
pub(crate) enum History {
    One(Version),
    Many(Vec<Version>),
}

impl History {
    fn versions(&self) -> &[Version] {
        match self {
            Self::One(version) => std::slice::from_ref(version),
            Self::Many(versions) => versions,
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.versions().len()
    }

    /// What all versions cost that are not the latest value.
    #[cfg(test)]
    pub(super) fn past_cost(&self) -> usize {
        let all: usize = self.versions().iter().map(Version::cost).sum();
        all - self.latest().filter(|latest| latest.value.is_some()).map_or(0, Version::cost)
    }

    /// The newest version; `None` never happens, for a history is never empty.
    pub(crate) fn latest(&self) -> Option<&Version> {
        self.versions().last()
    }

    /// The version that a read at `at` sees.
    pub(crate) fn at(&self, at: Revision) -> Option<&Version> {
        let versions = self.versions();
        match versions.last() {
            Some(last) if last.mod_revision <= at => Some(last),
            _ => versions[..versions.partition_point(|version| version.mod_revision <= at)].last(),
        }
    }

    /// The version written at exactly `revision`, and the one before it.
    pub(crate) fn written_at(&self, revision: Revision) -> Option<(Option<&Version>, &Version)> {
        let versions = self.versions();
        let index = versions.binary_search_by_key(&revision, |version| version.mod_revision).ok()?;
        let before = index.checked_sub(1).and_then(|before| versions.get(before));
        Some((before, versions.get(index)?))
    }

    pub(crate) fn push(&mut self, next: Version) {
        match self {
            Self::Many(versions) => versions.push(next),
            Self::One(first) => {
                let versions = vec![first.clone(), next];
                *self = Self::Many(versions);
            }
        }
    }

    /// Drops what no read above `compacted` and no event above it needs, and tells what that cost.
    /// The last value at or below `compacted` stays: it is what reads above see, and what the next event replaces.
    pub(crate) fn prune(&mut self, compacted: Revision) -> Pruned {
        let Self::Many(versions) = self else {
            return match self.latest() {
                Some(last) if last.value.is_none() && last.mod_revision <= compacted => {
                    Pruned::All(last.cost())
                }
                _ => Pruned::Some(0),
            };
        };
        let below = versions.partition_point(|version| version.mod_revision <= compacted);
        let Some(last_below) = below.checked_sub(1) else { return Pruned::Some(0) };
        let is_removal = versions.get(last_below).is_some_and(|version| version.value.is_none());
        let drop = if is_removal { below } else { last_below };
        let cost = versions.drain(..drop).map(|version| version.cost()).sum();
        match versions.len() {
            0 => Pruned::All(cost),
            1 => {
                if let Some(only) = versions.pop() {
                    *self = Self::One(only);
                }
                Pruned::Some(cost)
            }
            left => {
                if versions.capacity() > 4 * left {
                    versions.shrink_to(2 * left);
                }
                Pruned::Some(cost)
            }
        }
    }
}

/// What pruning a history freed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Pruned {
    /// Some versions of this cost; the key stays.
    Some(usize),
    /// Everything: the key was removed long ago and can be forgotten.
    All(usize),
}
