//! The order that the numbers give, held against everything that was called, told and watched.
//!
//! Looking for *some* order takes time that grows without bound with the calls nobody was answered. But every answer of a store names
//! a revision, and a watch over the whole history says what each revision did, so there is little to look for:
//!
//! - The states at all revisions are those that the watch tells of.
//! - A read, a refusal, or a write that changed nothing stands at the state of the revision it was told, and must say what that holds.
//! - A write that changed something makes the revision it was told out of the one before it, and the state must come out as watched.
//! - Each revision is made by exactly one call. Those that no answer claims are made by calls without one, each by another: a matching.
//! - Real time: a call that began when another had ended at revision *r* stands at *r* or later, and makes none but a later one.
//!
//! When all of this holds, ordering calls by revision, makers first and then by time, is the order that was looked for. When it does not,
//! there is none that agrees with the watch. So this proves what the search proves, and that the watch told the truth besides; that the two say
//! the same is tried on random histories below.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use orchestra_store::{Committed, Event, Outcome, Txn};

use super::history::{Call, History, Moment, Process, Reply, Watched};
use super::world::State;

/// Why no order exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Misfit {
    /// An answer from a revision that is not there, or was over when the call began.
    OutOfTime { process: Process, revision: u64 },
    /// An answer that the state at its revision does not give.
    WrongAnswer { process: Process, revision: u64 },
    /// No call, or more than one, can have done what was watched.
    Unexplained { revision: u64 },
}

/// What does not fit; nothing when an order exists.
pub(crate) fn misfits(history: &History) -> Vec<Misfit> {
    let mut order = Order::new(history.watched());
    let mut open: BTreeMap<Process, (u64, Call)> = BTreeMap::new();
    let mut unanswered = Vec::new();
    // The newest revision that some call had ended at.
    let mut ended = 1;
    for moment in history.all() {
        match moment {
            Moment::Called(process, call) => drop(open.insert(process, (ended, call))),
            Moment::Told(process, reply) => {
                let (before, call) = open.remove(&process).unwrap();
                ended = ended.max(revision_of(&reply));
                order.told(process, before, &call, &reply);
            }
            Moment::Killed(found) => {
                let gone = std::mem::take(&mut open).into_values();
                unanswered.extend(gone.map(|(before, call)| (before, call, found.0)));
                ended = ended.max(found.0);
            }
        }
    }
    unanswered.extend(open.into_values().map(|(before, call)| (before, call, u64::MAX)));
    order.conclude(&unanswered)
}

fn revision_of(reply: &Reply) -> u64 {
    match reply {
        Reply::Entries(read) => read.revision.0,
        Reply::Committed(committed) => committed.revision.0,
    }
}

/// Who makes a revision.
#[derive(Debug, Default)]
struct Makers {
    /// Those who cannot have done anything else.
    sure: usize,
    /// Those who may as well have come after it and changed nothing.
    possible: usize,
}

struct Order {
    /// From revision 1 on, as watched.
    states: Vec<State>,
    makers: HashMap<u64, Makers>,
    misfits: Vec<Misfit>,
}

impl Order {
    fn new(watched: &Watched) -> Self {
        let mut states = vec![State::empty()];
        for revision in 2..=watched.last() {
            let mut next = states[states.len() - 1].clone();
            next.revision = revision;
            for event in watched.0.get(&revision).into_iter().flat_map(|events| events.iter()) {
                match event {
                    Event::Put { entry, .. } => next.put(entry),
                    Event::Delete { key, .. } => next.remove(key),
                }
            }
            states.push(next);
        }
        Self { states, makers: HashMap::new(), misfits: Vec::new() }
    }

    fn at(&self, revision: u64) -> Option<&State> {
        self.states.get(usize::try_from(revision).unwrap().checked_sub(1)?)
    }

    /// Whether the transaction, done right before `revision`, makes it as it was watched.
    fn makes(&self, txn: &Txn, revision: u64) -> Option<Committed> {
        let (before, after) = (self.at(revision.checked_sub(1)?)?, self.at(revision)?);
        let (committed, next) = before.commit(txn);
        (next.as_ref() == Some(after)).then_some(committed)
    }

