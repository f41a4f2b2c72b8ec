//! Delivering changes to watchers: a bounded queue for each, filled by the writer, drained by the stream.
//!
//! A writer never waits for a watcher. One whose queue is full is ended, not thinned.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::Instant;

use crate::key::KeyRange;
use crate::limits::WatchBound;
use crate::revision::Revision;
use crate::store::{Error, Result};
use crate::watch::{Event, WatchMessage};

/// What one revision changed, shared by all feeds.
#[derive(Clone, Debug)]
pub(crate) struct Published {
    revision: Revision,
    events: Arc<[Event]>,
    /// Size of the values in the events.
    bytes: usize,
}

impl Published {
    pub(crate) fn new(revision: Revision, events: Vec<Event>) -> Self {
        let bytes = size(&events);
        Self { revision, events: events.into(), bytes }
    }
}

/// Revisions of one batch, one after the other, that a watcher sees.
#[derive(Debug)]
pub(crate) struct Run {
    batch: Arc<[Published]>,
    rest: Range<usize>,
    /// When it was published.
    since: Instant,
}

impl Iterator for Run {
    type Item = WatchMessage;

    fn next(&mut self) -> Option<WatchMessage> {
        let published = self.batch.get(self.rest.next()?)?;
        Some(WatchMessage::Events { revision: published.revision, events: Arc::clone(&published.events) })
    }
}

/// What a feed tells next.
#[derive(Debug)]
pub(crate) enum Next {
    /// Changes.
    Run(Run),
    /// Nothing up to this revision.
    Progress(Revision),
}

/// One watcher's queue.
#[derive(Debug)]
pub(crate) struct Feed {
    range: KeyRange,
    from: Revision,
    bound: WatchBound,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    runs: VecDeque<Run>,
    events: usize,
    bytes: usize,
    /// Newest revision without a matching change behind the queued runs. Coalesced: only the newest is told.
    progress: Option<Revision>,
    end: Option<End>,
    waker: Option<Waker>,
}

#[derive(Clone, Debug)]
enum End {
    Slow,
    Unavailable(Arc<str>),
    /// What comes next is gone.
    #[cfg(feature = "etcd")]
    Compacted(Revision),
    /// The stream was dropped, or has told its error.
    Finished,
}

impl Feed {
    pub(crate) fn new(range: KeyRange, from: Revision, bound: WatchBound) -> Self {
        Self { range, from, bound, queue: Mutex::default() }
    }

    pub(crate) fn range(&self) -> &KeyRange {
        &self.range
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // A queue is whole between any two statements that could panic.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what a batch of revisions changed; false when the feed is over.
    fn offer(&self, batch: &Arc<[Published]>, now: Instant, wakers: &mut Vec<Waker>) -> bool {
        // A revision without events is etcd's fence, which is progress and nothing else.
        let seen_whole = |new: &Published| {
            new.revision >= self.from
                && !new.events.is_empty()
                && new.events.iter().all(|event| self.sees(event))
        };
        let (matching, is_last) = if batch.iter().all(seen_whole) {
            (Arc::clone(batch), true)
        } else {
            // A batch of its own, so that a watcher who sleeps keeps nothing that it does not see.
            let matching: Arc<[_]> = batch.iter().filter_map(|new| self.matching(new)).collect();
            let is_last = matching.last().map(|new| new.revision) == batch.last().map(|new| new.revision);
            (matching, is_last)
        };
        let mut queue = self.queue();
        if queue.end.is_some() {
            return false;
        }
        queue.push(matching, now, self.bound);
        let reached =
            batch.last().map(|new| new.revision).filter(|&reached| !is_last && reached >= self.from);
        // What did not fit is lost to this watcher: no mark may say that it was delivered.
        if queue.end.is_none() {
            queue.progress = reached.or(queue.progress);
        }
        if !queue.is_idle() {
            wakers.extend(queue.waker.take());
        }
        queue.end.is_none()
    }

    fn sees(&self, event: &Event) -> bool {
        self.range.contains(event.key())
    }

    fn matching(&self, new: &Published) -> Option<Published> {
        if new.revision < self.from || !new.events.iter().any(|event| self.sees(event)) {
            return None;
        }
        if new.events.iter().all(|event| self.sees(event)) {
            return Some(new.clone());
        }
        let events = new.events.iter().filter(|event| self.sees(event)).cloned().collect();
        Some(Published::new(new.revision, events))
    }

    fn end(&self, end: End, wakers: &mut Vec<Waker>) {
        let mut queue = self.queue();
        queue.end.get_or_insert(end);
        wakers.extend(queue.waker.take());
    }

    /// What comes next; after an error, the end.
    pub(crate) fn poll_next(&self, context: &mut Context<'_>) -> Poll<Option<Result<Next>>> {
        let mut queue = self.queue();
        if let Some(run) = queue.pop() {
            return Poll::Ready(Some(Ok(Next::Run(run))));
        }
        if let Some(revision) = queue.progress.take() {
            return Poll::Ready(Some(Ok(Next::Progress(revision))));
        }
        match queue.end.clone() {
            None => {
                if !queue.waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
                    queue.waker = Some(context.waker().clone());
                }
                Poll::Pending
            }
            Some(End::Finished) => Poll::Ready(None),
            Some(end) => {
                queue.end = Some(End::Finished);
                Poll::Ready(Some(Err(match end {
                    End::Unavailable(why) => Error::Unavailable(why.to_string()),
                    #[cfg(feature = "etcd")]
                    End::Compacted(revision) => Error::Compacted(revision),
                    _ => Error::SlowWatcher,
                })))
            }
        }
    }

