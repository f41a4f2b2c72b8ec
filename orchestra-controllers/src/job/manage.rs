//! Which pods of a Job to start or stop: the numbers and indexes.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

use super::backoff::{remaining, remaining_for_index};
use super::plan::Facts;
use super::spec::{index, indexed, is_going, is_suspended, replaces_failed_only};
use super::template;
use crate::family::Known;
use crate::pod;

/// No more pods than this are created or deleted at a time, as upstream.
const BURST: usize = 500;

/// What the number of running pods asks for.
#[derive(Debug, PartialEq)]
pub(super) enum Staffing {
    /// It is as it should be.
    Right,
    /// Pods to start; perhaps more after a while.
    Start(Vec<Pod>, Option<Duration>),
    /// Too many.
    Stop(Vec<Arc<Pod>>),
    /// Too few, but failures are to be waited out.
    Wait(Duration),
}

pub(super) fn staffing(facts: &Facts<'_>, now: Timestamp) -> Staffing {
    let spec = facts.spec;
    let active = facts.active.len();
    if is_suspended(spec) {
        return stop_or_rest(facts.active.clone());
    }
    let wanted = wanted(facts);
    let mut doomed = surplus(facts, active.saturating_sub(wanted));
    doomed.truncate(BURST);
    if !doomed.is_empty() {
        return Staffing::Stop(doomed);
    }
    let going = if replaces_failed_only(spec) { facts.going } else { 0 };
    let missing = wanted.saturating_sub(going).saturating_sub(active).min(BURST);
    if missing == 0 {
        return Staffing::Right;
    }
    let by_index = spec.backoff_limit_per_index.is_some();
    let wait = if by_index { Duration::ZERO } else { remaining(facts.pods, spec, now) };
    if !wait.is_zero() {
        return Staffing::Wait(wait);
    }
    match indexed(spec) {
        None => Staffing::Start(vec![template::plain(facts.job, spec); missing], None),
        Some(completions) => start_indexes(facts, missing, completions, now),
    }
}

fn stop_or_rest(mut doomed: Vec<Arc<Pod>>) -> Staffing {
    doomed.truncate(BURST);
    if doomed.is_empty() { Staffing::Right } else { Staffing::Stop(doomed) }
}

/// How many pods should run.
fn wanted(facts: &Facts<'_>) -> usize {
    let count = |number: i32| usize::try_from(number).unwrap_or(0);
    let parallelism = count(facts.spec.parallelism.unwrap_or(1));
    match facts.spec.completions {
        // Once a pod of a work queue has succeeded the work is done: what runs may end, nothing new begins.
        None if facts.succeeded > 0 => facts.active.len(),
        None => parallelism,
        Some(completions) => count(completions.saturating_sub(facts.succeeded)).min(parallelism),
    }
}

fn start_indexes(facts: &Facts<'_>, missing: usize, completions: u32, now: Timestamp) -> Staffing {
    let mut taken = facts.succeeded_indexes.clone();
    let index_of = |pod: &Arc<Pod>| index(pod, completions);
    taken.extend(facts.active.iter().filter_map(index_of));
    if replaces_failed_only(facts.spec) {
        taken.extend(facts.pods.iter().filter(|pod| is_going(pod)).filter_map(index_of));
    }
    if let Some(failed) = &facts.failed_indexes {
        taken.unite(failed);
    }
    let (mut start, mut waits) = (Vec::new(), Vec::new());
    for index in taken.first_missing(missing, completions) {
        let replaced = facts.awaiting.get(&index).map(Arc::as_ref);
        match replaced.map_or(Duration::ZERO, |pod| remaining_for_index(pod, now)) {
            Duration::ZERO => start.push(template::indexed(facts.job, facts.spec, index, replaced)),
            wait => waits.push(wait),
        }
    }
    let wait = waits.into_iter().min();
    match (start.is_empty(), wait) {
        (false, wait) => Staffing::Start(start, wait),
        (true, Some(wait)) => Staffing::Wait(wait),
        (true, None) => Staffing::Right,
    }
}

/// The pods to stop: those of no index or of one that another pod has, and then as many more as are too many.
fn surplus(facts: &Facts<'_>, at_least: usize) -> Vec<Arc<Pod>> {
    let (mut doomed, mut left) = (Vec::new(), facts.active.clone());
    left.sort_by(|a, b| least_worth(a, b));
    if let Some(completions) = indexed(facts.spec) {
        let mut keepers: BTreeMap<u32, Arc<Pod>> = BTreeMap::new();
        for pod in left {
            let replaced = match index(&pod, completions) {
                Some(index) => keepers.insert(index, pod),
                None => Some(pod),
            };
            doomed.extend(replaced);
        }
        left = keepers.into_values().collect();
        left.sort_by(|a, b| least_worth(a, b));
    }
    let more = at_least.saturating_sub(doomed.len());
    doomed.extend(left.into_iter().take(more));
    doomed
}

/// The pod whose loss costs least first: unplaced, pending, not ready, ready for a short time, restarted often, young.
fn least_worth(a: &Pod, b: &Pod) -> Ordering {
    let stage = |pod: &Pod| match pod::phase(pod) {
        "Running" => 2,
        "Unknown" => 1,
        _ => 0,
    };
    let created = |pod: &Pod| pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
    pod::node_name(a)
        .is_some()
        .cmp(&pod::node_name(b).is_some())
        .then_with(|| stage(a).cmp(&stage(b)))
        .then_with(|| pod::is_ready(a).cmp(&pod::is_ready(b)))
        .then_with(|| pod::ready_since(b).cmp(&pod::ready_since(a)))
        .then_with(|| pod::restarts(b).cmp(&pod::restarts(a)))
        .then_with(|| created(b).cmp(&created(a)))
        .then_with(|| a.uid().cmp(b.uid()))
}
