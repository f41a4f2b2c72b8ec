//! Where a cluster keeps its files.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::error::Error;
use super::lead::fresh_identity;

/// The directory of a cluster: one that stays, or one that goes with the cluster.
///
/// ```text
/// admin.kubeconfig     for kubectl
/// identity             by which a control plane that comes back knows its own Lease
/// network              the slot of the loopback network, so that addresses stay the same
/// pki/                 certificates and keys
/// store/               the durable store
/// encryption.keys      what it is encrypted with
/// snapshots/           copies of the store that were made on a schedule
/// nodes/NAME/          what a node's agent and runtime keep
/// volumes/             the data of provisioned volumes
/// ```
#[derive(Debug)]
pub(super) struct DataDir {
    path: PathBuf,
    transient: bool,
}

impl DataDir {
    /// A directory that stays; made when it is not there.
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let failed =
            |problem: io::Error| Error::DataDir { path: path.to_owned(), problem: problem.to_string() };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
        // Absolute, because the paths of volumes are handed to other processes.
        let path = fs::canonicalize(path).map_err(failed)?;
        Ok(Self { path, transient: false })
    }

    /// A directory that is removed with the value.
    pub(super) fn transient() -> Result<Self, Error> {
        let path = std::env::temp_dir().join(format!("orchestra-{}", uuid::Uuid::new_v4()));
        let made = fs::DirBuilder::new().mode(0o700).create(&path);
        made.map_err(|problem| Error::DataDir { path: path.clone(), problem: problem.to_string() })?;
        Ok(Self { path, transient: true })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn kubeconfig(&self) -> PathBuf {
        self.path.join("admin.kubeconfig")
    }

    pub(super) fn pki(&self) -> PathBuf {
        self.path.join("pki")
    }

    pub(super) fn snapshots(&self) -> PathBuf {
        self.path.join("snapshots")
    }

    pub(super) fn node(&self, name: &str) -> PathBuf {
        self.path.join("nodes").join(name)
    }

    pub(super) fn volumes(&self) -> PathBuf {
        self.path.join("volumes")
    }

    /// The network slot of an earlier start.
    pub(super) fn network_slot(&self) -> Result<Option<u8>, Error> {
        let path = self.path.join("network");
        match fs::read_to_string(&path) {
            Ok(text) => match text.trim().parse() {
                Ok(slot) => Ok(Some(slot)),
                Err(_) => Err(Error::DataDir { path, problem: format!("{text:?} is no network slot") }),
            },
            Err(problem) if problem.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(problem) => Err(Error::DataDir { path, problem: problem.to_string() }),
        }
    }

    /// The name that this control plane stands for election under, the same at every start.
    pub(super) fn identity(&self) -> Result<String, Error> {
        let path = self.path.join("identity");
        match fs::read_to_string(&path) {
            Ok(text) if !text.trim().is_empty() => Ok(text.trim().to_owned()),
            Ok(_) => Err(Error::DataDir { path, problem: "is empty".into() }),
            Err(problem) if problem.kind() == io::ErrorKind::NotFound => {
                let identity = fresh_identity();
                self.write("identity", &format!("{identity}\n"))?;
                Ok(identity)
            }
            Err(problem) => Err(Error::DataDir { path, problem: problem.to_string() }),
        }
    }

    /// Remembers the network slot for the next start.
    pub(super) fn keep_network_slot(&self, slot: u8) -> Result<(), Error> {
        self.write("network", &format!("{slot}\n"))
    }

    /// Replaces a file as a whole; only the owner may read it.
    pub(super) fn write(&self, name: &str, text: &str) -> Result<(), Error> {
        use std::io::Write;
        use std::os::unix::fs::OpenOptionsExt;
        let path = self.path.join(name);
        let beside = self.path.join(format!(".{name}.new"));
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let written = options.open(&beside).and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&beside, &path)
        });
        written.map_err(|problem| Error::DataDir { path, problem: problem.to_string() })
    }
}

impl Drop for DataDir {
    fn drop(&mut self) {
        if self.transient
            && let Err(problem) = fs::remove_dir_all(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %problem, "could not remove a temporary directory");
        }
    }
}
