//! Time comes from outside: a [`Clock`] is a value the embedder passes in.
//!
//! Timers (delays, backoff) always run on `tokio::time`; the clock only stamps objects and measures ages. It must
//! move with tokio's clock, or a paused test would wait for a moment that never comes: [`Clock::ticking_from`] does.

use std::fmt;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// Where a controller reads the time of day.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    /// A clock that asks `read` for every reading.
    pub fn new(read: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }

    /// The machine's clock.
    #[allow(clippy::disallowed_methods)] // the one place where this crate reads the machine's clock
    pub fn system() -> Self {
        Self::new(Timestamp::now)
    }

    /// A clock that reads `start` now and moves with tokio's, paused or not.
    pub fn ticking_from(start: Timestamp) -> Self {
        let origin = tokio::time::Instant::now();
        Self::new(move || {
            let elapsed = SignedDuration::try_from(origin.elapsed()).unwrap_or(SignedDuration::MAX);
            start.saturating_add(elapsed).unwrap_or(Timestamp::MAX)
        })
    }

    /// The present moment.
    pub fn now(&self) -> Timestamp {
        (self.0)()
    }

    pub(crate) fn time(&self) -> Time {
        Time(self.now())
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::system()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Clock").field(&self.now()).finish()
    }
}
