//! Rows of bounds for histograms, computed as upstream computes them, so that they are equal to the last bit.

/// `N` bounds, each the last one times `factor`.
pub const fn exponential<const N: usize>(start: f64, factor: f64) -> [f64; N] {
    let mut bounds = [0.0; N];
    let (mut at, mut bound) = (0, start);
    while at < N {
        bounds[at] = bound;
        bound *= factor;
        at += 1;
    }
    bounds
}

/// `N` bounds, each the last one and `width`.
pub const fn linear<const N: usize>(start: f64, width: f64) -> [f64; N] {
    let mut bounds = [0.0; N];
    let (mut at, mut bound) = (0, start);
    while at < N {
        bounds[at] = bound;
        bound += width;
        at += 1;
    }
    bounds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_errors_are_those_of_upstream() {
        assert_eq!(exponential::<4>(10e-7, 10.0), [1e-6, 9.999999999999999e-6, 9.999999999999999e-5, 0.001]);
        assert_eq!(linear::<3>(0.25, 0.25), [0.25, 0.5, 0.75]);
    }
}
