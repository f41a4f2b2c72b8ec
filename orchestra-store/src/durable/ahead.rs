//! The next segment of the log, made ready beside the writing.
//!
//! When a file grows, each sync has to write its new size and blocks through the file system's journal too. Where zeros stand
//! that are on disk already, it writes the bytes alone, in two thirds of the time. So a thread fills a file with zeros, in pieces
//! and synced, and the log goes on in it when the one before it is full.
//!
//! It only ever saves time. While none is ready the log grows as files do, and when the disk is full what is ready is given up.
//! A crash may leave the file; the next start removes it.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use super::disk::{DiskError, Draft, at};
use super::segment::Segment;

/// The name of the file before it is a log, without what is behind the name of every draft.
pub(super) const NAME: &str = "next.log";
/// The first one has this size, unless all are smaller; each next one is twice as large.
const FIRST: u64 = 256 * 1024;
/// None is larger.
const MOST: u64 = 16 * 1024 * 1024;
/// A smaller one would be full at once.
const LEAST: u64 = 4096;
/// Bytes that are written and synced at once, so that a commit beside it waits for no more.
const PIECE: usize = 256 * 1024;
/// When frames are larger than this, the disk has more to do with their bytes than with the journal: zeros would only double those.
const LARGE_FRAME: u64 = 64 * 1024;

/// How large segments are made: in steps, so that a store pays with its disk only for what it is about to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sizes {
    first: u64,
    most: u64,
}

impl Sizes {
    /// For logs that make a checkpoint due at `checkpoint_bytes`; `None` when they are too small for it.
    fn within(checkpoint_bytes: u64) -> Option<Self> {
        let most = (checkpoint_bytes / 4).min(MOST);
        (most >= LEAST).then(|| Self { first: FIRST.min(most), most })
    }

    /// What comes after one of size `before`.
    fn after(self, before: u64) -> u64 {
        before.saturating_mul(2).clamp(self.first, self.most)
    }

    /// Whether it is time for the next one: half of what was ready is used, and more than a little is written at all.
    fn is_time(self, length: u64, room: u64) -> bool {
        length >= self.first / 4 && room <= length
    }
}

/// A file of zeros.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) draft: Draft,
    pub(super) length: u64,
}

#[derive(Debug)]
enum State {
    Idle,
    /// Gives the file when it could be made.
    Making(JoinHandle<Option<Draft>>, u64),
    Ready(Ready),
}

/// Makes one segment at a time.
#[derive(Debug)]
pub(super) struct Ahead {
    dir: PathBuf,
    sizes: Option<Sizes>,
    /// The size of the one before.
    before: u64,
    /// After a failure: not before the log with this number has this length, or is another.
    not_before: Option<(u64, u64)>,
    /// How large frames were lately.
    frame: u64,
    state: State,
    stopping: Arc<AtomicBool>,
}

impl Ahead {
    /// For a store whose last segment was found with `room`.
    pub(super) fn new(dir: PathBuf, checkpoint_bytes: u64, room: u64) -> Self {
        let sizes = Sizes::within(checkpoint_bytes);
        let (state, stopping) = (State::Idle, Arc::default());
        Self { dir, sizes, before: room, not_before: None, frame: 0, state, stopping }
    }

    /// Bytes on disk, or about to be.
    pub(super) fn bytes(&self) -> u64 {
        match &self.state {
            State::Idle => 0,
            State::Making(_, length) | State::Ready(Ready { length, .. }) => *length,
        }
    }

