//! What a test sees of the disk: every step below a directory, in order, and which of them fail.
//!
//! Steps are noted before they are done. Stores know nothing of it: a tape is found by the path that is worked on.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Step;

/// A step that was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Done {
    CreateDir(PathBuf),
    Create(PathBuf),
    Write(PathBuf, u64, Vec<u8>),
    Cut(PathBuf, u64),
    Sync(PathBuf),
    SyncDir(PathBuf),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
    /// The test was told that this revision is durable.
    Told(u64),
}

/// What may fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    CreateDir,
    Create,
    Open,
    Read,
    Write,
    Cut,
    Sync,
    SyncDir,
    Rename,
    Remove,
}

/// Which step fails, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    pub(crate) kind: Kind,
    /// How many steps of the kind go well before.
    pub(crate) after: usize,
    /// How many fail then.
    pub(crate) times: usize,
    /// The number of the error.
    pub(crate) errno: i32,
}

#[derive(Debug, Default)]
struct Inner {
    done: Vec<Done>,
    fault: Option<Fault>,
    /// Steps that failed, as (place in `done`, path).
    failed: Vec<(usize, PathBuf)>,
    /// Files whose failing write has let its first half through: several threads write at once, each to files of its own.
    short: BTreeSet<PathBuf>,
    /// How many bytes the disk holds, if that is not without end.
    room: Option<u64>,
    sizes: BTreeMap<PathBuf, u64>,
}

/// The record of one directory.
#[derive(Debug)]
pub(crate) struct Tape {
    root: PathBuf,
    inner: Mutex<Inner>,
}

static TAPES: Mutex<Vec<Arc<Tape>>> = Mutex::new(Vec::new());

fn tapes() -> MutexGuard<'static, Vec<Arc<Tape>>> {
    TAPES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A tape that is recording until this is dropped.
#[derive(Debug)]
pub(crate) struct Recording(Arc<Tape>);

impl Recording {
    /// Records what is done to `root` and below it, and lets `fault` happen.
    pub(crate) fn of(root: &Path, fault: Option<Fault>) -> Self {
        Self::begin(root, Inner { fault, ..Inner::default() })
    }

    /// Records what is done to `root` and below it, as on a disk that holds so many bytes of files.
    pub(crate) fn with_room(root: &Path, bytes: u64) -> Self {
        Self::begin(root, Inner { room: Some(bytes), ..Inner::default() })
    }

    fn begin(root: &Path, inner: Inner) -> Self {
        let inner = Mutex::new(inner);
        let tape = Arc::new(Tape { root: root.to_owned(), inner });
        tapes().push(Arc::clone(&tape));
        Self(tape)
    }

    /// Notes that the test was told so.
    pub(crate) fn told(&self, revision: u64) {
        self.0.inner().done.push(Done::Told(revision));
    }

    /// What was done so far.
    pub(crate) fn done(&self) -> Vec<Done> {
        self.0.inner().done.clone()
    }

    /// The steps that failed: after how many steps, and on what.
    pub(crate) fn failed(&self) -> Vec<(usize, PathBuf)> {
        self.0.inner().failed.clone()
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        tapes().retain(|tape| !Arc::ptr_eq(tape, &self.0));
    }
}

impl Tape {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Whether the next step of `kind` fails.
    fn fails(&mut self, kind: Kind, path: &Path) -> Option<io::Error> {
        let fault = self.fault.as_mut().filter(|fault| fault.kind == kind && fault.times > 0)?;
        if let Some(after) = fault.after.checked_sub(1) {
            fault.after = after;
            return None;
        }
        fault.times -= 1;
        let error = io::Error::from_raw_os_error(fault.errno);
        self.failed.push((self.done.len(), path.to_owned()));
        Some(error)
    }

    /// How many of `bytes` find room.
    fn fits(&self, path: &Path, offset: u64, bytes: usize) -> io::Result<usize> {
        let Some(room) = self.room else { return Ok(bytes) };
        let (used, size) =
            (self.sizes.values().sum::<u64>(), self.sizes.get(path).copied().unwrap_or_default());
        let left = (size + room.saturating_sub(used)).saturating_sub(offset);
        match usize::try_from(left).map_or(bytes, |left| left.min(bytes)) {
            0 if bytes > 0 => Err(io::ErrorKind::StorageFull.into()),
            some => Ok(some),
        }
    }