    /// Whether it was ended because its watcher fell too far behind, and has not told so yet.
    fn is_slow(&self) -> bool {
        matches!(self.queue().end, Some(End::Slow))
    }

    /// The stream is gone: frees the queue and lets the hub forget the feed.
    pub(crate) fn close(&self) {
        *self.queue() = Queue { end: Some(End::Finished), ..Queue::default() };
    }
}

impl Queue {
    /// Queues what fits, and ends the feed where something does not.
    fn push(&mut self, batch: Arc<[Published]>, since: Instant, bound: WatchBound) {
        let mut fits = 0;
        for new in batch.iter() {
            let (events, bytes) = (self.events + new.events.len(), self.bytes + new.bytes);
            let full = events > bound.events || bytes > bound.bytes;
            if full && (fits > 0 || !self.runs.is_empty()) {
                self.end = Some(End::Slow);
                break;
            }
            (self.events, self.bytes, self.progress) = (events, bytes, None);
            fits += 1;
        }
        if fits > 0 {
            self.runs.push_back(Run { batch, rest: 0..fits, since });
        }
    }

    fn pop(&mut self) -> Option<Run> {
        let run = self.runs.pop_front()?;
        for published in run.batch.get(run.rest.clone()).unwrap_or_default() {
            self.events -= published.events.len();
            self.bytes -= published.bytes;
        }
        if self.runs.is_empty() && self.runs.capacity() > 1024 {
            self.runs = VecDeque::new();
        }
        Some(run)
    }

    /// Whether there is nothing to tell.
    fn is_idle(&self) -> bool {
        self.runs.is_empty() && self.progress.is_none() && self.end.is_none()
    }
}

fn size(events: &[Event]) -> usize {
    let of = |event: &Event| match event {
        Event::Put { entry, previous } => {
            entry.value.len() + previous.as_ref().map_or(0, |entry| entry.value.len())
        }
        Event::Delete { previous, .. } => previous.value.len(),
    };
    events.iter().map(of).sum()
}

/// How the watchers of a store are doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Watches {
    pub(crate) watchers: u64,
    /// What waits for the one that most waits for.
    pub(crate) backlog_events: u64,
    pub(crate) backlog_bytes: u64,
    /// For how long the oldest change has waited for its watcher.
    pub(crate) lag: Duration,
    /// How many were ended because they fell too far behind, since the store was opened.
    pub(crate) slow: u64,
}

/// All feeds of a store that have reached the present.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    feeds: Vec<Arc<Feed>>,
    /// How many feeds there may be before finished ones are looked for.
    sweep_at: usize,
    /// How many were ended because their watcher fell too far behind.
    slow: u64,
    closed: Option<Arc<str>>,
}

impl Hub {
    pub(crate) fn register(&mut self, feed: Arc<Feed>) {
        if let Some(why) = &self.closed {
            feed.end(End::Unavailable(Arc::clone(why)), &mut Vec::new());
            return;
        }
        if self.feeds.len() >= self.sweep_at {
            self.feeds.retain(|feed| feed.queue().end.is_none());
            self.sweep_at = (2 * self.feeds.len()).max(64);
        }
        self.feeds.push(feed);
    }

    /// Hands a batch of revisions to every feed. Whoever is to be woken is returned, to be woken without any lock held.
    pub(crate) fn publish(&mut self, batch: Vec<Published>) -> Vec<Waker> {
        let mut wakers = Vec::new();
        if !self.feeds.is_empty() {
            // Of the clock that leases run by, and read once for all.
            let (batch, now) = (batch.into(), Instant::now());
            self.feeds.retain(|feed| {
                let goes_on = feed.offer(&batch, now, &mut wakers);
                self.slow += u64::from(!goes_on && feed.is_slow());
                goes_on
            });
        }
        wakers
    }

    /// Ends every feed, now and later, once it is drained.
    pub(crate) fn close(&mut self, why: &str) -> Vec<Waker> {
        let why = Arc::clone(self.closed.get_or_insert_with(|| why.into()));
        let mut wakers = Vec::new();
        for feed in self.feeds.drain(..) {
            feed.end(End::Unavailable(Arc::clone(&why)), &mut wakers);
        }
        wakers
    }

    /// Ends every feed that wanted something at or below `compacted`, once it is drained: it is gone before it came.
    #[cfg(feature = "etcd")]
    pub(crate) fn overtake(&mut self, compacted: Revision) -> Vec<Waker> {
        let mut wakers = Vec::new();
        self.feeds.retain(|feed| {
            let goes_on = feed.from > compacted;
            if !goes_on {
                feed.end(End::Compacted(compacted), &mut wakers);
            }
            goes_on
        });
        wakers
    }

