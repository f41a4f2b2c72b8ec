//! The changes of etcd, one revision after the other, for as long as anyone listens: a stream that breaks is taken up again where it was,
//! on another member if need be.

use std::time::Duration;

use bytes::Bytes;
use futures::channel::mpsc;
use tokio::time::sleep;
use tonic::{Status, Streaming};

use super::connection::Connection;
use super::proto::{Event, WatchCommand, WatchCreateRequest, WatchRequest, WatchResponse};

const PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(1000);

/// Everything of a range that one revision changed.
#[derive(Debug, PartialEq)]
pub(super) struct Change {
    pub(super) revision: i64,
    pub(super) events: Vec<Event>,
}

/// The changes cannot go on: etcd is compacted up to there, and what was to come next is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Overtaken(pub(super) i64);

/// The changes in a range from a revision on.
#[derive(Debug)]
pub(super) struct Changes {
    range: (Bytes, Bytes),
    joined: Joined,
    open: Option<Open>,
    pause: Duration,
}

#[derive(Debug)]
struct Open {
    member: usize,
    /// The stream ends when this is dropped.
    _orders: mpsc::UnboundedSender<WatchRequest>,
    answers: Streaming<WatchResponse>,
}

impl Changes {
    pub(super) fn new(range: (Bytes, Bytes), from: i64) -> Self {
        Self { range, joined: Joined::new(from), open: None, pause: PAUSE }
    }

    /// The next changes, as etcd sends them together. Dropping the future loses none.
    pub(super) async fn next(&mut self, connection: &Connection) -> Result<Vec<Change>, Overtaken> {
        loop {
            let answer = match self.answer(connection).await {
                Ok(answer) => answer,
                Err(status) => {
                    tracing::debug!(%status, next = self.joined.next, "a watch of etcd broke off; taking it up again");
                    self.open = None;
                    self.joined.forget_fragments();
                    connection.counters().resumed();
                    sleep(self.pause).await;
                    self.pause = (2 * self.pause).min(LONGEST_PAUSE);
                    continue;
                }
            };
            if answer.compact_revision > 0 {
                self.open = None;
                return Err(Overtaken(answer.compact_revision));
            }
            if answer.canceled {
                tracing::warn!(reason = answer.cancel_reason, "etcd refuses a watch; asking again");
                self.pause = LONGEST_PAUSE;
                self.broken(connection, &Status::unauthenticated("etcdserver: invalid auth token"));
                connection.counters().resumed();
                sleep(self.pause).await;
                continue;
            }
            let changes = self.joined.take(answer);
            if !changes.is_empty() {
                self.pause = PAUSE;
                return Ok(changes);
            }
        }
    }

    async fn answer(&mut self, connection: &Connection) -> Result<WatchResponse, Status> {
        let open = match &mut self.open {
            Some(open) => open,
            None => {
                let (key, range_end) = self.range.clone();
                let start_revision = self.joined.begin();
                let create =
                    WatchCreateRequest { key, range_end, start_revision, prev_kv: true, fragment: true };
                let member = connection.current();
                let (orders, answers) =
                    connection.watch(WatchRequest { command: Some(WatchCommand::Create(create)) }).await?;
                self.open.insert(Open { member, _orders: orders, answers })
            }
        };
        let answer = open
            .answers
            .message()
            .await
            .and_then(|answer| answer.ok_or_else(|| Status::unavailable("it ended")));
        answer.inspect_err(|status| self.broken(connection, status))
    }

    fn broken(&mut self, connection: &Connection, status: &Status) {
        if let Some(open) = self.open.take() {
            connection.turn_from_after(open.member, status);
        }
    }
}

/// Messages put together: fragments of one, and all events of one revision.
#[derive(Debug)]
struct Joined {
    /// What comes next; anything older is known already.
    next: i64,
    fragments: Vec<Event>,
}

impl Joined {
    fn new(next: i64) -> Self {
        Self { next, fragments: Vec::new() }
    }

    /// Where a stream begins: one revision before what comes next. etcd compacted up to *r* still takes a watch from *r* on, but a
    /// removal at *r* is gone by then, and nothing would tell that it is missing. Whoever asks for the revision before *r* is told so.
    fn begin(&self) -> i64 {
        // 0 would be the present.
        self.next.saturating_sub(1).max(1)
    }

    /// A stream that is taken up again begins with a whole message.
    fn forget_fragments(&mut self) {
        self.fragments.clear();
    }

    fn take(&mut self, answer: WatchResponse) -> Vec<Change> {
        self.fragments.extend(answer.events);
        if answer.fragment {
            return Vec::new();
        }
        let mut changes: Vec<Change> = Vec::new();
        for event in std::mem::take(&mut self.fragments) {
            let revision = event.kv.as_ref().map_or(0, |kv| kv.mod_revision);
            match changes.last_mut() {
                Some(last) if last.revision == revision => last.events.push(event),
                _ if revision < self.next => {}
                _ => {
                    self.next = revision + 1;
                    changes.push(Change { revision, events: vec![event] });
                }
            }
        }
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::etcd::proto::KeyValue;

    fn event(key: &'static str, mod_revision: i64) -> Event {
        Event {
            kv: Some(KeyValue { key: key.into(), mod_revision, ..KeyValue::default() }),
            ..Event::default()
        }
    }

    fn answer(fragment: bool, events: &[Event]) -> WatchResponse {
        WatchResponse { fragment, events: events.to_vec(), ..WatchResponse::default() }
    }

    fn shape(changes: &[Change]) -> Vec<(i64, usize)> {
        changes.iter().map(|change| (change.revision, change.events.len())).collect()
    }

    #[test]
    fn fragments_are_joined_and_a_revision_is_one_change() {
        let mut joined = Joined::new(5);
        assert_eq!(joined.take(answer(true, &[event("a", 5), event("b", 5)])), []);
        assert_eq!(joined.take(answer(true, &[event("c", 5), event("a", 6)])), []);
        assert_eq!(shape(&joined.take(answer(false, &[event("b", 6)]))), [(5, 3), (6, 2)]);
        assert_eq!(joined.next, 7);
    }

    #[test]
    fn what_was_seen_does_not_come_again() {
        let mut joined = Joined::new(5);
        let whole = answer(false, &[event("a", 3), event("a", 5), event("b", 5)]);
        assert_eq!(shape(&joined.take(whole.clone())), [(5, 2)]);
        assert_eq!(shape(&joined.take(whole)), []);
        assert_eq!((Joined::new(5).begin(), Joined::new(1).begin(), Joined::new(0).begin()), (4, 1, 1));
        // Broken off in the middle of a message, which then comes as a whole.
        joined.take(answer(true, &[event("a", 6)]));
        joined.forget_fragments();
        assert_eq!(shape(&joined.take(answer(false, &[event("a", 6), event("b", 6)]))), [(6, 2)]);
    }
}
