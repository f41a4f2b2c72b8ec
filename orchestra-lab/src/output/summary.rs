//! What runs and strategies came to, in numbers.

use std::collections::BTreeMap;

use serde::Serialize;

use super::statistics::{Interval, interval};
use crate::gpu::MILLI;
use crate::run::{Outcome, Resource, Sample, Usage};
use crate::time::SimTime;
use crate::workload::Workload;

/// How many points of a distribution are kept, ends included.
const POINTS: usize = 201;

/// What one run came to.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RunSummary {
    /// Who decided.
    pub strategy: String,
    /// Where chance came from.
    pub seed: u64,
    /// When the last thing happened, in seconds.
    pub end: f64,
    /// Nodes of the workload.
    pub nodes: usize,
    /// Pods that came, those made anew included.
    pub pods: u64,
    /// Pods that were given a node.
    pub bound: u64,
    /// Pods without a node at the end.
    pub pending: u64,
    /// Attempts that found no node.
    pub refused: u64,
    /// Attempts that broke.
    pub failed: u64,
    /// Pods evicted for more important ones.
    pub evicted: u64,
    /// Pods lost with their node.
    pub lost: u64,
    /// Things that happened, decisions included.
    pub events: u64,
    /// How long bound pods had waited, in seconds.
    pub queueing_delay: Delays,
    /// What was in use.
    pub resources: BTreeMap<String, UsageSummary>,
    /// The distribution of delays.
    #[serde(skip)]
    pub distribution: Vec<SimTime>,
    /// The state over time.
    #[serde(skip)]
    pub samples: Vec<Sample>,
    /// The resources of the samples, as they are called in files.
    #[serde(skip)]
    pub measured: Vec<String>,
}

/// How long pods waited, in seconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Delays {
    /// On average.
    pub mean: f64,
    /// Half waited no longer.
    pub p50: f64,
    /// 95 in a hundred waited no longer.
    pub p95: f64,
    /// 99 in a hundred waited no longer.
    pub p99: f64,
    /// At most.
    pub max: f64,
}

/// What was in use of one resource, as shares of what there was.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct UsageSummary {
    /// On average over time.
    pub mean: f64,
    /// At most.
    pub peak: f64,
    /// At the end.
    pub last: f64,
    /// The share of what was idle that typical pods could not use.
    pub fragmentation: f64,
}

/// What a strategy came to over its seeds: metric by metric, the mean and its interval.
#[derive(Clone, Debug, Serialize)]
pub struct StrategySummary {
    /// Who decided.
    pub strategy: String,
    /// How many seeds.
    pub runs: usize,
    /// By name.
    pub metrics: BTreeMap<String, Interval>,
}

/// The whole summary file.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Rows of the inputs that were left out.
    pub skipped_rows: u64,
    /// Each strategy, in the order it was named.
    pub strategies: Vec<StrategySummary>,
    /// Each run, by strategy and seed in the order they were named.
    pub runs: Vec<RunSummary>,
}

/// What a resource is called in files.
fn name(resource: &Resource) -> String {
    match resource.0.to_string() {
        name if name == MILLI => "gpu".to_owned(),
        name => name,
    }
}

impl RunSummary {
    /// The summary of what a run came to.
    #[must_use]
    pub fn of(strategy: &str, seed: u64, workload: &Workload, outcome: Outcome) -> Self {
        let mut delays = outcome.delays;
        delays.sort_unstable();
        let of = |usage: &Usage| UsageSummary {
            mean: usage.mean,
            peak: usage.peak,
            last: usage.last,
            fragmentation: usage.fragmentation,
        };
        Self {
            strategy: strategy.to_owned(),
            seed,
            end: outcome.end.as_secs_f64(),
            nodes: workload.nodes.len(),
            pods: outcome.pods,
            bound: outcome.bound,
            pending: outcome.pending,
            refused: outcome.refused,
            failed: outcome.failed,
            evicted: outcome.evicted,
            lost: outcome.lost,
            events: outcome.events,
            queueing_delay: Delays::of(&delays),
            resources: outcome.usage.iter().map(|usage| (name(&usage.resource), of(usage))).collect(),
            distribution: thinned(&delays),
            samples: outcome.samples,
            measured: outcome.usage.iter().map(|usage| name(&usage.resource)).collect(),
        }
    }

