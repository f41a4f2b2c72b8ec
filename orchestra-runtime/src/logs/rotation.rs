//! Writes a log, and begins a new file when it has grown: `0.log` becomes `0.log.20261121-231500.123456789`, as the kubelet
//! names them. Readers are shown the newest file; who follows goes on there.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// How much is kept of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LogLimit {
    /// A file that is larger is followed by another one.
    pub bytes: u64,
    /// How many files there are at most, the one that is written included.
    pub files: usize,
}

impl LogLimit {
    /// At most `files` files of about `bytes` bytes.
    pub fn new(bytes: u64, files: usize) -> Self {
        Self { bytes, files }
    }
}

impl Default for LogLimit {
    /// As the kubelet's `containerLogMaxSize` and `containerLogMaxFiles`.
    fn default() -> Self {
        Self { bytes: 10 << 20, files: 5 }
    }
}

/// A log that is being written.
#[derive(Debug)]
pub(crate) struct LogWriter {
    path: PathBuf,
    file: File,
    size: u64,
    limit: LogLimit,
}

impl LogWriter {
    /// Goes on with the log at `path`, or begins it, with its directory.
    pub(crate) fn open(path: &Path, limit: LogLimit) -> Result<Self, String> {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(|e| format!("making {}: {e}", parent.display()))?;
        }
        let opening = |e: io::Error| format!("opening log {}: {e}", path.display());
        let file = append(path).map_err(opening)?;
        let size = file.metadata().map_err(opening)?.len();
        Ok(Self { path: path.to_owned(), file, size, limit })
    }

    /// Appends whole lines, written `now`. A full disk loses lines; it must not stop the program that writes them.
    pub(crate) fn write(&mut self, now: Timestamp, lines: &[u8]) {
        if lines.is_empty() {
            return;
        }
        if self.size > 0
            && self.size.saturating_add(lines.len() as u64) > self.limit.bytes
            && let Err(error) = self.rotate(now)
        {
            tracing::debug!(path = %self.path.display(), %error, "a log could not be rotated");
        }
        if self.file.write_all(lines).is_ok() {
            self.size = self.size.saturating_add(lines.len() as u64);
        }
    }

    fn rotate(&mut self, now: Timestamp) -> io::Result<()> {
        let mut old = self.path.clone().into_os_string();
        old.push(format!(".{}.{:09}", now.strftime("%Y%m%d-%H%M%S"), now.subsec_nanosecond()));
        fs::rename(&self.path, old)?;
        self.file = append(&self.path)?;
        self.size = 0;
        let kept = self.limit.files.saturating_sub(1);
        let mut old = rotated(&self.path)?;
        old.sort();
        for file in old.iter().take(old.len().saturating_sub(kept)) {
            fs::remove_file(file)?;
        }
        Ok(())
    }
}

/// Removes a log with all its files.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    for file in rotated(path)?.iter().map(PathBuf::as_path).chain([path]) {
        match fs::remove_file(file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

/// The files that are written no more.
fn rotated(path: &Path) -> io::Result<Vec<PathBuf>> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?.path();
        let other = entry
            .file_name()
            .and_then(|other| other.as_encoded_bytes().strip_prefix(name.as_encoded_bytes()));
        if other.is_some_and(|rest| rest.first() == Some(&b'.')) {
            found.push(entry);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_grows_begins_anew_and_old_files_go() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c/0.log");
        let mut log = LogWriter::open(&path, LogLimit::new(10, 3)).unwrap();
        for second in 0..6 {
            log.write(Timestamp::from_second(second).unwrap(), format!("line {second}\n").as_bytes());
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), "line 5\n");
        let mut old = rotated(&path).unwrap();
        old.sort();
        let texts: Vec<String> = old.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
        assert_eq!(texts, ["line 3\n", "line 4\n"]);
        assert!(old[0].ends_with("0.log.19700101-000004.000000000"), "{old:?}");
        // Written on by another program, it is as long as it is.
        drop(log);
        LogWriter::open(&path, LogLimit::new(10, 3))
            .unwrap()
            .write(Timestamp::from_second(9).unwrap(), b"line 9\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "line 9\n");
        fs::write(dir.path().join("c/0.logs"), "another").unwrap();
        remove(&path).unwrap();
        assert_eq!(fs::read_dir(dir.path().join("c")).unwrap().count(), 1);
    }

    #[test]
    fn what_is_longer_than_a_file_may_be_is_written_all_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        let mut log = LogWriter::open(&path, LogLimit::new(4, 1)).unwrap();
        log.write(Timestamp::UNIX_EPOCH, b"a long line\n");
        log.write(Timestamp::UNIX_EPOCH, b"another\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "another\n");
        assert_eq!(rotated(&path).unwrap(), [] as [PathBuf; 0]);
    }
}
