//! Events in a file, one line each, put away when it is large.
//!
//! A thread of its own writes: a disk that is slow keeps nobody else. What waits for it is bounded in bytes.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use prometheus_client::metrics::counter::Counter;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::rotation;
use super::{AuditRefused, AuditSink};
use crate::clock::{Clock, WallClock};

/// What may wait to be written.
const MOST_WAITING: u32 = 64 << 20;
/// There is room again when this much is free.
const ROOM: u32 = MOST_WAITING / 4;

/// Where events go and for how long they stay. The names are those of upstream's flags.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AuditLogOptions {
    /// The file (`--audit-log-path`).
    pub path: PathBuf,
    /// For how many days a file that was put away is kept; 0 for ever (`--audit-log-maxage`).
    pub max_age: u32,
    /// How many of them are kept; 0 all (`--audit-log-maxbackup`).
    pub max_backup: u32,
    /// At how many mebibytes a file is put away; 0 is 100 (`--audit-log-maxsize`).
    pub max_size: u32,
}

impl AuditLogOptions {
    /// A file that is put away at 100 MiB, and nothing is removed.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), max_age: 0, max_backup: 0, max_size: 0 }
    }
}

/// A log file.
#[derive(Debug)]
pub struct AuditLog {
    room: Arc<Semaphore>,
    lines: mpsc::UnboundedSender<Message>,
    clock: Box<dyn Clock>,
    lost: Counter,
}

#[derive(Debug)]
enum Message {
    /// What is written, its room, and when it came.
    Line(Bytes, OwnedSemaphorePermit, Timestamp),
    Flush(oneshot::Sender<()>),
}

impl AuditLog {
    /// Opens the file, or makes it, readable by its owner alone.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn open(options: AuditLogOptions) -> io::Result<Self> {
        Self::open_at(options, WallClock)
    }

    fn open_at(options: AuditLogOptions, clock: impl Clock) -> io::Result<Self> {
        let mut writer = Writer::open(options)?;
        let (lines, mut waiting) = mpsc::unbounded_channel();
        let lost = Counter::default();
        let counter = lost.clone();
        thread::Builder::new().name("audit-log".into()).spawn(move || {
            while let Some(message) = waiting.blocking_recv() {
                match message {
                    Message::Line(line, room, now) => {
                        if let Err(problem) = writer.write(&line, now) {
                            counter.inc();
                            tracing::error!(%problem, path = %writer.options.path.display(), "an audit event is lost");
                        }
                        drop(room);
                    }
                    Message::Flush(done) => {
                        // Whoever asked may have gone.
                        let _gone = done.send(());
                    }
                }
            }
        })?;
        let room = Arc::new(Semaphore::new(MOST_WAITING as usize));
        Ok(Self { room, lines, clock: Box::new(clock), lost })
    }

    /// How many events were taken and then could not be written.
    pub fn lost(&self) -> u64 {
        self.lost.get()
    }
}

#[async_trait]
impl AuditSink for AuditLog {
    fn offer(&self, event: Bytes) -> Result<(), AuditRefused> {
        let size = u32::try_from(event.len()).map_err(|_| AuditRefused)?;
        let room = Arc::clone(&self.room).try_acquire_many_owned(size).map_err(|_| AuditRefused)?;
        self.lines.send(Message::Line(event, room, self.clock.now())).map_err(|_| AuditRefused)
    }

    async fn ready(&self) {
        // Closed it is never, and who has it gives it back at once.
        let _room = self.room.acquire_many(ROOM).await;
    }

    async fn flush(&self) {
        let (done, flushed) = oneshot::channel();
        if self.lines.send(Message::Flush(done)).is_ok() {
            // An error means that the thread has ended, and with it all that was to be written.
            let _ended = flushed.await;
        }
    }
}

/// The file that is written, and its bounds.
struct Writer {
    options: AuditLogOptions,
    file: Option<File>,
    size: u64,
}

