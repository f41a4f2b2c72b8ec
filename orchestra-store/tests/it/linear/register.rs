//! A single key, with its values only: set, removed, read, and set if nobody else has.
//!
//! Calls that touch one key fit an order exactly when those of each key do, so each key is checked for itself.

use std::collections::BTreeSet;

use bytes::Bytes;
use orchestra_store::{Committed, Entry, Key, Op, Outcome, Revision, Txn};
use todc_utils::Specification;

use super::checker::{self, End};
use super::history::{Call, History, Moment, Reply, values_told};

/// Whether an order exists for each key, in the history's calls that touch one key.
pub(crate) fn fits(history: &History) -> bool {
    // What was not answered may also happen after the end, which is to say never; so no kill decides it.
    let moments: Vec<_> =
        history.all().into_iter().filter(|moment| !matches!(moment, Moment::Killed(_))).collect();
    let (values, watched) = (values_told(&moments), history.watched());
    let keys: BTreeSet<Key> = moments.iter().filter_map(key_of).collect();
    keys.iter().all(|key| {
        checker::fits::<Register>(&moments, u64::MAX, |call, end| {
            let expected = |at: Revision| {
                if at == Revision::NONE {
                    return Expected::Absent;
                }
                let told = values.get(&(key.clone(), at));
                told.map_or(Expected::Nothing, |entry: &Entry| Expected::Value(entry.value.clone()))
            };
            match call {
                Call::Get(got) if got == key => match end {
                    End::Told(Reply::Entries(told)) => Some(Access::Read(value(told.value.first()))),
                    _ => None,
                },
                // Nobody ever saw it, so it is no use to try it everywhere.
                Call::Commit(txn)
                    if matches!(end, End::Unknown { .. }) && watched.candidates(txn).is_empty() =>
                {
                    None
                }
                Call::Commit(txn) => access(txn, key, end, expected),
                _ => None,
            }
        })
    })
}

fn key_of(moment: &Moment) -> Option<Key> {
    match moment {
        Moment::Called(_, Call::Get(key)) => Some(key.clone()),
        Moment::Called(_, Call::Commit(Txn { ops, .. })) => ops.first().map(|op| op.key().clone()),
        _ => None,
    }
}

fn value(entry: Option<&Entry>) -> Option<Bytes> {
    entry.map(|entry| entry.value.clone())
}

fn access(txn: &Txn, key: &Key, end: &End, expected: impl Fn(Revision) -> Expected) -> Option<Access> {
    let [op] = &txn.ops[..] else { return None };
    if op.key() != key {
        return None;
    }
    let next = match op {
        Op::Put { value, .. } => Some(value.clone()),
        Op::Delete { .. } => None,
    };
    let expected = txn.compares.first().map_or(Expected::Anything, |compare| expected(compare.mod_revision));
    let told = match end {
        End::Told(Reply::Committed(Committed { outcome: Outcome::Applied, .. })) => Answer::Applied,
        End::Told(Reply::Committed(Committed { outcome: Outcome::Refused(found), .. })) => {
            Answer::Refused(value(found.first()?.as_ref()))
        }
        _ => Answer::Unknown,
    };
    Some(Access::Write { expected, next, told })
}

struct Register;

#[derive(Clone, Debug)]
enum Access {
    Read(Option<Bytes>),
    Write { expected: Expected, next: Option<Bytes>, told: Answer },
}

#[derive(Clone, Debug)]
enum Expected {
    Anything,
    Absent,
    Value(Bytes),
    /// A revision that is not this key's.
    Nothing,
}

#[derive(Clone, Debug)]
enum Answer {
    Applied,
    Refused(Option<Bytes>),
    Unknown,
}

impl Specification for Register {
    type State = Option<Bytes>;
    type Operation = Access;

    fn init() -> Self::State {
        None
    }

    fn apply(access: &Access, state: &Self::State) -> (bool, Self::State) {
        match access {
            Access::Read(told) => (told == state, state.clone()),
            Access::Write { expected, next, told } => {
                let holds = match expected {
                    Expected::Anything => true,
                    Expected::Absent => state.is_none(),
                    Expected::Value(value) => state.as_ref() == Some(value),
                    Expected::Nothing => false,
                };
                match (told, holds) {
                    (Answer::Applied | Answer::Unknown, true) => (true, next.clone()),
                    (Answer::Unknown, false) => (true, state.clone()),
                    (Answer::Refused(found), false) => (found == state, state.clone()),
                    _ => (false, state.clone()),
                }
            }
        }
    }
}
