//! How long a Job waits after failures before it starts another pod.
//!
//! Upstream remembers the failures in memory and forgets them with a restart. Here they are read off the pods, which
//! stay after they have ended: the pods that failed since the last one that succeeded are the failures in a row.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::JobSpec;
use k8s_openapi::api::core::v1::Pod;

use super::spec::{FAILURES, IGNORED_FAILURES, has_failed, has_succeeded, is_tracked, number};
use crate::pod;

const FIRST: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_secs(600);

/// How long still to wait before the next pod of a Job.
pub(super) fn remaining(pods: &[Arc<Pod>], spec: &JobSpec, now: Timestamp) -> Duration {
    let succeeded = pods.iter().filter(|pod| has_succeeded(pod)).map(|pod| finished_at(pod)).max();
    let since = |at: &Timestamp| succeeded.is_none_or(|succeeded| *at > succeeded);
    // A pod that the Job itself gave up, as when it is suspended or shrinks, ends as a failure and is none.
    let is_given_up = |pod: &Pod| pod::is_terminating(pod) && !is_tracked(pod);
    let failed = pods.iter().filter(|pod| has_failed(pod, spec) && !is_given_up(pod));
    let failed = failed.map(|pod| finished_at(pod)).filter(since);
    let (count, last) = failed.fold((0, Timestamp::MIN), |(count, last), at| (count + 1, last.max(at)));
    left(count, last, now)
}

/// How long still to wait before the pod that takes the place of the last failed one of an index.
pub(super) fn remaining_for_index(last: &Pod, now: Timestamp) -> Duration {
    let before = number(last, FAILURES).saturating_add(number(last, IGNORED_FAILURES));
    left(before.saturating_add(1), finished_at(last), now)
}

/// The first failure costs ten seconds, each further one twice as much.
fn left(failures: i32, last: Timestamp, now: Timestamp) -> Duration {
    let Some(doublings) = u32::try_from(failures).ok().and_then(|failures| failures.checked_sub(1)) else {
        return Duration::ZERO;
    };
    let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
    let needed = FIRST.saturating_mul(factor).min(LONGEST);
    // The stamps of pods come from other machines and have whole seconds; one from the future has just passed.
    let passed = Duration::try_from(now.duration_since(last)).unwrap_or(Duration::ZERO);
    needed.saturating_sub(passed)
}

/// When a pod ended, as well as it tells.
pub(super) fn finished_at(pod: &Pod) -> Timestamp {
    ended_containers(pod)
        .or_else(|| {
            let ready = pod::condition(pod, "Ready").filter(|ready| ready.status == "False")?;
            ready.last_transition_time.as_ref().map(|time| time.0)
        })
        .or_else(|| {
            let grace = SignedDuration::from_secs(pod.metadata.deletion_grace_period_seconds.unwrap_or(0));
            pod.metadata.deletion_timestamp.as_ref()?.0.checked_sub(grace).ok()
        })
        .or_else(|| pod.metadata.creation_timestamp.as_ref().map(|time| time.0))
        .unwrap_or(Timestamp::MIN)
}

/// When the last container ended, if all have.
fn ended_containers(pod: &Pod) -> Option<Timestamp> {
    let containers = pod.status.as_ref()?.container_statuses.iter().flatten();
    let ends: Option<Vec<Timestamp>> = containers
        .map(|container| Some(container.state.as_ref()?.terminated.as_ref()?.finished_at.as_ref()?.0))
        .collect();
    ends?.into_iter().max()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::pod_named;

    fn at(time: &str) -> Timestamp {
        format!("2026-01-01T{time}Z").parse().unwrap()
    }

    fn ended(phase: &str, time: &str) -> Arc<Pod> {
        let mut pod = pod_named("p").phase(phase).build();
        let state = serde_json::json!([{"name": "c", "image": "", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"terminated": {"exitCode": 1, "finishedAt": at(time)}}}]);
        pod.status.get_or_insert_default().container_statuses = Some(serde_json::from_value(state).unwrap());
        Arc::new(pod)
    }

    fn wait(pods: &[Arc<Pod>], now: &str) -> u64 {
        remaining(pods, &JobSpec::default(), at(now)).as_secs()
    }

    #[test]
    fn doubles_with_each_failure_from_ten_seconds_to_ten_minutes() {
        let mut pods = Vec::new();
        let mut waits = vec![wait(&pods, "00:00:00")];
        for _ in 0..8 {
            pods.push(ended("Failed", "00:00:00"));
            waits.push(wait(&pods, "00:00:00"));
        }
        assert_eq!(waits, [0, 10, 20, 40, 80, 160, 320, 600, 600]);
        assert_eq!(wait(&pods[..2], "00:00:05"), 15);
        assert_eq!(wait(&pods[..2], "01:00:00"), 0);
    }

    #[test]
    fn a_pod_that_was_given_up_is_no_failure() {
        let mut pod = Pod::clone(&ended("Failed", "00:00:00"));
        pod.metadata.deletion_timestamp = pod_named("x").terminating().build().metadata.deletion_timestamp;
        assert_eq!(wait(&[Arc::new(pod.clone())], "00:00:00"), 0);
        pod.metadata.finalizers = Some(vec![crate::job::FINALIZER.into()]);
        assert_eq!(wait(&[Arc::new(pod)], "00:00:00"), 10);
    }

    #[test]
    fn a_success_wipes_out_the_failures_before_it() {
        let pods = [ended("Failed", "00:00:00"), ended("Succeeded", "00:00:10"), ended("Failed", "00:00:20")];
        assert_eq!(wait(&pods[..2], "00:00:10"), 0);
        assert_eq!(wait(&pods, "00:00:20"), 10);
    }
}