    pub(crate) fn watchers(&self) -> usize {
        self.feeds.len()
    }

    /// How all of them are doing. Looks at each.
    pub(crate) fn watches(&self) -> Watches {
        let mut watches = Watches { slow: self.slow, ..Watches::default() };
        for feed in &self.feeds {
            let queue = feed.queue();
            if queue.end.is_none() {
                watches.watchers += 1;
                watches.backlog_events = watches.backlog_events.max(queue.events as u64);
                watches.backlog_bytes = watches.backlog_bytes.max(queue.bytes as u64);
                let oldest = queue.runs.front().map(|run| run.since.elapsed());
                watches.lag = watches.lag.max(oldest.unwrap_or_default());
            }
        }
        watches
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Entry;

    fn published(revision: u64, key: &str, bytes: usize) -> Published {
        let revision = Revision(revision);
        let entry = Entry {
            key: key.into(),
            value: vec![0; bytes].into(),
            create_revision: revision,
            mod_revision: revision,
            version: 1,
        };
        Published::new(revision, vec![Event::Put { entry, previous: None }])
    }

    #[test]
    fn a_watcher_who_sleeps_keeps_nothing_that_it_does_not_see() {
        let mut hub = Hub::default();
        let feed = Arc::new(Feed::new(KeyRange::prefix("in/"), Revision(1), WatchBound::new()));
        hub.register(Arc::clone(&feed));
        let batch =
            vec![published(1, "out/", 1 << 20), published(2, "in/", 1), published(3, "out/", 1 << 20)];
        let kept: Vec<_> = batch.iter().map(|new| Arc::downgrade(&new.events)).collect();
        assert!(hub.publish(batch).is_empty(), "nobody sleeps on it");
        let kept: Vec<bool> = kept.iter().map(|events| events.upgrade().is_some()).collect();
        assert_eq!(kept, [false, true, false]);
        let mut queue = feed.queue();
        assert_eq!(queue.pop().map(Iterator::count), Some(1));
        assert_eq!(queue.progress, Some(Revision(3)));
    }

    #[test]
    fn a_watcher_who_lost_a_change_is_told_of_no_progress_beyond_it() {
        let mut hub = Hub::default();
        let feed = Arc::new(Feed::new(KeyRange::prefix("in/"), Revision(1), WatchBound::new().events(1)));
        hub.register(Arc::clone(&feed));
        hub.publish(vec![published(1, "in/", 1)]);
        hub.publish(vec![published(2, "in/", 1), published(3, "out/", 1)]);
        let mut queue = feed.queue();
        assert_eq!(queue.pop().map(Iterator::count), Some(1));
        assert!(queue.pop().is_none() && matches!(queue.end, Some(End::Slow)));
        assert_eq!(queue.progress, None);
    }

    #[test]
    fn a_revision_without_events_is_progress() {
        let mut hub = Hub::default();
        let feed = Arc::new(Feed::new(KeyRange::all(), Revision(1), WatchBound::new()));
        hub.register(Arc::clone(&feed));
        hub.publish(vec![Published::new(Revision(7), Vec::new())]);
        let mut queue = feed.queue();
        assert!(queue.pop().is_none());
        assert_eq!(queue.progress, Some(Revision(7)));
    }

    #[test]
    fn a_batch_that_does_not_fit_ends_a_feed_behind_what_does() {
        let mut hub = Hub::default();
        let feed = Arc::new(Feed::new(KeyRange::all(), Revision(1), WatchBound::new().events(2)));
        hub.register(Arc::clone(&feed));
        hub.publish((1..=3).map(|revision| published(revision, "k", 1)).collect());
        assert_eq!(hub.watchers(), 0);
        let mut queue = feed.queue();
        assert_eq!(queue.pop().map(Iterator::count), Some(2));
        assert!(queue.pop().is_none() && matches!(queue.end, Some(End::Slow)));
    }

    #[tokio::test(start_paused = true)]
    async fn the_lag_is_the_age_of_what_the_slowest_has_not_taken() {
        let mut hub = Hub::default();
        let [quick, slow] =
            [(); 2].map(|()| Arc::new(Feed::new(KeyRange::prefix("in/"), Revision(1), WatchBound::new())));
        [&quick, &slow].into_iter().for_each(|feed| hub.register(Arc::clone(feed)));
        let second = Duration::from_secs(1);
        hub.publish(vec![published(1, "out/", 1)]);
        tokio::time::advance(second).await;
        assert_eq!(hub.watches().lag, Duration::ZERO, "nobody waits for it");
        for revision in 2..5 {
            hub.publish(vec![published(revision, "in/", 1)]);
            assert!(quick.queue().pop().is_some());
            tokio::time::advance(second).await;
        }
        assert_eq!(hub.watches().lag, 3 * second);
        slow.queue().pop();
        assert_eq!(hub.watches().lag, 2 * second);
        while slow.queue().pop().is_some() {}
        assert_eq!(hub.watches().lag, Duration::ZERO);
    }
}
