//! What was measured, and which pods it says something about.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;

use crate::family::Known;
use crate::pod;

/// How long a new pod may use the processor for its start only: while it is not ready, that is not counted.
const INITIALIZATION: SignedDuration = SignedDuration::from_mins(5);
/// A pod that became unready this soon after its start has never been ready.
const NEVER_READY: SignedDuration = SignedDuration::from_secs(30);

/// What one pod was measured to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PodReading {
    /// In thousandths.
    pub milli: i64,
    /// When the measurement ended.
    pub taken: Timestamp,
    /// Over which time it was taken.
    pub window: Duration,
}

/// What was read for one metric.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    /// A value for each pod, by its name.
    Pods(BTreeMap<String, PodReading>),
    /// One value, in thousandths.
    Value(i64),
}

/// Pods by what their readings are good for.
pub(super) struct Sorted {
    /// How many are ready and were measured.
    pub(super) ready: usize,
    /// Those that do not work yet.
    pub(super) unready: BTreeSet<String>,
    /// Those that work and were not measured.
    pub(super) silent: BTreeSet<String>,
}

/// Sorts pods; `is_cpu` says whether what was measured is the processor, of which a start takes more than usual.
pub(super) fn sort(
    pods: &[Arc<Pod>],
    readings: &BTreeMap<String, PodReading>,
    is_cpu: bool,
    now: Timestamp,
) -> Sorted {
    let mut sorted = Sorted { ready: 0, unready: BTreeSet::new(), silent: BTreeSet::new() };
    for pod in pods {
        let name = || pod.name().to_owned();
        if pod::is_terminating(pod) || pod::phase(pod) == "Failed" {
            continue;
        }
        if pod::phase(pod) == "Pending" {
            sorted.unready.insert(name());
            continue;
        }
        match readings.get(pod.name()) {
            None => {
                sorted.silent.insert(name());
            }
            Some(reading) if is_cpu && is_starting(pod, reading, now) => {
                sorted.unready.insert(name());
            }
            Some(_) => sorted.ready += 1,
        }
    }
    sorted
}

/// Whether what a pod was measured to use of the processor was for its start.
fn is_starting(pod: &Pod, reading: &PodReading, now: Timestamp) -> bool {
    let started = pod.status.as_ref().and_then(|status| status.start_time.as_ref());
    let (Some(ready), Some(started)) = (pod::condition(pod, "Ready"), started) else { return true };
    let changed = ready.last_transition_time.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0);
    let is_unready = ready.status == "False";
    if now.duration_since(started.0) < INITIALIZATION {
        let window = SignedDuration::try_from(reading.window).unwrap_or(SignedDuration::MAX);
        // Measured in part before the pod was ready.
        return is_unready || reading.taken.duration_since(changed) < window;
    }
    is_unready && changed.duration_since(started.0) < NEVER_READY
}
