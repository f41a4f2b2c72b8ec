//! Series of one metric, apart by their labels, and never more than a limit.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, PoisonError, RwLock};

/// Metrics by labels. Clones are the same family.
///
/// Whoever can invent label values, by asking for resources that do not exist or by making ever new ones, must not fill
/// the memory by it: once there are as many series as the limit says, all others share one.
#[derive(Debug)]
pub struct Family<L, M>(Arc<Inner<L, M>>);

#[derive(Debug)]
struct Inner<L, M> {
    most: usize,
    rest: L,
    make: fn() -> M,
    series: RwLock<HashMap<L, Arc<M>>>,
}

impl<L, M> Clone for Family<L, M> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<L: Clone + Eq + Hash + Ord, M> Family<L, M> {
    /// A family that makes its metrics with `make`: `most` of them, and for all further labels one under `rest`.
    pub fn new(most: usize, rest: L, make: fn() -> M) -> Self {
        Self(Arc::new(Inner { most, rest, make, series: RwLock::default() }))
    }

    /// The metric of these labels, made now if this is the first that is heard of them.
    pub fn of(&self, labels: &L) -> Arc<M> {
        if let Some(metric) = self.0.series.read().unwrap_or_else(PoisonError::into_inner).get(labels) {
            return Arc::clone(metric);
        }
        let mut series = self.0.series.write().unwrap_or_else(PoisonError::into_inner);
        let is_full = series.len() >= self.0.most && !series.contains_key(labels);
        let labels = if is_full { &self.0.rest } else { labels };
        Arc::clone(series.entry(labels.clone()).or_insert_with(|| Arc::new((self.0.make)())))
    }

    /// Every series, in the order of the labels.
    pub fn all(&self) -> Vec<(L, Arc<M>)> {
        let series = self.0.series.read().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> =
            series.iter().map(|(labels, metric)| (labels.clone(), Arc::clone(metric))).collect();
        drop(series);
        all.sort_by(|(one, _), (other, _)| one.cmp(other));
        all
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::counter::Counter;

    use super::*;

    #[test]
    fn whoever_invents_labels_gets_no_more_series_than_the_limit() {
        let family: Family<String, Counter> = Family::new(10, "rest".to_owned(), Counter::default);
        for n in 0..1_000 {
            family.of(&format!("{n:03}")).inc();
        }
        family.of(&"003".to_owned()).inc();
        let all = family.all();
        assert_eq!(all.len(), 11);
        assert_eq!(all.iter().map(|(_, counter)| counter.get()).sum::<u64>(), 1_001);
        assert_eq!((all[3].0.as_str(), all[3].1.get()), ("003", 2));
        assert_eq!((all[10].0.as_str(), all[10].1.get()), ("rest", 990));
    }
}
