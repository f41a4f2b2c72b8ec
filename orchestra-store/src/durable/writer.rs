//! The one thread that writes: group commit.
//!
//! It takes everything that waits, decides it in order, writes one frame, syncs once, and only then shows and acknowledges all of
//! it. While the disk works, the next batch gathers. When the disk fails, nothing is acknowledged ever again:
//! what a failed sync left on disk is not known, and asking a second time would be told a lie.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use super::ahead::{Ahead, Ready};
use super::batch::{self, Batch};
use super::checkpointer::Checkpointer;
use super::codec;
use super::disk;
use super::gather::Gather;
use super::queue::{Queue, Queued};
use super::segment::{self, Segment};
use super::usage::DiskUsage;
use crate::engine::Engine;
use crate::limits::Retention;
use crate::metrics::Timings;
use crate::mvcc::{Latest, Share, Write};
use crate::revision::Revision;
use crate::store::{Error, Result};

/// Changes freed below the window with each batch, beside the share of its writes.
const TRIM_CHANGES: usize = 32;
/// A buffer that a large batch has grown beyond this is not kept.
const KEEP_BUFFER: usize = 1024 * 1024;

/// The writer's own state.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) dir: PathBuf,
    pub(crate) engine: Arc<Engine>,
    pub(crate) queue: Arc<Queue>,
    pub(crate) retention: Retention,
    pub(crate) segment: Segment,
    pub(super) ahead: Ahead,
    pub(crate) usage: Arc<DiskUsage>,
    pub(crate) timings: Arc<Timings>,
    pub(crate) checkpointer: Checkpointer,
}

/// Whoever waits is told when the writer ends, also when it ends by a panic.
struct Farewell(Arc<Queue>);

impl Drop for Farewell {
    fn drop(&mut self) {
        self.0.fail(if std::thread::panicking() { "its writer has panicked" } else { "it is closed" });
    }
}

impl Writer {
    /// Serves the queue until it is closed or the disk fails.
    pub(crate) fn run(mut self) {
        let queue = Arc::clone(&self.queue);
        let _farewell = Farewell(Arc::clone(&queue));
        let mut backlog = VecDeque::new();
        let mut frame = Vec::new();
        let (mut gather, mut last) = (Gather::default(), Instant::now());
        let (mut is_failed, begun) = (false, (self.segment.generation, self.segment.length));
        while queue.take(&mut backlog, &mut gather) {
            if let Err(why) = self.step(&mut backlog, &mut frame, &mut gather, &mut last) {
                tracing::error!(dir = %self.dir.display(), %why, "the store takes no more writes");
                queue.fail(&why);
                backlog.drain(..).for_each(|queued| queued.command.refuse(&why));
                is_failed = true;
                break;
            }
            if frame.capacity() > KEEP_BUFFER {
                frame = Vec::new();
            }
        }
        if !is_failed && (self.segment.generation, self.segment.length) != begun {
            self.mark_end(&mut frame);
        }
    }

    /// Puts a frame behind the last write that says nothing new. With it there, damage to the last write is found at the next start;
    /// without it, it would pass for a write that a crash left unfinished.
    fn mark_end(&mut self, frame: &mut Vec<u8>) {
        let Ok(compacted) = self.engine.read().map(|state| state.compacted()) else { return };
        frame.clear();
        frame.resize(Segment::ROOM, 0);
        codec::put_compact(frame, compacted);
        if let Err(error) = self.segment.append(frame, || false) {
            tracing::warn!(path = %self.segment.path.display(), %error, "cannot mark the end of the log; nothing is lost");
        }
    }

    fn step(
        &mut self,
        backlog: &mut VecDeque<Queued>,
        frame: &mut Vec<u8>,
        gather: &mut Gather,
        last: &mut Instant,
    ) -> Result<(), String> {
        let batch = {
            let state = self.engine.read().map_err(|error| error.to_string())?;
            batch::decide(backlog, &state, self.retention, frame)
        };
        self.queue.give_back(batch.bytes);
        let begin = Instant::now();
        if frame.len() > Segment::ROOM {
            match self.append(frame) {
                Ok(sync) => self.timings.synced(batch.answers.len(), sync),
                Err(why) => {
                    // First, so that whoever has heard of it finds the store saying the same.
                    self.queue.fail(&why);
                    batch.answers.into_iter().for_each(|answer| answer.refuse(&why));
                    return Err(why);
                }
            }
        }
        let before = std::mem::replace(last, Instant::now());
        gather.answered(batch.answers.len(), *last - begin, *last - before);
        self.usage.set_log(self.segment.length);
        self.publish(batch).map_err(|error| error.to_string())?;
        self.checkpoint_if_due()?;
        self.ahead.attend(&self.segment, frame.len());
        self.usage.set_ahead(self.segment.room() + self.ahead.bytes());
        Ok(())
    }

