//! From a snapshot to a directory: everything or nothing.
//!
//! The files are made in a directory beside the wanted one, which takes its name in one step when all of them are on disk.
//! A rename refuses to replace a directory that is not empty, so nothing can slip in between the look and the step.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::checkpoint::{self, Frames};
use super::codec;
use super::disk::{self, Draft, at, create_dir};
use super::frame::{Header, Kind};
use super::lock::DirLock;
use super::segment::Segment;
use crate::revision::Revision;
use crate::snapshot::Snapshot;
use crate::store::{Error, Result};

pub(super) async fn restore(dir: &Path, snapshot: Snapshot) -> Result<Revision> {
    refuse_data(dir)?;
    let draft = draft_of(dir);
    create_dir(&draft)?;
    let lock = DirLock::acquire(&draft)?;
    clear(&draft)?;
    let outcome = match fill(&draft, snapshot).await {
        Ok(revision) => publish(&draft, dir).map(|()| revision),
        Err(error) => Err(error),
    };
    if outcome.is_err()
        && let Err(error) = fs::remove_dir_all(&draft)
    {
        tracing::warn!(path = %draft.display(), %error, "cannot remove a draft; the next restore does");
    }
    drop(lock);
    outcome
}

fn refuse_data(dir: &Path) -> Result<()> {
    let is_empty = match fs::read_dir(dir) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == ErrorKind::NotFound,
    };
    if is_empty { Ok(()) } else { Err(holds_data(dir)) }
}

fn holds_data(dir: &Path) -> Error {
    Error::HoldsData(dir.display().to_string())
}

fn draft_of(dir: &Path) -> PathBuf {
    // Without a slash at its end, behind which the name would go on inside.
    let mut name = dir.components().collect::<PathBuf>().into_os_string();
    name.push(".restoring");
    name.into()
}

/// Removes what an earlier restore left when it was killed.
fn clear(draft: &Path) -> Result<()> {
    for entry in fs::read_dir(draft).map_err(at("read the directory", draft))? {
        let path = entry.map_err(at("read the directory", draft))?.path();
        if path.file_name().is_some_and(|name| name != "LOCK") {
            disk::remove_file(&path)?;
        }
    }
    Ok(())
}

/// Writes the first checkpoint and the empty log behind it.
async fn fill(dir: &Path, mut snapshot: Snapshot) -> Result<Revision> {
    let revision = snapshot.restored_revision(SystemTime::now());
    let compacted = Revision(revision.0.saturating_sub(1));
    let path = checkpoint::path(dir, 1);
    let mut draft = Draft::create(path.clone())?;
    let header = Header::new(Kind::Checkpoint, 1, revision, compacted);
    let mut out = Frames::begin(draft.file(), header).map_err(at("write", &path))?;
    while let Some(entries) = snapshot.next().await {
        for entry in &entries? {
            codec::put_entry(&mut out.payload, entry);
            out.flush_if_full().map_err(at("write", &path))?;
        }
    }
    for lease in snapshot.leases() {
        codec::put_lease(&mut out.payload, lease);
        out.flush_if_full().map_err(at("write", &path))?;
    }
    let last = snapshot.restored_last_lease(revision);
    codec::put_leases(&mut out.payload, snapshot.leases().len() as u64, last);
    codec::put_end(&mut out.payload, snapshot.keys(), 0);
    out.finish().map_err(at("write", &path))?;
    draft.publish()?;
    Segment::create(dir, 1, revision, compacted)?;
    Ok(revision)
}

fn publish(draft: &Path, dir: &Path) -> Result<()> {
    disk::rename(draft, dir).map_err(|error| match error.kind() {
        ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists => holds_data(dir),
        _ => error.into(),
    })
}
