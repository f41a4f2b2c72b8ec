//! How long each rule of admission thinks about a write.

use std::fmt;
use std::sync::Arc;

use orchestra_metrics::{Histogram, write};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use tokio::time::Instant;

use crate::admission::{Admission, Operation};

const SECONDS: &[f64] = &[0.005, 0.025, 0.1, 0.5, 1.0, 2.5];

const PHASES: [&str; 2] = ["admit", "validate"];
const OPERATIONS: [&str; 4] = ["CREATE", "UPDATE", "DELETE", "CONNECT"];
const REJECTED: [&str; 2] = ["false", "true"];

/// Which of its two methods a rule is asked by.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Phase {
    /// It may change the object.
    Admit = 0,
    /// It may refuse the object.
    Validate = 1,
}

/// Times by phase, operation and outcome.
#[derive(Clone, Debug)]
struct Times([[[Histogram; REJECTED.len()]; OPERATIONS.len()]; PHASES.len()]);

impl Times {
    fn new() -> Self {
        Self(PHASES.map(|_| OPERATIONS.map(|_| REJECTED.map(|_| Histogram::new(SECONDS)))))
    }

    fn of(&self, phase: Phase, operation: Operation, is_rejected: bool) -> &Histogram {
        let operation = match operation {
            Operation::Create => 0,
            Operation::Update => 1,
            Operation::Delete => 2,
            Operation::Connect => 3,
        };
        &self.0[phase as usize][operation][usize::from(is_rejected)]
    }

    fn all(&self) -> impl Iterator<Item = ([&'static str; 3], &Histogram)> {
        let phases = PHASES.into_iter().zip(&self.0);
        let operations = phases.flat_map(|(phase, times)| {
            OPERATIONS.into_iter().zip(times).map(move |(operation, times)| (phase, operation, times))
        });
        let all = operations.flat_map(|(phase, operation, times)| {
            REJECTED.into_iter().zip(times).map(move |(rejected, time)| ([operation, rejected, phase], time))
        });
        all.filter(|(_, time)| time.count() > 0)
    }
}

/// Times of all rules, in their order, and of all of them together. Clones count the same.
#[derive(Clone, Debug)]
pub(crate) struct AdmissionMetrics {
    rules: Arc<[(String, Times)]>,
    step: Times,
}

impl AdmissionMetrics {
    /// For these rules, in this order.
    pub(crate) fn new(rules: &[Arc<dyn Admission>]) -> Self {
        Self {
            rules: rules.iter().map(|rule| (rule.name().to_owned(), Times::new())).collect(),
            step: Times::new(),
        }
    }

    /// All rules are about to be asked, one after the other.
    pub(crate) fn laps(&self, phase: Phase, operation: Operation) -> Laps<'_> {
        let now = Instant::now();
        Laps { metrics: self, phase, operation, begun: now, last: now }
    }
}

/// The rules are being asked.
#[derive(Debug)]
pub(crate) struct Laps<'a> {
    metrics: &'a AdmissionMetrics,
    phase: Phase,
    operation: Operation,
    begun: Instant,
    last: Instant,
}

impl Laps<'_> {
    /// The rule at this place has said this. A refusal ends the round.
    pub(crate) fn said<T, E>(&mut self, place: usize, outcome: Result<T, E>) -> Result<T, E> {
        let now = Instant::now();
        let is_rejected = outcome.is_err();
        if let Some((_, times)) = self.metrics.rules.get(place) {
            times.of(self.phase, self.operation, is_rejected).observe_duration(now - self.last);
        }
        self.last = now;
        if is_rejected {
            self.step(true);
        }
        outcome
    }

    /// Nobody has refused.
    pub(crate) fn end(self) {
        self.step(false);
    }

    fn step(&self, is_rejected: bool) {
        let step = self.metrics.step.of(self.phase, self.operation, is_rejected);
        step.observe_duration(self.last - self.begun);
    }
}

impl Collector for AdmissionMetrics {
    fn encode(&self, mut out: DescriptorEncoder<'_>) -> fmt::Result {
        let out = &mut out;
        let help = "[STABLE] Admission controller latency histogram in seconds, identified by name and broken out for each operation and API resource and type (validate or admit).";
        let took = self.rules.iter().enumerate().flat_map(|(at, (name, times))| {
            // Two rules of one name are one series, the first one's.
            let is_first = self.rules.iter().position(|(other, _)| other == name) == Some(at);
            times.all().filter(move |_| is_first).map(move |([operation, rejected, phase], took)| {
                let name = ("name", name.as_str());
                ([name, ("operation", operation), ("rejected", rejected), ("type", phase)], took)
            })
        });
        write::histogram(out, "apiserver_admission_controller_admission_duration_seconds", help, took)?;
        let help = "[STABLE] Admission sub-step latency histogram in seconds, broken out for each operation and API resource and step type (validate or admit).";
        let took = self.step.all().map(|([operation, rejected, phase], took)| {
            ([("operation", operation), ("rejected", rejected), ("type", phase)], took)
        });
        write::histogram(out, "apiserver_admission_step_admission_duration_seconds", help, took)
    }
}
