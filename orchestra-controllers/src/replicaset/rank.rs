//! Which pods to delete first when a ReplicaSet shrinks.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

use crate::pod;

const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// What decides, the weightiest first; the least goes first.
type Rank = (bool, u8, bool, i32, Reverse<usize>, Age, Reverse<i32>, Age, Option<String>);

/// Whether there is a moment, and how long ago it was, by order of magnitude: among pods of about the same age what comes next
/// decides, and at last the uid, so that shrinking does not always hit the same nodes.
type Age = (bool, i32);

/// Sorts `pods` so that those to lose come first, by upstream's order: not placed, pending, not ready, cheap by
/// annotation, sharing a node with many `related` pods, ready for a short time, restarted often, young.
///
/// Upstream lets the uid decide at once between pods that became ready at different moments of the same magnitude, and asks
/// further only if the moments are equal. That is no order: three pods can each be before the next. Here restarts are asked in
/// both cases.
pub(super) fn sort_for_deletion(pods: &mut [Arc<Pod>], related: &[Arc<Pod>], now: Timestamp) {
    let mut crowd: HashMap<&str, usize> = HashMap::new();
    for pod in related.iter().filter(|pod| pod::is_active(pod)) {
        if let Some(node) = pod::node_name(pod) {
            *crowd.entry(node).or_default() += 1;
        }
    }
    let rank = |pod: &Pod| -> Rank {
        let node = pod::node_name(pod);
        (
            node.is_some(),
            phase_rank(pod),
            pod::is_ready(pod),
            cost(pod),
            Reverse(node.and_then(|node| crowd.get(node)).copied().unwrap_or(0)),
            age(pod::ready_since(pod), now),
            Reverse(pod::restarts(pod)),
            age(created(pod), now),
            pod.metadata.uid.clone(),
        )
    };
    pods.sort_by_cached_key(|pod| rank(pod));
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

fn age(since: Option<Timestamp>, now: Timestamp) -> Age {
    (since.is_some(), since.map_or(0, |since| magnitude(since, now)))
}

fn magnitude(since: Timestamp, now: Timestamp) -> i32 {
    match now.duration_since(since).as_nanos() {
        age if age > 0 => i32::try_from(age.ilog2()).unwrap_or(i32::MAX),
        _ => -1,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

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

    /// Ready at the same or another moment of the same magnitude, restarted seldom or often, in every order of uids: a sort by
    /// what is no order panics, or depends on how the pods stood before.
    #[test]
    fn many_pods_of_about_the_same_age_have_one_order() {
        let mut pods: Vec<Pod> = (0..600_u32)
            .map(|number| {
                let mixed = number.wrapping_mul(2_654_435_761);
                let second = 10 + mixed % 5;
                let name = format!("{mixed:08x}");
                let mut pod =
                    pod_named(&name).on("n").ready_at(&format!("2026-01-01T00:00:{second}Z")).build();
                pod.metadata.uid = Some(format!("{:08x}", mixed.rotate_left(11)));
                let restarts = i32::try_from((mixed >> 8) & 3).unwrap();
                let statuses = json!([{"name": "c", "image": "i", "imageID": "", "ready": true, "restartCount": restarts}]);
                pod.status.get_or_insert_default().container_statuses = serde_json::from_value(statuses).unwrap();
                pod
            })
            .collect();
        let sorted = order(pods.clone(), &[]);
        pods.reverse();
        assert_eq!(order(pods.clone(), &[]), sorted);
        pods.sort_by(|a, b| a.metadata.uid.cmp(&b.metadata.uid));
        assert_eq!(order(pods, &[]), sorted);
    }
}
