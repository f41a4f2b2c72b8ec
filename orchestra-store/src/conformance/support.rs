//! What the cases are written with.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;

use crate::key::{Key, KeyRange};
use crate::revision::Revision;
use crate::store::{Entry, Error, Page, RangeOptions, ReadAt, Result, Store};
use crate::txn::{Committed, Outcome, Txn};
use crate::watch::{Event, WatchMessage, WatchStream};

/// How long a case waits for one message or answer before it gives up.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub(super) fn put(key: &str, value: impl Into<Vec<u8>>) -> Txn {
    Txn::new().put(key.into(), value.into())
}

pub(super) fn delete(key: &str) -> Txn {
    Txn::new().delete(key.into())
}

pub(super) async fn patiently<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what} did not come within {PATIENCE:?}"),
    }
}

pub(super) async fn commit(store: &dyn Store, txn: Txn) -> Committed {
    match patiently("an answer to a commit", store.commit(txn)).await {
        Ok(committed) => committed,
        Err(error) => panic!("a commit failed: {error}"),
    }
}

/// Commits what must be applied.
pub(super) async fn write(store: &dyn Store, txn: Txn) -> Revision {
    let committed = commit(store, txn).await;
    assert_eq!(committed.outcome, Outcome::Applied, "a transaction whose compares hold is applied");
    committed.revision
}

/// Commits what must be refused.
pub(super) async fn refused(store: &dyn Store, txn: Txn) -> (Revision, Vec<Option<Entry>>) {
    let committed = commit(store, txn).await;
    match committed.outcome {
        Outcome::Refused(found) => (committed.revision, found),
        Outcome::Applied => panic!("a transaction was applied although a compare fails"),
    }
}

pub(super) async fn current(store: &dyn Store) -> Revision {
    store.status().await.expect("a healthy store has a status").revision
}

pub(super) async fn get(store: &dyn Store, key: &str) -> Option<Entry> {
    store.get(&key.into(), ReadAt::Latest).await.expect("the latest can always be read").value
}

pub(super) async fn get_at(store: &dyn Store, key: &str, at: Revision) -> Option<Entry> {
    let read = store.get(&key.into(), ReadAt::Exactly(at)).await.expect("the revision is in the window");
    assert_eq!(read.revision, at, "an exact read is served at its revision");
    read.value
}

pub(super) async fn value(store: &dyn Store, key: &str) -> Option<Bytes> {
    get(store, key).await.map(|entry| entry.value)
}

pub(super) async fn range(store: &dyn Store, range: KeyRange, options: RangeOptions) -> Page {
    store.range(range, options).await.expect("the revision is in the window").value
}

pub(super) async fn all_at(store: &dyn Store, at: Revision) -> Vec<Entry> {
    range(store, KeyRange::all(), RangeOptions::new().at(ReadAt::Exactly(at))).await.entries
}

pub(super) fn keys(entries: &[Entry]) -> Vec<&Key> {
    entries.iter().map(|entry| &entry.key).collect()
}

pub(super) async fn compact(store: &dyn Store, to: Revision) {
    patiently("the end of a compaction", store.compact(to)).await.expect("the revision is not in the future");
}

pub(super) async fn watch(store: &dyn Store, range: KeyRange, from: Revision) -> WatchStream {
    store.watch(range, from).await.expect("the revision is in the window")
}

/// How a watch ends that must fail, whether at once or with its first item.
pub(super) async fn watch_error(store: &dyn Store, range: KeyRange, from: Revision) -> Error {
    match store.watch(range, from).await {
        Err(error) => error,
        Ok(mut stream) => match patiently("the end of a watch", stream.next()).await {
            Some(Err(error)) => error,
            other => panic!("a watch from {from} should end with an error, but says {other:?}"),
        },
    }
}

pub(super) async fn next(stream: &mut WatchStream) -> WatchMessage {
    match patiently("a watch message", stream.next()).await {
        Some(Ok(message)) => message,
        other => panic!("a watch ended: {other:?}"),
    }
}

/// The next message that holds events.
pub(super) async fn next_events(stream: &mut WatchStream) -> (Revision, Vec<Event>) {
    loop {
        if let WatchMessage::Events { revision, events } = next(stream).await {
            assert!(!events.is_empty(), "a message of events holds at least one");
            assert!(
                events.iter().all(|event| event.revision() == revision),
                "a message is about one revision"
            );
            return (revision, events.to_vec());
        }
    }
}

/// All messages with events until the watch has come as far as `through`.
pub(super) async fn events_through(
    stream: &mut WatchStream,
    through: Revision,
) -> Vec<(Revision, Vec<Event>)> {
    let mut seen = Vec::new();
    loop {
        match next(stream).await {
            WatchMessage::Progress(revision) if revision >= through => return seen,
            WatchMessage::Progress(_) => {}
            WatchMessage::Events { revision, events } => {
                seen.push((revision, events.to_vec()));
                if revision >= through {
                    return seen;
                }
            }
        }
    }
}

pub(super) fn is_compacted<T: std::fmt::Debug>(result: Result<T>, at: Revision) {
    match result {
        Err(Error::Compacted(revision)) => {
            assert_eq!(revision, at, "the error names the lower end of the window")
        }
        other => panic!("expected that {at} is compacted, got {other:?}"),
    }
}

pub(super) fn is_future<T: std::fmt::Debug>(result: Result<T>, current: Revision) {
    match result {
        Err(Error::FutureRevision(revision)) => {
            assert_eq!(revision, current, "the error names the current revision")
        }
        other => panic!("expected that it is behind {current}, got {other:?}"),
    }
}

/// A sequence that is the same on every run and every machine, from a seed.
#[derive(Clone, Debug)]
pub struct Chance(pub u64);

impl Chance {
    /// A number below `bound`, which is not 0. (The generator is SplitMix64.)
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}
