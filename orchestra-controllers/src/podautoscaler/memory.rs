//! What the controller remembers of one autoscaler.

use jiff::{SignedDuration, Timestamp};

/// Earlier recommendations and rescales of one autoscaler. Lost when the controller ends: then it begins anew with the replicas
/// there are, as upstream does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    recommended: Vec<(Timestamp, i32)>,
    added: Vec<(Timestamp, i32)>,
    removed: Vec<(Timestamp, i32)>,
}

/// How much is kept, should an autoscaler be asked more often than its windows allow for.
const MOST: usize = 4096;

impl Memory {
    /// The first that is known of a target is the number of replicas it has.
    pub(super) fn begin(&mut self, replicas: i32, now: Timestamp) {
        if self.recommended.is_empty() {
            self.recommended.push((now, replicas));
        }
    }

    /// Remembers a recommendation, and forgets those from before `window`.
    pub(super) fn recommend(&mut self, replicas: i32, window: SignedDuration, now: Timestamp) {
        keep(&mut self.recommended, window, now);
        self.recommended.push((now, replicas));
    }

    /// What was recommended within `window`.
    pub(super) fn recommended(&self, window: SignedDuration, now: Timestamp) -> impl Iterator<Item = i32> {
        self.recommended
            .iter()
            .filter(move |(at, _)| now.duration_since(*at) < window)
            .map(|(_, replicas)| *replicas)
    }

    /// Remembers that the target was rescaled. Rescales from before `window` play no part any more.
    pub(super) fn rescaled(&mut self, from: i32, to: i32, window: SignedDuration, now: Timestamp) {
        let (rescales, by) =
            if to > from { (&mut self.added, to - from) } else { (&mut self.removed, from - to) };
        keep(rescales, window, now);
        rescales.push((now, by));
    }

    /// How many replicas were added within `window`.
    pub(super) fn added(&self, window: SignedDuration, now: Timestamp) -> i32 {
        within(&self.added, window, now)
    }

    /// How many replicas were removed within `window`.
    pub(super) fn removed(&self, window: SignedDuration, now: Timestamp) -> i32 {
        within(&self.removed, window, now)
    }
}

fn within(rescales: &[(Timestamp, i32)], window: SignedDuration, now: Timestamp) -> i32 {
    rescales.iter().filter(|(at, _)| now.duration_since(*at) < window).map(|(_, by)| *by).sum()
}

fn keep(remembered: &mut Vec<(Timestamp, i32)>, window: SignedDuration, now: Timestamp) {
    remembered.retain(|(at, _)| now.duration_since(*at) < window);
    let surplus = (remembered.len() + 1).saturating_sub(MOST);
    remembered.drain(..surplus);
}
