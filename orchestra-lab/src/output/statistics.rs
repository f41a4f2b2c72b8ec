//! Means and how far they can be trusted.

/// A mean over seeds with its 95 % confidence interval (Student's t).
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Interval {
    /// The mean.
    pub mean: f64,
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

/// The 97.5 % quantiles of Student's t with 1, 2, … degrees of freedom.
const QUANTILES: [f64; 30] = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
    2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
];
/// With more degrees of freedom than that.
const BEYOND: f64 = 1.96;

/// The mean of `values` and its interval; a single value is its own.
#[must_use]
pub fn interval(values: &[f64]) -> Interval {
    let count = values.len() as f64;
    if values.is_empty() {
        return Interval { mean: 0.0, low: 0.0, high: 0.0 };
    }
    let mean = values.iter().sum::<f64>() / count;
    if values.len() == 1 {
        return Interval { mean, low: mean, high: mean };
    }
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0);
    let quantile = QUANTILES.get(values.len() - 2).copied().unwrap_or(BEYOND);
    let half = quantile * (variance / count).sqrt();
    Interval { mean, low: mean - half, high: mean + half }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_students() {
        let of = interval(&[1.0, 2.0, 3.0]);
        assert_eq!(of.mean, 2.0);
        assert!((of.high - 2.0 - 4.303 / 3.0_f64.sqrt()).abs() < 1e-12);
        assert!((of.high + of.low - 4.0).abs() < 1e-12);
        assert_eq!(interval(&[7.0]), Interval { mean: 7.0, low: 7.0, high: 7.0 });
        assert_eq!(interval(&[]).mean, 0.0);
        assert_eq!(interval(&[5.0; 100]).high, 5.0);
    }
}
