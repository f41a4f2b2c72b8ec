//! What strategies came to, as a table for people.

use std::fmt::Write as _;

use super::StrategySummary;

/// One line for each strategy, means over its seeds.
#[must_use]
pub fn table(strategies: &[StrategySummary]) -> String {
    let width = strategies.iter().map(|one| one.strategy.len()).max().unwrap_or(0).max("STRATEGY".len());
    let mut lines =
        format!("{:width$}  SEEDS      BOUND    PENDING  DELAY(MEAN)  DELAY(P99)  PEAK USE\n", "STRATEGY");
    for one in strategies {
        let mean = |name: &str| one.metrics.get(name).map_or(0.0, |metric| metric.mean);
        let peaks = one.metrics.iter().filter_map(|(name, metric)| {
            Some(format!("{} {:.1}%", name.strip_suffix(".peak")?, metric.mean * 100.0))
        });
        let _ = writeln!(
            lines,
            "{:width$}  {:>5}  {:>9.1}  {:>9.1}  {:>10.1}s  {:>9.1}s  {}",
            one.strategy,
            one.runs,
            mean("bound"),
            mean("pending"),
            mean("queueingDelay.mean"),
            mean("queueingDelay.p99"),
            peaks.collect::<Vec<_>>().join(", ")
        );
    }
    lines
}
