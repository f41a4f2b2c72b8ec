//! When leases run out.
//!
//! [`Countdown`] is the pure part: instants in, leases that have run out back. [`Expiry`] shares it between callers and the one
//! task that waits for the next to run out. Time is tokio's, so that it can be paused; it does not jump when a clock is set.
//! A lease's time begins when the task first sees it: after a restart that is the whole time again.

use std::collections::{BTreeSet, HashMap};
use std::future::{Future, pending};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::lease::{Lease, LeaseId};
use crate::store::{Error, Result};
use crate::timer;

/// The living leases and when each runs out.
#[derive(Debug, Default)]
struct Countdown {
    leases: HashMap<LeaseId, Counted>,
    /// Those whose time has not begun.
    fresh: Vec<LeaseId>,
    order: BTreeSet<(Instant, LeaseId)>,
}

#[derive(Debug)]
struct Counted {
    ttl: Duration,
    /// `None` until its time begins.
    until: Option<Instant>,
}

impl Countdown {
    fn add(&mut self, lease: Lease) {
        self.leases.insert(lease.id, Counted { ttl: lease.ttl, until: None });
        self.fresh.push(lease.id);
    }

    /// Begins the time of a lease, or begins it anew.
    fn begin(&mut self, id: LeaseId, now: Instant) -> Option<Duration> {
        let counted = self.leases.get_mut(&id)?;
        // Far in the future is as good as an instant that cannot be told.
        let until = now.checked_add(counted.ttl).unwrap_or(now + Duration::from_secs(u64::from(u32::MAX)));
        if let Some(before) = counted.until.replace(until) {
            self.order.remove(&(before, id));
        }
        self.order.insert((until, id));
        Some(counted.ttl)
    }

    fn remove(&mut self, id: LeaseId) {
        if let Some(Counted { until: Some(until), .. }) = self.leases.remove(&id) {
            self.order.remove(&(until, id));
        }
    }

    /// Begins the time of fresh leases, and takes out those that have run out: who has been taken out cannot be renewed.
    fn step(&mut self, now: Instant) -> Vec<LeaseId> {
        for id in std::mem::take(&mut self.fresh) {
            if self.leases.get(&id).is_some_and(|counted| counted.until.is_none()) {
                self.begin(id, now);
            }
        }
        let mut over = Vec::new();
        while let Some(&(until, id)) = self.order.first() {
            if until > now {
                break;
            }
            self.remove(id);
            over.push(id);
        }
        over
    }

    fn next(&self) -> Option<Instant> {
        self.order.first().map(|&(until, _)| until)
    }

    fn remaining(&self, id: LeaseId, now: Instant) -> Duration {
        match self.leases.get(&id) {
            Some(Counted { until: Some(until), .. }) => until.saturating_duration_since(now),
            Some(Counted { ttl, until: None }) => *ttl,
            None => Duration::ZERO,
        }
    }
}

/// The countdown of a store.
#[derive(Debug, Default)]
pub(crate) struct Expiry {
    countdown: Mutex<Countdown>,
    changed: Notify,
    /// Whether there ever was a lease. Most stores have none, and then there is nothing to do.
    is_used: AtomicBool,
    /// Whether a task waits for leases to run out.
    is_attended: AtomicBool,
    task: Mutex<Option<AbortHandle>>,
}

impl Expiry {
    fn countdown(&self) -> MutexGuard<'_, Countdown> {
        // It is whole between any two statements that could panic.
        self.countdown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts down the time of a lease. May be called from anywhere; the time begins when the task comes to it.
    pub(crate) fn add(&self, lease: Lease) {
        self.countdown().add(lease);
        self.is_used.store(true, Ordering::Release);
        self.changed.notify_one();
    }

    /// A lease has ended.
    pub(crate) fn remove(&self, id: LeaseId) {
        self.countdown().remove(id);
    }

    pub(crate) fn renew(&self, id: LeaseId) -> Result<Duration> {
        self.countdown().begin(id, Instant::now()).ok_or(Error::UnknownLease(id))
    }

    pub(crate) fn remaining(&self, id: LeaseId) -> Duration {
        self.countdown().remaining(id, Instant::now())
    }

