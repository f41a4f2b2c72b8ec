//! Where a store lies in etcd: which of etcd's keys are its own, and which of its revisions one of etcd's is.
//! Pure translation, both ways.

use bytes::Bytes;

use super::proto::{self, EventType, KeyValue};
use crate::key::{Key, KeyRange};
use crate::revision::Revision;
use crate::store::{Entry, Error, Result};
use crate::watch::Event;

/// No key of etcd was ever changed at this revision.
const NEVER: i64 = i64::MAX;

/// The keys of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Keys {
    root: Bytes,
    prefix: Bytes,
}

impl Keys {
    /// The store below `root`, which has no slash at its end.
    pub(super) fn below(root: &str) -> Self {
        Self { root: Bytes::copy_from_slice(root.as_bytes()), prefix: format!("{root}/keys/").into() }
    }

    fn beside(&self, name: &str) -> Bytes {
        [&self.root[..], b"/", name.as_bytes()].concat().into()
    }

    /// Where the store lies, for people.
    pub(super) fn root(&self) -> impl std::fmt::Display {
        self.root.escape_ascii()
    }

    /// The key that says that this is a store.
    pub(super) fn meta(&self) -> Bytes {
        self.beside("meta")
    }

    /// The key that is written where only a write can show how far a watch is.
    pub(super) fn fence(&self) -> Bytes {
        self.beside("fence")
    }

    /// Everything of the store, and what belongs to it.
    pub(super) fn everything(&self) -> (Bytes, Bytes) {
        (self.beside(""), [&self.root[..], b"0"].concat().into())
    }

    /// All keys of the store.
    pub(super) fn all(&self) -> (Bytes, Bytes) {
        self.range(&KeyRange::all())
    }

    /// The key in etcd.
    pub(super) fn outer(&self, key: &Key) -> Bytes {
        [&self.prefix[..], key.as_bytes()].concat().into()
    }

    /// The range in etcd. Never without an end, so it never reaches beyond the store.
    pub(super) fn range(&self, range: &KeyRange) -> (Bytes, Bytes) {
        let end = match &range.end {
            Some(end) => self.outer(end),
            None => KeyRange::prefix(&self.prefix)
                .end
                .map_or_else(|| Bytes::from_static(b"\0"), |end| Bytes::copy_from_slice(end.as_bytes())),
        };
        (self.outer(&range.start), end)
    }

    /// The store's key; `None` for what lies beside the keys.
    pub(super) fn inner(&self, outer: &Bytes) -> Option<Key> {
        // Copied: a slice would keep the whole message alive.
        outer.strip_prefix(&self.prefix[..]).map(|key| Key::new(Bytes::copy_from_slice(key)))
    }
}

/// How a store's revisions lie to etcd's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    /// The revision of etcd at which `meta` was written.
    pub(super) meta: i64,
    /// The store's revision then: 1 for a store that began empty.
    pub(super) base: u64,
}

impl Origin {
    /// The store's revision.
    pub(super) fn ours(self, theirs: i64) -> Result<Revision> {
        let ours = i128::from(theirs) - i128::from(self.meta) + i128::from(self.base);
        u64::try_from(ours).ok().map(Revision).ok_or_else(|| {
            Error::Corrupt(format!("etcd answers with revision {theirs}, which lies before the store"))
        })
    }

    /// Everything at or below it lies before the store began.
    pub(super) fn floor(self) -> Revision {
        Revision(self.base - 1)
    }

    /// etcd's revision, for one above the floor; the highest there is for one that etcd cannot have.
    pub(super) fn theirs(self, ours: Revision) -> i64 {
        let theirs = i128::from(ours.0) - i128::from(self.base) + i128::from(self.meta);
        i64::try_from(theirs).unwrap_or(i64::MAX)
    }

    /// What a key's `mod_revision` in etcd has to be; 0 means absent there too.
    pub(super) fn compared(self, ours: Revision) -> i64 {
        if ours == Revision::NONE {
            return 0;
        }
        let theirs = self.theirs(ours);
        if theirs > 0 { theirs } else { NEVER }
    }
}