    /// Writes a frame to the log, in the next segment if that is ready and this one is full.
    fn append(&mut self, frame: &mut [u8]) -> Result<Duration, String> {
        if self.ahead.is_better(&self.segment, frame.len() as u64) {
            match self.begin_log() {
                Ok(_) => {}
                Err(Setback::Ending(why)) => return Err(why),
                Err(Setback::Passing(error)) => {
                    tracing::warn!(dir = %self.dir.display(), error = &error as &dyn std::error::Error, "cannot begin the next log; this one goes on growing");
                    self.ahead.put_off(self.segment.generation, self.segment.length, self.segment.length);
                }
            }
        }
        let (segment, ahead) = (&mut self.segment, &mut self.ahead);
        let (generation, length) = (segment.generation, segment.length);
        segment
            .append(frame, || ahead.give_up(generation, length))
            .map_err(|error| format!("writing to {} failed: {error}", segment.path.display()))
    }

    fn publish(&self, batch: Batch) -> Result<()> {
        let is_idle = batch.is_idle();
        let Batch { writes, compact, granted, ended, answers, bytes: _ } = batch;
        let (mut wakers, mut share) = (Vec::new(), Share::default());
        if !is_idle {
            share = writes.iter().map(Write::trim_share).sum();
            share.changes += TRIM_CHANGES;
            let mut state = self.engine.write()?;
            wakers = self.engine.publish(&mut state, writes);
            granted.into_iter().for_each(|lease| self.engine.granted(&mut state, lease));
            ended.into_iter().for_each(|id| self.engine.ended(&mut state, id));
            if let Some(to) = compact {
                state.compact(to)?;
            }
        }
        // The writers first: there may be many watchers, and only writers keep this thread busy.
        answers.into_iter().for_each(batch::Answer::give);
        wakers.into_iter().for_each(Waker::wake);
        // While those who were answered get their next writes ready.
        while self.engine.trim_step(&mut share)? {}
        Ok(())
    }

    /// Begins a new log and has everything before it written into a checkpoint, beside the writing.
    fn checkpoint_if_due(&mut self) -> Result<(), String> {
        if !self.checkpointer.is_due() {
            return Ok(());
        }
        match self.begin_checkpoint() {
            Ok(()) => {}
            Err(Setback::Ending(why)) => return Err(why),
            Err(Setback::Passing(error)) => {
                tracing::warn!(dir = %self.dir.display(), error = &error as &dyn std::error::Error, "cannot begin a checkpoint; the log goes on growing");
                self.checkpointer.put_off();
            }
        }
        Ok(())
    }

    fn begin_checkpoint(&mut self) -> Result<(), Setback> {
        let (revision, compacted) = self.begin_log()?;
        Ok(self.checkpointer.start(self.segment.generation, revision, compacted)?)
    }

    /// Begins the next log behind all that is shown, and tells where.
    fn begin_log(&mut self) -> Result<(Revision, Revision), Setback> {
        // No one but this thread moves the revision on, so what is read here still holds below.
        let (revision, compacted) = {
            let state = self.engine.read()?;
            (state.revision(), state.compacted())
        };
        let generation = self.segment.generation + 1;
        let old = &mut self.segment;
        if old.room() > 0 {
            old.cut_room().map_err(disk::at("cut", &old.path)).map_err(Error::from)?;
            old.sync().map_err(|error| {
                Setback::Ending(format!("syncing {} failed: {error}", old.path.display()))
            })?;
        }
        let begun = match self.ahead.take() {
            Some(Ready { draft, length }) => {
                Segment::begin_in(draft, length, &self.dir, generation, revision, compacted)
            }
            None => Segment::create(&self.dir, generation, revision, compacted),
        };
        let path = segment::path(&self.dir, generation);
        self.segment = begun.map_err(|error| {
            // The old log may not go on behind the revision at which the new one says it begins.
            if path.try_exists().unwrap_or(true) {
                Setback::Ending(format!("beginning {} failed: {}", path.display(), chain(&error)))
            } else {
                Setback::Passing(error)
            }
        })?;
        self.usage.begin_log(self.segment.length);
        Ok((revision, compacted))
    }
}

/// What a failure to begin a log means.
#[derive(Debug)]
enum Setback {
    /// Writing goes on where it was.
    Passing(Error),
    /// Nobody knows what is on disk. What was wrong.
    Ending(String),
}

impl From<Error> for Setback {
    fn from(error: Error) -> Self {
        Self::Passing(error)
    }
}

/// An error with what is behind it, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source())
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}
