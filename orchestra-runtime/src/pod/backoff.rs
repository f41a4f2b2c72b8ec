//! How long a failing container waits before it is started again: at once the first time, then 10 s, doubling up to
//! 5 min, and from the beginning after 10 min without a restart, as upstream counts in 1.36.

use jiff::{SignedDuration, Timestamp};

const FIRST: SignedDuration = SignedDuration::from_secs(10);
const LONGEST: SignedDuration = SignedDuration::from_secs(300);
const FORGOTTEN: SignedDuration = SignedDuration::from_secs(600);

/// The restarts, or attempts to pull, of one container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Backoff {
    current: Option<(SignedDuration, Timestamp)>,
}

impl Backoff {
    /// The delay in force after a failure at `failed`, and when it is over. `None`: start at once.
    pub(crate) fn delay(&self, failed: Timestamp) -> Option<(SignedDuration, Timestamp)> {
        let (delay, _) = self.current.filter(|(_, last)| failed.duration_since(*last) <= FORGOTTEN)?;
        Some((delay, failed.checked_add(delay).unwrap_or(Timestamp::MAX)))
    }

    /// Notes that it is started again at `now` after a failure at `failed`.
    pub(crate) fn step(&mut self, failed: Timestamp, now: Timestamp) {
        let next = match self.delay(failed) {
            Some((delay, _)) => (delay * 2).min(LONGEST),
            None => FIRST,
        };
        self.current = Some((next, now));
    }

    /// What is known after `restarts` restarts, the last one at `last`: for an agent that was restarted itself.
    pub(crate) fn recalled(restarts: i32, last: Timestamp) -> Self {
        if restarts <= 0 {
            return Self::default();
        }
        let doublings = (restarts - 1).min(5);
        let delay = (0..doublings).fold(FIRST, |delay, _| (delay * 2).min(LONGEST));
        Self { current: Some((delay, last)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn delays_double_up_to_five_minutes() {
        let mut backoff = Backoff::default();
        let mut now = at(0);
        let mut seen = Vec::new();
        for _ in 0..8 {
            let wait = backoff.delay(now);
            seen.push(wait.map_or(0, |(d, _)| d.as_secs()));
            now = wait.map_or(now, |(_, until)| until);
            backoff.step(now, now);
        }
        assert_eq!(seen, [0, 10, 20, 40, 80, 160, 300, 300]);
    }

    #[test]
    fn a_long_good_time_is_a_new_beginning() {
        let mut backoff = Backoff::default();
        backoff.step(at(0), at(0));
        backoff.step(at(20), at(20));
        assert_eq!(backoff.delay(at(620)).unwrap().0.as_secs(), 20);
        assert_eq!(backoff.delay(at(621)), None);
    }

    #[test]
    fn a_new_agent_goes_on_where_the_old_one_was() {
        let mut backoff = Backoff::default();
        for restarts in 0..9 {
            assert_eq!(Backoff::recalled(restarts, at(0)), backoff, "{restarts}");
            backoff.step(at(0), at(0));
        }
    }
}
