//! Where evicting hurts least.

use std::cmp::Reverse;
use std::sync::Arc;

use super::victims::Candidate;
use crate::view::PodView;

/// The candidate with, one rule after the other: the fewest broken budgets, the least important foremost victim, the
/// least importance in sum, the fewest victims, and the foremost victims that have run the shortest. Of equals, the
/// first.
pub(super) fn least_harmful(candidates: Vec<Candidate>) -> Option<Candidate> {
    candidates.into_iter().min_by_key(|candidate| {
        let victims = &candidate.victims;
        let foremost = victims.first().map(|pod| pod.priority);
        (candidate.violations, foremost, sum(victims), victims.len(), Reverse(longest_running(victims)))
    })
}

/// Priorities are lifted above zero, so that many negative ones do not look better than few.
fn sum(victims: &[Arc<PodView>]) -> i64 {
    victims.iter().map(|pod| i64::from(pod.priority.0) + (1 << 31)).sum()
}

/// When the first of the foremost victims started; not yet is later than everything.
fn longest_running(victims: &[Arc<PodView>]) -> (u8, Option<jiff::Timestamp>) {
    let foremost = victims.iter().map(|pod| pod.priority).max();
    let times = victims.iter().filter(|pod| Some(pod.priority) == foremost).map(|pod| pod.started);
    times.map(|time| time.map_or((1, None), |time| (0, Some(time)))).min().unwrap_or((1, None))
}
