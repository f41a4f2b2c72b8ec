//! How long the writer waits for company before it syncs: pure, from what the last batches were like.
//!
//! Whoever has just been answered often writes again at once. Without waiting for them, a batch holds only those who came
//! while the last one was synced, and everyone waits for two syncs. So the writer waits for a part of the time that a sync
//! takes, unless that was in vain lately: writers who come and go must not pay for it. For one or two it stays awake, for
//! waking a thread takes as long as a good disk's sync.
//!
//! Many writers may take longer to come back than that, because they have other work: clients of a busy server. Then it waits for
//! those who come anyway, if they come thick enough, until they are so many that a sync costs each of them next to nothing. As long
//! as they go on coming meanwhile, nobody gets less done for it: what is not spent on syncs goes into their other work.

use std::time::Duration;

/// After so many vain waits in a row it waits no less seldom.
const MOST_DOUBLINGS: u32 = 6;
/// Longer than this it never waits.
const LONGEST: Duration = Duration::from_millis(2);
/// For so many it stays awake.
const FEW: usize = 2;
/// Longer than this it never stays awake.
const LONGEST_AWAKE: Duration = Duration::from_micros(200);
/// Those who come anyway are waited for so many times, if they came the times before, and each time for so many syncs' time.
const ROUNDS: u32 = 2;
const SYNCS: u32 = 2;
/// Fewer of them than this are not worth it: whoever has waited longer would have gained little.
const WORTHWHILE: usize = 3;
/// More in one batch than this would save next to nothing.
const COMPANY: usize = 16;
/// What came with the last batch counts this much less with the next.
const FADING: f64 = 0.875;

/// What is known of the batches so far.
#[derive(Debug, Default)]
pub(super) struct Gather {
    /// Answered with the last batch.
    answered: usize,
    /// What the last batch took to become durable.
    sync: Duration,
    /// How often it has waited since, or [`ROUNDS`] if it does not wait again.
    rounds: u32,
    /// Waits for those who were just answered.
    returns: Trials,
    /// Waits for whoever comes.
    arrivals: Trials,
    pace: Pace,
}

/// How waits for one reason went.
#[derive(Debug, Default)]
struct Trials {
    /// Vain waits in a row.
    vain: u32,
    /// Batches that go without a wait, because waits were in vain.
    skip: u32,
}

/// How fast commands came lately.
#[derive(Debug, Default)]
struct Pace {
    commands: f64,
    seconds: f64,
}

/// Whom a wait is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum For {
    Returns,
    Arrivals,
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
    /// How many of those that are enough were still to come.
    hoped: usize,
    reason: For,
}

impl Gather {
    /// A batch was answered, so long after the one before it.
    pub(super) fn answered(&mut self, count: usize, sync: Duration, since: Duration) {
        (self.answered, self.sync, self.rounds) = (count, sync, 0);
        self.pace.add(count, since);
    }

    /// Whether to wait, or to wait once more, while `waiting` commands wait.
    pub(super) fn wait(&mut self, waiting: usize) -> Option<Wait> {
        if self.answered == 0 || self.sync.is_zero() || self.rounds == ROUNDS {
            return None;
        }
        let is_first = self.rounds == 0;
        if is_first && self.returns.is_time() {
            let awake = self.answered <= FEW;
            let time = if awake { self.sync.min(LONGEST_AWAKE) } else { (self.sync / 4).min(LONGEST) };
            let hoped = self.answered;
            return Some(Wait { enough: waiting + hoped, time, awake, hoped, reason: For::Returns });
        }
        let time = (self.sync * SYNCS).min(LONGEST / ROUNDS);
        let expected = self.pace.within(time);
        if is_first && !(expected >= WORTHWHILE && self.arrivals.is_time()) {
            self.rounds = ROUNDS;
            return None;
        }
        let hoped = expected.min(COMPANY.saturating_sub(waiting));
        let wait = Wait { enough: waiting + hoped, time, awake: false, hoped, reason: For::Arrivals };
        (hoped > 0).then_some(wait)
    }

    /// The wait is over, with so many commands waiting.
    pub(super) fn waited(&mut self, wait: Wait, waiting: usize) {
        // Those who waited already were not waited for.
        let came = waiting.saturating_sub(wait.enough.saturating_sub(wait.hoped));
        match wait.reason {
            For::Returns => {
                self.rounds = ROUNDS;
                // Most of the others is good: one may have left for good.
                self.returns.ended(came >= wait.hoped - wait.hoped / 4);
            }
            For::Arrivals => {
                // They come as it happens, now more and now fewer. None or next to none come when all who write wait already.
                let is_good = came >= wait.hoped.div_ceil(4);
                self.rounds = if is_good && waiting < COMPANY { self.rounds + 1 } else { ROUNDS };
                if self.rounds == ROUNDS {
                    self.arrivals.ended(is_good);
                }
            }
        }
    }
}

impl Trials {
    fn is_time(&mut self) -> bool {
        let is_time = self.skip == 0;
        self.skip = self.skip.saturating_sub(1);
        is_time
    }

