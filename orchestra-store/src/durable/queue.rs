//! Where callers leave their transactions for the writer thread.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::gather::Gather;
use crate::lease::{Lease, LeaseId};
use crate::revision::Revision;
use crate::store::{Error, Result};
use crate::txn::{Committed, Txn};

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
#[derive(Debug, Default)]
pub(crate) struct Queue {
    inner: Mutex<Inner>,
    ready: Condvar,
}

#[derive(Debug, Default)]
struct Inner {
    commands: VecDeque<Command>,
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

    /// Leaves a command, unless nobody would take it.
    pub(crate) fn push(&self, command: Command) -> Result<()> {
        let mut inner = self.inner();
        if inner.end.is_some() {
            drop(inner);
            return Err(self.refusal());
        }
        inner.commands.push_back(command);
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

    /// Moves what is queued to the end of `backlog`, waits for something if that is empty, and for company as `gather`
    /// thinks best. False when there is nothing left to do, ever.
    pub(super) fn take(&self, backlog: &mut VecDeque<Command>, gather: &mut Gather) -> bool {
        let mut inner = self.inner();
        if let Some(wait) = gather.wait(backlog.len() + inner.commands.len()) {
            let enough = wait.enough.saturating_sub(backlog.len());
            inner = if wait.awake {
                self.linger(inner, enough, wait.time)
            } else {
                self.sleep(inner, enough, Some(wait.time))
            };
            gather.waited(wait, backlog.len() + inner.commands.len());
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
        commands.into_iter().for_each(|command| command.refuse(why));
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
