//! How long the writer waits for company before it syncs: pure, from what the last batches were like.
//!
//! Whoever has just been answered often writes again at once. Without waiting for them, a batch holds only those who came
//! while the last one was synced, and everyone waits for two syncs. So the writer waits for a part of the time that a sync
//! takes, unless that was in vain lately: writers who come and go must not pay for it. For one or two it stays awake, for
//! waking a thread takes as long as a good disk's sync.

use std::time::Duration;

/// After so many vain waits in a row it waits no less seldom.
const MOST_DOUBLINGS: u32 = 6;
/// Longer than this it never waits.
const LONGEST: Duration = Duration::from_millis(2);
/// For so many it stays awake.
const FEW: usize = 2;
/// Longer than this it never stays awake.
const LONGEST_AWAKE: Duration = Duration::from_micros(200);

/// What is known of the batches so far.
#[derive(Debug, Default)]
pub(super) struct Gather {
    /// Answered with the last batch.
    answered: usize,
    /// What the last batch took to become durable.
    sync: Duration,
    /// Vain waits in a row.
    vain: u32,
    /// Batches that go without a wait, because waits were in vain.
    skip: u32,
}

/// A wait for company.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wait {
    /// How many commands are enough.
    pub(super) enough: usize,
    /// How long at most.
    pub(super) time: Duration,
    /// Whether to look again and again rather than sleep.
    pub(super) awake: bool,
}

impl Gather {
    /// A batch was answered.
    pub(super) fn answered(&mut self, count: usize, sync: Duration) {
        (self.answered, self.sync) = (count, sync);
    }

    /// Whether to wait while `waiting` commands wait.
    pub(super) fn wait(&mut self, waiting: usize) -> Option<Wait> {
        if self.answered == 0 || self.sync.is_zero() {
            return None;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return None;
        }
        let awake = self.answered <= FEW;
        let time = if awake { self.sync.min(LONGEST_AWAKE) } else { (self.sync / 4).min(LONGEST) };
        Some(Wait { enough: waiting + self.answered, time, awake })
    }

    /// The wait is over, with so many commands waiting.
    pub(super) fn waited(&mut self, wait: Wait, waiting: usize) {
        // Those who waited already were not waited for. Most of the others is good: one may have left for good.
        let came = waiting.saturating_sub(wait.enough.saturating_sub(self.answered));
        if came >= self.answered - self.answered / 4 {
            self.vain = 0;
        } else {
            self.vain = (self.vain + 1).min(MOST_DOUBLINGS);
            self.skip = 1 << self.vain;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SYNC: Duration = Duration::from_micros(400);

    #[test]
    fn it_waits_for_those_it_has_just_answered_and_no_longer_than_a_part_of_a_sync() {
        let mut gather = Gather::default();
        assert_eq!(gather.wait(3), None, "nobody was answered yet");
        gather.answered(5, SYNC);
        assert_eq!(gather.wait(3), Some(Wait { enough: 8, time: SYNC / 4, awake: false }));
        gather.answered(5, Duration::from_secs(1));
        assert_eq!(gather.wait(3).map(|wait| wait.time), Some(LONGEST));
    }

    #[test]
    fn it_stays_awake_for_one_and_not_for_long() {
        let mut gather = Gather::default();
        gather.answered(1, SYNC / 4);
        assert_eq!(gather.wait(0), Some(Wait { enough: 1, time: SYNC / 4, awake: true }));
        gather.answered(1, Duration::from_secs(1));
        assert_eq!(gather.wait(0).map(|wait| wait.time), Some(LONGEST_AWAKE));
    }

    #[test]
    fn writers_who_do_not_come_back_are_hardly_waited_for() {
        let mut gather = Gather::default();
        let mut waits = 0;
        for _ in 0..1000 {
            gather.answered(5, SYNC);
            if let Some(wait) = gather.wait(1) {
                waits += 1;
                gather.waited(wait, 2);
            }
        }
        assert!(waits < 30, "{waits}");
        let wait = std::iter::repeat_with(|| gather.wait(1)).flatten().next().unwrap();
        gather.waited(wait, 6);
        assert!(gather.wait(1).is_some(), "they came back, so it waits again");
    }

    #[test]
    fn those_who_waited_already_do_not_count_as_come_back() {
        let mut gather = Gather::default();
        gather.answered(4, SYNC);
        let wait = gather.wait(100).unwrap();
        gather.waited(wait, 100);
        assert_eq!(gather.wait(100), None, "nobody came back");
    }
}
