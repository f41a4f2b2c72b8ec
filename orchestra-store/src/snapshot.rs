//! Everything at one revision, to be kept or carried elsewhere.
//!
//! A [`Snapshot`] comes from any store or from a file, and goes into any store or into a file; so it is a copy for bad
//! days, and also the way from one backend to another. Neither side ever needs all of it in memory.
//!
//! ```
//! use orchestra_store::{DurableStore, MemoryStore, Store, Snapshot, Txn, snapshot};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> orchestra_store::Result<()> {
//! # let dir = tempfile::tempdir().unwrap();
//! let store = MemoryStore::new();
//! store.commit(Txn::new().put("/pods/a".into(), "v1")).await?;
//!
//! let file = dir.path().join("monday.snapshot");
//! let saved = snapshot::save(store.snapshot().await?, &file).await?;
//! assert_eq!(saved, snapshot::inspect(&file)?);
//! DurableStore::restore(dir.path().join("store"), Snapshot::open(&file)?).await?;
//! # Ok(())
//! # }
//! ```
//!
//! The file's format is described in `docs/store-format.md`.

mod check;
mod decode;
mod encode;
mod schedule;
#[cfg(test)]
mod tests;

use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, pin_mut};

use crate::durable::disk::{Draft, at};
use crate::lease::{LeaseId, LeasedKeys};
use crate::revision::Revision;
use crate::store::{Entry, Error, Result};
use check::Check;
use decode::Reader;
pub use schedule::{Schedule, save_on_schedule};

/// No store takes more revisions in a second: some five times what the fastest disks allow.
const REVISIONS_PER_SECOND: u64 = 1_000_000;

/// The keys of a store at one revision.
///
/// # Implementing
///
/// A backend makes one with [`Snapshot::new`], and its constructor from one takes entries until [`Snapshot::next`] gives `None`.
/// Only then was everything there; before that, nothing may be shown or kept.
pub struct Snapshot {
    revision: Revision,
    taken: SystemTime,
    leases: Vec<LeasedKeys>,
    /// The highest id of a lease that was ever given out.
    last_lease: u64,
    check: Check,
    entries: BoxStream<'static, Result<Vec<Entry>>>,
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { revision, taken, .. } = self;
        f.debug_struct("Snapshot").field("revision", revision).field("taken", taken).finish_non_exhaustive()
    }
}

impl Snapshot {
    /// A snapshot at `revision` of `keys` entries, which come in the order of their keys, in groups of any size.
    pub fn new(
        revision: Revision,
        keys: u64,
        taken: SystemTime,
        entries: impl Stream<Item = Result<Vec<Entry>>> + Send + 'static,
    ) -> Self {
        let (leases, last_lease, check) = (Vec::new(), 0, Check::new(revision, keys));
        Self { revision, taken, leases, last_lease, check, entries: entries.boxed() }
    }

    /// Holds `leases` too, in the order of their ids, each with the keys among the entries that are attached to it. No lease with an id up
    /// to `last` is given out again.
    #[must_use]
    pub fn with_leases(mut self, leases: Vec<LeasedKeys>, last: Option<LeaseId>) -> Self {
        self.check.expect_leases(&leases);
        let highest = leases.last().map(|leased| leased.lease.id);
        self.last_lease = last.max(highest).map_or(0, LeaseId::get);
        self.leases = leases;
        self
    }

    /// The same with other values.
    #[cfg(feature = "encryption")]
    pub(crate) fn map_entries(
        self,
        change: impl Fn(Vec<Entry>) -> Result<Vec<Entry>> + Send + 'static,
    ) -> Self {
        let entries = self.entries.map(move |entries| change(entries?)).boxed();
        Self { entries, ..self }
    }

    /// The leases and their keys.
    pub fn leases(&self) -> &[LeasedKeys] {
        &self.leases
    }

    /// The highest id that a restored store holds to have been given out, when it goes on from `revision`: as far beyond as that is,
    /// for the same reason as [`Snapshot::restored_revision`].
    pub fn restored_last_lease(&self, revision: Revision) -> u64 {
        let beyond = revision.0.saturating_sub(self.revision.0);
        // An id that is that high was not counted up to; etcd draws its ids by chance.
        self.last_lease.saturating_add(beyond).min(self.last_lease.max(i64::MAX as u64 / 2))
    }

