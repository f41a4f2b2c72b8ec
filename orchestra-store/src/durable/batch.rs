//! Deciding many transactions at once: a pure step from commands and a state to one frame and the answers.

use std::collections::VecDeque;

use tokio::sync::oneshot;

use super::codec;
use super::queue::Command;
use super::segment::Segment;
use crate::limits::Retention;
use crate::mvcc::{Latest, Mvcc, Plan, Staged, Write, plan};
use crate::revision::Revision;
use crate::store::{Error, Result};
use crate::txn::Committed;

/// A frame takes no further transaction beyond so many bytes, so that one huge batch does not hold up all who wait for it.
const BATCH_BYTES: usize = 4 * 1024 * 1024;

/// What a batch comes to. Nothing of it is visible yet.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) writes: Vec<Write>,
    pub(crate) compact: Option<Revision>,
    pub(crate) answers: Vec<Answer>,
}

/// An answer that waits for the disk.
#[derive(Debug)]
pub(crate) enum Answer {
    Commit(oneshot::Sender<Result<Committed>>, Committed),
    Compact(oneshot::Sender<Result<()>>, Result<()>),
}

impl Answer {
    /// Tells the caller. One that has gone away does not want to know.
    pub(crate) fn give(self) {
        match self {
            Self::Commit(reply, committed) => drop(reply.send(Ok(committed))),
            Self::Compact(reply, result) => drop(reply.send(result)),
        }
    }

    /// Tells the caller that it is not known whether its write will be there after a restart.
    pub(crate) fn refuse(self, why: &str) {
        let error = Error::Unavailable(why.to_owned());
        match self {
            Self::Commit(reply, _) => drop(reply.send(Err(error))),
            Self::Compact(reply, _) => drop(reply.send(Err(error))),
        }
    }
}

/// Decides commands from the front of `backlog`, each against `state` and all decided before it,
/// and encodes what they change into `frame`, which is left at [`Segment::ROOM`] bytes when nothing does.
pub(crate) fn decide(
    backlog: &mut VecDeque<Command>,
    state: &Mvcc,
    retention: Retention,
    frame: &mut Vec<u8>,
) -> Batch {
    frame.clear();
    frame.resize(Segment::ROOM, 0);
    let mut staged = Staged::on(state);
    let mut batch = Batch { writes: Vec::new(), compact: None, answers: Vec::with_capacity(backlog.len()) };
    while frame.len() < BATCH_BYTES {
        match backlog.pop_front() {
            Some(Command::Commit { txn, reply }) => {
                let committed = match plan(txn, &staged) {
                    Plan::Answer(committed) => committed,
                    Plan::Write(write) => {
                        codec::put_write(frame, &write);
                        staged.stage(&write);
                        let committed = write.committed();
                        batch.writes.push(write);
                        committed
                    }
                };
                batch.answers.push(Answer::Commit(reply, committed));
            }
            Some(Command::Compact { to, reply }) if to > staged.revision() => {
                batch.answers.push(Answer::Compact(reply, Err(Error::FutureRevision(staged.revision()))));
            }
            Some(Command::Compact { to, reply }) => {
                batch.compact = batch.compact.max(Some(to));
                batch.answers.push(Answer::Compact(reply, Ok(())));
            }
            None => break,
        }
    }
    batch.compact = batch.compact.max(state.overdue(retention)).filter(|&to| to > state.compacted());
    if let Some(to) = batch.compact {
        codec::put_compact(frame, to);
    }
    batch
}
