//! Reads a log file as a stream: from the wanted line on, and on as long as the container writes.
//!
//! A piece is read when the reader asks for one, so a slow reader costs nothing but its own time.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures::stream::{Stream, try_unfold};
use tokio::sync::watch;
use tokio::task::spawn_blocking;

use super::changes::Changes;
use super::format::{Formatter, LogOptions};
use super::tail;

/// How much of the file is read at a time.
const BLOCK: usize = 64 * 1024;

/// Whether to go on at the end of the file.
pub(crate) enum Follow {
    /// End there.
    No,
    /// Go on until this says that the container ended, or nobody is left to say so.
    UntilEnded(watch::Receiver<bool>),
}

/// What `options` asks for of the log at `path`. A file that does not exist is empty.
///
/// # Errors
/// When the file is there but cannot be read.
pub(crate) async fn stream(
    path: PathBuf,
    options: &LogOptions,
    follow: Follow,
) -> io::Result<impl Stream<Item = io::Result<Bytes>> + Send + use<>> {
    // Before the first look at the file, so that nothing is missed.
    let changes = match &follow {
        Follow::No => None,
        Follow::UntilEnded(_) => Some(Changes::of(&path)),
    };
    let (lines, opened) = (options.tail_lines, path.clone());
    let file = blocking(move || Source::open(&opened, lines)).await?;
    let reader = Reader { path, file, changes, follow, formatter: Formatter::new(options), done: false };
    Ok(try_unfold(reader, |mut reader| async move { Ok(reader.piece().await?.map(|piece| (piece, reader))) }))
}

/// What `options` asks for of the log at `path`, as far as it is written. For small parts: it is all in memory.
///
/// # Errors
/// When the file cannot be read.
pub fn read(path: &Path, options: &LogOptions) -> io::Result<Vec<u8>> {
    let (mut formatter, mut out) = (Formatter::new(options), Vec::new());
    if let Some(mut source) = Source::open(path, options.tail_lines)? {
        while !formatter.is_full() {
            let bytes = source.next()?;
            if bytes.is_empty() {
                break;
            }
            formatter.push(&bytes, &mut out);
        }
    }
    formatter.finish(&mut out);
    Ok(out)
}

struct Reader {
    path: PathBuf,
    file: Option<Source>,
    changes: Option<Changes>,
    follow: Follow,
    formatter: Formatter,
    done: bool,
}

impl Reader {
    /// The next bytes to show; `None` at the end.
    async fn piece(&mut self) -> io::Result<Option<Bytes>> {
        let mut out = Vec::new();
        while out.is_empty() && !self.done && !self.formatter.is_full() {
            // Asked before reading: what the container wrote before it ended is then there to be read.
            let ended = match &self.follow {
                Follow::No => true,
                Follow::UntilEnded(ended) => *ended.borrow() || ended.has_changed().is_err(),
            };
            let bytes = self.block().await?;
            if !bytes.is_empty() {
                self.formatter.push(&bytes, &mut out);
            } else if let Some(newer) = self.newer().await? {
                // Written to the old file after it was looked at, and before it was replaced.
                loop {
                    let rest = self.block().await?;
                    if rest.is_empty() {
                        break;
                    }
                    self.formatter.push(&rest, &mut out);
                }
                self.formatter.finish(&mut out);
                self.file = Some(newer);
            } else if ended {
                self.formatter.finish(&mut out);
                self.done = true;
            } else {
                self.wait().await;
            }
        }
        Ok(Some(Bytes::from(out)).filter(|piece| !piece.is_empty()))
    }

    async fn block(&mut self) -> io::Result<Vec<u8>> {
        let Some(mut file) = self.file.take() else { return Ok(Vec::new()) };
        let (file, bytes) = blocking(move || {
            let bytes = file.next()?;
            Ok((file, bytes))
        })
        .await?;
        self.file = Some(file);
        Ok(bytes)
    }

    /// At the end of a file that is followed, looks whether another one has taken its place.
    async fn newer(&mut self) -> io::Result<Option<Source>> {
        if matches!(self.follow, Follow::No) {
            return Ok(None);
        }
        let path = self.path.clone();
        let current = self.file.as_ref().map(|file| file.inode);
        blocking(move || match std::fs::metadata(&path) {
            Ok(found) if Some(found.ino()) == current => Ok(None),
            Ok(_) => Source::open(&path, None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        })
        .await
    }

    async fn wait(&mut self) {
        let (Some(changes), Follow::UntilEnded(ended)) = (&mut self.changes, &mut self.follow) else {
            return;
        };
        tokio::select! {
            () = changes.next() => {}
            // Also when the sender is gone; the next turn sees either.
            _ = ended.wait_for(|ended| *ended) => {}
        }
    }
}

/// An open file, and how far it was read.
struct Source {
    file: File,
    inode: u64,
    at: u64,
}

impl Source {
    /// Opens the file at the last `lines` lines; `None` when there is none.
    fn open(path: &Path, lines: Option<u64>) -> io::Result<Option<Self>> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let found = file.metadata()?;
        let at = lines.map_or(Ok(0), |lines| tail::start(&file, found.len(), lines))?;
        Ok(Some(Self { inode: found.ino(), file, at }))
    }

    /// The next bytes; none at the end for now.
    fn next(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; BLOCK];
        let mut read = self.file.read_at(&mut bytes, self.at)?;
        if read == 0 && self.file.metadata()?.len() < self.at {
            // Emptied: what is written now is at the beginning.
            self.at = 0;
            read = self.file.read_at(&mut bytes, self.at)?;
        }
        self.at += read as u64;
        bytes.truncate(read);
        Ok(bytes)
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    spawn_blocking(work).await.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests;
