//! How long to wait before a broken watch is begun again.
//!
//! As client-go's reflector: from 0.8 s on, doubling, up to 30 s. Many watches that broke together must not come back
//! together, so each waits a little longer than the next; by its name and not by chance, so that a simulation replays.

use std::time::Duration;

use kube::runtime::utils::Backoff;

const FIRST: Duration = Duration::from_millis(800);
const LONGEST: Duration = Duration::from_secs(30);

/// The pauses of one watch.
#[derive(Debug)]
pub(crate) struct Pauses {
    first: Duration,
    next: Duration,
}

impl Pauses {
    /// Those of the watch that is called `name`.
    pub(crate) fn of(name: &str) -> Self {
        let first = FIRST + spread(name);
        Self { first, next: first }
    }
}

impl Iterator for Pauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let pause = self.next;
        self.next = (pause * 2).min(LONGEST);
        Some(pause)
    }
}

impl Backoff for Pauses {
    fn reset(&mut self) {
        self.next = self.first;
    }
}

/// Up to 400 ms, by name (FNV-1a): agents that start together do not write together, and replays stay exact.
pub(crate) fn spread(name: &str) -> Duration {
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    Duration::from_millis(hash % 400)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_begin_anew_after_a_success() {
        let mut pauses = Pauses::of("n1");
        let first = pauses.next().unwrap();
        assert!((FIRST..FIRST + Duration::from_millis(400)).contains(&first));
        assert_eq!(pauses.next(), Some(first * 2));
        assert_eq!(pauses.by_ref().take(9).last(), Some(LONGEST));
        pauses.reset();
        assert_eq!(pauses.next(), Some(first));
        assert_ne!(Pauses::of("n2").next(), Some(first), "another name, another pause");
    }
}
