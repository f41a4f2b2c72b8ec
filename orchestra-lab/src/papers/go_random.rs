//! The seeded generator of Go's `math/rand`, so that experiments published with it meet the same chance here.
//!
//! Go's source is an additive lagged Fibonacci generator, x(n) = x(n-607) + x(n-273) modulo 2^64, started from a state that is
//! 7.8e12 steps from a simple one and mixed with the seed. Go keeps that state as a table; here it is worked out, in some
//! milliseconds: the steps are a power of x modulo the generator's polynomial. What `Intn`, `Shuffle` and `Perm` draw follows
//! the promises of Go 1, which fixes the sequences of a seed.

use std::sync::LazyLock;

const LENGTH: usize = 607;
const TAP: usize = 273;
/// How far the common state is from the simple one.
const STEPS: u64 = 7_800_000_000_000;
/// The modulus of the small generator that fills a state, 2^31 - 1.
const SMALL: u64 = (1 << 31) - 1;
/// What stands for a seed of nothing.
const NO_SEED: u64 = 89_482_311;

type State = [u64; LENGTH];

static COMMON: LazyLock<State> = LazyLock::new(common);

/// Go's `rand.New(rand.NewSource(seed))`.
#[derive(Clone, Debug)]
pub struct GoRandom {
    state: State,
    tap: usize,
    feed: usize,
}

impl GoRandom {
    /// The generator of this seed.
    #[must_use]
    pub fn seeded(seed: i64) -> Self {
        let seed = seed.rem_euclid(SMALL as i64).unsigned_abs();
        let mut state = filled(if seed == 0 { NO_SEED } else { seed }, [40, 20]);
        for (value, common) in state.iter_mut().zip(COMMON.iter()) {
            *value ^= common;
        }
        Self { state, tap: 0, feed: LENGTH - TAP }
    }

    /// `Int63`, a number below 2^63.
    pub fn int63(&mut self) -> u64 {
        self.tap = self.tap.checked_sub(1).unwrap_or(LENGTH - 1);
        self.feed = self.feed.checked_sub(1).unwrap_or(LENGTH - 1);
        let sum = self.state[self.feed].wrapping_add(self.state[self.tap]);
        self.state[self.feed] = sum;
        sum & (u64::MAX >> 1)
    }

    /// `Intn`, a number below `end`, which is above 0 and below 2^31.
    pub fn below(&mut self, end: u32) -> u32 {
        let end = end.clamp(1, 1 << 30);
        let last = (1_u32 << 31) - 1;
        if end.is_power_of_two() {
            return self.int31() & (end - 1);
        }
        let most = last - (1_u32 << 31) % end;
        loop {
            let value = self.int31();
            if value <= most {
                return value % end;
            }
        }
    }

    /// `Shuffle`.
    pub fn shuffle<T>(&mut self, values: &mut [T]) {
        for index in (1..values.len()).rev() {
            let other = self.scaled(u32::try_from(index + 1).unwrap_or(u32::MAX));
            values.swap(index, other as usize);
        }
    }

    /// `Perm`, the numbers below `count` in some order.
    pub fn permutation(&mut self, count: u32) -> Vec<u32> {
        let mut order = Vec::with_capacity(count as usize);
        for next in 0..count {
            let at = self.below(next + 1) as usize;
            order.push(next);
            let last = order.len() - 1;
            order.swap(at, last);
        }
        order
    }

    fn int31(&mut self) -> u32 {
        (self.int63() >> 32) as u32
    }

    fn scaled(&mut self, end: u32) -> u32 {
        let draw = |random: &mut Self| u64::from((random.int63() >> 31) as u32) * u64::from(end);
        let mut product = draw(self);
        let unfair = end.wrapping_neg() % end;
        while (product as u32) < unfair {
            product = draw(self);
        }
        (product >> 32) as u32
    }
}

/// A state filled by the small generator, three of its numbers to a value.
fn filled(seed: u64, shifts: [u32; 2]) -> State {
    let mut small = seed;
    let mut next = || {
        small = small * 48_271 % SMALL;
        small
    };
    for _ in 0..20 {
        next();
    }
    std::array::from_fn(|_| (next() << shifts[0]) ^ (next() << shifts[1]) ^ next())
}

/// The state that all seeds share.
fn common() -> State {
    let start = filled(1, [20, 10]);
    let slot = |step: usize| (LENGTH - TAP - 1 + 2 * LENGTH - step % LENGTH) % LENGTH;
    // The state as a sequence, oldest first, and as much of what follows.
    let mut sequence: Vec<u64> = (0..LENGTH).map(|step| start[slot(step)]).collect();
    for index in LENGTH..2 * LENGTH {
        sequence.push(sequence[index - LENGTH].wrapping_add(sequence[index - TAP]));
    }
    let power = power(STEPS);
    let first = (STEPS % LENGTH as u64) as usize;
    let mut state = [0; LENGTH];
    for (index, window) in sequence.windows(LENGTH).take(LENGTH).enumerate() {
        let terms = power.iter().zip(window).map(|(factor, value)| factor.wrapping_mul(*value));
        state[slot(first + index)] = terms.fold(0, u64::wrapping_add);
    }
    state
}

/// x to the power of `steps`, modulo x^607 - x^334 - 1.
fn power(steps: u64) -> Vec<u64> {
    let mut power = vec![0_u64; LENGTH];
    power[0] = 1;
    for bit in (0..u64::BITS - steps.leading_zeros()).rev() {
        let mut product = vec![0_u64; 2 * LENGTH];
        for (left, factor) in power.iter().enumerate() {
            for (right, other) in power.iter().enumerate() {
                let place = &mut product[left + right + (steps >> bit & 1) as usize];
                *place = place.wrapping_add(factor.wrapping_mul(*other));
            }
        }
        for place in (LENGTH..2 * LENGTH).rev() {
            let value = product[place];
            for lower in [place - LENGTH, place - TAP] {
                product[lower] = product[lower].wrapping_add(value);
            }
        }
        product.truncate(LENGTH);
        power = product;
    }
    power
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_those_of_go() {
        // What Go's tour, and its documentation by example, print for the seeds 1 and 42.
        let mut random = GoRandom::seeded(1);
        let drawn: Vec<_> = (0..10).map(|_| random.below(100)).collect();
        assert_eq!(drawn, [81, 87, 47, 59, 81, 18, 25, 40, 56, 0]);
        let mut random = GoRandom::seeded(42);
        assert_eq!([random.below(100), random.below(100)], [5, 87]);
    }

    #[test]
    fn a_permutation_and_a_shuffle_keep_everything() {
        let mut random = GoRandom::seeded(7);
        let mut order = random.permutation(1213);
        random.shuffle(&mut order);
        order.sort_unstable();
        assert!(order.into_iter().eq(0..1213));
    }
}
