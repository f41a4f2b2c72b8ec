//! Where callers leave their transactions for the writer thread.
//!
//! What waits here is bounded in bytes. Callers beyond the bound wait in turn until the writer has taken up what was before them, and
//! take nothing with them when they give up.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, oneshot};

use super::gather::Gather;
use crate::lease::{Lease, LeaseId};
use crate::revision::Revision;
use crate::store::{Error, Result};
use crate::txn::{Committed, Txn};

/// Most bytes of commands that wait or are being decided.
const ROOM: u32 = 64 * 1024 * 1024;
/// What a command takes beside its keys and values.
const BESIDE: usize = 256;

/// A command with the room it takes up until it is decided.
#[derive(Debug)]
pub(crate) struct Queued {
    pub(crate) command: Command,
    pub(crate) bytes: usize,
}

/// What the writer is asked to do.
#[derive(Debug)]
pub(crate) enum Command {
    /// Decide and apply a transaction.
    Commit { txn: Txn, reply: oneshot::Sender<Result<Committed>> },
    /// Raise the lower end of the window.
    Compact { to: Revision, reply: oneshot::Sender<Result<()>> },
    /// Make a lease.
    Grant { ttl: Duration, reply: oneshot::Sender<Result<Lease>> },
    /// End a lease and remove its keys.
    Revoke { id: LeaseId, reply: oneshot::Sender<Result<Revision>> },
}

/// Commands in the order in which they came.
#[derive(Debug)]
pub(crate) struct Queue {
    inner: Mutex<Inner>,
    ready: Condvar,
    /// Bytes that may still be queued.
    room: Semaphore,
}

impl Default for Queue {
    fn default() -> Self {
        Self { inner: Mutex::default(), ready: Condvar::new(), room: Semaphore::new(ROOM as usize) }
    }
}

#[derive(Debug, Default)]
struct Inner {
    commands: VecDeque<Queued>,
    /// With how many commands the writer, which sleeps, is to be woken.
    wake_at: Option<usize>,
    end: Option<End>,
}

#[derive(Clone, Debug)]
enum End {
    /// The owner let go; what is queued is still done.
    Closed,
    /// Nothing can be written any more.
    Failed(String),
}

impl Queue {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves a command of so many bytes when there is room for it, unless nobody would take it.
    pub(crate) async fn push(&self, command: Command, bytes: usize) -> Result<()> {
        let bytes = bytes + BESIDE;
        let wanted = u32::try_from(bytes).unwrap_or(ROOM).min(ROOM);
        let room = match self.room.try_acquire_many(wanted) {
            Ok(room) => room,
            // It is closed when nobody takes commands any more.
            Err(_) => self.room.acquire_many(wanted).await.map_err(|_| self.refusal())?,
        };
        let queued = Queued { command, bytes: wanted as usize };
        self.leave(queued)?;
        // Until the writer gives it back.
        room.forget();
        Ok(())
    }

    fn leave(&self, queued: Queued) -> Result<()> {
        let mut inner = self.inner();
        if inner.end.is_some() {
            drop(inner);
            return Err(self.refusal());
        }
        inner.commands.push_back(queued);
        let is_enough = inner.wake_at.is_some_and(|enough| inner.commands.len() >= enough);
        if is_enough {
            inner.wake_at = None;
        }
        drop(inner);
        if is_enough {
            self.ready.notify_one();
        }
        Ok(())
    }

    /// The writer has decided commands of so many bytes.
    pub(super) fn give_back(&self, bytes: usize) {
        if bytes > 0 {
            self.room.add_permits(bytes);
        }
    }

    /// Moves what is queued to the end of `backlog`, waits for something if that is empty, and for company as `gather`
    /// thinks best. False when there is nothing left to do, ever.
    pub(super) fn take(&self, backlog: &mut VecDeque<Queued>, gather: &mut Gather) -> bool {
        let mut inner = self.inner();
        // What is left of a full batch waits long enough.
        while backlog.is_empty()
            && let Some(wait) = gather.wait(inner.commands.len())
        {
            inner = if wait.awake {
                self.linger(inner, wait.enough, wait.time)
            } else {
                self.sleep(inner, wait.enough, Some(wait.time))
            };
            gather.waited(wait, inner.commands.len());
        }
        if backlog.is_empty() {
            inner = self.sleep(inner, 1, None);
        }
        backlog.append(&mut inner.commands);
        !backlog.is_empty()
    }