    fn told(&mut self, process: Process, before: u64, call: &Call, reply: &Reply) {
        let revision = revision_of(reply);
        let Some(state) = self.at(revision).filter(|_| before <= revision) else {
            return self.misfits.push(Misfit::OutOfTime { process, revision });
        };
        let (stays, makes) = match (call, reply) {
            (Call::Get(key), Reply::Entries(read)) => (state.get(key).as_slice() == read.value, false),
            (Call::All, Reply::Entries(read)) => (state.entries().eq(read.value.iter().cloned()), false),
            (Call::Commit(txn), Reply::Committed(told)) => {
                let (committed, next) = state.commit(txn);
                let made = self.makes(txn, revision).filter(|_| before < revision);
                (next.is_none() && committed == *told, made.as_ref() == Some(told))
            }
            _ => (false, false),
        };
        let makers = self.makers.entry(revision).or_default();
        match (stays, makes) {
            (true, true) => makers.possible += 1,
            (true, false) => {}
            (false, true) => makers.sure += 1,
            (false, false) => self.misfits.push(Misfit::WrongAnswer { process, revision }),
        }
    }

    /// Finds makers for the revisions that no answer claims.
    fn conclude(mut self, unanswered: &[(u64, Call, u64)]) -> Vec<Misfit> {
        let last = self.states.len() as u64;
        let mut wanted = Vec::new();
        for revision in 2..=last {
            match self.makers.get(&revision) {
                Some(Makers { sure: 1, .. }) => {}
                Some(Makers { sure: 2.., .. }) => self.misfits.push(Misfit::Unexplained { revision }),
                Some(Makers { possible: 1.., .. }) => {}
                _ => wanted.push(revision),
            }
        }
        let able = |revision: u64| {
            let can = |(before, call, found): &(u64, Call, u64)| match call {
                Call::Commit(txn) if *before < revision && revision <= *found => {
                    self.makes(txn, revision).is_some_and(|committed| committed.outcome == Outcome::Applied)
                }
                _ => false,
            };
            (0..unanswered.len()).filter(|&call| can(&unanswered[call])).collect::<Vec<_>>()
        };
        let able: HashMap<u64, Vec<usize>> =
            wanted.iter().map(|&revision| (revision, able(revision))).collect();
        let mut done_by = HashMap::new();
        for revision in wanted {
            if !find_maker(revision, &able, &mut done_by, &mut BTreeSet::new()) {
                self.misfits.push(Misfit::Unexplained { revision });
            }
        }
        self.misfits
    }
}

/// Gives `revision` a call of its own, moving others to other calls if that helps.
fn find_maker(
    revision: u64,
    able: &HashMap<u64, Vec<usize>>,
    done_by: &mut HashMap<usize, u64>,
    tried: &mut BTreeSet<usize>,
) -> bool {
    for &call in &able[&revision] {
        if !tried.insert(call) {
            continue;
        }
        let holder = done_by.get(&call).copied();
        if holder.is_none_or(|holder| find_maker(holder, able, done_by, tried)) {
            done_by.insert(call, revision);
            return true;
        }
    }
    false
}

mod tests {
    use std::sync::Arc;

    use orchestra_store::{Key, Revision, Versioned};
    use proptest::prelude::*;

    use super::super::world;
    use super::*;

    /// A call at one point of time, and how long before it began and how long after it the answer came.
    #[derive(Clone, Debug)]
    struct Timed {
        call: Call,
        early: u32,
        late: u32,
        fault: Fault,
    }

