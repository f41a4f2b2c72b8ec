//! What a store in etcd counts of its dealings with etcd.

use std::sync::Weak;
use std::sync::atomic::{AtomicU64, Ordering};

use super::live::Live;
use crate::feed::Watches;

/// Counted by whoever talks to etcd.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    in_flight: AtomicU64,
    requests: AtomicU64,
    retries: AtomicU64,
    reconnects: AtomicU64,
    resumptions: AtomicU64,
}

/// What they came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counted {
    /// Requests that wait for an answer.
    pub(crate) in_flight: u64,
    /// Requests that were sent.
    pub(crate) requests: u64,
    /// Those of them that had been sent before.
    pub(crate) retries: u64,
    /// How often a member was given up for the next one.
    pub(crate) reconnects: u64,
    /// How often a watch that broke off was taken up again.
    pub(crate) resumptions: u64,
}

impl Counters {
    /// A request that is under way for as long as this is held.
    pub(super) fn request(&self) -> InFlight<'_> {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        self.requests.fetch_add(1, Ordering::Relaxed);
        InFlight(self)
    }

    pub(super) fn retried(&self) {
        self.retries.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn reconnected(&self) {
        self.reconnects.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn resumed(&self) {
        self.resumptions.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn counted(&self) -> Counted {
        let Self { in_flight, requests, retries, reconnects, resumptions } = self;
        let now = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counted {
            in_flight: now(in_flight),
            requests: now(requests),
            retries: now(retries),
            reconnects: now(reconnects),
            resumptions: now(resumptions),
        }
    }
}

/// A request that waits for an answer, or until its caller goes away.
#[derive(Debug)]
pub(super) struct InFlight<'a>(&'a Counters);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The watchers of a store, if it is still there and any came.
#[derive(Clone, Debug)]
pub(crate) struct Watchers(pub(super) Weak<tokio::sync::OnceCell<std::sync::Arc<Live>>>);

impl Watchers {
    pub(crate) fn watches(&self) -> Option<Watches> {
        let live = self.0.upgrade()?;
        Some(live.get().map(|live| live.watches()).unwrap_or_default())
    }
}
