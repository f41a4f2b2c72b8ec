//! Simulated time: whole microseconds, so that sums are exact and the same everywhere.

use std::fmt;
use std::time::Duration;

use orchestra_scheduler::queue::Moment;

const MICROS: u64 = 1_000_000;

/// A moment since the start of a simulation, or the time between two.
///
/// ```
/// use orchestra_lab::SimTime;
///
/// let moment = SimTime::parse("1.50")?;
/// assert_eq!(moment.to_string(), "1.5");
/// # Ok::<(), orchestra_lab::TimeError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SimTime(u64);

/// Why something is not a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TimeError {
    /// It is before the start.
    #[error("must not be negative")]
    Negative,
    /// It is later than [`SimTime::LATEST`].
    #[error("must not be more than 3153600000 seconds (a hundred years)")]
    TooLate,
    /// It is finer than a microsecond.
    #[error("must not have more than six decimals")]
    TooFine,
    /// It is no number.
    #[error("must be a number of seconds")]
    NoNumber,
}

impl SimTime {
    /// The start.
    pub const ZERO: Self = Self(0);
    /// The latest time that input may name: a hundred years.
    pub const LATEST: Self = Self(100 * 365 * 24 * 3600 * MICROS);

    /// This many microseconds.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// This many whole seconds.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds.saturating_mul(MICROS))
    }

    /// This many seconds, rounded to microseconds and held within 0 and [`SimTime::LATEST`]; no number counts as 0.
    #[must_use]
    pub fn from_secs_f64(seconds: f64) -> Self {
        // A cast of a float saturates, and makes 0 of what is no number.
        Self(((seconds * MICROS as f64).round() as u64).min(Self::LATEST.0))
    }

    /// Reads seconds, with at most six decimals.
    ///
    /// # Errors
    /// When it is no number, negative, too late or too fine.
    pub fn parse(text: &str) -> Result<Self, TimeError> {
        let (text, negative) = text.strip_prefix('-').map_or((text, false), |text| (text, true));
        let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(decimals) {
            return Err(TimeError::NoNumber);
        }
        let decimals = decimals.trim_end_matches('0');
        if decimals.len() > 6 {
            return Err(TimeError::TooFine);
        }
        let seconds: u64 = whole.parse().map_err(|_| TimeError::TooLate)?;
        let micros: u64 = format!("{decimals:0<6}").parse().map_err(|_| TimeError::NoNumber)?;
        let time = seconds.checked_mul(MICROS).and_then(|sum| sum.checked_add(micros));
        match time.map(Self).filter(|time| *time <= Self::LATEST) {
            Some(time) if negative && time > Self::ZERO => Err(TimeError::Negative),
            Some(time) => Ok(time),
            None if negative => Err(TimeError::Negative),
            None => Err(TimeError::TooLate),
        }
    }

    /// In microseconds.
    #[must_use]
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// In seconds.
    #[must_use]
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / MICROS as f64
    }

    /// The sum, held at the end of the range.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// The time since `earlier`; 0 if that is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Self {
        Self(self.0.saturating_sub(earlier.0))
    }
}

impl From<SimTime> for Moment {
    fn from(time: SimTime) -> Self {
        Self(Duration::from_micros(time.0))
    }
}

impl From<Moment> for SimTime {
    /// Rounded up, so that what is due at the moment is due at the time.
    fn from(moment: Moment) -> Self {
        Self(u64::try_from(moment.0.as_nanos().div_ceil(1000)).unwrap_or(u64::MAX))
    }
}

impl fmt::Display for SimTime {
    /// Seconds, with as many decimals as there are.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, micros) = (self.0 / MICROS, self.0 % MICROS);
        if micros == 0 {
            return write!(out, "{seconds}");
        }
        let decimals = format!("{micros:06}");
        write!(out, "{seconds}.{}", decimals.trim_end_matches('0'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_read_and_written_exactly() {
        for text in ["0", "7", "0.5", "12.000001", "3153600000"] {
            assert_eq!(SimTime::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(SimTime::parse("1.500000").unwrap().to_string(), "1.5");
        assert_eq!(SimTime::parse("-0").unwrap(), SimTime::ZERO);
    }

    #[test]
    fn what_is_no_time_says_why() {
        let problem = |text| SimTime::parse(text).unwrap_err();
        assert_eq!(problem("-1"), TimeError::Negative);
        assert_eq!(problem("99999999999999999999"), TimeError::TooLate);
        assert_eq!(problem("3153600000.1"), TimeError::TooLate);
        assert_eq!(problem("0.0000001"), TimeError::TooFine);
        for text in ["", "x", "1.", ".5", "1e3", "NaN", "+1", "1_0"] {
            assert_eq!(problem(text), TimeError::NoNumber, "{text}");
        }
    }

    #[test]
    fn a_float_that_is_no_time_is_held_in_range() {
        assert_eq!(SimTime::from_secs_f64(f64::NAN), SimTime::ZERO);
        assert_eq!(SimTime::from_secs_f64(-3.0), SimTime::ZERO);
        assert_eq!(SimTime::from_secs_f64(f64::INFINITY), SimTime::LATEST);
        assert_eq!(SimTime::from_secs_f64(0.25).as_micros(), 250_000);
    }
}