/// Keys and revisions of one store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Space {
    pub(super) keys: Keys,
    pub(super) origin: Origin,
}

impl Space {
    /// What a key of the store holds.
    pub(super) fn entry(&self, kv: &KeyValue) -> Result<Entry> {
        let key = self.keys.inner(&kv.key);
        let key = key.ok_or_else(|| Error::Corrupt("etcd answers with a key nobody asked for".to_owned()))?;
        Ok(Entry {
            key,
            value: Bytes::copy_from_slice(&kv.value),
            create_revision: self.origin.ours(kv.create_revision)?,
            mod_revision: self.origin.ours(kv.mod_revision)?,
            version: u64::try_from(kv.version).unwrap_or_default(),
        })
    }

    /// A change of a key of the store; `None` for one beside the keys.
    ///
    /// # Errors
    /// [`Error::Compacted`] when etcd no longer knows what was there before, which means that the change itself has left the
    /// window.
    pub(super) fn event(&self, event: &proto::Event) -> Result<Option<Event>> {
        let Some(kv) = &event.kv else {
            return Err(Error::Corrupt("etcd tells of a change of nothing".to_owned()));
        };
        let Some(key) = self.keys.inner(&kv.key) else { return Ok(None) };
        let revision = self.origin.ours(kv.mod_revision)?;
        let previous = event.prev_kv.as_ref().map(|kv| self.entry(kv)).transpose()?;
        let lost = || Error::Compacted(revision);
        if event.kind == i32::from(EventType::Delete) {
            return Ok(Some(Event::Delete { key, revision, previous: previous.ok_or_else(lost)? }));
        }
        if previous.is_none() && kv.create_revision != kv.mod_revision {
            return Err(lost());
        }
        Ok(Some(Event::Put { entry: self.entry(kv)?, previous }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_never_leaves_the_store() {
        let keys = Keys::below("/o");
        let (start, end) = keys.range(&KeyRange::all());
        assert_eq!((&start[..], &end[..]), (&b"/o/keys/"[..], &b"/o/keys0"[..]));
        let (start, end) = keys.range(&KeyRange::prefix(b"\xff"));
        assert_eq!((&start[..], &end[..]), (&b"/o/keys/\xff"[..], &b"/o/keys0"[..]));
        let (start, end) = keys.everything();
        for own in [keys.meta(), keys.fence(), keys.outer(&"\u{ff}".into())] {
            assert!(start <= own && own < end);
        }
        for foreign in ["/o", "/o0", "/other/keys/a", "/oo/keys/a"] {
            assert!(!(start <= foreign && foreign < end), "{foreign}");
        }
    }

    #[test]
    fn revisions_go_there_and_back() {
        let fresh = Origin { meta: 2, base: 1 };
        assert_eq!((fresh.ours(2).unwrap(), fresh.floor()), (Revision(1), Revision::NONE));
        let restored = Origin { meta: 9, base: 1_000_050 };
        for ours in [1_000_050, 1_000_051, 2_000_000].map(Revision) {
            assert_eq!(restored.ours(restored.theirs(ours)).unwrap(), ours);
        }
        assert_eq!(restored.theirs(Revision(u64::MAX)), i64::MAX);
        // What a restore wrote lies below its base, and can be compared all the same.
        assert_eq!(restored.compared(restored.ours(4).unwrap()), 4);
        assert!(matches!(fresh.ours(0), Err(Error::Corrupt(_))));
    }

    #[test]
    fn a_compare_with_what_never_was_holds_of_nothing() {
        let restored = Origin { meta: 9, base: 1_000_050 };
        assert_eq!(restored.compared(Revision::NONE), 0);
        // Not 0 nor below, which etcd takes for "absent" or refuses.
        assert_eq!(restored.compared(Revision(1_000_041)), NEVER);
        assert_eq!(restored.compared(Revision(3)), NEVER);
    }
}
