//! Chance as a function of what it is for, so that a decision does not depend on how many were made before it.

/// A number below `end`, the same for the same seed, purpose and name; 0 if `end` is.
#[must_use]
pub fn draw(seed: u64, purpose: &str, name: &str, end: usize) -> usize {
    let mut state = seed ^ 0x9E37_79B9_7F4A_7C15;
    for byte in purpose.bytes().chain([0]).chain(name.bytes()) {
        state = mix(state ^ u64::from(byte));
    }
    // Multiplied and cut, so that every number has the same share of the range.
    usize::try_from((u128::from(mix(state)) * end as u128) >> u64::BITS).unwrap_or(0)
}

/// The finaliser of SplitMix64.
fn mix(state: u64) -> u64 {
    let state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let state = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let state = (state ^ (state >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    state ^ (state >> 31)
}

#[cfg(test)]
mod tests {
    use super::draw;

    #[test]
    fn every_number_comes_up_about_as_often() {
        let mut counts = [0_u32; 7];
        for name in 0..7_000 {
            counts[draw(42, "test", &name.to_string(), 7)] += 1;
        }
        assert!(counts.iter().all(|count| (850..1150).contains(count)), "{counts:?}");
        assert_eq!(draw(1, "a", "b", 0), 0);
        assert_eq!(draw(1, "a", "b", 1000), draw(1, "a", "b", 1000));
    }
}
