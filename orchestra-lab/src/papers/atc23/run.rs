//! One policy on one workload.

use std::collections::{BTreeMap, HashSet};

use orchestra_scheduler::queue::Moment;
use orchestra_scheduler::view::{NodeName, PodView};
use orchestra_scheduler::{Dispatcher, Error, Profile, Resources, Scheduler, Step};

use super::trace::Trace;
use super::workload::Workload;
use crate::gpu::{Ask, models};

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
    /// Who went where, in the order they came.
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
    let mut hopeless: HashSet<(Resources, Vec<String>)> = HashSet::new();
    for pod in workload.pods(trace) {
        let milli = Ask::of(&pod).milli();
        arrived += milli;
        // Nobody leaves: where one found no node, the next who wants the same finds none either and need not ask.
        let wants = (pod.demand.requests.clone(), models(&pod).into_iter().map(str::to_owned).collect());
        let chosen = if hopeless.contains(&wants) { None } else { decide(&mut scheduler, pod) };
        match &chosen {
            Some(_) => given += milli,
            None => drop(hopeless.insert(wants)),
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

/// Asks for one pod; who finds no node is forgotten.
fn decide(scheduler: &mut Dispatcher, pod: PodView) -> Option<NodeName> {
    let (now, key, mut chosen) = (Moment::default(), pod.key.clone(), None);
    scheduler.pod_applied(pod, now);
    while let Some(step) = scheduler.next(now) {
        match step {
            Step::Perform(job) => scheduler.performed(&job.pod.uid, Ok(()), now),
            Step::Bound { node, .. } => chosen = Some(node),
            _ => {}
        }
    }
    if chosen.is_none() {
        scheduler.pod_deleted(&key, now);
    }
    chosen
}

/// Rounded to two digits.
fn hundredths(value: f64) -> f64 {
    (value * 100.0).round_ties_even() / 100.0
}