    fn note(&mut self, done: Done) {
        match &done {
            Done::Create(path) => drop(self.sizes.insert(path.clone(), 0)),
            Done::Write(path, offset, bytes) => {
                let size = self.sizes.entry(path.clone()).or_default();
                *size = (*size).max(offset + bytes.len() as u64);
            }
            Done::Cut(path, length) => drop(self.sizes.insert(path.clone(), *length)),
            Done::Rename(from, to) => {
                let size = self.sizes.remove(from);
                self.sizes.extend(size.map(|size| (to.clone(), size)));
            }
            Done::Remove(path) => drop(self.sizes.remove(path)),
            Done::CreateDir(_) | Done::Sync(_) | Done::SyncDir(_) | Done::Told(_) => {}
        }
        self.done.push(done);
    }
}

fn tape_of(path: &Path) -> Option<Arc<Tape>> {
    tapes().iter().find(|tape| path.starts_with(&tape.root)).cloned()
}

pub(super) fn allow(step: Step<'_>) -> io::Result<()> {
    let (kind, path, done) = match step {
        Step::CreateDir(path) => (Kind::CreateDir, path, Some(Done::CreateDir(path.to_owned()))),
        Step::Create(path) => (Kind::Create, path, Some(Done::Create(path.to_owned()))),
        Step::Open(path) => (Kind::Open, path, None),
        Step::Read(path) => (Kind::Read, path, None),
        Step::Cut(path, length) => (Kind::Cut, path, Some(Done::Cut(path.to_owned(), length))),
        Step::Sync(path) => (Kind::Sync, path, Some(Done::Sync(path.to_owned()))),
        Step::SyncDir(path) => (Kind::SyncDir, path, Some(Done::SyncDir(path.to_owned()))),
        Step::Rename(path, to) => (Kind::Rename, path, Some(Done::Rename(path.to_owned(), to.to_owned()))),
        Step::Remove(path) => (Kind::Remove, path, Some(Done::Remove(path.to_owned()))),
    };
    let Some(tape) = tape_of(path) else { return Ok(()) };
    let mut inner = tape.inner();
    if let Some(error) = inner.fails(kind, path) {
        return Err(error);
    }
    done.into_iter().for_each(|done| inner.note(done));
    Ok(())
}

/// A write that fails lets the first half of its bytes through, as a disk does that becomes full.
pub(super) fn allow_write(path: &Path, offset: u64, bytes: &[u8]) -> io::Result<usize> {
    let Some(tape) = tape_of(path) else { return Ok(bytes.len()) };
    let mut inner = tape.inner();
    let is_due =
        inner.fault.is_some_and(|fault| fault.kind == Kind::Write && fault.after == 0 && fault.times > 0);
    let count = if is_due && bytes.len() > 1 && !inner.short.contains(path) {
        inner.short.insert(path.to_owned());
        bytes.len() / 2
    } else {
        if let Some(error) = inner.fails(Kind::Write, path) {
            inner.short.remove(path);
            return Err(error);
        }
        bytes.len()
    };
    let count = inner.fits(path, offset, count)?;
    inner.note(Done::Write(path.to_owned(), offset, bytes[..count].to_vec()));
    Ok(count)
}

mod tests {
    use super::*;

    #[test]
    fn a_full_disk_takes_half_of_what_each_file_is_given_whoever_writes_between() {
        let place = tempfile::tempdir().unwrap();
        let fault = Fault { kind: Kind::Write, after: 0, times: usize::MAX, errno: 28 };
        let tape = Recording::of(place.path(), Some(fault));
        let (one, other) = (place.path().join("one"), place.path().join("other"));
        assert_eq!(allow_write(&one, 0, &[1; 8]).unwrap(), 4);
        assert_eq!(allow_write(&other, 0, &[1; 6]).unwrap(), 3);
        assert!(allow_write(&one, 4, &[1; 4]).is_err());
        assert!(allow_write(&other, 3, &[1; 3]).is_err());
        let failed: Vec<PathBuf> = tape.failed().into_iter().map(|(_, path)| path).collect();
        assert_eq!(failed, [one, other]);
    }
}
