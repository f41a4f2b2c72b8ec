//! What the runtime keeps on disk, so that it is found again.
//!
//! ```text
//! <dir>/sandboxes/<id>/sandbox.json     the sandbox as asked for, and whether it was stopped
//! <dir>/containers/<id>/container.json  the container as asked for, and its command line
//!                       process.json    the supervising and the running process, once started
//!                       exit.json       how it ended, once it did
//!                       input           where clients of its input connect, if it has one
//!                       lock            held by the shim as long as it lives
//!                       root/           where the shim builds mounts, in its own namespace: always empty on the host
//! ```
//! Files appear whole, by renaming, and are never changed in place. A reboot ends every process, so nothing here needs
//! to outlive the page cache and nothing is synced.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::procfs::ProcessId;
use crate::runtime::{ContainerConfig, ContainerId, PodMeta, SandboxConfig, SandboxId, SandboxState};

/// `sandbox.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct SandboxRecord {
    pub(super) id: SandboxId,
    pub(super) config: SandboxConfig,
    pub(super) state: SandboxState,
    pub(super) created_at: Timestamp,
}

/// `container.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ContainerRecord {
    pub(super) id: ContainerId,
    pub(super) sandbox: SandboxId,
    pub(super) pod: PodMeta,
    pub(super) config: ContainerConfig,
    pub(super) image_ref: String,
    pub(super) created_at: Timestamp,
    /// The program and its arguments.
    pub(super) command_line: Vec<String>,
    /// The whole environment.
    pub(super) env: Vec<(String, String)>,
}

/// `process.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ProcessRecord {
    /// The shim; `None` when the embedding program supervises.
    pub(super) shim: Option<ProcessId>,
    pub(super) process: ProcessId,
    pub(super) started_at: Timestamp,
}

/// Paths below the state directory.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    dir: PathBuf,
}

/// Paths of one container.
#[derive(Clone, Debug)]
pub(super) struct ContainerDir(pub(super) PathBuf);

impl Layout {
    pub(super) fn create(dir: &Path) -> io::Result<Self> {
        use std::os::unix::fs::PermissionsExt;
        let dir = std::path::absolute(dir)?;
        fs::create_dir_all(dir.join("sandboxes"))?;
        fs::create_dir_all(dir.join("containers"))?;
        // Environments hold secrets.
        fs::set_permissions(dir.join("containers"), fs::Permissions::from_mode(0o700))?;
        Ok(Self { dir })
    }

    pub(super) fn sandbox(&self, id: &SandboxId) -> PathBuf {
        self.dir.join("sandboxes").join(&id.0)
    }

    pub(super) fn container(&self, id: &ContainerId) -> ContainerDir {
        ContainerDir(self.dir.join("containers").join(&id.0))
    }

    pub(super) fn sandboxes(&self) -> io::Result<Vec<SandboxRecord>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(self.dir.join("sandboxes"))? {
            let path = entry?.path();
            match read_json(&path.join("sandbox.json"))? {
                Some(record) => found.push(record),
                // Half made, or half removed.
                None => fs::remove_dir_all(&path)?,
            }
        }
        Ok(found)
    }

    pub(super) fn containers(&self) -> io::Result<Vec<ContainerDir>> {
        fs::read_dir(self.dir.join("containers"))?.map(|e| Ok(ContainerDir(e?.path()))).collect()
    }
}

impl ContainerDir {
    pub(super) fn record(&self) -> PathBuf {
        self.0.join("container.json")
    }
    pub(super) fn process(&self) -> PathBuf {
        self.0.join("process.json")
    }
    pub(super) fn exit(&self) -> PathBuf {
        self.0.join("exit.json")
    }
    pub(super) fn input(&self) -> PathBuf {
        self.0.join("input")
    }
    pub(super) fn lock(&self) -> PathBuf {
        self.0.join("lock")
    }
    pub(super) fn staging(&self) -> PathBuf {
        self.0.join("root")
    }
}

/// Reads a file; `None` when there is none.
pub(super) fn read_json<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {e}", path.display()))),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// Writes a file that appears whole.
pub(super) fn write_json<T: Serialize>(path: &Path, value: &T) -> io::Result<()> {
    let bytes = serde_json::to_vec(value)?;
    let draft = path.with_extension("new");
    fs::write(&draft, bytes)?;
    fs::rename(&draft, path)
}
