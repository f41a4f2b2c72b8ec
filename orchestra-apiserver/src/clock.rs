//! Time and chance come from outside.
//!
//! Timers use [`tokio::time`], so a paused runtime pauses them. What is written into objects comes from a [`Clock`].

use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::time::Instant;

/// What time it is, for timestamps in objects.
pub trait Clock: Debug + Send + Sync + 'static {
    /// Now.
    fn now(&self) -> Timestamp;
}

#[deny(clippy::missing_trait_methods)]
impl<T: Clock + ?Sized> Clock for Arc<T> {
    fn now(&self) -> Timestamp {
        self.as_ref().now()
    }
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct WallClock;

impl Clock for WallClock {
    #[allow(clippy::disallowed_methods, reason = "the one place of this crate where wall-clock time enters")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// A clock that starts at a given time and runs as tokio's does: paused when that is paused.
#[derive(Clone, Copy, Debug)]
pub struct RuntimeClock {
    start: Timestamp,
    from: Instant,
}

impl RuntimeClock {
    /// A clock that shows `start` now.
    pub fn starting_at(start: Timestamp) -> Self {
        Self { start, from: Instant::now() }
    }
}

impl Clock for RuntimeClock {
    fn now(&self) -> Timestamp {
        let passed = self.from.elapsed();
        self.start.saturating_add(passed).unwrap_or(Timestamp::MAX)
    }
}

/// As `metadata.creationTimestamp` and its like are written: whole seconds.
pub(crate) fn stamp(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Randomness that a seed makes repeatable.
#[derive(Debug)]
pub(crate) struct Chance(Mutex<SmallRng>);

/// Letters of generated names: upstream leaves out vowels and look-alikes.
const NAME_LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

impl Chance {
    pub(crate) fn new(seed: Option<u64>) -> Self {
        Self(Mutex::new(seed.map_or_else(SmallRng::from_os_rng, SmallRng::seed_from_u64)))
    }

    fn with<T>(&self, draw: impl FnOnce(&mut SmallRng) -> T) -> T {
        draw(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A random UUID, version 4.
    pub(crate) fn uuid(&self) -> String {
        let bytes: [u8; 16] = self.with(|rng| rng.random());
        uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
    }

    /// The five letters behind a `generateName`.
    pub(crate) fn name_suffix(&self) -> String {
        self.with(|rng| {
            let letters = (0..5).filter_map(|_| NAME_LETTERS.get(rng.random_range(0..NAME_LETTERS.len())));
            letters.map(|letter| char::from(*letter)).collect()
        })
    }

    /// A number below `bound`; 0 when that is 0.
    pub(crate) fn below(&self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.with(|rng| rng.random_range(0..bound)) }
    }
}
