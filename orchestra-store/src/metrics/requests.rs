//! Requests to a store, counted by what they are about; under the names that upstream has for its requests to etcd.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use orchestra_metrics::{Histogram, write};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::registry::Registry;

/// Upstream's bounds begin at 5 milliseconds, by which a store in this process has long answered; so there are more below.
const REQUEST_SECONDS: &[f64] = &[
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0,
    3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0, 45.0, 60.0,
];

/// Whoever can invent resources must not fill the memory by it.
const MOST_SUBJECTS: usize = 1000;

/// What is asked of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// One key is read.
    Get,
    /// A range is read.
    List,
    /// A key is written that must not exist.
    Create,
    /// A key is written otherwise.
    Update,
    /// A key is removed.
    Delete,
    /// A watch is begun.
    Watch,
}

impl Operation {
    const ALL: [Self; 6] = [Self::Get, Self::List, Self::Create, Self::Update, Self::Delete, Self::Watch];

    fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Watch => "watch",
        }
    }
}

/// What a request is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Subject {
    group: Box<str>,
    resource: Box<str>,
}

#[derive(Debug)]
struct Counts {
    took: [Histogram; Operation::ALL.len()],
    errors: [AtomicU64; Operation::ALL.len()],
}

impl Default for Counts {
    fn default() -> Self {
        Self { took: Operation::ALL.map(|_| Histogram::new(REQUEST_SECONDS)), errors: Default::default() }
    }
}

type Resources = HashMap<Box<str>, Arc<Counts>>;

/// Times and failures of requests. Clones count into the same.
#[derive(Clone, Debug, Default)]
pub struct RequestMetrics {
    /// By group.
    subjects: Arc<RwLock<HashMap<Box<str>, Resources>>>,
}

impl RequestMetrics {
    /// A request about a resource of a group took so long, and was answered or failed.
    pub fn observe<T, E>(
        &self,
        operation: Operation,
        (group, resource): (&str, &str),
        took: Duration,
        outcome: &Result<T, E>,
    ) {
        let counts = self.counts(group, resource);
        let at = operation as usize;
        counts.took[at].observe_duration(took);
        if outcome.is_err() {
            counts.errors[at].fetch_add(1, Ordering::Relaxed);
        }
    }

    fn counts(&self, group: &str, resource: &str) -> Arc<Counts> {
        {
            let subjects = self.subjects.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(counts) = subjects.get(group).and_then(|resources| resources.get(resource)) {
                return Arc::clone(counts);
            }
            let known: usize = subjects.values().map(HashMap::len).sum();
            if known >= MOST_SUBJECTS && (group, resource) != ("", "") {
                drop(subjects);
                return self.counts("", "");
            }
        }
        let mut subjects = self.subjects.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(subjects.entry(group.into()).or_default().entry(resource.into()).or_default())
    }

    /// Shows them in `registry`.
    pub fn register(&self, registry: &mut Registry) {
        registry.register_collector(Box::new(self.clone()));
    }

    /// Everything counted so far, in an order that stays.
    fn all(&self) -> Vec<(Subject, Arc<Counts>)> {
        let subjects = self.subjects.read().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = subjects
            .iter()
            .flat_map(|(group, resources)| {
                resources.iter().map(|(resource, counts)| {
                    (Subject { group: group.clone(), resource: resource.clone() }, Arc::clone(counts))
                })
            })
            .collect();
        all.sort_by(|(a, _), (b, _)| (&a.group, &a.resource).cmp(&(&b.group, &b.resource)));
        all
    }
}

impl Collector for RequestMetrics {
    fn encode(&self, mut out: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let out = &mut out;
        let all = self.all();
        let asked = || {
            all.iter().flat_map(|(subject, counts)| {
                let asked = Operation::ALL.into_iter().filter(|at| counts.took[*at as usize].count() > 0);
                asked.map(move |operation| {
                    let labels = [
                        ("operation", operation.name()),
                        ("group", &*subject.group),
                        ("resource", &*subject.resource),
                    ];
                    (labels, &**counts, operation as usize)
                })
            })
        };
        let help = "[ALPHA] Etcd request latency in seconds for each operation and object type.";
        let took = asked().map(|(labels, counts, at)| (labels, &counts.took[at]));
        write::histogram(out, "etcd_request_duration_seconds", help, took)?;
        let help = "[ALPHA] Etcd request counts for each operation and object type.";
        let requests = asked().map(|(labels, counts, at)| (labels, counts.took[at].count()));
        write::counter(out, "etcd_requests_total", help, requests)?;
        let help = "[ALPHA] Etcd failed request counts for each operation and object type.";
        let failed = asked().map(|(labels, counts, at)| (labels, counts.errors[at].load(Ordering::Relaxed)));
        write::counter(out, "etcd_request_errors_total", help, failed)
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;

    fn text(metrics: &RequestMetrics) -> String {
        let mut registry = Registry::default();
        metrics.register(&mut registry);
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        text
    }

    #[test]
    fn requests_and_failures_are_counted_by_what_they_are_about() {
        let metrics = RequestMetrics::default();
        let took = Duration::from_millis(3);
        metrics.observe(Operation::Create, ("apps", "deployments"), took, &Ok::<_, ()>(()));
        metrics.observe(Operation::Create, ("apps", "deployments"), took, &Err::<(), _>(()));
        metrics.observe(Operation::Get, ("", "pods"), took, &Ok::<_, ()>(()));
        let text = text(&metrics);
        for line in [
            r#"etcd_requests_total{operation="create",group="apps",resource="deployments"} 2"#,
            r#"etcd_request_errors_total{operation="create",group="apps",resource="deployments"} 1"#,
            r#"etcd_requests_total{operation="get",group="",resource="pods"} 1"#,
            r#"etcd_request_duration_seconds_bucket{le="0.005",operation="create",group="apps",resource="deployments"} 2"#,
            r#"etcd_request_duration_seconds_sum{operation="get",group="",resource="pods"} 0.003"#,
        ] {
            assert!(text.lines().any(|found| found == line), "no {line} in\n{text}");
        }
    }

    #[test]
    fn whoever_invents_resources_fills_no_memory() {
        let metrics = RequestMetrics::default();
        for n in 0..3 * MOST_SUBJECTS {
            metrics.observe(Operation::Get, ("g", &n.to_string()), Duration::ZERO, &Ok::<_, ()>(()));
        }
        assert_eq!(metrics.all().len(), MOST_SUBJECTS + 1);
        assert_eq!(metrics.counts("", "").took[0].count(), 2 * MOST_SUBJECTS as u64);
    }
}
