//! Who is measured.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use orchestra_store::{DurableOptions, DurableStore, MemoryOptions, MemoryStore, Retention, Store};
use tempfile::TempDir;

use crate::Result;
use crate::etcd::{self, Etcd};
use crate::usage::processor_time;

/// One of those that are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Side {
    /// [`DurableStore`].
    Durable,
    /// [`MemoryStore`].
    Memory,
    /// A real etcd, through [`EtcdStore`](orchestra_store::EtcdStore).
    Etcd,
    /// The disk and the memory by themselves: what no store can beat.
    Machine,
}

impl Side {
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        [Self::Durable, Self::Etcd, Self::Memory, Self::Machine].into_iter()
    }

    /// All of them, in an order that is fair over four rounds, and over eight also to who comes behind whom.
    pub(crate) fn in_round(round: usize) -> Vec<Self> {
        let mut sides: Vec<Self> = Self::all().collect();
        let count = sides.len();
        sides.rotate_left(round % count);
        if round / count % 2 == 1 {
            // From the same first one the other way round.
            sides[1..].reverse();
        }
        sides
    }

    /// Whether the durable store is compared with it.
    pub(crate) fn is_rival(self) -> bool {
        matches!(self, Self::Etcd | Self::Machine)
    }

    /// An empty store; `None` for the machine, and where there is no etcd.
    pub(crate) async fn open(self) -> Result<Option<Opened>> {
        self.open_keeping(Retention::new()).await
    }

    /// An empty store that keeps so much of the past.
    pub(crate) async fn open_keeping(self, retention: Retention) -> Result<Option<Opened>> {
        let dir = folder()?;
        let mut etcd = None;
        let store: Arc<dyn Store> = match self {
            Self::Etcd if !etcd::is_installed() => return Ok(None),
            Self::Etcd => Arc::new(etcd.insert(Etcd::start(dir.path())?).connect().await?),
            Self::Durable => durable(dir.path(), retention)?,
            Self::Memory => Arc::new(MemoryStore::with_options(MemoryOptions::new().retention(retention))),
            Self::Machine => return Ok(None),
        };
        Ok(Some(Opened { store, etcd, _dir: dir }))
    }
}

/// A durable store in `dir`.
pub(crate) fn durable(dir: &Path, retention: Retention) -> Result<Arc<dyn Store>> {
    Ok(Arc::new(DurableStore::open_with(dir, DurableOptions::new().retention(retention))?))
}

/// Where all folders are made, if not in the build folder.
static PLACE: OnceLock<PathBuf> = OnceLock::new();

/// Makes all folders in `place` from now on.
pub(crate) fn measure_in(place: PathBuf) {
    PLACE.get_or_init(|| place);
}

/// An empty folder on the disk that is measured; gone when it is dropped.
pub(crate) fn folder() -> Result<TempDir> {
    Ok(tempfile::tempdir_in(PLACE.get_or_init(|| env!("CARGO_TARGET_TMPDIR").into()))?)
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Durable => "durable",
            Self::Memory => "memory",
            Self::Etcd => "etcd",
            Self::Machine => "machine",
        })
    }
}

/// A store and what it lives in.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) store: Arc<dyn Store>,
    /// Before the folder, so that it ends before that goes.
    pub(crate) etcd: Option<Etcd>,
    _dir: TempDir,
}

impl Opened {
    /// How long processors have worked for it: for this process, and for etcd if that is another.
    pub(crate) fn worked(&self) -> Result<Duration> {
        let etcd = self.etcd.as_ref().map(|etcd| processor_time(&etcd.process())).transpose()?;
        Ok(processor_time("self")? + etcd.unwrap_or_default())
    }
}
