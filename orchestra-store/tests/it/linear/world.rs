//! A whole store as one client sees it: keys, values, and every number.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use orchestra_store::{Committed, Entry, Key, Op, Outcome, Revision, Txn};
use todc_utils::Specification;

use super::checker::{self, End};
use super::history::{Call, History, Reply};
use super::order;

/// Whether an order exists in which a plain store would have said the same, and which is the one that was watched.
pub(crate) fn fits(history: &History) -> bool {
    let misfits = order::misfits(history);
    misfits.iter().take(10).for_each(|misfit| println!("{misfit:?}"));
    misfits.is_empty()
}

/// Whether a search finds an order in which a plain store would have said the same. Many calls without an answer are beyond it.
pub(crate) fn search_fits(history: &History) -> bool {
    let watched = history.watched();
    checker::fits::<World>(&history.all(), watched.last(), |call, end| match (call, end) {
        (_, End::Told(reply)) => Some(Operation::Told(Arc::new((call.clone(), reply.clone())))),
        (Call::Commit(txn), End::Unknown { found }) => {
            let candidates: BTreeSet<u64> =
                watched.candidates(txn).into_iter().filter(|at| at <= found).collect();
            // What never happened fits anywhere and changes nothing, and there may be hundreds: to try them in and out of every
            // order would take for ever.
            let may_have_happened = !candidates.is_empty();
            may_have_happened.then(|| Operation::Unknown(Arc::new((txn.clone(), candidates)), *found))
        }
        // A read that nobody was told about says nothing.
        (_, End::Unknown { .. }) => None,
    })
}

struct World;

#[derive(Clone, Debug)]
enum Operation {
    Told(Arc<(Call, Reply)>),
    /// It is one of these revisions, or never happened, which shows when the store is found at this revision.
    Unknown(Arc<(Txn, BTreeSet<u64>)>, u64),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct State {
    pub(super) revision: u64,
    keys: BTreeMap<Vec<u8>, Held>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Held {
    value: Vec<u8>,
    created: u64,
    modified: u64,
    version: u64,
}

impl Held {
    fn entry(&self, key: &[u8]) -> Entry {
        Entry {
            key: Key::new(key.to_vec()),
            value: self.value.clone().into(),
            create_revision: Revision(self.created),
            mod_revision: Revision(self.modified),
            version: self.version,
        }
    }
}

impl State {
    pub(super) fn empty() -> Self {
        Self { revision: 1, keys: BTreeMap::new() }
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = Entry> + '_ {
        self.keys.iter().map(|(key, held)| held.entry(key))
    }

    pub(super) fn put(&mut self, entry: &Entry) {
        let held = Held {
            value: entry.value.to_vec(),
            created: entry.create_revision.0,
            modified: entry.mod_revision.0,
            version: entry.version,
        };
        self.keys.insert(entry.key.as_bytes().to_vec(), held);
    }

    pub(super) fn remove(&mut self, key: &Key) {
        self.keys.remove(key.as_bytes());
    }

    pub(super) fn get(&self, key: &Key) -> Option<Entry> {
        self.keys.get(key.as_bytes()).map(|held| held.entry(key.as_bytes()))
    }

    fn holds(&self, txn: &Txn) -> bool {
        txn.compares.iter().all(|compare| {
            self.keys.get(compare.key.as_bytes()).map_or(0, |held| held.modified) == compare.mod_revision.0
        })
    }

    /// What a transaction answers, and the state after it.
    pub(super) fn commit(&self, txn: &Txn) -> (Committed, Option<Self>) {
        let now = Revision(self.revision);
        if !self.holds(txn) {
            let found = txn.compares.iter().map(|compare| self.get(&compare.key)).collect();
            return (Committed { revision: now, outcome: Outcome::Refused(found) }, None);
        }
        let mut next = self.clone();
        next.revision += 1;
        let mut is_changed = false;
        for op in &txn.ops {
            let key = op.key().as_bytes();
            match op {
                Op::Put { value, .. } => {
                    let (created, version) = self
                        .keys
                        .get(key)
                        .map_or((next.revision, 1), |held| (held.created, held.version + 1));
                    let held = Held { value: value.to_vec(), created, modified: next.revision, version };
                    next.keys.insert(key.to_vec(), held);
                    is_changed = true;
                }
                Op::Delete { .. } => is_changed |= next.keys.remove(key).is_some(),
            }
        }
        let revision = if is_changed { Revision(next.revision) } else { now };
        (Committed { revision, outcome: Outcome::Applied }, is_changed.then_some(next))
    }
}

impl Specification for World {
    type State = Arc<State>;
    type Operation = Operation;

    fn init() -> Self::State {
        Arc::new(State::empty())
    }

    fn apply(operation: &Operation, state: &Arc<State>) -> (bool, Arc<State>) {
        let same = Arc::clone(state);
        match operation {
            Operation::Told(told) => match &**told {
                (Call::Commit(txn), Reply::Committed(told)) => {
                    // Most are tried where their number does not fit; look no further then.
                    if told.revision.0 != state.revision && told.revision.0 != state.revision + 1 {
                        return (false, same);
                    }
                    let (committed, next) = state.commit(txn);
                    (committed == *told, next.map_or(same, Arc::new))
                }
                (_, Reply::Entries(told)) if told.revision.0 != state.revision => (false, same),
                (Call::Get(key), Reply::Entries(told)) => {
                    (state.get(key).as_slice() == told.value.as_slice(), same)
                }
                (Call::All, Reply::Entries(told)) => (state.entries().eq(told.value.iter().cloned()), same),
                _ => (false, same),
            },
            Operation::Unknown(unknown, found) => {
                let (txn, candidates) = &**unknown;
                if candidates.contains(&(state.revision + 1))
                    && let (Committed { outcome: Outcome::Applied, .. }, Some(next)) = state.commit(txn)
                {
                    return (true, Arc::new(next));
                }
                // One that sets something would have been seen; one that removes may not have been this one.
                let was_seen = txn.ops.iter().any(|op| matches!(op, Op::Put { .. }));
                (!was_seen && state.revision == *found, same)
            }
        }
    }
}