    fn metrics(&self) -> BTreeMap<String, f64> {
        let mut metrics = BTreeMap::from([
            ("bound".to_owned(), self.bound as f64),
            ("pending".to_owned(), self.pending as f64),
            ("evicted".to_owned(), self.evicted as f64),
            ("queueingDelay.mean".to_owned(), self.queueing_delay.mean),
            ("queueingDelay.p99".to_owned(), self.queueing_delay.p99),
        ]);
        for (name, usage) in &self.resources {
            metrics.insert(format!("{name}.mean"), usage.mean);
            metrics.insert(format!("{name}.peak"), usage.peak);
            metrics.insert(format!("{name}.last"), usage.last);
            metrics.insert(format!("{name}.fragmentation"), usage.fragmentation);
        }
        metrics
    }
}

impl Delays {
    fn of(sorted: &[SimTime]) -> Self {
        let at = |share: f64| quantile(sorted, share).as_secs_f64();
        let sum: u128 = sorted.iter().map(|delay| u128::from(delay.as_micros())).sum();
        let mean = if sorted.is_empty() { 0.0 } else { sum as f64 / sorted.len() as f64 / 1e6 };
        Self { mean, p50: at(0.5), p95: at(0.95), p99: at(0.99), max: at(1.0) }
    }
}

/// The least value that this share of all does not exceed.
fn quantile(sorted: &[SimTime], share: f64) -> SimTime {
    let rank = (share * sorted.len() as f64).ceil().max(1.0) as usize;
    sorted.get(rank - 1).copied().unwrap_or_default()
}

/// A distribution reduced to evenly spaced quantiles.
fn thinned(sorted: &[SimTime]) -> Vec<SimTime> {
    if sorted.is_empty() {
        return Vec::new();
    }
    (0..POINTS).map(|point| quantile(sorted, point as f64 / (POINTS - 1) as f64)).collect()
}

/// Each strategy over its seeds, in the order of the runs.
#[must_use]
pub fn summaries(runs: &[RunSummary]) -> Vec<StrategySummary> {
    let mut all: Vec<StrategySummary> = Vec::new();
    for run in runs {
        if all.iter().any(|known| known.strategy == run.strategy) {
            continue;
        }
        let own: Vec<_> = runs.iter().filter(|other| other.strategy == run.strategy).collect();
        let metrics: Vec<_> = own.iter().map(|run| run.metrics()).collect();
        let names =
            metrics.first().map(|first| first.keys().cloned().collect::<Vec<_>>()).unwrap_or_default();
        let of = |name: &String| {
            let values: Vec<f64> = metrics.iter().filter_map(|metrics| metrics.get(name).copied()).collect();
            interval(&values)
        };
        all.push(StrategySummary {
            strategy: run.strategy.clone(),
            runs: own.len(),
            metrics: names.iter().map(|name| (name.clone(), of(name))).collect(),
        });
    }
    all
}

impl Summary {
    /// As it is written.
    #[must_use]
    pub fn to_json(&self) -> String {
        super::manifest::pretty(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_occurred() {
        let sorted: Vec<_> = (1..=100).map(SimTime::from_secs).collect();
        let delays = Delays::of(&sorted);
        assert_eq!(
            (delays.mean, delays.p50, delays.p95, delays.p99, delays.max),
            (50.5, 50.0, 95.0, 99.0, 100.0)
        );
        assert_eq!(Delays::of(&[]).max, 0.0);
        assert_eq!(thinned(&sorted).len(), POINTS);
    }
}
