//! Events let other writes go first: they are hints for people, and more than half of all writes while pods start.
//!
//! With few other writes under way nobody waits. With more, some events are worked on all the same, in the order of their coming,
//! so that none is left out for good. Upstream has no such order; with its priority and fairness a cluster's administrator can
//! give events a level of their own.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Mutex, Notify};

/// With as many other writes under way events step back.
const BUSY: usize = 16;
/// Of so many other writes each takes one event along then.
const SHARE: usize = 8;

/// Who writes at the moment.
#[derive(Debug, Default)]
pub(super) struct Turns {
    others: AtomicUsize,
    events: AtomicUsize,
    /// Whose turn is next; behind it wait those who came later.
    next: Mutex<()>,
    /// Tells the next that there may be room.
    room: Notify,
}

/// A write under way, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    of: Arc<Turns>,
    is_event: bool,
}

impl Turns {
    /// The turn of a write that is no event: at once.
    pub(super) fn other(self: &Arc<Self>) -> Turn {
        self.begin(false)
    }

    /// The turn of an event that has waited for long enough.
    pub(super) fn overdue(self: &Arc<Self>) -> Turn {
        self.begin(true)
    }

    /// The turn of an event, if nobody is before it.
    pub(super) fn try_event(self: &Arc<Self>) -> Option<Turn> {
        let _next = self.next.try_lock().ok()?;
        self.has_room().then(|| self.begin(true))
    }

    /// The turn of an event, once those before it have had theirs and other writes leave room.
    pub(super) async fn event(self: &Arc<Self>) -> Turn {
        let _next = self.next.lock().await;
        while !self.has_room() {
            self.room.notified().await;
        }
        self.begin(true)
    }

    fn begin(self: &Arc<Self>, is_event: bool) -> Turn {
        self.count(is_event).fetch_add(1, Ordering::SeqCst);
        Turn { of: self.clone(), is_event }
    }

    fn count(&self, is_event: bool) -> &AtomicUsize {
        if is_event { &self.events } else { &self.others }
    }

    fn has_room(&self) -> bool {
        let others = self.others.load(Ordering::SeqCst);
        others < BUSY || self.events.load(Ordering::SeqCst) < others / SHARE
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.of.count(self.is_event).fetch_sub(1, Ordering::SeqCst);
        // The last to leave sees the room that all of them have made.
        if self.of.has_room() {
            self.of.room.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::poll;

    use super::*;

    #[tokio::test]
    async fn events_wait_in_turn_while_many_others_write() {
        let turns = Arc::new(Turns::default());
        let mut others: Vec<Turn> = (0..BUSY).map(|_| turns.other()).collect();
        let mut under_way: Vec<Turn> = (0..BUSY / SHARE).map(|_| turns.try_event().unwrap()).collect();
        assert!(turns.try_event().is_none());
        let mut waiting: Vec<_> = (0..4).map(|_| Box::pin(turns.event())).collect();
        for event in &mut waiting {
            assert!(poll!(event).is_pending());
        }
        under_way.pop();
        assert!(turns.try_event().is_none(), "others have come before");
        let mut waiting = waiting.into_iter();
        let (first, mut second) = (waiting.next().unwrap(), waiting.next().unwrap());
        assert!(poll!(&mut second).is_pending());
        under_way.push(first.await);
        assert!(poll!(&mut second).is_pending(), "it is the next, and finds no room");
        others.pop();
        under_way.push(second.await);
        for event in waiting {
            under_way.push(event.await);
        }
        assert_eq!(under_way.len(), 5);
        assert!(turns.try_event().is_some(), "few write");
    }

    #[tokio::test]
    async fn who_gives_up_waiting_holds_up_nobody() {
        let turns = Arc::new(Turns::default());
        let others: Vec<Turn> = (0..BUSY).map(|_| turns.other()).collect();
        let _under_way: Vec<Turn> = (0..BUSY / SHARE).map(|_| turns.try_event().unwrap()).collect();
        let (mut impatient, mut patient) = (Box::pin(turns.event()), Box::pin(turns.event()));
        assert!(poll!(&mut impatient).is_pending() && poll!(&mut patient).is_pending());
        drop(impatient);
        assert!(poll!(&mut patient).is_pending());
        drop(others);
        patient.await;
    }

    #[tokio::test]
    async fn the_more_others_write_the_more_events_go_along() {
        let turns = Arc::new(Turns::default());
        let _others: Vec<Turn> = (0..SHARE * 10).map(|_| turns.other()).collect();
        let under_way: Vec<Turn> = std::iter::from_fn(|| turns.try_event()).collect();
        assert_eq!(under_way.len(), 10);
    }
}
