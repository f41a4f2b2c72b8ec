//! A queue of keys with work to do: each key at most once, never in two hands at once, retried with growing delays.
//!
//! A key added while it is being worked on is handed out again afterwards, so no change is ever missed and no two
//! workers ever meet on one object.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// The first delay of a retry; each further one is twice as long.
const RETRY_FIRST: Duration = Duration::from_millis(5);
/// The longest delay of a retry.
const RETRY_LONGEST: Duration = Duration::from_secs(300);

/// A queue of keys with work to do.
#[derive(Debug)]
pub(crate) struct Queue<K> {
    state: Mutex<State<K>>,
    wake: Notify,
}

#[derive(Debug)]
struct State<K> {
    ready: VecDeque<K>,
    /// Keys in `ready`, or to be put there once their worker is done.
    wanted: HashSet<K>,
    working: HashSet<K>,
    later: BTreeSet<(Instant, K)>,
    due: HashMap<K, Instant>,
    failures: HashMap<K, u32>,
}

impl<K: Clone + Eq + Hash + Ord> Queue<K> {
    pub(crate) fn new() -> Self {
        Self {
            state: Mutex::new(State {
                ready: VecDeque::new(),
                wanted: HashSet::new(),
                working: HashSet::new(),
                later: BTreeSet::new(),
                due: HashMap::new(),
                failures: HashMap::new(),
            }),
            wake: Notify::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State<K>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// There is work for `key` now.
    pub(crate) fn add(&self, key: K) {
        if self.state().add(key) {
            self.wake.notify_one();
        }
    }

    /// There will be work for `key` in a while; the earliest of several wishes counts.
    pub(crate) fn add_after(&self, key: K, delay: Duration) {
        if delay.is_zero() {
            return self.add(key);
        }
        let at = Instant::now() + delay;
        let mut state = self.state();
        match state.due.get(&key).copied() {
            Some(due) if due <= at => return,
            Some(due) => {
                state.later.remove(&(due, key.clone()));
            }
            None => {}
        }
        state.due.insert(key.clone(), at);
        state.later.insert((at, key));
        drop(state);
        self.wake.notify_one();
    }

    /// The work on `key` failed: again, after a delay that doubles with each failure.
    pub(crate) fn retry(&self, key: K) {
        let failures = {
            let mut state = self.state();
            let failures = state.failures.entry(key.clone()).or_insert(0);
            *failures = failures.saturating_add(1);
            *failures
        };
        let factor = 1_u32.checked_shl(failures - 1).unwrap_or(u32::MAX);
        self.add_after(key, RETRY_FIRST.saturating_mul(factor).min(RETRY_LONGEST));
    }

    /// The work on `key` succeeded: its next failure is a first one.
    pub(crate) fn forget(&self, key: &K) {
        self.state().failures.remove(key);
    }

    /// The worker of `key` has laid it down.
    pub(crate) fn done(&self, key: &K) {
        let mut state = self.state();
        state.working.remove(key);
        if state.wanted.contains(key) {
            state.ready.push_back(key.clone());
            drop(state);
            self.wake.notify_one();
        }
    }

    /// The next key with work to do; the caller must lay it down with [`Queue::done`]. One caller at a time.
    pub(crate) async fn next(&self) -> K {
        loop {
            let next_due = {
                let mut state = self.state();
                state.ripen(Instant::now());
                if let Some(key) = state.ready.pop_front() {
                    state.wanted.remove(&key);
                    state.working.insert(key.clone());
                    return key;
                }
                state.later.first().map(|(at, _)| *at)
            };
            match next_due {
                None => self.wake.notified().await,
                Some(at) => {
                    // Whichever comes first, the loop looks again.
                    let _ = tokio::time::timeout_at(at, self.wake.notified()).await;
                }
            }
        }
    }
}

impl<K: Clone + Eq + Hash + Ord> State<K> {
    /// Whether a worker need be woken.
    fn add(&mut self, key: K) -> bool {
        if !self.wanted.insert(key.clone()) || self.working.contains(&key) {
            return false;
        }
        self.ready.push_back(key);
        true
    }

    fn ripen(&mut self, now: Instant) {
        while self.later.first().is_some_and(|(at, _)| *at <= now) {
            if let Some((_, key)) = self.later.pop_first() {
                self.due.remove(&key);
                self.add(key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn hands_a_key_out_once_however_often_it_was_added() {
        let queue = Queue::new();
        queue.add("a");
        queue.add("a");
        queue.add("b");
        assert_eq!((queue.next().await, queue.next().await), ("a", "b"));
        let third = tokio::time::timeout(Duration::from_secs(1), queue.next()).await;
        assert!(third.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn hands_a_key_out_again_when_it_was_added_during_its_work() {
        let queue = Queue::new();
        queue.add("a");
        assert_eq!(queue.next().await, "a");
        queue.add("a");
        assert!(tokio::time::timeout(Duration::from_secs(1), queue.next()).await.is_err(), "still in work");
        queue.done(&"a");
        assert_eq!(queue.next().await, "a");
    }

    #[tokio::test(start_paused = true)]
    async fn the_earliest_of_several_delays_counts() {
        let queue = Queue::new();
        let start = Instant::now();
        queue.add_after("a", Duration::from_secs(9));
        queue.add_after("a", Duration::from_secs(2));
        queue.add_after("a", Duration::from_secs(5));
        assert_eq!(queue.next().await, "a");
        assert_eq!(start.elapsed().as_secs(), 2);
        queue.done(&"a");
        assert!(tokio::time::timeout(Duration::from_secs(60), queue.next()).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn retries_wait_twice_as_long_each_time_until_forgotten() {
        let queue = Queue::new();
        let mut waits = Vec::new();
        for _ in 0..3 {
            let start = Instant::now();
            queue.retry("a");
            queue.next().await;
            queue.done(&"a");
            waits.push(start.elapsed().as_millis());
        }
        queue.forget(&"a");
        let start = Instant::now();
        queue.retry("a");
        queue.next().await;
        waits.push(start.elapsed().as_millis());
        assert_eq!(waits, [5, 10, 20, 5]);
    }
}
