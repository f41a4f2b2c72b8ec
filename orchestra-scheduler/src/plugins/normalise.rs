//! The normalisation several plugins share: the highest raw score becomes 100.

use crate::unit::Points;

/// Which end of the raw scores is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Best {
    Highest,
    Lowest,
}

/// Scales `scores` so that the highest becomes 100 (or, if the lowest is best, 0), truncating. When all are 0 they
/// all stay the worst, or all become the best.
pub(crate) fn by_highest(scores: &mut [Points], best: Best) {
    let highest = scores.iter().map(|points| points.0).max().unwrap_or(0);
    for points in scores {
        points.0 = share(points.0, highest, best);
    }
}

/// What a raw score becomes when `highest` is the highest.
pub(crate) fn share(raw: i64, highest: i64, best: Best) -> i64 {
    let share = if highest == 0 { 0 } else { scale(raw, highest) };
    if best == Best::Lowest { Points::MAX.0 - share } else { share }
}

fn scale(value: i64, highest: i64) -> i64 {
    if let Some(product) = value.checked_mul(Points::MAX.0) {
        return product / highest;
    }
    let scaled = i128::from(value) * i128::from(Points::MAX.0) / i128::from(highest);
    i64::try_from(scaled).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalise_truncates_and_reverses_as_upstream() {
        for (raw, best, expected) in [
            (&[0, 1, 3][..], Best::Highest, &[0, 33, 100][..]),
            (&[0, 2, 3], Best::Highest, &[0, 66, 100]),
            (&[0, 2, 3], Best::Lowest, &[100, 34, 0]),
            (&[0, 1, 3], Best::Lowest, &[100, 67, 0]),
            (&[0, 0], Best::Highest, &[0, 0]),
            (&[0, 0], Best::Lowest, &[100, 100]),
        ] {
            let mut scores: Vec<_> = raw.iter().copied().map(Points).collect();
            by_highest(&mut scores, best);
            assert_eq!(scores.iter().map(|points| points.0).collect::<Vec<_>>(), expected);
        }
    }
}