    /// What goes wrong with it.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Fault {
        No,
        /// Nobody is told the answer.
        Unanswered,
        /// Nobody is told the answer, and it never happens.
        Lost,
        /// The answer comes, but nothing has happened.
        Forgotten,
        /// The answer names a revision that is too high, or too low.
        Ahead,
        Behind,
        /// It seems to have begun later than it happened.
        Stale,
    }

    fn call() -> impl Strategy<Value = Call> {
        let key = || (0..2_u8).prop_map(|key| Key::from(format!("k{key}")));
        let put = |txn: Txn, key: Key, value: u32| txn.put(key, value.to_string());
        prop_oneof![
            key().prop_map(Call::Get),
            Just(Call::All),
            (key(), any::<u32>()).prop_map(move |(key, value)| Call::Commit(put(Txn::new(), key, value))),
            (key(), 0..6_u64, any::<u32>()).prop_map(move |(key, at, value)| {
                Call::Commit(put(Txn::new().when(key.clone(), Revision(at)), key, value))
            }),
            key().prop_map(|key| Call::Commit(Txn::new().delete(key))),
            Just(Call::Commit(Txn::new().delete("k0".into()).delete("k1".into()))),
        ]
    }

    fn timed(faults: bool) -> impl Strategy<Value = Timed> {
        let fault = prop_oneof![
            12 => Just(Fault::No),
            3 => Just(Fault::Unanswered),
            2 => Just(Fault::Lost),
            1 => Just(Fault::Forgotten),
            1 => Just(Fault::Ahead),
            1 => Just(Fault::Behind),
            1 => Just(Fault::Stale),
        ];
        (call(), 1..40_u32, 1..40_u32, fault).prop_map(move |(call, early, late, fault)| {
            let is_allowed = matches!(fault, Fault::Unanswered | Fault::Lost);
            let fault = if faults || is_allowed { fault } else { Fault::No };
            Timed { call, early, late, fault }
        })
    }

    fn answer(state: &State, call: &Call) -> (Reply, Option<State>) {
        let revision = Revision(state.revision);
        match call {
            Call::Get(key) => {
                (Reply::Entries(Versioned { revision, value: state.get(key).into_iter().collect() }), None)
            }
            Call::All => (Reply::Entries(Versioned { revision, value: state.entries().collect() }), None),
            Call::Commit(txn) => {
                let (committed, next) = state.commit(txn);
                (Reply::Committed(committed), next)
            }
        }
    }

    fn events(before: &State, after: &State) -> Arc<[Event]> {
        let put = after.entries().filter(|entry| before.get(&entry.key).as_ref() != Some(entry));
        let put = put.map(|entry| Event::Put { previous: before.get(&entry.key), entry });
        let gone = before.entries().filter(|entry| after.get(&entry.key).is_none());
        let revision = Revision(after.revision);
        let gone = gone.map(|previous| Event::Delete { key: previous.key.clone(), revision, previous });
        put.chain(gone).collect()
    }

    fn wrong(reply: Reply, by: fn(u64) -> u64) -> Reply {
        let at = |revision: Revision| Revision(by(revision.0));
        match reply {
            Reply::Entries(Versioned { revision, value }) => {
                Reply::Entries(Versioned { revision: at(revision), value })
            }
            Reply::Committed(Committed { revision, outcome }) => {
                Reply::Committed(Committed { revision: at(revision), outcome })
            }
        }
    }

    /// What clients and a watcher of a plain store see when calls happen one by one.
    fn history_of(calls: &[Timed]) -> History {
        let (mut state, mut watched, mut points) = (State::empty(), Watched::default(), Vec::new());
        for (nth, timed) in calls.iter().enumerate() {
            let at = 100 + 10 * nth as u32;
            let (reply, next) = answer(&state, &timed.call);
            let reply = match timed.fault {
                Fault::Ahead => wrong(reply, |revision| revision + 1),
                Fault::Behind => wrong(reply, |revision| revision - 1),
                _ => reply,
            };
            let happens = !matches!(timed.fault, Fault::Lost | Fault::Forgotten);
            if let Some(next) = next.filter(|_| happens) {
                watched.0.insert(next.revision, events(&state, &next));
                state = next;
            }
            let begin = if timed.fault == Fault::Stale { at + timed.early } else { at - timed.early };
            let is_told = !matches!(timed.fault, Fault::Unanswered | Fault::Lost);
            points.push((begin, nth, None));
            points.push((begin.max(at) + timed.late, nth, Some(reply).filter(|_| is_told)));
        }
        points.sort_by_key(|(at, ..)| *at);
        let mut history = History::default();
        // What the watch tells, told to the search too: a read of each revision that may have been at any time, and one after all.
        let states = Order::new(&watched).states;
        let reads: Vec<Process> = states.iter().map(|_| history.called(&Call::All)).collect();
        let mut processes = HashMap::new();
        for (_, nth, reply) in points {
            match (processes.get(&nth), reply) {
                (None, _) => drop(processes.insert(nth, history.called(&calls[nth].call))),
                (Some(&process), Some(reply)) => history.told(process, reply),
                (Some(_), None) => {}
            }
        }
        let reads = reads.into_iter().zip(&states).collect::<Vec<_>>();
        let last = reads.last().map(|(_, state)| (history.called(&Call::All), *state));
        for (process, state) in reads.into_iter().chain(last) {
            history.told(process, answer(state, &Call::All).0);
        }
        history.follow(watched);
        history
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

        #[test]
        fn what_one_order_explains_is_found_to_fit(calls in prop::collection::vec(timed(false), 1..14)) {
            let history = history_of(&calls);
            prop_assert_eq!(misfits(&history), []);
            prop_assert!(world::search_fits(&history));
        }

        /// About half of these fit.
        #[test]
        fn what_no_order_explains_is_found_not_to_fit(calls in prop::collection::vec(timed(true), 1..14)) {
            let history = history_of(&calls);
            let misfits = misfits(&history);
            prop_assert_eq!(misfits.is_empty(), world::search_fits(&history), "{:?}", misfits);
        }
    }
}