    /// After a frame of so many bytes: sees to it that the next segment is made, and notices when it is.
    pub(super) fn attend(&mut self, segment: &Segment, frame: usize) {
        self.frame = (7 * self.frame + frame as u64) / 8;
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Making(thread, length) if thread.is_finished() => match thread.join() {
                Ok(Some(draft)) => self.state = State::Ready(Ready { draft, length }),
                Ok(None) | Err(_) => self.put_off(segment.generation, segment.length, length),
            },
            State::Idle => self.begin_if_due(segment),
            going_on => self.state = going_on,
        }
    }

    /// Whether a frame of `bytes` is better written to the segment that is ready.
    pub(super) fn is_better(&self, segment: &Segment, bytes: u64) -> bool {
        matches!(self.state, State::Ready(_)) && bytes > segment.room() && !segment.is_empty()
    }

    /// The segment that is ready.
    pub(super) fn take(&mut self) -> Option<Ready> {
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Ready(ready) => Some(ready),
            other => {
                self.state = other;
                None
            }
        }
    }

    /// After a failure: tries again when log `generation`, now of `length`, has grown by `size`, with less than that.
    pub(super) fn put_off(&mut self, generation: u64, length: u64, size: u64) {
        self.not_before = Some((generation, length + size));
        self.before = size / 4;
    }

    /// Gives up what is ready or being made, for log `generation`, now of `length`, has no room; tells whether there was any.
    pub(super) fn give_up(&mut self, generation: u64, length: u64) -> bool {
        let size = self.bytes();
        let had_any = self.stop();
        if had_any {
            tracing::warn!(dir = %self.dir.display(), bytes = size, "the disk is full; giving back what the log had ahead");
            self.put_off(generation, length, size);
        }
        had_any
    }

    fn stop(&mut self) -> bool {
        let draft = match std::mem::replace(&mut self.state, State::Idle) {
            State::Idle => return false,
            State::Ready(ready) => Some(ready.draft),
            State::Making(thread, _) => {
                self.stopping.store(true, Ordering::Relaxed);
                let made = thread.join().unwrap_or_default();
                self.stopping.store(false, Ordering::Relaxed);
                made
            }
        };
        if let Some(draft) = draft {
            draft.discard();
        }
        true
    }

    fn begin_if_due(&mut self, segment: &Segment) {
        let Some(sizes) = self.sizes.filter(|sizes| sizes.is_time(segment.length, segment.room())) else {
            return;
        };
        if self.frame > LARGE_FRAME {
            return;
        }
        if self.not_before.is_some_and(|(log, length)| log == segment.generation && segment.length < length) {
            return;
        }
        let length = sizes.after(self.before);
        let (path, stopping) = (self.dir.join(NAME), Arc::clone(&self.stopping));
        let thread = std::thread::Builder::new()
            .name("store-log-ahead".to_owned())
            .spawn(move || make(&path, length, &stopping));
        match thread {
            Ok(thread) => (self.state, self.before) = (State::Making(thread, length), length),
            Err(error) => {
                tracing::warn!(dir = %self.dir.display(), %error, "cannot start a thread; the log goes on growing");
                self.put_off(segment.generation, segment.length, length);
            }
        }
    }
}

/// What a writer leaves is of no use to the next.
impl Drop for Ahead {
    fn drop(&mut self) {
        self.stop();
    }
}

fn make(path: &Path, length: u64, stopping: &AtomicBool) -> Option<Draft> {
    let failed = |error: DiskError| {
        let error = &error as &dyn std::error::Error;
        tracing::warn!(path = %path.display(), error, "no room is made ahead; the log goes on growing");
    };
    let mut draft = Draft::create(path.to_owned()).map_err(failed).ok()?;
    match fill(&mut draft, length, stopping).map_err(failed) {
        Ok(true) => Some(draft),
        Ok(false) | Err(()) => {
            draft.discard();
            None
        }
    }
}

/// False when it was stopped.
fn fill(draft: &mut Draft, length: u64, stopping: &AtomicBool) -> Result<bool, DiskError> {
    let (path, zeros) = (draft.place().to_owned(), vec![0; PIECE]);
    let mut left = length;
    while left > 0 {
        if stopping.load(Ordering::Relaxed) {
            return Ok(false);
        }
        let piece = &zeros[..zeros.len().min(usize::try_from(left).unwrap_or(usize::MAX))];
        draft.file().write_all(piece).map_err(at("write", &path))?;
        draft.file().sync_data().map_err(at("sync", &path))?;
        left -= piece.len() as u64;
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_grow_from_little_to_a_quarter_of_what_makes_a_checkpoint_due() {
        let sizes = Sizes::within(64 * 1024 * 1024).unwrap();
        let mut before = 0;
        for expected in [256, 512, 1024, 2048, 4096, 8192, 16384, 16384] {
            before = sizes.after(before);
            assert_eq!(before, expected * 1024);
        }
        assert_eq!(Sizes::within(1024 * 1024).unwrap().after(u64::MAX), 256 * 1024);
        assert_eq!(Sizes::within(10_000), None, "too small for it");
    }

    #[test]
    fn it_is_time_when_more_than_a_little_is_written_and_half_of_the_room_is_used() {
        let sizes = Sizes::within(u64::MAX).unwrap();
        assert!(!sizes.is_time(FIRST / 4 - 1, 0), "a small store has nothing ahead");
        assert!(sizes.is_time(FIRST / 4, 0));
        assert!(!sizes.is_time(FIRST, FIRST + 1));
        assert!(sizes.is_time(FIRST, FIRST));
    }
}