    /// Sees to it that a task hands leases that have run out to what `end` gives, if there are any leases and no task yet. It
    /// lives as long as the runtime it is first called in; outside of one, it is left to the next call.
    pub(crate) fn attend<E, F>(self: &Arc<Self>, end: impl FnOnce() -> E)
    where
        E: Fn(Vec<LeaseId>) -> F + Send + 'static,
        F: Future<Output = Result<()>> + Send + 'static,
    {
        if !self.is_used.load(Ordering::Acquire) || self.is_attended.load(Ordering::Acquire) {
            return;
        }
        let Ok(runtime) = Handle::try_current() else { return };
        if self.is_attended.swap(true, Ordering::AcqRel) {
            return;
        }
        if !timer::is_there() {
            // Asked once: whoever makes a runtime like this makes no other beside it.
            tracing::error!("leases do not run out: the runtime was built without `enable_time`");
            return;
        }
        let attendant = Attendant(Arc::clone(self));
        let task = runtime.spawn(attendant.run(end())).abort_handle();
        *self.task.lock().unwrap_or_else(PoisonError::into_inner) = Some(task);
    }

    /// The store is closed.
    pub(crate) fn close(&self) {
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task {
            task.abort();
        }
    }
}

/// The task. When it is dropped along with its runtime, another runtime may start the next.
struct Attendant(Arc<Expiry>);

impl Drop for Attendant {
    fn drop(&mut self) {
        self.0.is_attended.store(false, Ordering::Release);
    }
}

impl Attendant {
    async fn run<F: Future<Output = Result<()>> + Send>(self, end: impl Fn(Vec<LeaseId>) -> F + Send) {
        let expiry = &*self.0;
        loop {
            let (over, next) = {
                let mut countdown = expiry.countdown();
                (countdown.step(Instant::now()), countdown.next())
            };
            if !over.is_empty() {
                if let Err(error) = end(over).await {
                    // The store is closed, or has said what is wrong with it. Whoever opens it again begins anew.
                    tracing::debug!(%error, "leases that have run out cannot be ended any more");
                    return pending().await;
                }
                continue;
            }
            let run_out = async {
                match next {
                    Some(next) => tokio::time::sleep_until(next).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                biased;
                () = run_out => {}
                () = expiry.changed.notified() => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(10);

    fn lease(id: u64) -> Lease {
        Lease { id: LeaseId::new(id).unwrap(), ttl: TTL }
    }

    #[tokio::test(start_paused = true)]
    async fn time_begins_when_it_is_first_looked_at_and_anew_with_each_renewal() {
        let (mut countdown, [a, b]) = (Countdown::default(), [lease(1), lease(2)]);
        countdown.add(a);
        countdown.add(b);
        let begin = Instant::now();
        assert_eq!((countdown.remaining(a.id, begin + TTL * 3), countdown.next()), (TTL, None));
        assert!(countdown.step(begin).is_empty());
        let half = begin + TTL / 2;
        assert_eq!(countdown.begin(b.id, half), Some(TTL));
        assert_eq!((countdown.remaining(a.id, half), countdown.remaining(b.id, half)), (TTL / 2, TTL));
        assert!(countdown.step(begin + TTL - Duration::from_millis(1)).is_empty());
        assert_eq!(countdown.step(begin + TTL), [a.id]);
        assert_eq!(countdown.begin(a.id, begin + TTL), None, "what has run out cannot be renewed");
        assert_eq!((countdown.next(), countdown.step(half + TTL)), (Some(half + TTL), vec![b.id]));
        assert_eq!(countdown.next(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_renewal_before_the_first_look_counts_and_what_was_ended_never_runs_out() {
        let (mut countdown, [a, b]) = (Countdown::default(), [lease(1), lease(2)]);
        let begin = Instant::now();
        countdown.add(a);
        countdown.add(b);
        countdown.begin(a.id, begin + TTL);
        countdown.remove(b.id);
        assert!(countdown.step(begin).is_empty());
        assert_eq!(countdown.next(), Some(begin + 2 * TTL));
        countdown.remove(a.id);
        assert!(countdown.step(begin + 5 * TTL).is_empty());
    }

    #[test]
    fn another_runtime_takes_over_where_the_first_has_ended() {
        use crate::{MemoryStore, Store, Txn};
        let paused = || {
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
        };
        let store = MemoryStore::new();
        paused().block_on(async {
            let lease = store.grant(TTL).await.unwrap();
            store.commit(Txn::new().put_leased("k".into(), "v", lease.id)).await.unwrap();
        });
        assert_eq!(paused().block_on(async { store.status().await.unwrap().keys }), 1);
        paused().block_on(async {
            assert_eq!(store.status().await.unwrap().keys, 1);
            tokio::time::sleep(3 * TTL).await;
            assert_eq!(store.status().await.unwrap().keys, 0);
        });
    }
}