    /// Looks until `enough` commands wait, the time is over, or no more will come, and leaves the processor to whoever wants it.
    fn linger<'a>(
        &'a self,
        mut inner: MutexGuard<'a, Inner>,
        enough: usize,
        time: Duration,
    ) -> MutexGuard<'a, Inner> {
        let begin = Instant::now();
        while inner.end.is_none() && inner.commands.len() < enough && begin.elapsed() < time {
            drop(inner);
            std::thread::yield_now();
            inner = self.inner();
        }
        inner
    }

    /// Sleeps until `enough` commands wait, the time is over, or no more will come.
    fn sleep<'a>(
        &'a self,
        mut inner: MutexGuard<'a, Inner>,
        enough: usize,
        time: Option<Duration>,
    ) -> MutexGuard<'a, Inner> {
        let lacks = |inner: &mut Inner| inner.end.is_none() && inner.commands.len() < enough;
        if !lacks(&mut inner) {
            return inner;
        }
        inner.wake_at = Some(enough);
        inner = match time {
            None => self.ready.wait_while(inner, lacks).unwrap_or_else(PoisonError::into_inner),
            Some(time) => {
                let waited = self.ready.wait_timeout_while(inner, time, lacks);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
        };
        inner.wake_at = None;
        inner
    }

    /// Takes no more commands; those queued are still done.
    pub(crate) fn close(&self) {
        self.inner().end.get_or_insert(End::Closed);
        self.room.close();
        self.ready.notify_one();
    }

    /// Takes no more commands, and answers those queued that they were not done.
    pub(crate) fn fail(&self, why: &str) {
        let mut inner = self.inner();
        if !matches!(inner.end, Some(End::Failed(_))) {
            inner.end = Some(End::Failed(why.to_owned()));
        }
        let commands = std::mem::take(&mut inner.commands);
        drop(inner);
        self.room.close();
        commands.into_iter().for_each(|queued| queued.command.refuse(why));
    }

    /// Why nothing can be written, if so.
    pub(crate) fn failure(&self) -> Option<String> {
        match &self.inner().end {
            Some(End::Failed(why)) => Some(why.clone()),
            _ => None,
        }
    }

    /// What a caller is told whose command was not taken or not answered.
    pub(crate) fn refusal(&self) -> Error {
        Error::Unavailable(self.failure().unwrap_or_else(|| "it is closed".to_owned()))
    }
}

impl Command {
    /// Whether its caller has gone away and nobody would ever know of it.
    pub(crate) fn is_abandoned(&self) -> bool {
        match self {
            Self::Commit { reply, .. } => reply.is_closed(),
            Self::Grant { reply, .. } => reply.is_closed(),
            // These are wanted whoever asked for them.
            Self::Compact { .. } | Self::Revoke { .. } => false,
        }
    }

    /// Answers that it was not done, or that nobody knows.
    pub(crate) fn refuse(self, why: &str) {
        let error = Error::Unavailable(why.to_owned());
        // A caller that has gone away does not want the answer.
        match self {
            Self::Commit { reply, .. } => drop(reply.send(Err(error))),
            Self::Compact { reply, .. } => drop(reply.send(Err(error))),
            Self::Grant { reply, .. } => drop(reply.send(Err(error))),
            Self::Revoke { reply, .. } => drop(reply.send(Err(error))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;

    fn commit() -> (Command, oneshot::Receiver<Result<Committed>>) {
        let (reply, answer) = oneshot::channel();
        (Command::Commit { txn: Txn::new(), reply }, answer)
    }

    #[tokio::test]
    async fn who_finds_no_room_waits_until_the_writer_has_taken_up_what_was_before() {
        let queue = Queue::default();
        let half = ROOM as usize / 2;
        let (first, _first) = commit();
        queue.push(first, half).await.unwrap();
        let (second, _second) = commit();
        let mut waiting = pin!(queue.push(second, half));
        assert!(futures::poll!(&mut waiting).is_pending());
        // One who gives up leaves nothing behind.
        let (third, _third) = commit();
        assert!(futures::poll!(pin!(queue.push(third, half))).is_pending());
        let mut backlog = VecDeque::new();
        assert!(queue.take(&mut backlog, &mut Gather::default()));
        assert!(futures::poll!(&mut waiting).is_pending(), "it is not decided yet");
        queue.give_back(backlog.drain(..).map(|queued| queued.bytes).sum());
        waiting.await.unwrap();
        assert!(queue.take(&mut backlog, &mut Gather::default()));
        queue.give_back(backlog.drain(..).map(|queued| queued.bytes).sum());
        assert_eq!(queue.room.available_permits(), ROOM as usize);
    }

    #[tokio::test]
    async fn who_waits_for_room_is_told_when_nothing_is_written_any_more() {
        let queue = Queue::default();
        let (first, answer) = commit();
        queue.push(first, ROOM as usize).await.unwrap();
        let (second, _second) = commit();
        let mut waiting = pin!(queue.push(second, 1));
        assert!(futures::poll!(&mut waiting).is_pending());
        queue.fail("the disk is full");
        assert!(matches!(waiting.await, Err(Error::Unavailable(why)) if why == "the disk is full"));
        assert!(matches!(answer.await, Ok(Err(Error::Unavailable(_)))));
    }
}
