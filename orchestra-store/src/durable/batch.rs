//! Deciding many transactions at once: a pure step from commands and a state to one frame and the answers.

use std::collections::VecDeque;

use tokio::sync::oneshot;

use super::codec;
use super::frame::MAX_PAYLOAD;
use super::queue::{Command, Queued};
use super::segment::Segment;
use crate::lease::{Lease, LeaseId};
use crate::limits::{self, Retention};
use crate::mvcc::{Latest, Mvcc, Plan, Staged, Write, plan};
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
                        encoded(frame, |frame| codec::put_write(frame, &write)).map(|()| {
                            staged.stage(&write);
                            let committed = write.committed();
                            batch.writes.push(write);
                            committed
                        })
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
                let revoked = staged.revoke(id).and_then(|removal| {
                    encoded(frame, |frame| {
                        removal.iter().for_each(|write| codec::put_write(frame, write));
                        codec::put_revoke(frame, id);
                    })?;
                    let revision = staged.end(id, removal.as_ref());
                    batch.writes.extend(removal);
                    batch.ended.push(id);
                    Ok(revision)
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

/// Encodes what one command changes behind what is in the frame, or nothing of it when no reader would take the frame then.
/// With the limits of what may be written that cannot be; a frame that is lost for it would be lost for good.
fn encoded(frame: &mut Vec<u8>, put: impl FnOnce(&mut Vec<u8>)) -> Result<()> {
    let before = frame.len();
    put(frame);
    // Compaction and grants, which may still follow, take few bytes.
    let (actual, limit) = (frame.len() - Segment::ROOM, MAX_PAYLOAD - 64);
    let fits = limits::within("size of a change in the log in bytes", actual, limit);
    if fits.is_err() {
        frame.truncate(before);
    }
    fits
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::key::Key;
    use crate::txn::Txn;

    /// A state with a lease beyond all limits, as no store can come to by itself.
    fn overloaded() -> (Mvcc, LeaseId) {
        let mut state = Mvcc::default();
        let lease = Lease { id: LeaseId::new(1).unwrap(), ttl: Duration::from_secs(1) };
        state.leases_mut().grant(lease);
        let changes = (0..MAX_PAYLOAD / 4000).map(|n| crate::mvcc::Change {
            key: Key::from(format!("{n:06}{}", "x".repeat(4000))),
            create_revision: Revision(2),
            version: 1,
            value: Some("".into()),
            lease: Some(lease.id),
        });
        state.apply(&Write { revision: Revision(2), changes: changes.collect() });
        (state, lease.id)
    }

    #[test]
    fn what_would_make_a_frame_that_cannot_be_read_is_refused_and_nothing_else() {
        let (state, id) = overloaded();
        let (revoke, mut revoked) = oneshot::channel();
        let (commit, mut committed) = oneshot::channel();
        let mut backlog = VecDeque::from([
            Queued { command: Command::Revoke { id, reply: revoke }, bytes: 1 },
            Queued {
                command: Command::Commit { txn: Txn::new().put("k".into(), "v"), reply: commit },
                bytes: 2,
            },
        ]);
        let mut frame = Vec::new();
        let batch = decide(&mut backlog, &state, Retention::new(), &mut frame);
        assert!(frame.len() <= Segment::ROOM + MAX_PAYLOAD, "{}", frame.len());
        assert_eq!((batch.writes.len(), batch.ended.len()), (1, 0));
        batch.answers.into_iter().for_each(Answer::give);
        assert!(matches!(revoked.try_recv(), Ok(Err(Error::TooLarge { .. }))));
        assert_eq!(committed.try_recv().unwrap().unwrap().revision, Revision(3));
    }
}
