use proptest::prelude::*;

use super::*;
use crate::testing::pod_named;

const NOW: &str = "2026-01-01T01:00:00Z";

fn set(replicas: i32) -> ReplicaSet {
    serde_json::from_value(serde_json::json!({
        "metadata": {"name": "web", "namespace": "default", "uid": "rs", "generation": 1},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}},
                 "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": []}}},
    }))
    .unwrap()
}

fn plan_for(set: &ReplicaSet, pods: &[Arc<Pod>]) -> Vec<Action> {
    plan(&Observed { set, pods, related: pods, settled: true, now: NOW.parse().unwrap() })
}

#[test]
fn creates_what_is_missing_in_bursts() {
    assert_eq!(plan_for(&set(3), &[]), [Action::Create(3)]);
    assert_eq!(plan_for(&set(3000), &[]), [Action::Create(BURST)]);
}

#[test]
fn does_nothing_while_orders_are_open() {
    let observed =
        Observed { set: &set(3), pods: &[], related: &[], settled: false, now: NOW.parse().unwrap() };
    assert_eq!(plan(&observed), []);
}

#[test]
fn replaces_finished_and_terminating_pods() {
    let pods = [
        Arc::new(pod_named("a").phase("Failed").build()),
        Arc::new(pod_named("b").running().terminating().build()),
        Arc::new(pod_named("c").running().build()),
    ];
    assert_eq!(plan_for(&set(3), &pods), [Action::Create(2)]);
}

#[test]
fn a_set_that_is_being_deleted_neither_creates_nor_deletes() {
    let mut set = set(3);
    set.metadata.deletion_timestamp = Some(Time(NOW.parse().unwrap()));
    assert!(matches!(plan_for(&set, &[])[..], [Action::SetStatus(_)]));
}

#[test]
fn counts_pods_as_upstream_does() {
    let ready = "2026-01-01T00:00:00Z";
    let pods = [
        Arc::new(pod_named("a").labelled("app", "web").ready_at(ready).build()),
        Arc::new(pod_named("b").running().build()),
        Arc::new(pod_named("c").running().terminating().build()),
    ];
    let actions = plan_for(&set(2), &pods);
    let [Action::SetStatus(status)] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!(
        **status,
        ReplicaSetStatus {
            replicas: 2,
            fully_labeled_replicas: Some(1),
            ready_replicas: Some(1),
            available_replicas: Some(1),
            terminating_replicas: Some(1),
            observed_generation: Some(1),
            conditions: None,
        }
    );
}

#[test]
fn looks_again_when_a_ready_pod_becomes_available() {
    let mut set = set(1);
    set.spec.get_or_insert_default().min_ready_seconds = Some(30);
    let pods = [Arc::new(pod_named("a").ready_at("2026-01-01T00:59:50Z").build())];
    let actions = plan_for(&set, &pods);
    assert!(actions.contains(&Action::LookAgain(Duration::from_secs(20))), "{actions:?}");
}

#[test]
fn only_after_a_look_at_many_pods_are_changes_gathered() {
    assert_eq!([0, 99, 10_000, usize::MAX].map(|pods| rest(pods).as_millis()), [0, 0, 100, 250]);
}

proptest! {
    #[test]
    fn reaches_the_wanted_number_and_then_rests(wanted in 0_i32..20, have in 0_usize..20) {
        let mut set = set(wanted);
        let mut pods: Vec<_> = (0..have).map(|i| Arc::new(pod_named(&format!("p{i}")).running().build())).collect();
        for _ in 0..4 {
            for action in plan_for(&set, &pods) {
                match action {
                    Action::Create(n) => {
                        let from = pods.len() + 100;
                        pods.extend((0..n).map(|i| Arc::new(pod_named(&format!("p{}", from + i)).build())));
                    }
                    Action::Delete(doomed) => pods.retain(|pod| !doomed.contains(pod)),
                    Action::SetStatus(status) => set.status = Some(*status),
                    Action::LookAgain(_) => {}
                }
            }
        }
        prop_assert_eq!(pods.len(), usize::try_from(wanted).unwrap());
        prop_assert_eq!(plan_for(&set, &pods), []);
    }
}
