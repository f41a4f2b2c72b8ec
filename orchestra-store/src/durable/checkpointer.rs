//! Writing checkpoints beside the writing of the log.
//!
//! One at a time, on a thread of its own. It looks at the state in small pieces, so that writers and readers
//! wait for moments only; the past it needs is pinned meanwhile.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::checkpoint::{self, Source};
use super::disk::at;
use super::frame::{Header, Kind};
use super::recover::remove_before;
use super::usage::DiskUsage;
use crate::engine::Engine;
use crate::key::Key;
use crate::metrics::Timings;
use crate::mvcc::{LeasesCopy, Share, Write};
use crate::revision::Revision;
use crate::store::{Entry, Result};

/// How long the lock is left to others between two steps of freeing.
const TRIM_PAUSE: Duration = Duration::from_micros(250);
/// Keys or changes looked at while the lock is held.
const CHUNK: usize = 128;

/// Starts checkpoints and knows whether one is running.
#[derive(Debug)]
pub(crate) struct Checkpointer {
    dir: PathBuf,
    engine: Arc<Engine>,
    usage: Arc<DiskUsage>,
    timings: Arc<Timings>,
    /// Log bytes that make a checkpoint due, if the last checkpoint is not larger.
    bound: u64,
    /// After a failure: not before the logs have reached this size.
    not_before: u64,
    stopping: Arc<AtomicBool>,
    /// Gives whether it was written.
    running: Option<JoinHandle<bool>>,
}

impl Checkpointer {
    pub(crate) fn new(
        dir: PathBuf,
        engine: Arc<Engine>,
        usage: Arc<DiskUsage>,
        timings: Arc<Timings>,
        bound: u64,
    ) -> Self {
        Self { dir, engine, usage, timings, bound, not_before: 0, stopping: Arc::default(), running: None }
    }

    /// Whether the logs have outgrown their bound and nothing is being done about it yet. Waiting until they are as
    /// large as the last checkpoint keeps the writing of checkpoints below the writing of logs.
    pub(crate) fn is_due(&mut self) -> bool {
        if let Some(finished) = self.running.take_if(|running| running.is_finished()) {
            match finished.join() {
                Ok(true) => self.not_before = 0,
                Ok(false) | Err(_) => self.put_off(),
            }
        }
        let logs = self.usage.logs();
        self.running.is_none() && logs >= self.bound.max(self.usage.checkpoint()) && logs >= self.not_before
    }

    /// After a failure: tries again only when the logs have grown noticeably.
    pub(crate) fn put_off(&mut self) {
        self.not_before = self.usage.logs() + self.bound / 4;
    }

    /// Begins checkpoint `generation` of the state at `revision`.
    pub(crate) fn start(&mut self, generation: u64, revision: Revision, compacted: Revision) -> Result<()> {
        // Nobody but the caller's thread changes what is attached, so this is what is at `revision`.
        let leases = {
            let mut state = self.engine.write()?;
            state.pin();
            state.leases().copy()
        };
        let job = Job {
            dir: self.dir.clone(),
            header: Header::new(Kind::Checkpoint, generation, revision, compacted),
            leases,
            pin: Pin(Arc::clone(&self.engine)),
            usage: Arc::clone(&self.usage),
            timings: Arc::clone(&self.timings),
            stopping: Arc::clone(&self.stopping),
        };
        let thread = std::thread::Builder::new().name("store-checkpoint".to_owned()).spawn(move || job.run());
        self.running = Some(thread.map_err(at("start a checkpoint thread for", &self.dir))?);
        Ok(())
    }

    /// Breaks off what is running and waits for its end.
    pub(crate) fn stop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        if let Some(Err(_)) = self.running.take().map(JoinHandle::join) {
            tracing::error!(dir = %self.dir.display(), "the checkpoint thread panicked");
        }
    }
}

/// A writer that panics takes its checkpoint along.
impl Drop for Checkpointer {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Holds the past in place; lets go of it however the job ends.
#[derive(Debug)]
struct Pin(Arc<Engine>);

impl Drop for Pin {
    fn drop(&mut self) {
        // A broken engine frees nothing any more, and need not.
        if let Ok(mut state) = self.0.write() {
            state.unpin();
        }
        // The lock is left to others in between, as in `Engine::trim`.
        while self.0.trim_step(&mut Share::ALL.clone()).is_ok_and(|has_more| has_more) {
            std::thread::sleep(TRIM_PAUSE);
        }
    }
}

#[derive(Debug)]
struct Job {
    dir: PathBuf,
    header: Header,
    leases: LeasesCopy,
    pin: Pin,
    usage: Arc<DiskUsage>,
    timings: Arc<Timings>,
    stopping: Arc<AtomicBool>,
}

impl Job {
    fn run(self) -> bool {
        self.checkpoint()
            .inspect_err(|error| {
                self.timings.checkpoint_failed();
                let error = error as &dyn std::error::Error;
                tracing::warn!(dir = %self.dir.display(), error, "a checkpoint failed; the log goes on growing");
            })
            .is_ok()
    }

    fn checkpoint(&self) -> Result<()> {
        let begun = Instant::now();
        let Some(bytes) = checkpoint::write(&self.dir, self.header, self)? else { return Ok(()) };
        remove_before(&self.dir, self.header.generation)?;
        self.usage.checkpointed(bytes);
        self.timings.checkpointed(begun.elapsed());
        tracing::debug!(dir = %self.dir.display(), revision = %self.header.revision, bytes, "checkpoint written");
        Ok(())
    }
}

impl Source for Job {
    fn entries(&self, after: Option<&Key>) -> Result<Vec<Entry>> {
        let found = self.pin.0.read()?.entries_behind(after, self.header.compacted, CHUNK);
        Ok(found.into_entries())
    }

    fn writes(&self, after: Revision) -> Result<Vec<Write>> {
        Ok(self.pin.0.read()?.writes_behind(after, self.header.revision, CHUNK))
    }

    fn leases(&self) -> &LeasesCopy {
        &self.leases
    }

    fn go_on(&self) -> ControlFlow<()> {
        if self.stopping.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::WatchBound;
    use crate::mvcc::Mvcc;

    #[test]
    fn what_is_being_written_ends_with_its_writer() {
        let dir = tempfile::tempdir().unwrap();
        let engine = Arc::new(Engine::new(Mvcc::default(), WatchBound::new()));
        let usage = Arc::new(DiskUsage::new(0, 0, 0));
        let mut checkpointer =
            Checkpointer::new(dir.path().to_owned(), Arc::clone(&engine), usage, Arc::default(), 1);
        checkpointer.start(2, Revision(1), Revision::NONE).unwrap();
        drop(checkpointer);
        assert_eq!(Arc::strong_count(&engine), 1, "the thread has let go of it");
    }
}
