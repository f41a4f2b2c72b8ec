//! The few things done to a file system, each with an error that names the path.
//!
//! Whatever a store changes on disk goes through here, so that a test can record the steps, make one of them fail, and
//! work out what a power loss may leave of them (`disk/tape.rs`).

#[cfg(test)]
pub(crate) mod tape;

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

#[cfg(test)]
use tape::{allow, allow_write};

use crate::store::Error;

/// What failed, and where.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}", path.display())]
pub(crate) struct DiskError {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl DiskError {
    pub(crate) fn kind(&self) -> ErrorKind {
        self.source.kind()
    }
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

/// What is about to be done to a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step<'a> {
    /// Make a directory.
    CreateDir(&'a Path),
    /// Make a file, or empty it.
    Create(&'a Path),
    /// Open a file that exists.
    Open(&'a Path),
    /// Read some of a file.
    Read(&'a Path),
    /// Make a file so long.
    Cut(&'a Path, u64),
    /// Make what was written to a file durable.
    Sync(&'a Path),
    /// Make names in a directory durable.
    SyncDir(&'a Path),
    /// Give a file or directory another name.
    Rename(&'a Path, &'a Path),
    /// Take a file's name away.
    Remove(&'a Path),
}

/// Tests look at a step here, and may forbid it.
#[cfg(not(test))]
fn allow(_: Step<'_>) -> io::Result<()> {
    Ok(())
}

/// Tests look at what is written here, and may forbid it or let only a part through.
#[cfg(not(test))]
fn allow_write(_: &Path, _offset: u64, bytes: &[u8]) -> io::Result<usize> {
    Ok(bytes.len())
}

/// The directory that holds `path`.
pub(crate) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ if path.has_root() => path,
        _ => Path::new("."),
    }
}

/// Makes `dir` if it is missing, durably, and what is missing above it; only its owner may look inside, for a store holds secrets.
pub(crate) fn create_dir(dir: &Path) -> Result<(), DiskError> {
    if dir.is_dir() {
        return Ok(());
    }
    let parent = parent(dir);
    create_dir(parent)?;
    allow(Step::CreateDir(dir))
        .and_then(|()| DirBuilder::new().mode(0o700).create(dir))
        .or_else(
            |error| {
                if error.kind() == ErrorKind::AlreadyExists && dir.is_dir() { Ok(()) } else { Err(error) }
            },
        )
        .map_err(at("create the directory", dir))?;
    sync_dir(parent)
}

/// Makes names created, renamed or removed in `dir` durable.
pub(crate) fn sync_dir(dir: &Path) -> Result<(), DiskError> {
    allow(Step::SyncDir(dir))
        .and_then(|()| File::open(dir))
        .and_then(|file| file.sync_all())
        .map_err(at("sync the directory", dir))
}

/// Gives a file or directory another name in the same directory, durably.
pub(crate) fn rename(from: &Path, to: &Path) -> Result<(), DiskError> {
    give_name(from, to)?;
    sync_dir(parent(to))
}

fn give_name(from: &Path, to: &Path) -> Result<(), DiskError> {
    allow(Step::Rename(from, to))
        .and_then(|()| std::fs::rename(from, to))
        .map_err(at("rename a draft to", to))
}

/// Takes a file's name away; durable with the next [`sync_dir`].
pub(crate) fn remove_file(path: &Path) -> Result<(), DiskError> {
    allow(Step::Remove(path)).and_then(|()| std::fs::remove_file(path)).map_err(at("remove", path))
}

/// A file of a store.
#[derive(Debug)]
pub(crate) struct DiskFile {
    file: File,
    path: PathBuf,
    /// Where the next byte is written.
    offset: u64,
}

impl DiskFile {
    fn create(path: &Path) -> Result<Self, DiskError> {
        let mut options = OpenOptions::new();
        options.create(true).truncate(true).write(true).mode(0o600);
        let file = allow(Step::Create(path)).and_then(|()| options.open(path)).map_err(at("create", path))?;
        Ok(Self { file, path: path.to_owned(), offset: 0 })
    }

    /// Opens a file to read it.
    pub(crate) fn open(path: &Path) -> Result<Self, DiskError> {
        Self::open_with(path, OpenOptions::new().read(true))
    }

    /// Opens a file to read it, and to go on writing where reading has come to.
    pub(crate) fn reopen(path: &Path) -> Result<Self, DiskError> {
        Self::open_with(path, OpenOptions::new().read(true).write(true))
    }

    fn open_with(path: &Path, options: &OpenOptions) -> Result<Self, DiskError> {
        let file = allow(Step::Open(path)).and_then(|()| options.open(path)).map_err(at("open", path))?;
        Ok(Self { file, path: path.to_owned(), offset: 0 })
    }

    /// Returns when what was written is on disk.
    pub(crate) fn sync_data(&self) -> io::Result<()> {
        allow(Step::Sync(&self.path)).and_then(|()| self.file.sync_data())
    }

    /// [`DiskFile::sync_data`], and all that is known of the file.
    pub(crate) fn sync_all(&self) -> io::Result<()> {
        allow(Step::Sync(&self.path)).and_then(|()| self.file.sync_all())
    }

    /// Makes it `length` bytes long, and lets writing go on there.
    pub(crate) fn cut(&mut self, length: u64) -> io::Result<()> {
        allow(Step::Cut(&self.path, length)).and_then(|()| self.file.set_len(length))?;
        self.seek(SeekFrom::Start(length)).map(drop)
    }
}

impl Read for DiskFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        allow(Step::Read(&self.path))?;
        let count = self.file.read(buffer)?;
        self.offset += count as u64;
        Ok(count)
    }
}

impl Write for DiskFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let allowed = allow_write(&self.path, self.offset, bytes)?;
        let count = self.file.write(&bytes[..allowed.min(bytes.len())])?;
        self.offset += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Seek for DiskFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.offset = self.file.seek(to)?;
        Ok(self.offset)
    }
}

/// A file that gets its name only when it is whole and on disk.
#[derive(Debug)]
pub(crate) struct Draft {
    file: DiskFile,
    path: PathBuf,
}

impl Draft {
    pub(crate) fn create(path: PathBuf) -> Result<Self, DiskError> {
        let mut draft = path.clone().into_os_string();
        draft.push(DRAFT_SUFFIX);
        Ok(Self { file: DiskFile::create(Path::new(&draft))?, path })
    }

    /// Gives it another name to be published under.
    pub(crate) fn named(self, path: PathBuf) -> Self {
        Self { path, ..self }
    }

    /// Where it is until it is published.
    pub(crate) fn place(&self) -> &Path {
        &self.file.path
    }

    pub(crate) fn file(&mut self) -> &mut DiskFile {
        &mut self.file
    }

    /// Syncs the file and gives it its name, durably. One that does not get it is removed, for it may be large.
    pub(crate) fn publish(mut self) -> Result<(DiskFile, PathBuf), DiskError> {
        let synced = self.file.sync_all().map_err(at("sync", self.place()));
        if let Err(error) = synced.and_then(|()| give_name(self.place(), &self.path)) {
            self.discard();
            return Err(error);
        }
        sync_dir(parent(&self.path))?;
        self.file.path.clone_from(&self.path);
        Ok((self.file, self.path))
    }

    /// Syncs the file and gives it its name, durably, unless something has that name.
    #[cfg(feature = "encryption")]
    pub(crate) fn publish_new(self) -> Result<(), DiskError> {
        let linked = self.file.sync_all().map_err(at("sync", self.place())).and_then(|()| {
            allow(Step::Rename(self.place(), &self.path))
                .and_then(|()| std::fs::hard_link(self.place(), &self.path))
                .map_err(at("name a draft", &self.path))
        });
        match linked {
            // A file system without a second name for a file; the caller has looked.
            Err(error) if matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::PermissionDenied) => {
                self.publish().map(drop)
            }
            linked => {
                let path = self.path.clone();
                self.discard();
                linked.and_then(|()| sync_dir(parent(&path)))
            }
        }
    }

    pub(crate) fn discard(self) {
        if let Err(error) = remove_file(self.place()) {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(path = %self.place().display(), error, "cannot remove a draft; the next start does");
        }
    }
}

/// How a name ends that a crash left behind.
pub(crate) const DRAFT_SUFFIX: &str = ".draft";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_has_a_directory_that_holds_it() {
        for (path, dir) in [("a/b", "a"), ("/a", "/"), ("/", "/"), ("a", "."), ("", ".")] {
            assert_eq!(parent(Path::new(path)), Path::new(dir), "{path:?}");
        }
    }
}
