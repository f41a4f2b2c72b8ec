//! What clients called, what they were told, and in which order.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};

use futures::StreamExt;
use orchestra_store::{
    Committed, Entry, Event, Key, KeyRange, Op, Outcome, Revision, Store, Txn, Versioned, WatchMessage,
};

/// A call of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Get(Key),
    All,
    Commit(Txn),
}

/// What a client was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Entries(Versioned<Vec<Entry>>),
    Committed(Committed),
}

/// Who calls. A client that was not told an answer goes on under another number.
pub(crate) type Process = usize;

/// One moment.
#[derive(Clone, Debug)]
pub(crate) enum Moment {
    Called(Process, Call),
    Told(Process, Reply),
    /// The store was killed, with all it had not done yet; when it was opened again it was at this revision.
    Killed(Revision),
}

/// Moments in their order, and what a watch over all of it said.
#[derive(Debug, Default)]
pub(crate) struct History {
    moments: Mutex<(Process, Vec<Moment>)>,
    watched: Watched,
}

impl History {
    fn moments(&self) -> MutexGuard<'_, (Process, Vec<Moment>)> {
        self.moments.lock().unwrap()
    }

    /// Notes that somebody new calls.
    pub(crate) fn called(&self, call: &Call) -> Process {
        let mut moments = self.moments();
        let process = moments.0;
        moments.0 += 1;
        moments.1.push(Moment::Called(process, call.clone()));
        process
    }

    pub(crate) fn told(&self, process: Process, reply: Reply) {
        self.moments().1.push(Moment::Told(process, reply));
    }

    /// Nobody may be calling.
    pub(crate) fn killed(&self, found: Revision) {
        self.moments().1.push(Moment::Killed(found));
    }

    /// Adds what a watch over all of it said.
    pub(crate) fn follow(&mut self, watched: Watched) {
        self.watched = watched;
    }

    pub(crate) fn watched(&self) -> &Watched {
        &self.watched
    }

    pub(crate) fn all(&self) -> Vec<Moment> {
        self.moments().1.clone()
    }
}

/// Every revision's events.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watched(pub(crate) BTreeMap<u64, Arc<[Event]>>);

impl Watched {
    /// Everything from revision `from` on that has happened by now.
    pub(crate) async fn of(store: &dyn Store, from: Revision) -> Self {
        let now = store.status().await.unwrap().revision;
        let mut events_of = BTreeMap::new();
        let mut watch = store.watch(KeyRange::all(), from).await.unwrap();
        let mut seen = Revision(from.0 - 1);
        while seen < now {
            match watch.next().await.unwrap().unwrap() {
                WatchMessage::Progress(revision) => seen = seen.max(revision),
                WatchMessage::Events { revision, events } => {
                    seen = revision;
                    events_of.insert(revision.0, events);
                }
            }
        }
        Self(events_of)
    }

    pub(crate) fn last(&self) -> u64 {
        self.0.last_key_value().map_or(1, |(&last, _)| last)
    }

    /// The revisions that a transaction of unknown fate may be. Every value is written by one transaction only, so one that
    /// sets something is known by it; removals alike can be confused.
    pub(crate) fn candidates(&self, txn: &Txn) -> BTreeSet<u64> {
        let put = txn.ops.iter().find_map(|op| match op {
            Op::Put { key, value, .. } => Some((key, value)),
            Op::Delete { .. } => None,
        });
        let is_it = |events: &Arc<[Event]>| {
            match put {
            Some((key, value)) => events.iter().any(|event| {
                matches!(event, Event::Put { entry, .. } if entry.key == *key && entry.value == *value)
            }),
            None => {
                let mut keys = events.iter().map(|event| match event {
                    Event::Delete { key, .. } => Some(key),
                    Event::Put { .. } => None,
                });
                keys.all(|key| key.is_some_and(|key| txn.ops.iter().any(|op| op.key() == key)))
            }
        }
        };
        self.0.iter().filter(|(_, events)| is_it(events)).map(|(&revision, _)| revision).collect()
    }
}

/// The value that each key had at each revision somebody was told of.
pub(crate) fn values_told(moments: &[Moment]) -> HashMap<(Key, Revision), Entry> {
    let mut values = HashMap::new();
    let mut learn =
        |entry: &Entry| drop(values.insert((entry.key.clone(), entry.mod_revision), entry.clone()));
    for moment in moments {
        match moment {
            Moment::Told(_, Reply::Entries(entries)) => entries.value.iter().for_each(&mut learn),
            Moment::Told(_, Reply::Committed(Committed { outcome: Outcome::Refused(found), .. })) => {
                found.iter().flatten().for_each(&mut learn);
            }
            _ => {}
        }
    }
    values
}
