//! One policy on one workload.

use std::collections::BTreeMap;

use orchestra_scheduler::queue::Moment;
use orchestra_scheduler::view::NodeName;
use orchestra_scheduler::{Error, Profile, Scheduler, Step};

use super::trace::Trace;
use super::workload::Workload;
use crate::gpu::Ask;

/// How much was given away as more and more came.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    /// Which part of all devices was given away in the end, in percent.
    pub allocated: f64,
    /// The same by how much had been asked for, both in percent: at every whole number the mean over the arrivals nearest to
    /// it, each rounded to two digits, which is how the published numbers were made.
    pub by_arrived: BTreeMap<i64, f64>,
    /// How many pods found a node.
    pub placed: usize,
    /// How many did not.
    pub dropped: usize,
    /// Who went where, as the position of each node in the trace's list, or nothing.
    pub nodes: Vec<Option<NodeName>>,
}

/// Runs a policy.
///
/// # Errors
/// When the profile contradicts itself.
pub fn run(trace: &Trace, workload: &Workload, profile: Profile) -> Result<Curve, Error> {
    let now = Moment::default();
    let mut scheduler = Scheduler::default().profiles(vec![profile]).dispatcher()?;
    for index in &workload.nodes {
        if let Some(node) = trace.nodes.get(*index) {
            scheduler.node_applied(node.clone(), now);
        }
    }
    let (mut arrived, mut given) = (0_i64, 0_i64);
    let share = |milli: i64| milli as f64 / (trace.capacity() as f64 / 100.0);
    let mut sums: BTreeMap<i64, (f64, u32)> = BTreeMap::new();
    let mut nodes = Vec::with_capacity(workload.arrivals.len());
    for pod in workload.pods(trace) {
        let (key, milli) = (pod.key.clone(), Ask::of(&pod).milli());
        arrived += milli;
        let mut chosen = None;
        scheduler.pod_applied(pod, now);
        while let Some(step) = scheduler.next(now) {
            match step {
                Step::Perform(job) => scheduler.performed(&job.pod.uid, Ok(()), now),
                Step::Bound { node, .. } => chosen = Some(node),
                _ => {}
            }
        }
        match &chosen {
            Some(_) => given += milli,
            None => scheduler.pod_deleted(&key, now),
        }
        nodes.push(chosen);
        let place = sums.entry(share(arrived).round_ties_even() as i64).or_default();
        *place = (place.0 + hundredths(share(given)), place.1 + 1);
    }
    let placed = nodes.iter().flatten().count();
    let means = sums.into_iter().map(|(at, (sum, count))| (at, hundredths(sum / f64::from(count))));
    Ok(Curve {
        allocated: share(given),
        by_arrived: means.collect(),
        placed,
        dropped: nodes.len() - placed,
        nodes,
    })
}

/// Rounded to two digits.
fn hundredths(value: f64) -> f64 {
    (value * 100.0).round_ties_even() / 100.0
}