    /// The snapshot in a file. Reading it blocks. Damage behind its beginning shows when it is come to.
    ///
    /// # Errors
    /// [`Error::BadSnapshot`], and [`Error::Backend`] naming the path when the file cannot be read.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let mut reader = Reader::open(path.as_ref())?;
        let (revision, keys, taken) = (reader.revision, reader.keys, from_millis(reader.taken)?);
        let (leases, last) = (std::mem::take(&mut reader.leases), LeaseId::new(reader.last_lease));
        let entries = futures::stream::try_unfold(reader, async |mut reader| {
            Ok(reader.next()?.map(|entries| (entries, reader)))
        });
        Ok(Self::new(revision, keys, taken, entries).with_leases(leases, last))
    }

    /// The revision all of it was read at.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// How many entries it holds.
    pub fn keys(&self) -> u64 {
        self.check.keys()
    }

    /// When it was taken.
    pub fn taken(&self) -> SystemTime {
        self.taken
    }

    /// The revision that a store restored at `now` goes on from, with its window beginning there.
    ///
    /// The store that was copied may have gone on, and its clients have seen revisions that the restored one would use again
    /// for other things. So the restored one begins where none of them, nor of those of an earlier restore, can
    /// have come to in the time since; whoever resumes with an old number is told that it is compacted. It takes a clock that
    /// is not set back.
    pub fn restored_revision(&self, now: SystemTime) -> Revision {
        let seconds = now.duration_since(self.taken).unwrap_or_default().as_secs().saturating_add(1);
        let beyond = self.revision.0.saturating_add(seconds.saturating_mul(REVISIONS_PER_SECOND));
        Revision(beyond.min(u64::MAX / 4))
    }

    /// The next entries, in the order of their keys; `None` when everything was there.
    pub async fn next(&mut self) -> Option<Result<Vec<Entry>>> {
        match self.entries.next().await {
            Some(Ok(entries)) => Some(self.check.take(&entries).map(|()| entries)),
            Some(Err(error)) => Some(Err(error)),
            None => self.check.finish().err().map(Err),
        }
    }

    /// The bytes of its file.
    pub fn into_bytes(self) -> impl Stream<Item = Result<Bytes>> + Send + 'static {
        encode::encode(self)
    }
}

/// What is known of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SnapshotInfo {
    /// The revision all of it was read at.
    pub revision: Revision,
    /// How many entries it holds.
    pub keys: u64,
    /// How many leases it holds.
    pub leases: u64,
    /// When it was taken.
    pub taken: SystemTime,
    /// The size of the file.
    pub bytes: u64,
    /// The SHA-256 over all of its content: no two snapshots share it.
    pub digest: [u8; 32],
}

/// Writes a snapshot into a file, which gets its name when it is whole, checked and on disk. Blocks while it writes.
///
/// # Errors
/// [`Error::HoldsData`] when the file exists, those of the snapshot, and [`Error::Backend`] naming the path.
pub async fn save(snapshot: Snapshot, path: impl AsRef<Path>) -> Result<SnapshotInfo> {
    receive(snapshot.into_bytes(), path).await
}

/// [`save`] for the bytes of a snapshot from elsewhere. They are checked before the file gets its name.
///
/// # Errors
/// As [`save`].
pub async fn receive(
    bytes: impl Stream<Item = Result<Bytes>>,
    path: impl AsRef<Path>,
) -> Result<SnapshotInfo> {
    let path = path.as_ref();
    if path.exists() {
        return Err(Error::HoldsData(path.display().to_string()));
    }
    let mut draft = Draft::create(path.to_owned())?;
    match fill(&mut draft, path, bytes).await.and_then(|()| inspect_as(draft.place(), path)) {
        Ok(info) => {
            draft.publish()?;
            Ok(info)
        }
        Err(error) => {
            draft.discard();
            Err(error)
        }
    }
}

async fn fill(draft: &mut Draft, path: &Path, bytes: impl Stream<Item = Result<Bytes>>) -> Result<()> {
    pin_mut!(bytes);
    while let Some(bytes) = bytes.next().await {
        draft.file().write_all(&bytes?).map_err(at("write", path))?;
    }
    Ok(())
}

/// Reads a file to its end, and tells what it is. Blocks.
///
/// # Errors
/// [`Error::BadSnapshot`] when any byte of it is not as it was written, and [`Error::Backend`] naming the path.
pub fn inspect(path: impl AsRef<Path>) -> Result<SnapshotInfo> {
    inspect_as(path.as_ref(), path.as_ref())
}

fn inspect_as(path: &Path, name: &Path) -> Result<SnapshotInfo> {
    let mut reader = Reader::open_as(path, name)?;
    let mut check = Check::new(reader.revision, reader.keys);
    check.expect_leases(&reader.leases);
    while let Some(entries) = reader.next()? {
        check.take(&entries)?;
    }
    check.finish()?;
    let Reader { revision, keys, bytes, digest, .. } = reader;
    let leases = reader.leases.len() as u64;
    Ok(SnapshotInfo { revision, keys, leases, taken: from_millis(reader.taken)?, bytes, digest })
}

/// Restores a file into the directory of a [`DurableStore`](crate::DurableStore), and tells the revision it goes on from.
/// The whole file is checked before anything is made.
///
/// # Errors
/// As [`Snapshot::open`] and [`DurableStore::restore`](crate::DurableStore::restore).
pub async fn restore_into(path: impl AsRef<Path>, dir: impl AsRef<Path>) -> Result<Revision> {
    inspect(&path)?;
    crate::DurableStore::restore(dir, Snapshot::open(path)?).await
}

fn from_millis(millis: u64) -> Result<SystemTime> {
    let taken = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(millis));
    taken.ok_or_else(|| Error::BadSnapshot("its time makes no sense".to_owned()))
}
