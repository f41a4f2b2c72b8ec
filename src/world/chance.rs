//! Chance that a seed repeats, for ever: SplitMix64, written out, so that no release of a crate changes what a seed means.

use std::time::Duration;

/// A stream of numbers that follows from its seed.
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// The stream of `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A stream of its own for `name`, so that what one part draws does not shift what another draws.
    #[must_use]
    pub fn of(seed: u64, name: &str) -> Self {
        let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let mut mixed = Self(seed ^ hash);
        Self(mixed.draw())
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`; 0 when that is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        // The bias is below one in 2^40 for any bound used here.
        if bound == 0 { 0 } else { self.draw() % bound }
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low) + 1)
    }

    /// True in `percent` of a hundred cases.
    pub fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// One of `these`.
    pub fn pick<'a, T>(&mut self, these: &'a [T]) -> Option<&'a T> {
        these.get(usize::try_from(self.below(these.len() as u64)).unwrap_or(0))
    }

    /// A span of whole milliseconds, up to `longest`.
    pub fn span(&mut self, longest: Duration) -> Duration {
        let millis = u64::try_from(longest.as_millis()).unwrap_or(u64::MAX - 1);
        Duration::from_millis(self.between(0, millis))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_means_the_same_for_ever() {
        let mut chance = Chance::new(7);
        let drawn = [chance.draw(), chance.draw()];
        let mut again = Chance::new(7);
        assert_eq!([again.draw(), again.draw()], drawn);
        assert_eq!(Chance::new(0).draw(), 0xe220_a839_7b1d_cdaf, "the first number of SplitMix64");
        assert_ne!(Chance::of(7, "a").draw(), Chance::of(7, "b").draw());
    }

    #[test]
    fn bounds_hold() {
        let mut chance = Chance::new(1);
        assert!((0..100).all(|_| (3..=5).contains(&chance.between(3, 5))));
        assert_eq!((chance.below(0), chance.pick::<u8>(&[])), (0, None));
        assert!(!chance.percent(0) && chance.percent(100));
    }
}
