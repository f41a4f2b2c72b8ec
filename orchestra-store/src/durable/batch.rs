//! Deciding many transactions at once: a pure step from commands and a state to one frame and the answers.

use std::collections::VecDeque;

use tokio::sync::oneshot;

use super::codec;
use super::queue::{Command, Queued};
use super::segment::Segment;
use crate::lease::{Lease, LeaseId};
use crate::limits::Retention;
use crate::mvcc::{Latest, Mvcc, Plan, Revoked, Staged, Write, plan};
use crate::revision::Revision;
use crate::store::{Error, Result};
use crate::txn::Committed;

/// A frame takes no further transaction beyond so many bytes, so that one huge batch does not hold up all who wait for it.
const BATCH_BYTES: usize = 4 * 1024 * 1024;

/// What a batch comes to. Nothing of it is visible yet.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) writes: Vec<Write>,
    pub(crate) compact: Option<Revision>,
    pub(crate) granted: Vec<Lease>,
    /// Leases whose keys are removed by `writes`.
    pub(crate) ended: Vec<LeaseId>,
    pub(crate) answers: Vec<Answer>,
    /// Bytes of the commands that were decided or given up.
    pub(crate) bytes: usize,
}

impl Batch {
    /// Whether nothing changes by it.
    pub(crate) fn is_idle(&self) -> bool {
        let Self { writes, compact, granted, ended, answers: _, bytes: _ } = self;
        writes.is_empty() && compact.is_none() && granted.is_empty() && ended.is_empty()
    }
}

/// An answer that waits for the disk.
#[derive(Debug)]
pub(crate) enum Answer {
    Commit(oneshot::Sender<Result<Committed>>, Result<Committed>),
    Compact(oneshot::Sender<Result<()>>, Result<()>),
    Grant(oneshot::Sender<Result<Lease>>, Result<Lease>),
    Revoke(oneshot::Sender<Result<Revision>>, Result<Revision>),
}

impl Answer {
    /// Tells the caller. One that has gone away does not want to know.
    pub(crate) fn give(self) {
        match self {
            Self::Commit(reply, result) => drop(reply.send(result)),
            Self::Compact(reply, result) => drop(reply.send(result)),
            Self::Grant(reply, result) => drop(reply.send(result)),
            Self::Revoke(reply, result) => drop(reply.send(result)),
        }
    }

    /// Tells the caller that it is not known whether its write will be there after a restart.
    pub(crate) fn refuse(self, why: &str) {
        let error = Error::Unavailable(why.to_owned());
        match self {
            Self::Commit(reply, _) => drop(reply.send(Err(error))),
            Self::Compact(reply, _) => drop(reply.send(Err(error))),
            Self::Grant(reply, _) => drop(reply.send(Err(error))),
            Self::Revoke(reply, _) => drop(reply.send(Err(error))),
        }
    }
}

/// Decides commands from the front of `backlog`, each against `state` and all decided before it,
/// and encodes what they change into `frame`, which is left at [`Segment::ROOM`] bytes when nothing does.
pub(crate) fn decide(
    backlog: &mut VecDeque<Queued>,
    state: &Mvcc,
    retention: Retention,
    frame: &mut Vec<u8>,
) -> Batch {
    frame.clear();
    frame.resize(Segment::ROOM, 0);
    let mut staged = Staged::on(state);
    let mut batch = Batch { answers: Vec::with_capacity(backlog.len()), ..Batch::default() };
    while frame.len() < BATCH_BYTES {
        let Some(Queued { command, bytes }) = backlog.pop_front() else { break };
        batch.bytes += bytes;
        match command {
            abandoned if abandoned.is_abandoned() => {}
            Command::Commit { txn, reply } => {
                let committed = match plan(txn, &staged) {
                    Ok(Plan::Answer(committed)) => Ok(committed),
                    Ok(Plan::Write(write)) => {
                        codec::put_write(frame, &write);
                        staged.stage(&write);
                        let committed = write.committed();
                        batch.writes.push(write);
                        Ok(committed)
                    }
                    Err(error) => Err(error),
                };
                batch.answers.push(Answer::Commit(reply, committed));
            }
            Command::Grant { ttl, reply } => {
                let granted = staged.grant(ttl);
                if let Ok(lease) = granted {
                    codec::put_grant(frame, lease);
                    batch.granted.push(lease);
                }
                batch.answers.push(Answer::Grant(reply, granted));
            }
            Command::Revoke { id, reply } => {
                let revoked = staged.revoke(id).map(|Revoked { revision, write }| {
                    if let Some(write) = write {
                        codec::put_write(frame, &write);
                        batch.writes.push(write);
                    }
                    codec::put_revoke(frame, id);
                    batch.ended.push(id);
                    revision
                });
                batch.answers.push(Answer::Revoke(reply, revoked));
            }
            Command::Compact { to, reply } if to > staged.revision() => {
                batch.answers.push(Answer::Compact(reply, Err(Error::FutureRevision(staged.revision()))));
            }
            Command::Compact { to, reply } => {
                batch.compact = batch.compact.max(Some(to));
                batch.answers.push(Answer::Compact(reply, Ok(())));
            }
        }
    }
    batch.compact = batch.compact.max(state.overdue(retention)).filter(|&to| to > state.compacted());
    if let Some(to) = batch.compact {
        codec::put_compact(frame, to);
    }
    batch
}
