//! Looking at a store in the middle of a history, in ways that one look at everything would not take.

use std::collections::BTreeMap;

use super::{Model, key};
use crate::conformance::support::{events_through, is_compacted, range};
use crate::key::{Key, KeyRange};
use crate::limits::{MAX_KEY_BYTES, MAX_TXN_OPS, MAX_VALUE_BYTES};
use crate::revision::Revision;
use crate::store::{Entry, Error, RangeOptions, ReadAt, Store};
use crate::txn::Txn;
use crate::watch::Event;

/// A look at the store that changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Page by page through all keys from this one on, as they were so many revisions ago.
    Pages {
        /// How many revisions ago.
        back: u64,
        /// The first key.
        from: u8,
        /// Entries on a page; 0 counts as 1.
        limit: u8,
    },
    /// One key as it was so many revisions ago.
    Past {
        /// How many revisions ago.
        back: u64,
        /// Which key.
        key: u8,
    },
    /// What happened since to some keys.
    Events {
        /// Since how many revisions ago.
        back: u64,
        /// The first key.
        from: u8,
        /// The first key that is not watched; at or below the first one, all are.
        to: u8,
    },
    /// A snapshot.
    Snapshot,
    /// A transaction that must be refused for its size or sense, of several kinds.
    TooLarge(u8),
}

impl Model {
    pub(super) async fn look(&self, store: &dyn Store, look: Look) {
        let (current, _) = self.now();
        let ago = |back: u64| Revision(current.0.saturating_sub(back));
        match look {
            Look::Pages { back, from, limit } => {
                self.pages(store, ago(back), key(from), usize::from(limit).max(1)).await;
            }
            Look::Past { back, key: number } => {
                let at = ago(back);
                let read = store.get(&key(number), ReadAt::Exactly(at)).await;
                match self.state_at(at) {
                    None => is_compacted(read, self.compacted),
                    Some(state) => {
                        let read = read.expect("the revision is in the window");
                        assert_eq!((read.revision, read.value.as_ref()), (at, state.get(&key(number))));
                    }
                }
            }
            Look::Events { back, from, to } => {
                let range = if from < to { between(key(from), key(to)) } else { KeyRange::all() };
                self.events_since(store, range, ago(back)).await;
            }
            Look::Snapshot => self.snapshot(store).await,
            Look::TooLarge(kind) => {
                let answer = store.commit(too_large(kind)).await;
                assert!(matches!(answer, Err(Error::TooLarge { .. } | Error::Invalid(_))), "{answer:?}");
                let status = store.status().await.expect("a healthy store has a status");
                assert_eq!(status.revision, current, "what is refused takes no revision");
            }
        }
    }

    /// The state at `at`, unless it is compacted.
    fn state_at(&self, at: Revision) -> Option<&BTreeMap<Key, Entry>> {
        self.states.get(&at).filter(|_| at > self.compacted)
    }

    async fn pages(&self, store: &dyn Store, at: Revision, from: Key, limit: usize) {
        let options = RangeOptions::new().at(ReadAt::Exactly(at)).limit(limit);
        let Some(state) = self.state_at(at) else {
            return is_compacted(store.range(KeyRange::all(), options).await, self.compacted);
        };
        let mut expected: Vec<&Entry> = state.range(from.clone()..).map(|(_, entry)| entry).collect();
        let mut start = from;
        loop {
            let page = range(store, KeyRange { start, end: None }, options).await;
            let rest = expected.split_off(expected.len().min(limit));
            assert_eq!(page.entries.iter().collect::<Vec<_>>(), expected, "a page at {at}");
            assert_eq!(page.remaining, rest.len() as u64, "behind a page at {at}");
            let Some(last) = page.entries.last().filter(|_| !rest.is_empty()) else { return };
            start = Key::new([last.key.as_bytes(), b"\0"].concat());
            expected = rest;
        }
    }

    async fn events_since(&self, store: &dyn Store, range: KeyRange, from: Revision) {
        let (current, _) = self.now();
        if from <= self.compacted {
            match store.watch(range, from).await {
                Err(error) => return is_compacted::<()>(Err(error), self.compacted),
                Ok(mut stream) => match futures::StreamExt::next(&mut stream).await {
                    Some(Err(error)) => return is_compacted::<()>(Err(error), self.compacted),
                    other => panic!("a watch into the compacted past says {other:?}"),
                },
            }
        }
        let mut stream = store.watch(range.clone(), from).await.expect("the revision is in the window");
        let expected = self.events.iter().filter(|(at, _)| *at >= from).filter_map(|(at, events)| {
            let events: Vec<Event> =
                events.iter().filter(|event| range.contains(event.key())).cloned().collect();
            (!events.is_empty()).then_some((*at, events))
        });
        let seen = events_through(&mut stream, current).await;
        assert_eq!(seen, expected.collect::<Vec<_>>(), "a watch from {from}");
    }

    async fn snapshot(&self, store: &dyn Store) {
        let mut snapshot = store.snapshot().await.expect("a healthy store has a snapshot");
        let (current, state) = self.now();
        assert_eq!((snapshot.revision(), snapshot.keys()), (current, state.len() as u64));
        let mut entries = Vec::new();
        while let Some(more) = snapshot.next().await {
            entries.extend(more.expect("nobody compacts meanwhile"));
        }
        assert_eq!(entries, state.into_values().collect::<Vec<_>>());
    }

    /// Goes on as the model of a store that was restored from a snapshot of the one it modelled, and is at `revision`.
    ///
    /// # Panics
    /// When the restored store is not ahead of every revision that may have been given out.
    pub fn restored(&mut self, revision: Revision) {
        let (current, state) = self.now();
        assert!(revision > current, "a restored store moves on");
        self.states = BTreeMap::from([(revision, state)]);
        self.events.clear();
        self.compacted = Revision(revision.0 - 1);
    }
}

fn between(start: Key, end: Key) -> KeyRange {
    // Keys are numbered in decimal, which is not the order of bytes.
    if start < end { KeyRange { start, end: Some(end) } } else { KeyRange { start: end, end: Some(start) } }
}

fn too_large(kind: u8) -> Txn {
    let txn = Txn::new().put(key(0), "small");
    match kind % 6 {
        0 => txn.put(key(1), vec![0; MAX_VALUE_BYTES + 1]),
        1 => txn.put(Key::new(vec![b'k'; MAX_KEY_BYTES + 1]), "x"),
        2 => txn.put("".into(), "x"),
        3 => txn.delete(key(0)),
        4 => (0..MAX_TXN_OPS).fold(txn, |txn, n| txn.put(format!("many/{n}").into(), "x")),
        _ => (0..=MAX_TXN_OPS).fold(txn, |txn, _| txn.when(key(0), Revision::NONE)),
    }
}
