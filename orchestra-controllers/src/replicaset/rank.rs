//! Which pods to delete first when a ReplicaSet shrinks.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

use crate::pod;

const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// Sorts `pods` so that those to lose come first, by upstream's order: not placed, pending, not ready, cheap by
/// annotation, sharing a node with many `related` pods, ready for a short time, restarted often, young.
pub(super) fn sort_for_deletion(pods: &mut [Arc<Pod>], related: &[Arc<Pod>], now: Timestamp) {
    let mut crowd: HashMap<&str, usize> = HashMap::new();
    for pod in related.iter().filter(|pod| pod::is_active(pod)) {
        if let Some(node) = pod::node_name(pod) {
            *crowd.entry(node).or_default() += 1;
        }
    }
    let crowd = |pod: &Pod| pod::node_name(pod).and_then(|node| crowd.get(node)).copied().unwrap_or(0);
    pods.sort_by(|a, b| {
        pod::node_name(a)
            .is_some()
            .cmp(&pod::node_name(b).is_some())
            .then_with(|| phase_rank(a).cmp(&phase_rank(b)))
            .then_with(|| pod::is_ready(a).cmp(&pod::is_ready(b)))
            .then_with(|| cost(a).cmp(&cost(b)))
            .then_with(|| crowd(b).cmp(&crowd(a)))
            .then_with(|| by_age(pod::ready_since(a), pod::ready_since(b), a, b, now))
            .then_with(|| pod::restarts(b).cmp(&pod::restarts(a)))
            .then_with(|| by_age(created(a), created(b), a, b, now))
            .then_with(|| a.metadata.uid.cmp(&b.metadata.uid))
    });
}

fn phase_rank(pod: &Pod) -> u8 {
    match pod::phase(pod) {
        "Pending" => 0,
        "Unknown" => 1,
        "Running" => 2,
        _ => 0,
    }
}

fn cost(pod: &Pod) -> i32 {
    let text = pod.metadata.annotations.as_ref().and_then(|annotations| annotations.get(DELETION_COST));
    text.and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn created(pod: &Pod) -> Option<Timestamp> {
    pod.metadata.creation_timestamp.as_ref().map(|time| time.0)
}

/// The younger first, but only by order of magnitude: among pods of about the same age the uid decides, so that
/// shrinking does not always hit the same nodes.
fn by_age(a: Option<Timestamp>, b: Option<Timestamp>, pod_a: &Pod, pod_b: &Pod, now: Timestamp) -> Ordering {
    let (Some(a), Some(b)) = (a, b) else { return a.is_some().cmp(&b.is_some()) };
    if a == b {
        return Ordering::Equal;
    }
    magnitude(a, now).cmp(&magnitude(b, now)).then_with(|| pod_a.metadata.uid.cmp(&pod_b.metadata.uid))
}

fn magnitude(since: Timestamp, now: Timestamp) -> i32 {
    match now.duration_since(since).as_nanos() {
        age if age > 0 => i32::try_from(age.ilog2()).unwrap_or(i32::MAX),
        _ => -1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::pod_named;

    fn order(pods: Vec<Pod>, related: &[Pod]) -> Vec<String> {
        let mut pods: Vec<_> = pods.into_iter().map(Arc::new).collect();
        let related: Vec<_> = related.iter().cloned().map(Arc::new).collect();
        sort_for_deletion(&mut pods, &related, "2026-01-01T01:00:00Z".parse().unwrap());
        pods.iter().filter_map(|pod| pod.metadata.name.clone()).collect()
    }

    #[test]
    fn unplaced_pods_go_first_then_pending_then_unready() {
        let pods = vec![
            pod_named("ready").on("n1").ready_at("2026-01-01T00:00:00Z"),
            pod_named("unready").on("n1").running(),
            pod_named("pending").on("n1"),
            pod_named("unplaced"),
        ];
        let pods = pods.into_iter().map(|pod| pod.build()).collect();
        assert_eq!(order(pods, &[]), ["unplaced", "pending", "unready", "ready"]);
    }

    #[test]
    fn cheap_pods_go_before_dear_ones_and_crowded_nodes_before_empty_ones() {
        let ready = |name: &str, node: &str| pod_named(name).on(node).ready_at("2026-01-01T00:00:00Z");
        let cheap = ready("cheap", "n1").annotated(DELETION_COST, "-5").build();
        let crowded = ready("crowded", "n2").build();
        let alone = ready("alone", "n3").build();
        let related = [cheap.clone(), crowded.clone(), alone.clone(), ready("sibling", "n2").build()];
        assert_eq!(order(vec![alone, crowded, cheap], &related), ["cheap", "crowded", "alone"]);
    }

    #[test]
    fn pods_ready_for_a_short_time_go_before_old_ones() {
        let young = pod_named("young").on("n").ready_at("2026-01-01T00:59:59Z").build();
        let old = pod_named("old").on("n").ready_at("2026-01-01T00:00:00Z").build();
        assert_eq!(order(vec![old, young], &[]), ["young", "old"]);
    }
}
