//! From moments to what the checker of `todc-utils` reads, and a check of that checker.
//!
//! Of the checkers there are, `stateright`'s tries orders one by one without remembering which states it has seen, copies
//! what is left of the history at each step, and recurses once for each call: some thousand calls, a few of them
//! without an answer, are beyond it. `todc-utils` has the search that Porcupine has, and no dependencies.

use std::collections::BTreeMap;

use todc_utils::linearizability::WGLChecker;
use todc_utils::linearizability::history::Action;
use todc_utils::{History as Actions, Specification};

use super::history::{Call, Moment, Process, Reply};

/// How a call ended.
#[derive(Clone, Debug)]
pub(crate) enum End {
    Told(Reply),
    /// Nobody knows; it happened before the store was found at this revision, or never.
    Unknown {
        found: u64,
    },
}

/// Whether an order exists. `operation` makes what the specification reads of a call and its end; `None` leaves it out.
pub(crate) fn fits<S: Specification>(
    moments: &[Moment],
    last: u64,
    operation: impl Fn(&Call, &End) -> Option<S::Operation>,
) -> bool {
    let mut open: BTreeMap<Process, (usize, Call)> = BTreeMap::new();
    let mut actions: Vec<Option<(Process, Action<S::Operation>)>> = Vec::new();
    let close = |actions: &mut Vec<_>, process: Process, (at, call): (usize, Call), end: &End| {
        let Some(operation) = operation(&call, end) else { return };
        // The checker looks at the operation of the response only.
        actions[at] = Some((process, Action::Call(operation.clone())));
        actions.push(Some((process, Action::Response(operation))));
    };
    for moment in moments {
        match moment {
            Moment::Called(process, call) => {
                open.insert(*process, (actions.len(), call.clone()));
                actions.push(None);
            }
            Moment::Told(process, reply) => {
                let call = open.remove(process).unwrap();
                close(&mut actions, *process, call, &End::Told(reply.clone()));
            }
            Moment::Killed(found) => {
                for (process, call) in std::mem::take(&mut open) {
                    close(&mut actions, process, call, &End::Unknown { found: found.0 });
                }
            }
        }
    }
    // What was never answered may have happened at any time until the end.
    for (process, call) in open {
        close(&mut actions, process, call, &End::Unknown { found: last });
    }
    let actions: Vec<_> = actions.into_iter().flatten().collect();
    actions.is_empty() || WGLChecker::<S>::is_linearizable(Actions::from_actions(actions))
}

mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A number that is set and read.
    struct Number;

    #[derive(Clone, Copy, Debug)]
    enum Access {
        Set(u8),
        Read(u8),
    }

    impl Specification for Number {
        type State = u8;
        type Operation = Access;

        fn init() -> u8 {
            0
        }

        fn apply(access: &Access, state: &u8) -> (bool, u8) {
            match *access {
                Access::Set(number) => (true, number),
                Access::Read(number) => (number == *state, *state),
            }
        }
    }

    /// An access from one point in time to another.
    type Timed = (Access, u32, u32);

    fn timed() -> impl Strategy<Value = Timed> {
        let access = prop_oneof![(0..3_u8).prop_map(Access::Set), (0..3_u8).prop_map(Access::Read)];
        (access, 0..12_u32, 1..6_u32).prop_map(|(access, begin, length)| (access, begin, begin + length))
    }

    /// Tries every order.
    fn an_order_exists(left: &[Timed], state: u8) -> bool {
        left.is_empty()
            || (0..left.len()).any(|first| {
                let (access, begin, _) = left[first];
                // No other one had ended before this one began. What ends and begins at the same point overlaps.
                let may_be_first = left.iter().all(|(_, _, end)| *end >= begin);
                let (fits, state) = Number::apply(&access, &state);
                let rest = [&left[..first], &left[first + 1..]].concat();
                may_be_first && fits && an_order_exists(&rest, state)
            })
    }

    fn actions(accesses: &[Timed]) -> Vec<(Process, Action<Access>)> {
        let mut points = Vec::new();
        for (process, (access, begin, end)) in accesses.iter().enumerate() {
            points.push(((*begin, 0), (process, Action::Call(*access))));
            points.push(((*end, 1), (process, Action::Response(*access))));
        }
        points.sort_by_key(|(point, _)| *point);
        points.into_iter().map(|(_, action)| action).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]
        #[test]
        fn the_checker_says_what_trying_every_order_says(accesses in prop::collection::vec(timed(), 1..7)) {
            let said = WGLChecker::<Number>::is_linearizable(Actions::from_actions(actions(&accesses)));
            prop_assert_eq!(said, an_order_exists(&accesses, 0));
        }
    }
}
