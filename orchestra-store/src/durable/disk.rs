//! The few things done to a file system, each with an error that names the path.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::store::Error;

/// What failed, and where.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}", path.display())]
pub(crate) struct DiskError {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl From<DiskError> for Error {
    fn from(error: DiskError) -> Self {
        Self::Backend { backend: "durable", source: Box::new(error) }
    }
}

/// Puts an I/O error in its place.
pub(crate) fn at<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> DiskError + 'a {
    move |source| DiskError { action, path: path.to_owned(), source }
}

/// What is on disk is not what was written.
pub(crate) fn corrupt(path: &Path, what: impl std::fmt::Display) -> Error {
    Error::Corrupt(format!("{}: {what}", path.display()))
}

/// Makes `dir` if it is missing; only its owner may look inside, for a store holds secrets.
pub(crate) fn create_dir(dir: &Path) -> Result<(), DiskError> {
    if dir.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(at("create the directory", dir))?;
    match dir.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_dir(parent),
        _ => Ok(()),
    }
}

/// Makes names created, renamed or removed in `dir` durable.
pub(crate) fn sync_dir(dir: &Path) -> Result<(), DiskError> {
    File::open(dir).and_then(|file| file.sync_all()).map_err(at("sync the directory", dir))
}

/// A file that gets its name only when it is whole and on disk.
#[derive(Debug)]
pub(crate) struct Draft {
    file: File,
    draft: PathBuf,
    path: PathBuf,
}

impl Draft {
    pub(crate) fn create(path: PathBuf) -> Result<Self, DiskError> {
        let mut draft = path.clone().into_os_string();
        draft.push(DRAFT_SUFFIX);
        let draft = PathBuf::from(draft);
        let file = OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(&draft)
            .map_err(at("create", &draft))?;
        Ok(Self { file, draft, path })
    }

    /// Where it is until it is published.
    pub(crate) fn place(&self) -> &Path {
        &self.draft
    }

    pub(crate) fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Syncs the file and gives it its name, durably.
    pub(crate) fn publish(self) -> Result<(File, PathBuf), DiskError> {
        self.file.sync_all().map_err(at("sync", &self.draft))?;
        std::fs::rename(&self.draft, &self.path).map_err(at("rename a draft to", &self.path))?;
        if let Some(dir) = self.path.parent() {
            sync_dir(dir)?;
        }
        Ok((self.file, self.path))
    }

    pub(crate) fn discard(self) {
        if let Err(error) = std::fs::remove_file(&self.draft) {
            tracing::warn!(path = %self.draft.display(), %error, "cannot remove a draft; the next start does");
        }
    }
}

/// How a name ends that a crash left behind.
pub(crate) const DRAFT_SUFFIX: &str = ".draft";
