//! How much evicting hurts.

use std::cmp::Reverse;
use std::sync::Arc;

use jiff::Timestamp;

use super::victims::Candidate;
use crate::unit::Priority;
use crate::view::PodView;

/// How much evicting the victims of a candidate hurts; what hurts less is smaller. One rule after the other: the fewest
/// broken budgets, the least important foremost victim, the least importance in sum, the fewest victims, and the
/// foremost victims that have run the shortest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Harm {
    violations: usize,
    foremost: Option<Priority>,
    sum: i64,
    victims: usize,
    started: Reverse<(u8, Option<Timestamp>)>,
}

impl Harm {
    /// Whether no budget would be broken.
    pub(crate) fn breaks_no_budget(&self) -> bool {
        self.violations == 0
    }
}

impl Candidate {
    /// How much it hurts.
    pub(crate) fn harm(&self) -> Harm {
        let victims = &self.victims;
        Harm {
            violations: self.violations,
            foremost: victims.first().map(|pod| pod.priority),
            sum: sum(victims),
            victims: victims.len(),
            started: Reverse(longest_running(victims)),
        }
    }
}

/// Priorities are lifted above zero, so that many negative ones do not look better than few.
fn sum(victims: &[Arc<PodView>]) -> i64 {
    victims.iter().map(|pod| i64::from(pod.priority.0) + (1 << 31)).sum()
}

/// When the first of the foremost victims started; not yet is later than everything.
fn longest_running(victims: &[Arc<PodView>]) -> (u8, Option<Timestamp>) {
    let foremost = victims.iter().map(|pod| pod.priority).max();
    let times = victims.iter().filter(|pod| Some(pod.priority) == foremost).map(|pod| pod.started);
    times.map(|time| time.map_or((1, None), |time| (0, Some(time)))).min().unwrap_or((1, None))
}
