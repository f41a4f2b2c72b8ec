//! A queue of keys with work to do: each key at most once, never in two hands at once, retried with growing delays.
//!
//! A key added while it is being worked on is handed out again afterwards, so no change is ever missed and no two
//! workers ever meet on one object.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::metrics::{QueueCounts, Queued, Working};

/// The first delay of a retry; each further one is twice as long.
const RETRY_FIRST: Duration = Duration::from_millis(5);
/// The longest delay of a retry.
const RETRY_LONGEST: Duration = Duration::from_secs(300);

/// Keys that rest at the same time before those whose rest is over are forgotten.
const MOST_RESTING: usize = 256;

/// A queue of keys with work to do.
#[derive(Debug)]
pub(crate) struct Queue<K> {
    state: Mutex<State<K>>,
    wake: Notify,
    counts: OnceLock<Arc<QueueCounts>>,
}

#[derive(Debug)]
struct State<K> {
    ready: VecDeque<K>,
    /// Keys in `ready`, or to be put there once their worker is done; since when.
    wanted: HashMap<K, Instant>,
    /// Keys in somebody's hands; since when.
    working: HashMap<K, Instant>,
    later: BTreeSet<(Instant, K)>,
    due: HashMap<K, Instant>,
    /// Until when changes of what belongs to these keys are gathered.
    resting: HashMap<K, Instant>,
    failures: HashMap<K, u32>,
}

impl<K: Clone + Eq + Hash + Ord> Queue<K> {
    pub(crate) fn new() -> Self {
        Self {
            state: Mutex::new(State {
                ready: VecDeque::new(),
                wanted: HashMap::new(),
                working: HashMap::new(),
                later: BTreeSet::new(),
                due: HashMap::new(),
                resting: HashMap::new(),
                failures: HashMap::new(),
            }),
            wake: Notify::new(),
            counts: OnceLock::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State<K>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts into `counts` from now on.
    pub(crate) fn count_into(&self, counts: Arc<QueueCounts>) {
        self.counts.get_or_init(|| counts);
    }

    /// There is work for `key` now.
    pub(crate) fn add(&self, key: K) {
        if self.added(&mut self.state(), key) {
            self.wake.notify_one();
        }
    }

    /// Whether a worker need be woken.
    fn added(&self, state: &mut State<K>, key: K) -> bool {
        let Entry::Vacant(place) = state.wanted.entry(key) else { return false };
        if let Some(counts) = self.counts.get() {
            counts.adds.inc();
        }
        let key = place.key().clone();
        place.insert(Instant::now());
        if state.working.contains_key(&key) {
            return false;
        }
        state.ready.push_back(key);
        true
    }

    fn ripen(&self, state: &mut State<K>, now: Instant) {
        while state.later.first().is_some_and(|(at, _)| *at <= now) {
            if let Some((_, key)) = state.later.pop_first() {
                state.due.remove(&key);
                self.added(state, key);
            }
        }
    }

    /// There will be work for `key` in a while; the earliest of several wishes counts.
    pub(crate) fn add_after(&self, key: K, delay: Duration) {
        if delay.is_zero() {
            return self.add(key);
        }
        if let Some(counts) = self.counts.get() {
            counts.retries.inc();
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

    /// From now on, and for so long, what [`add_rested`](Self::add_rested) tells of `key` is gathered.
    pub(crate) fn rest(&self, key: &K, pause: Duration) {
        if pause.is_zero() {
            return;
        }
        let now = Instant::now();
        let mut state = self.state();
        if state.resting.len() >= MOST_RESTING {
            state.resting.retain(|_, until| *until > now);
        }
        state.resting.insert(key.clone(), now + pause);
    }

    /// There is work for `key` as soon as it has rested.
    pub(crate) fn add_rested(&self, key: K) {
        let now = Instant::now();
        let left = {
            let mut state = self.state();
            let until = state.resting.get(&key).copied().filter(|until| *until > now);
            if until.is_none() {
                state.resting.remove(&key);
            } else if state.due.get(&key).is_some_and(|due| Some(*due) <= until) {
                return;
            }
            until
        };
        match left {
            Some(until) => self.add_after(key, until - now),
            None => self.add(key),
        }
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
        let begun = state.working.remove(key);
        if let (Some(counts), Some(begun)) = (self.counts.get(), begun) {
            counts.worked.observe_duration(begun.elapsed());
        }
        if state.wanted.contains_key(key) {
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
                let now = Instant::now();
                self.ripen(&mut state, now);
                if let Some(key) = state.ready.pop_front() {
                    let added = state.wanted.remove(&key);
                    if let (Some(counts), Some(added)) = (self.counts.get(), added) {
                        counts.waited.observe_duration(now - added);
                    }
                    state.working.insert(key.clone(), now);
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

impl<K: Clone + Debug + Eq + Hash + Ord + Send> Queued for Queue<K> {
    fn working(&self, now: Instant) -> Working {
        let state = self.state();
        let ages = || state.working.values().map(|begun| now.saturating_duration_since(*begun));
        Working {
            depth: state.wanted.len(),
            unfinished: ages().sum(),
            longest: ages().max().unwrap_or_default(),
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
    async fn what_comes_during_a_rest_is_gathered_and_what_is_urgent_is_not() {
        let queue = Queue::new();
        let start = Instant::now();
        queue.rest(&"a", Duration::from_millis(80));
        queue.add_rested("a");
        queue.add_rested("b");
        queue.add_rested("a");
        assert_eq!((queue.next().await, start.elapsed().as_millis()), ("b", 0));
        assert_eq!((queue.next().await, start.elapsed().as_millis()), ("a", 80));
        queue.done(&"a");
        queue.rest(&"a", Duration::from_millis(80));
        queue.add("a");
        assert_eq!((queue.next().await, start.elapsed().as_millis()), ("a", 80));
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

    #[tokio::test(start_paused = true)]
    async fn what_is_done_is_counted_and_timed_and_the_depth_comes_back_to_nothing() {
        let queue = Queue::new();
        let counts = Arc::new(QueueCounts::default());
        queue.count_into(Arc::clone(&counts));
        ["a", "b", "a"].into_iter().for_each(|key| queue.add(key));
        let busy = |queue: &Queue<&str>| {
            let Working { depth, unfinished, longest } = queue.working(Instant::now());
            (depth, unfinished.as_secs(), longest.as_secs())
        };
        assert_eq!((busy(&queue), counts.adds.get()), ((2, 0, 0), 2));
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(queue.next().await, "a");
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(queue.next().await, "b");
        tokio::time::advance(Duration::from_secs(2)).await;
        // Again while it is being worked on: it waits, too.
        queue.add("a");
        assert_eq!((busy(&queue), counts.adds.get()), ((1, 5, 3), 3));
        queue.done(&"a");
        queue.retry("b");
        queue.done(&"b");
        for _ in 0..2 {
            let key = queue.next().await;
            queue.done(&key);
        }
        assert_eq!((busy(&queue), counts.adds.get(), counts.retries.get()), ((0, 0, 0), 4, 1));
        assert_eq!((counts.waited.count(), counts.worked.count()), (4, 4));
        let mut registry = prometheus_client::registry::Registry::default();
        registry.register("waited", "", counts.waited.clone());
        registry.register("worked", "", counts.worked.clone());
        let text = orchestra_metrics::text::classic(&registry).unwrap();
        for line in ["waited_sum 7.0", "worked_sum 5.0"] {
            assert!(text.lines().any(|found| found == line), "no {line} in {text}");
        }
    }
}
