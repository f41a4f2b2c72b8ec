//! Which time of a schedule is due, and when to look again.

use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use orchestra_core::cron::Schedule;

/// The look at a schedule comes a little after the time it is for.
const AFTERWARDS: SignedDuration = SignedDuration::from_millis(100);
/// More missed times than this are a reason to complain.
const MANY: i64 = 100;

/// How many times of a schedule went by unused, roughly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missed {
    None,
    Few,
    Many,
}

/// The times of a schedule by the clocks of a zone.
#[derive(Debug)]
pub(super) struct Times {
    pub(super) schedule: Schedule,
    pub(super) zone: TimeZone,
}

impl Times {
    fn next(&self, after: Timestamp) -> Option<Timestamp> {
        self.schedule.next(after, &self.zone)
    }

    /// The latest time after `earliest` that is not after `now`, without going through all of them.
    pub(super) fn latest(
        &self,
        earliest: Timestamp,
        now: Timestamp,
    ) -> Result<(Option<Timestamp>, Missed), String> {
        let never = || "time difference between two schedules is less than 1 second".to_owned();
        let first = self.next(earliest).ok_or_else(never)?;
        if now < first {
            return Ok((None, Missed::None));
        }
        let second = self.next(first).ok_or_else(never)?;
        if now < second {
            return Ok((Some(first), Missed::None));
        }
        let apart = second.duration_since(first).as_secs();
        if apart < 1 {
            return Err(never());
        }
        // The first two times tell how many there were about.
        let missed = now.duration_since(first).as_secs() / apart + 1;
        let latest = self.last_before(second, now);
        Ok((Some(latest), if missed > MANY { Missed::Many } else { Missed::Few }))
    }

    /// The last time that is not after `now`, of which `known` is one. Halves what is left to look through, because the
    /// times of a schedule may be dense for a while and then far apart.
    fn last_before(&self, known: Timestamp, now: Timestamp) -> Timestamp {
        let (mut latest, mut none_after) = (known, now);
        while latest < none_after {
            let half = none_after.duration_since(latest) / 2;
            let middle = latest.saturating_add(half).unwrap_or(latest);
            match self.next(middle).filter(|next| *next <= now) {
                Some(next) => latest = next,
                // None after the middle; schedules have whole seconds.
                None if half < SignedDuration::from_secs(1) => break,
                None => none_after = middle,
            }
        }
        latest
    }

    /// How long until the next time worth a look.
    pub(super) fn wait(&self, earliest: Timestamp, now: Timestamp) -> Option<Duration> {
        let from = match self.latest(earliest, now) {
            Ok((Some(latest), _)) => latest,
            Ok((None, Missed::None)) => earliest,
            Ok((None, _)) | Err(_) => now,
        };
        let wait = self.next(from)?.duration_since(now).saturating_add(AFTERWARDS);
        Some(Duration::try_from(wait).unwrap_or(Duration::ZERO))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        format!("2026-01-{text}Z").parse().unwrap()
    }

    fn times(schedule: &str) -> Times {
        Times { schedule: Schedule::parse(schedule).unwrap(), zone: TimeZone::UTC }
    }

    #[test]
    fn the_latest_time_counts_and_the_missed_ones_are_told_roughly() {
        let hourly = times("0 * * * *");
        let latest = |now: &str| hourly.latest(at("01T00:00:00"), at(now)).unwrap();
        assert_eq!(latest("01T00:59:59"), (None, Missed::None));
        assert_eq!(latest("01T01:00:00"), (Some(at("01T01:00:00")), Missed::None));
        assert_eq!(latest("01T05:30:00"), (Some(at("01T05:00:00")), Missed::Few));
        assert_eq!(latest("09T05:30:00"), (Some(at("09T05:00:00")), Missed::Many));
    }

    #[test]
    fn uneven_schedules_are_found_too() {
        let uneven = times("30 6-16/4 * * 1-5");
        let (latest, _) = uneven.latest(at("05T06:00:00"), at("09T15:00:00")).unwrap();
        assert_eq!(latest, Some(at("09T14:30:00")));
    }

    #[test]
    fn the_end_of_a_dense_time_is_found_long_after_it() {
        let mornings = times("* 9 * * *");
        for now in ["05T20:00:00", "06T08:59:59"] {
            let (latest, _) = mornings.latest(at("05T08:00:00"), at(now)).unwrap();
            assert_eq!(latest, Some(at("05T09:59:00")), "{now}");
        }
        let january = times("* * * 1 *");
        let december = "2026-12-24T00:00:00Z".parse().unwrap();
        let (latest, missed) = january.latest(at("01T00:00:00"), december).unwrap();
        assert_eq!((latest, missed), (Some(at("31T23:59:00")), Missed::Many));
        let (latest, _) = january.latest(at("01T00:00:00"), at("09T12:00:30")).unwrap();
        assert_eq!(latest, Some(at("09T12:00:00")));
    }

    #[test]
    fn what_never_comes_is_an_error() {
        assert!(times("59 23 31 2 *").latest(at("01T00:00:00"), at("02T00:00:00")).is_err());
        assert_eq!(times("59 23 31 2 *").wait(at("01T00:00:00"), at("02T00:00:00")), None);
    }

    #[test]
    fn the_next_look_is_just_after_the_next_time() {
        let wait = times("0 * * * *").wait(at("01T00:00:00"), at("01T02:59:59"));
        assert_eq!(wait, Some(Duration::from_millis(1100)));
    }
}
