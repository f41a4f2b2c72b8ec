//! Delivering changes to watchers: a bounded queue for each, filled by the writer, drained by the stream.
//!
//! A writer never waits for a watcher. One whose queue is full is ended, not thinned.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::key::KeyRange;
use crate::limits::WatchBound;
use crate::revision::Revision;
use crate::store::{Error, Result};
use crate::watch::{Event, WatchMessage};

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
    messages: VecDeque<WatchMessage>,
    events: usize,
    bytes: usize,
    /// Newest revision without a matching change behind the queued messages. Coalesced: only the newest is told.
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

    /// Takes what a revision changed; false when the feed is over.
    fn offer(&self, revision: Revision, events: &[Event], wakers: &mut Vec<Waker>) -> bool {
        if revision < self.from {
            return !matches!(self.queue().end, Some(End::Finished));
        }
        let matching: Vec<Event> =
            events.iter().filter(|event| self.range.contains(event.key())).cloned().collect();
        let mut queue = self.queue();
        if queue.end.is_some() {
            return false;
        }
        if matching.is_empty() {
            queue.progress = Some(revision);
        } else {
            queue.push(revision, matching, self.bound);
        }
        wakers.extend(queue.waker.take());
        queue.end.is_none()
    }

    fn end(&self, end: End, wakers: &mut Vec<Waker>) {
        let mut queue = self.queue();
        queue.end.get_or_insert(end);
        wakers.extend(queue.waker.take());
    }

    /// The next message; after an error, the end.
    pub(crate) fn poll_next(&self, context: &mut Context<'_>) -> Poll<Option<Result<WatchMessage>>> {
        let mut queue = self.queue();
        if let Some(message) = queue.pop() {
            return Poll::Ready(Some(Ok(message)));
        }
        if let Some(revision) = queue.progress.take() {
            return Poll::Ready(Some(Ok(WatchMessage::Progress(revision))));
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

    /// The stream is gone: frees the queue and lets the hub forget the feed.
    pub(crate) fn close(&self) {
        *self.queue() = Queue { end: Some(End::Finished), ..Queue::default() };
    }
}

impl Queue {
    fn push(&mut self, revision: Revision, events: Vec<Event>, bound: WatchBound) {
        let (count, bytes) = (events.len(), size(&events));
        let full = self.events + count > bound.events || self.bytes + bytes > bound.bytes;
        if full && !self.messages.is_empty() {
            self.end = Some(End::Slow);
            return;
        }
        self.events += count;
        self.bytes += bytes;
        self.progress = None;
        self.messages.push_back(WatchMessage::Events { revision, events });
    }

    fn pop(&mut self) -> Option<WatchMessage> {
        let message = self.messages.pop_front()?;
        if let WatchMessage::Events { events, .. } = &message {
            self.events -= events.len();
            self.bytes -= size(events);
        }
        if self.messages.is_empty() && self.messages.capacity() > 1024 {
            self.messages = VecDeque::new();
        }
        Some(message)
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

/// All feeds of a store that have reached the present.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    feeds: Vec<Arc<Feed>>,
    /// How many feeds there may be before finished ones are looked for.
    sweep_at: usize,
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

    /// Hands a revision to every feed. Whoever is to be woken is returned, to be woken without any lock held.
    pub(crate) fn publish(&mut self, revision: Revision, events: &[Event], wakers: &mut Vec<Waker>) {
        self.feeds.retain(|feed| feed.offer(revision, events, wakers));
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
}
