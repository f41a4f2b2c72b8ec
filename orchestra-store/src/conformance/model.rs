//! G6: a store does what a plain map would do, number by number.

mod look;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::support::{Chance, all_at, commit, compact, events_through, is_compacted, range, watch};
use crate::key::{Key, KeyRange};
use crate::lease::LeaseId;
use crate::revision::Revision;
use crate::store::{Entry, Error, RangeOptions, ReadAt, Store};
use crate::txn::{Committed, Op, Outcome, Txn};
use crate::watch::Event;
pub use look::Look;

/// No lease of a model runs out.
const TTL: Duration = Duration::from_secs(24 * 3600);

/// One step of a random history. Keys are few, so that steps meet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Sets and removes some keys.
    Write(Vec<Change>),
    /// Sets a key if it was last changed where the model says.
    Swap(Change),
    /// Sets a key if it was last changed at a revision that is not the one the model says.
    SwapInVain(Change),
    /// Grants a lease.
    Grant,
    /// Sets some keys and attaches those that are set to the living lease of this number, counted around; when there is none, to
    /// one that has ended.
    WriteLeased(Vec<Change>, u8),
    /// Ends the living lease of this number, counted around.
    Revoke(u8),
    /// Compacts to so many revisions before the current one.
    Compact(u64),
    /// Reads, and changes nothing.
    Look(Look),
}

/// A change of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Which key.
    pub key: u8,
    /// Its new value; `None` removes it.
    pub value: Option<u8>,
}

impl Change {
    fn op(self, lease: Option<LeaseId>) -> Op {
        let key = key(self.key);
        match self.value {
            Some(value) => Op::Put { key, value: vec![value; usize::from(value)].into(), lease },
            None => Op::Delete { key },
        }
    }
}

fn key(number: u8) -> Key {
    Key::from(format!("key/{number}"))
}

/// What a store should hold.
#[derive(Clone, Debug)]
pub struct Model {
    /// The state at every revision since the beginning.
    states: BTreeMap<Revision, BTreeMap<Key, Entry>>,
    events: Vec<(Revision, Vec<Event>)>,
    compacted: Revision,
    /// The living leases and their keys.
    leases: BTreeMap<LeaseId, BTreeSet<Key>>,
    ended: Option<LeaseId>,
}

impl Default for Model {
    fn default() -> Self {
        Self {
            states: BTreeMap::from([(Revision(1), BTreeMap::new())]),
            events: Vec::new(),
            compacted: Revision::NONE,
            leases: BTreeMap::new(),
            ended: None,
        }
    }
}

impl Model {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    fn now(&self) -> (Revision, BTreeMap<Key, Entry>) {
        let (revision, state) = self.states.last_key_value().expect("the model begins with a state");
        (*revision, state.clone())
    }

    fn apply(&mut self, txn: &Txn) -> Committed {
        let (current, mut state) = self.now();
        let mod_revision = |key| state.get(key).map_or(Revision::NONE, |entry: &Entry| entry.mod_revision);
        if txn.compares.iter().any(|compare| mod_revision(&compare.key) != compare.mod_revision) {
            let found = txn.compares.iter().map(|compare| state.get(&compare.key).cloned()).collect();
            return Committed { revision: current, outcome: Outcome::Refused(found) };
        }
        let revision = current.next();
        let mut events = Vec::new();
        for op in &txn.ops {
            events.extend(change(&mut state, op, revision));
            self.leases.values_mut().for_each(|keys| keys.retain(|key| key != op.key()));
            if let Op::Put { key, lease: Some(id), .. } = op {
                self.leases.entry(*id).or_default().insert(key.clone());
            }
        }
        if events.is_empty() {
            return Committed { revision: current, outcome: Outcome::Applied };
        }
        self.events.push((revision, events));
        self.states.insert(revision, state);
        Committed { revision, outcome: Outcome::Applied }
    }

    /// Does one step on the store and here, and holds the answers equal.
    ///
    /// # Panics
    /// When they differ.
    pub async fn step(&mut self, store: &dyn Store, step: &Step) {
        let (current, state) = self.now();
        let swap = |change: &Change, vain: u64| {
            let at = state.get(&key(change.key)).map_or(Revision::NONE, |entry| entry.mod_revision);
            Txn { ops: vec![change.op(None)], ..Txn::new() }.when(key(change.key), Revision(at.0 + vain))
        };
        let txn = match step {
            Step::Write(changes) => write(changes, None),
            Step::Grant => return self.grant(store).await,
            Step::WriteLeased(changes, number) => {
                let living = self.nth_lease(*number);
                let Some(lease) = living.or(self.ended) else { return };
                let txn = write(changes, Some(lease));
                let names_lease = txn.ops.iter().any(|op| matches!(op, Op::Put { .. }));
                if living.is_none() && names_lease {
                    let answer = store.commit(txn).await;
                    assert!(matches!(answer, Err(Error::UnknownLease(id)) if id == lease), "{answer:?}");
                    return;
                }
                txn
            }
            Step::Revoke(number) => return self.revoke(store, *number).await,
            Step::Look(look) => return self.look(store, *look).await,
            Step::Swap(change) => swap(change, 0),
            Step::SwapInVain(change) => swap(change, 1),
            Step::Compact(back) => {
                let to = Revision(current.0.saturating_sub(*back));
                compact(store, to).await;
                self.compacted = self.compacted.max(to);
                return;
            }
        };
        assert_eq!(commit(store, txn.clone()).await, self.apply(&txn), "after {step:?}");
    }

