//! A histogram that many threads count into without a lock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::{MetricType, TypedMetric};

/// Counts by bounds that are fixed. Clones count into the same.
///
/// What is read while others count may lack what they are just counting.
#[derive(Clone, Debug)]
pub struct Histogram(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Upper ends, rising; the last bucket has none.
    bounds: &'static [f64],
    counts: Box<[AtomicU64]>,
    /// In millionths, so that it can be added to at once.
    sum: AtomicU64,
}

impl Histogram {
    /// Counts up to each of `bounds`, which rise, and beyond.
    pub fn new(bounds: &'static [f64]) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self(Arc::new(Inner { bounds, counts, sum: AtomicU64::new(0) }))
    }

    /// Counts a time, in seconds.
    pub fn observe_duration(&self, took: Duration) {
        self.add(took.as_secs_f64(), u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }

    /// Counts a number.
    pub fn observe(&self, number: u64) {
        self.add(number as f64, number.saturating_mul(1_000_000));
    }

    fn add(&self, value: f64, millionths: u64) {
        let bucket = self.0.bounds.partition_point(|bound| *bound < value);
        if let Some(count) = self.0.counts.get(bucket) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.0.sum.fetch_add(millionths, Ordering::Relaxed);
    }

    /// Counts on the side, for one who counts very often while others do too.
    pub fn tally(&self) -> Tally {
        Tally { into: self.clone(), counts: vec![0; self.0.counts.len()].into(), sum: 0, is_empty: true }
    }

    /// How often something was counted.
    pub fn count(&self) -> u64 {
        self.0.counts.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }
}

impl Histogram {
    pub(crate) fn write(&self, encoder: &mut MetricEncoder<'_>) -> Result<(), std::fmt::Error> {
        let bounds = self.0.bounds.iter().copied().chain([f64::INFINITY]);
        let counts = self.0.counts.iter().map(|count| count.load(Ordering::Relaxed));
        let buckets: Vec<(f64, u64)> = bounds.zip(counts).collect();
        // Of the same reading as the buckets, so that they agree.
        let count = buckets.iter().map(|(_, count)| count).sum();
        let sum = self.0.sum.load(Ordering::Relaxed) as f64 / 1e6;
        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }
}

/// What one counted on the side, and has not added yet. It is added when this is dropped, at the latest.
#[derive(Debug)]
pub struct Tally {
    into: Histogram,
    counts: Box<[u64]>,
    sum: u64,
    is_empty: bool,
}

impl Tally {
    /// Counts a number, without touching what others count into.
    pub fn observe(&mut self, number: u64) {
        let bucket = self.into.0.bounds.partition_point(|bound| *bound < number as f64);
        if let Some(count) = self.counts.get_mut(bucket) {
            *count += 1;
        }
        self.sum = self.sum.saturating_add(number.saturating_mul(1_000_000));
        self.is_empty = false;
    }

    /// Adds what was counted.
    pub fn add_up(&mut self) {
        if std::mem::replace(&mut self.is_empty, true) {
            return;
        }
        for (into, count) in self.into.0.counts.iter().zip(&mut self.counts) {
            into.fetch_add(std::mem::take(count), Ordering::Relaxed);
        }
        self.into.0.sum.fetch_add(std::mem::take(&mut self.sum), Ordering::Relaxed);
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        self.add_up();
    }
}

impl TypedMetric for Histogram {
    const TYPE: MetricType = MetricType::Histogram;
}

impl EncodeMetric for Histogram {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), std::fmt::Error> {
        self.write(&mut encoder)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;

    use super::*;

    #[test]
    fn what_is_counted_on_the_side_is_added_in_the_end() {
        let histogram = Histogram::new(&[10.0]);
        let mut tally = histogram.tally();
        tally.observe(10);
        tally.observe(11);
        assert_eq!(histogram.count(), 0);
        tally.add_up();
        tally.add_up();
        tally.observe(1);
        assert_eq!(histogram.count(), 2);
        drop(tally);
        let counts: Vec<u64> = histogram.0.counts.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        assert_eq!((counts, histogram.0.sum.load(Ordering::Relaxed)), (vec![2, 1], 22_000_000));
    }

    #[test]
    fn what_lies_on_a_bound_belongs_below_it() {
        let histogram = Histogram::new(&[0.001, 0.01]);
        for millis in [0, 1, 2, 10, 11, 5000] {
            histogram.observe_duration(Duration::from_millis(millis));
        }
        let mut registry = Registry::default();
        registry.register("took", "How long it took", histogram.clone());
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        for line in [
            "took_bucket{le=\"0.001\"} 2",
            "took_bucket{le=\"0.01\"} 4",
            "took_bucket{le=\"+Inf\"} 6",
            "took_count 6",
            "took_sum 5.024",
        ] {
            assert!(text.lines().any(|found| found == line), "no {line} in\n{text}");
        }
        assert_eq!(histogram.count(), 6);
    }
}