impl Writer {
    fn open(options: AuditLogOptions) -> io::Result<Self> {
        let mut writer = Self { options, file: None, size: 0 };
        writer.reopen()?;
        Ok(writer)
    }

    fn limit(&self) -> u64 {
        u64::from(if self.options.max_size == 0 { 100 } else { self.options.max_size }) << 20
    }

    fn reopen(&mut self) -> io::Result<&mut File> {
        let mut options = OpenOptions::new();
        options.create(true).append(true);
        #[cfg(unix)]
        {
            use std::os::unix::fs::OpenOptionsExt;
            options.mode(0o600);
        }
        let file = options.open(&self.options.path)?;
        self.size = file.metadata()?.len();
        Ok(self.file.insert(file))
    }

    fn write(&mut self, line: &[u8], now: Timestamp) -> io::Result<()> {
        let size = line.len() as u64 + 1;
        if self.size > 0 && self.size + size > self.limit() {
            self.put_away(now)?;
        }
        let mut whole = Vec::with_capacity(line.len() + 1);
        whole.extend_from_slice(line);
        whole.push(b'\n');
        let file = match &mut self.file {
            Some(file) => file,
            None => self.reopen()?,
        };
        match file.write_all(&whole) {
            Ok(()) => self.size += size,
            Err(problem) => {
                // The next one tries with the file as it is then.
                self.file = None;
                return Err(problem);
            }
        }
        Ok(())
    }

    fn put_away(&mut self, now: Timestamp) -> io::Result<()> {
        self.file = None;
        fs::rename(&self.options.path, rotation::backup(&self.options.path, now))?;
        self.reopen()?;
        let folder = match self.options.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let mut names = Vec::new();
        for entry in fs::read_dir(folder)? {
            names.extend(entry?.file_name().into_string().ok());
        }
        let names = names.iter().map(String::as_str);
        let (most, days) = (self.options.max_backup, self.options.max_age);
        for name in rotation::expired(&self.options.path, names, most, days, now) {
            if let Err(problem) = fs::remove_file(folder.join(name)) {
                tracing::warn!(%problem, name, "an old audit log could not be removed");
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::RuntimeClock;

    #[tokio::test(start_paused = true)]
    async fn a_file_that_is_full_is_put_away_and_the_oldest_removed() {
        let dir = tempfile::tempdir().unwrap();
        let mut options = AuditLogOptions::new(dir.path().join("audit.log"));
        (options.max_size, options.max_backup) = (1, 2);
        let clock = RuntimeClock::starting_at("2026-01-01T00:00:00Z".parse().unwrap());
        let log = AuditLog::open_at(options, clock).unwrap();
        for number in 0..5 {
            log.ready().await;
            log.offer(Bytes::from(format!("{number}{}", "x".repeat(900_000)))).unwrap();
            log.flush().await;
            tokio::time::advance(std::time::Duration::from_secs(60)).await;
        }
        let mut kept: Vec<_> = fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| {
                let path = entry.unwrap().path();
                let name = path.file_name().unwrap().to_str().unwrap().to_owned();
                (name, fs::read_to_string(path).unwrap().chars().next().unwrap())
            })
            .collect();
        kept.sort_unstable();
        let expected = [
            ("audit-2026-01-01T00-03-00.000.log", '2'),
            ("audit-2026-01-01T00-04-00.000.log", '3'),
            ("audit.log", '4'),
        ];
        assert_eq!(kept, expected.map(|(name, first)| (name.to_owned(), first)));
        assert_eq!(log.lost(), 0);
    }

    #[tokio::test]
    async fn what_is_more_than_may_wait_is_refused_and_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let log = AuditLog::open(AuditLogOptions::new(dir.path().join("audit.log"))).unwrap();
        let held = log.room.acquire_many(MOST_WAITING).await.unwrap();
        assert_eq!(log.offer(Bytes::from_static(b"{}")), Err(AuditRefused));
        drop(held);
        log.ready().await;
        assert_eq!(log.offer(Bytes::from_static(b"{}")), Ok(()));
    }
}