    fn nth_lease(&self, number: u8) -> Option<LeaseId> {
        let nth = usize::from(number).checked_rem(self.leases.len())?;
        self.leases.keys().nth(nth).copied()
    }

    async fn grant(&mut self, store: &dyn Store) {
        let lease = store.grant(TTL).await.expect("a lease can be granted");
        assert!(self.leases.insert(lease.id, BTreeSet::new()).is_none(), "a lease was granted twice");
        assert_ne!(self.ended, Some(lease.id), "a lease was granted twice");
    }

    async fn revoke(&mut self, store: &dyn Store, number: u8) {
        let Some(id) = self.nth_lease(number) else { return };
        let keys = self.leases.get(&id).cloned().unwrap_or_default();
        let removals = keys.into_iter().map(|key| Op::Delete { key }).collect();
        let expected = self.apply(&Txn { ops: removals, ..Txn::new() }).revision;
        assert_eq!(store.revoke(id).await.expect("the lease is alive"), expected);
        self.leases.remove(&id);
        self.ended = Some(id);
    }

    /// Holds everything equal that can be read of the store: each revision of the window, and its events.
    ///
    /// # Panics
    /// When anything differs.
    pub async fn check(&self, store: &dyn Store) {
        let (current, state) = self.now();
        let status = store.status().await.expect("a healthy store has a status");
        assert_eq!(
            (status.revision, status.compacted, status.keys),
            (current, self.compacted, state.len() as u64)
        );
        let leases = store.leases().await.expect("a healthy store tells its leases").value;
        let attached: BTreeMap<LeaseId, BTreeSet<Key>> =
            leases.into_iter().map(|status| (status.lease.id, status.keys.into_iter().collect())).collect();
        assert_eq!(attached, self.leases);
        for (&at, state) in &self.states {
            if at <= self.compacted {
                is_compacted(store.get(&key(0), ReadAt::Exactly(at)).await, self.compacted);
            } else {
                assert_eq!(
                    all_at(store, at).await,
                    state.values().cloned().collect::<Vec<_>>(),
                    "at revision {at}"
                );
            }
        }
        let latest = range(store, KeyRange::all(), RangeOptions::new().limit(2)).await;
        let expected: Vec<Entry> = state.values().take(2).cloned().collect();
        assert_eq!((latest.entries, latest.remaining), (expected, state.len().saturating_sub(2) as u64));
        for from in [self.compacted.next(), Revision((self.compacted.0 + current.0) / 2 + 1)] {
            if from <= current {
                let events: Vec<_> = self.events.iter().filter(|(at, _)| *at >= from).cloned().collect();
                let mut stream = watch(store, KeyRange::all(), from).await;
                assert_eq!(events_through(&mut stream, current).await, events, "a watch from {from}");
            }
        }
    }
}

fn write(changes: &[Change], lease: Option<LeaseId>) -> Txn {
    // A transaction names a key once; the last one counts.
    let changes: BTreeMap<u8, Change> = changes.iter().map(|change| (change.key, *change)).collect();
    Txn { ops: changes.into_values().rev().map(|change| change.op(lease)).collect(), ..Txn::new() }
}

fn change(state: &mut BTreeMap<Key, Entry>, op: &Op, revision: Revision) -> Option<Event> {
    match op {
        Op::Put { key, value, .. } => {
            let previous = state.get(key).cloned();
            let (create_revision, version) =
                previous.as_ref().map_or((revision, 1), |entry| (entry.create_revision, entry.version + 1));
            let (key, value) = (key.clone(), value.clone());
            let entry = Entry { key, value, create_revision, mod_revision: revision, version };
            state.insert(entry.key.clone(), entry.clone());
            Some(Event::Put { entry, previous })
        }
        Op::Delete { key } => {
            let previous = state.remove(key)?;
            Some(Event::Delete { key: key.clone(), revision, previous })
        }
    }
}

/// G6, on histories that are the same on every run.
pub async fn g6_random_histories_agree_with_a_plain_map(store: Arc<dyn Store>) {
    let mut model = Model::new();
    let mut chance = Chance(6);
    for round in 0..8 {
        for _ in 0..60 {
            model.step(&*store, &random_step(&mut chance)).await;
        }
        if round % 2 == 1 {
            model.step(&*store, &Step::Compact(chance.below(30))).await;
        }
        model.check(&*store).await;
    }
}

pub(super) fn random_step(chance: &mut Chance) -> Step {
    let mut change = || Change {
        key: chance.below(12) as u8,
        value: (chance.below(3) > 0).then(|| chance.below(256) as u8),
    };
    let (first, more) = (change(), [change(), change(), change()]);
    match chance.below(23) {
        0..4 => Step::Write(vec![first]),
        4..7 => Step::Write([&[first], &more[..]].concat()),
        7..10 => Step::Swap(first),
        10 => Step::SwapInVain(first),
        11 => Step::Grant,
        12 => Step::WriteLeased(vec![first], chance.below(8) as u8),
        13 => Step::WriteLeased([&[first], &more[..]].concat(), chance.below(8) as u8),
        14..17 => Step::Revoke(chance.below(8) as u8),
        17 => Step::Compact(10 + chance.below(40)),
        _ => Step::Look(random_look(chance)),
    }
}

fn random_look(chance: &mut Chance) -> Look {
    let (back, a, b) = (chance.below(40), chance.below(12) as u8, chance.below(12) as u8);
    match chance.below(5) {
        0 => Look::Pages { back, from: a, limit: b },
        1 => Look::Past { back, key: a },
        2 => Look::Events { back, from: a, to: b },
        3 => Look::Snapshot,
        _ => Look::TooLarge(a),
    }
}
