use serde_json::{Value, json};

use super::*;
use crate::testing::pod_named;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn node(ready: &str, taints: Value) -> Node {
    let pressure = ["MemoryPressure", "DiskPressure", "PIDPressure"];
    let mut conditions: Vec<Value> =
        pressure.iter().map(|type_| json!({"type": type_, "status": "False"})).collect();
    conditions.push(json!({"type": "Ready", "status": ready, "lastTransitionTime": "2026-01-01T00:00:00Z"}));
    if ready == "Unknown" {
        conditions.iter_mut().for_each(|condition| condition["status"] = "Unknown".into());
    }
    serde_json::from_value(json!({
        "metadata": {"name": "n"}, "spec": {"taints": taints}, "status": {"conditions": conditions},
    }))
    .unwrap()
}

fn planned(node: &Node, pods: &[Arc<Pod>], second: i64, all_down: bool, pace: Pace) -> Vec<Action> {
    plan(&Observed { node, pods, heard: at(0), all_down, pace, now: at(second) })
}

fn taints(actions: &[Action]) -> Option<Vec<String>> {
    actions.iter().find_map(|action| match action {
        Action::SetTaints(taints) => {
            Some(taints.iter().map(|taint| format!("{}:{}", taint.key, taint.effect)).collect())
        }
        _ => None,
    })
}

#[test]
fn a_node_is_unknown_after_fifty_seconds_of_silence() {
    let node = node("True", json!(null));
    let wait = |seconds| vec![Action::LookAgain(Duration::from_secs(seconds))];
    assert_eq!(planned(&node, &[], 0, false, Pace::Now), wait(50));
    assert_eq!(planned(&node, &[], 49, false, Pace::Now), wait(1));
    let actions = planned(&node, &[], 50, false, Pace::Now);
    let [Action::SetConditions(conditions)] = actions.as_slice() else { panic!("{actions:?}") };
    assert_eq!(conditions.len(), 4);
    for condition in conditions {
        assert_eq!(condition.status, "Unknown");
        assert_eq!(condition.reason.as_deref(), Some("NodeStatusUnknown"));
        assert_eq!(condition.message.as_deref(), Some("Kubelet stopped posting node status."));
    }
}

#[test]
fn a_node_that_never_said_anything_has_a_minute() {
    let node: Node = serde_json::from_value(
        json!({"metadata": {"name": "n", "creationTimestamp": "1970-01-01T00:00:00Z"}}),
    )
    .unwrap();
    assert_eq!(planned(&node, &[], 59, false, Pace::Now), [Action::LookAgain(Duration::from_secs(1))]);
    let actions = planned(&node, &[], 60, false, Pace::Now);
    let [Action::SetConditions(conditions)] = actions.as_slice() else { panic!("{actions:?}") };
    assert!(conditions.iter().all(|held| held.reason.as_deref() == Some("NodeStatusNeverUpdated")));
}

#[test]
fn taints_follow_the_conditions_and_leave_others_alone() {
    let own = json!([{"key": "mine", "effect": "NoExecute"}]);
    let unreachable = planned(&node("Unknown", own.clone()), &[], 60, false, Pace::Now);
    let both = [
        "mine:NoExecute",
        "node.kubernetes.io/unreachable:NoSchedule",
        "node.kubernetes.io/unreachable:NoExecute",
    ];
    assert_eq!(taints(&unreachable).unwrap(), both);
    let stale = json!([
        {"key": "node.kubernetes.io/unreachable", "effect": "NoSchedule"},
        {"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"},
    ]);
    let swapped = taints(&planned(&node("False", stale.clone()), &[], 0, false, Pace::Never)).unwrap();
    assert_eq!(
        swapped,
        ["node.kubernetes.io/not-ready:NoSchedule", "node.kubernetes.io/not-ready:NoExecute"]
    );
    assert_eq!(taints(&planned(&node("True", stale), &[], 0, false, Pace::Now)), Some(vec![]));
    assert_eq!(taints(&planned(&node("True", own), &[], 0, false, Pace::Now)), None);
}

#[test]
fn pods_are_driven_out_only_at_the_zones_pace_and_never_when_all_nodes_are_down() {
    let silent = node("Unknown", json!(null));
    let later = planned(&silent, &[], 60, false, Pace::After(Duration::from_secs(7)));
    assert_eq!(taints(&later).unwrap(), ["node.kubernetes.io/unreachable:NoSchedule"]);
    assert_eq!(later.first(), Some(&Action::LookAgain(Duration::from_secs(7))));
    let given_up = json!([
        {"key": "node.kubernetes.io/unreachable", "effect": "NoSchedule"},
        {"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"},
    ]);
    let given_up = node("Unknown", given_up);
    assert!(planned(&given_up, &[], 60, false, Pace::Never).is_empty());
    let all_down = planned(&given_up, &[], 60, true, Pace::Now);
    assert_eq!(taints(&all_down).unwrap(), ["node.kubernetes.io/unreachable:NoSchedule"]);
    assert!(asks_pace(&silent, false) && !asks_pace(&silent, true) && !asks_pace(&given_up, false));
}

#[test]
fn pods_of_a_node_in_trouble_are_not_ready_unless_its_agent_knows_better() {
    let before = Arc::new(pod_named("before").ready_at("2025-12-31T00:00:00Z").build());
    let after = Arc::new(pod_named("after").ready_at("2026-01-01T00:00:01Z").build());
    let waiting = Arc::new(pod_named("waiting").running().build());
    let pods = [before.clone(), after.clone(), waiting];
    let marked = |ready: &str| {
        let actions = planned(&node(ready, json!(null)), &pods, 0, false, Pace::Now);
        actions.into_iter().find_map(|action| match action {
            Action::MarkPods(pods) => Some(pods),
            _ => None,
        })
    };
    assert_eq!(marked("True"), None);
    assert_eq!(marked("False"), Some(vec![before.clone()]));
    assert_eq!(marked("Unknown"), Some(vec![before, after]));
}
