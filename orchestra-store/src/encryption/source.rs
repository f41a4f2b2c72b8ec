//! Looking into the file of keys again, when a value shows that keys were added to it.
//!
//! Whoever can write to the store can write values that seem to be sealed with a key nobody has. So the file is read only when it is
//! another one than it was at the last reading; in between such a value costs a look at its size and its times.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::file::KeyFile;
use super::key::Keyring;

/// Where keys are kept that may change while they are in use.
#[derive(Debug)]
pub(super) struct Source {
    /// As it was named: links are followed anew each time.
    path: PathBuf,
    /// What was read last.
    read: Mutex<Option<Identity>>,
}

/// What differs when a file was replaced or written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    place: (u64, u64),
    length: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Source {
    pub(super) fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), read: Mutex::default() }
    }

    /// Hands the keys in the file to `take`, if it has changed since it was read last. Whoever comes meanwhile waits for that. Blocks
    /// for as long as a small file takes to be read.
    pub(super) fn look(&self, take: impl FnOnce(Keyring)) {
        let mut read: MutexGuard<'_, _> = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.identity().ok();
        if now.is_none() || *read == now {
            return;
        }
        // Before it is read: what is written meanwhile is looked at once more.
        *read = now;
        match KeyFile::load(&self.path) {
            Ok(Some(file)) => take(file.keyring().clone()),
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(%error, "the encryption keys were changed, but not to what can be used")
            }
        }
    }

    fn identity(&self) -> io::Result<Identity> {
        let about = fs::metadata(&self.path)?;
        Ok(Identity {
            place: (about.dev(), about.ino()),
            length: about.len(),
            modified: (about.mtime(), about.mtime_nsec()),
            changed: (about.ctime(), about.ctime_nsec()),
        })
    }
}
