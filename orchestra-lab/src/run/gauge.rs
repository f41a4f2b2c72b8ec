//! Measures a run: what is in use of what there is, over time.

use std::collections::BTreeMap;
use std::sync::Arc;

use orchestra_scheduler::view::{ClusterView, NodeFacts, PodView};
use orchestra_scheduler::{ResourceName, Resources};

use super::fragment::Fragments;
use crate::gpu::Account;
use crate::time::SimTime;
use crate::workload::Workload;

/// How many samples a run has at the end of what its workload names.
const SAMPLES: u64 = 200;
/// With more than this many, every second one is dropped and the time between them doubled.
const MOST_SAMPLES: usize = 400;
/// How many resources besides CPU and memory are measured.
const MOST_SCALARS: usize = 6;

/// A resource that is measured.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Resource(pub ResourceName);

impl Resource {
    fn of(&self, amounts: &Resources) -> i64 {
        amounts.amount(&self.0)
    }
}

/// What was in use of one resource over a run, as shares of what there was.
#[derive(Clone, Debug, PartialEq)]
pub struct Usage {
    /// The resource.
    pub resource: Resource,
    /// On average over time.
    pub mean: f64,
    /// At most.
    pub peak: f64,
    /// At the end.
    pub last: f64,
    /// The share of what was idle that typical pods could not use, on average over the samples.
    pub fragmentation: f64,
}

/// The state at one time.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// When.
    pub time: SimTime,
    /// Pods that wait for a node.
    pub waiting: u64,
    /// Pods that have one.
    pub running: u64,
    /// Nodes that are there.
    pub nodes: u64,
    /// For each measured resource, the share in use, from 0 to 1.
    pub used: Vec<f64>,
    /// For each measured resource, the share of what is idle that typical pods cannot use, from 0 to 1.
    pub fragmented: Vec<f64>,
}

/// The sums of one resource.
#[derive(Clone, Debug)]
struct Meter {
    resource: Resource,
    capacity: i128,
    used: i128,
    /// Sums over time, in units and microseconds.
    capacity_time: i128,
    used_time: i128,
    peak: f64,
}

impl Meter {
    fn share(&self) -> f64 {
        share(self.used, self.capacity)
    }
}

#[derive(Debug)]
pub(super) struct Gauge {
    meters: Vec<Meter>,
    fragments: Fragments,
    since: SimTime,
    waiting: u64,
    running: u64,
    nodes: u64,
    samples: Vec<Sample>,
    interval: SimTime,
    next: SimTime,
}

impl Gauge {
    pub(super) fn new(workload: &Workload, devices: Arc<Account>) -> Self {
        let resources = measured(workload);
        let interval = workload.horizon().as_micros().div_ceil(SAMPLES).max(1);
        let meters = resources.iter().cloned().map(|resource| Meter {
            resource,
            capacity: 0,
            used: 0,
            capacity_time: 0,
            used_time: 0,
            peak: 0.0,
        });
        Self {
            meters: meters.collect(),
            fragments: Fragments::of(workload, &resources, devices),
            since: SimTime::ZERO,
            waiting: 0,
            running: 0,
            nodes: 0,
            samples: Vec::new(),
            interval: SimTime::from_micros(interval),
            next: SimTime::ZERO,
        }
    }

    /// The clock goes on to `now`; what was true so far held until then.
    pub(super) fn advance(&mut self, now: SimTime, cluster: &ClusterView) {
        // Samples that are due before now see the state as it was.
        while self.next < now {
            self.sample(self.next, cluster);
            self.next = self.next.plus(self.interval);
            if self.samples.len() > MOST_SAMPLES {
                let mut index = 0;
                self.samples.retain(|_| {
                    index += 1;
                    index % 2 == 1
                });
                let last = self.samples.last().map(|sample| sample.time).unwrap_or_default();
                self.interval = self.interval.plus(self.interval);
                self.next = last.plus(self.interval);
            }
        }
        let span = i128::from(now.since(self.since).as_micros());
        for meter in &mut self.meters {
            meter.capacity_time += meter.capacity * span;
            meter.used_time += meter.used * span;
        }
        self.since = now;
    }

    pub(super) fn node_came(&mut self, facts: &NodeFacts) {
        self.nodes += 1;
        for meter in &mut self.meters {
            meter.capacity += i128::from(meter.resource.of(&facts.allocatable));
        }
    }

    pub(super) fn node_went(&mut self, facts: &NodeFacts) {
        self.nodes = self.nodes.saturating_sub(1);
        for meter in &mut self.meters {
            meter.capacity -= i128::from(meter.resource.of(&facts.allocatable));
        }
    }

    pub(super) fn pod_came(&mut self) {
        self.waiting += 1;
    }

    pub(super) fn pod_gave_up(&mut self) {
        self.waiting = self.waiting.saturating_sub(1);
    }

    pub(super) fn pod_bound(&mut self, pod: &PodView) {
        self.waiting = self.waiting.saturating_sub(1);
        self.running += 1;
        for meter in &mut self.meters {
            meter.used += i128::from(meter.resource.of(&pod.demand.requests));
        }
    }

    pub(super) fn pod_left(&mut self, pod: &PodView) {
        self.running = self.running.saturating_sub(1);
        for meter in &mut self.meters {
            meter.used -= i128::from(meter.resource.of(&pod.demand.requests));
        }
    }

    /// All of one moment has happened.
    pub(super) fn settled(&mut self) {
        for meter in &mut self.meters {
            meter.peak = meter.peak.max(meter.share());
        }
    }

    fn sample(&mut self, time: SimTime, cluster: &ClusterView) {
        let sample = Sample {
            time,
            waiting: self.waiting,
            running: self.running,
            nodes: self.nodes,
            used: self.meters.iter().map(Meter::share).collect(),
            fragmented: self.fragments.of_cluster(cluster),
        };
        self.samples.push(sample);
    }

    /// The run is over; one last sample is taken.
    pub(super) fn end(mut self, now: SimTime, cluster: &ClusterView) -> (Vec<Usage>, Vec<Sample>) {
        self.advance(now, cluster);
        self.sample(now, cluster);
        let count = self.samples.len() as f64;
        let usage = self.meters.iter().enumerate().map(|(at, meter)| {
            let fragmented = self.samples.iter().filter_map(|sample| sample.fragmented.get(at)).sum::<f64>();
            Usage {
                resource: meter.resource.clone(),
                mean: if meter.capacity_time > 0 {
                    share(meter.used_time, meter.capacity_time)
                } else {
                    meter.share()
                },
                peak: meter.peak,
                last: meter.share(),
                fragmentation: fragmented / count,
            }
        });
        (usage.collect(), self.samples)
    }
}

fn share(part: i128, of: i128) -> f64 {
    if of > 0 { part as f64 / of as f64 } else { 0.0 }
}

/// CPU, memory, and what else the nodes offer.
fn measured(workload: &Workload) -> Vec<Resource> {
    let mut scalars = BTreeMap::new();
    for node in &workload.nodes {
        for (name, amount) in node.facts.allocatable.scalars.iter().filter(|(_, amount)| **amount > 0) {
            *scalars.entry(name.clone()).or_insert(0_i128) += i128::from(*amount);
        }
    }
    let scalars = scalars.into_keys().take(MOST_SCALARS).map(|name| Resource(ResourceName::Scalar(name)));
    [Resource(ResourceName::Cpu), Resource(ResourceName::Memory)].into_iter().chain(scalars).collect()
}