    fn ended(&mut self, was_good: bool) {
        if was_good {
            self.vain = 0;
        } else {
            self.vain = (self.vain + 1).min(MOST_DOUBLINGS);
            self.skip = 1 << self.vain;
        }
    }
}

impl Pace {
    fn add(&mut self, commands: usize, since: Duration) {
        self.commands = self.commands * FADING + commands as f64;
        self.seconds = self.seconds * FADING + since.as_secs_f64();
    }

    /// How many come in so much time, if they go on as before.
    fn within(&self, time: Duration) -> usize {
        if self.seconds > 0.0 { (self.commands / self.seconds * time.as_secs_f64()) as usize } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SYNC: Duration = Duration::from_micros(400);

    fn of_last(wait: Option<Wait>) -> Option<(usize, Duration, bool)> {
        wait.map(|wait| (wait.enough, wait.time, wait.awake))
    }

    /// One that has waited for the last in vain, and for long will not again, while commands came every 200 µs.
    fn busy() -> Gather {
        let mut gather =
            Gather { returns: Trials { vain: MOST_DOUBLINGS, skip: 10_000 }, ..Gather::default() };
        gather.answered(5, SYNC, SYNC * 5 / 2);
        gather
    }

    #[test]
    fn it_waits_for_those_it_has_just_answered_and_no_longer_than_a_part_of_a_sync() {
        let mut gather = Gather::default();
        assert_eq!(gather.wait(3), None, "nobody was answered yet");
        gather.answered(5, SYNC, SYNC);
        assert_eq!(of_last(gather.wait(3)), Some((8, SYNC / 4, false)));
        gather.answered(5, Duration::from_secs(1), Duration::from_secs(1));
        assert_eq!(gather.wait(3).map(|wait| wait.time), Some(LONGEST));
    }

    #[test]
    fn it_stays_awake_for_one_and_not_for_long() {
        let mut gather = Gather::default();
        gather.answered(1, SYNC / 4, SYNC);
        assert_eq!(of_last(gather.wait(0)), Some((1, SYNC / 4, true)));
        gather.answered(1, Duration::from_secs(1), Duration::from_secs(1));
        assert_eq!(gather.wait(0).map(|wait| wait.time), Some(LONGEST_AWAKE));
    }

    #[test]
    fn writers_who_do_not_come_back_are_hardly_waited_for() {
        let mut gather = Gather::default();
        let mut waits = 0;
        for _ in 0..1000 {
            // Too seldom to wait for whoever comes.
            gather.answered(5, SYNC, Duration::from_secs(1));
            if let Some(wait) = gather.wait(1) {
                waits += 1;
                gather.waited(wait, 2);
            }
        }
        assert!(waits < 30, "{waits}");
        let mut next = || {
            gather.answered(5, SYNC, Duration::from_secs(1));
            gather.wait(1).inspect(|wait| gather.waited(*wait, 6))
        };
        assert!((0..100).any(|_| next().is_some()), "now and then");
        assert!(next().is_some(), "they came back, so it waits again");
    }

    #[test]
    fn those_who_waited_already_do_not_count_as_come_back() {
        let mut gather = Gather::default();
        gather.answered(4, SYNC, Duration::from_secs(1));
        let wait = gather.wait(100).unwrap();
        gather.waited(wait, 100);
        assert_eq!(gather.wait(100), None, "nobody came back");
    }

    #[test]
    fn where_many_come_anyway_it_waits_for_them_though_nobody_comes_back_soon() {
        let mut gather = busy();
        let wait = gather.wait(1).unwrap();
        assert_eq!(of_last(Some(wait)), Some((5, SYNC * 2, false)), "one in 200 µs");
        gather.waited(wait, 5);
        let wait = gather.wait(5).unwrap();
        assert_eq!(wait.enough, 9, "they go on coming");
        gather.waited(wait, 7);
        assert_eq!(gather.wait(7), None, "but everything has an end");
        gather.answered(100, SYNC, SYNC);
        assert_eq!(gather.wait(1).map(|wait| wait.enough), Some(COMPANY), "and no more than are of use");
        assert_eq!(gather.wait(COMPANY), None, "those wait already");
        gather.answered(1, SYNC, Duration::from_millis(500));
        assert_eq!(gather.wait(1), None, "they have become few");
    }

    #[test]
    fn who_does_not_come_while_it_waits_is_hardly_waited_for() {
        for goes_on in [0, 1] {
            let (mut gather, mut waits) = (busy(), 0);
            for _ in 0..1000 {
                gather.answered(5, SYNC, SYNC * 5 / 2);
                let mut waiting = 1;
                for round in 0.. {
                    let Some(wait) = gather.wait(waiting) else { break };
                    waits += 1;
                    waiting += if round < goes_on { wait.hoped } else { 0 };
                    gather.waited(wait, waiting);
                }
            }
            assert!(waits < 50, "{waits}");
        }
    }
}
