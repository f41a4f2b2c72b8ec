//! Tests of the queue against the statements about it.

use serde_json::json;

use super::*;
use crate::plugins::PrioritySort;
use crate::testing::{node, pod};

fn queue() -> Queue {
    Queue::new(Some(Arc::new(PrioritySort)), BackoffOptions::default())
}

fn at(millis: u64) -> Moment {
    Moment(Duration::from_millis(millis))
}

fn important(name: &str, priority: i32) -> Arc<PodView> {
    pod(json!({"metadata": {"name": name}, "spec": {"priority": priority}}))
}

fn popped(queue: &mut Queue, now: Moment) -> Option<String> {
    queue.pop(now).map(|queued| queued.pod.key.name.to_string())
}

fn uid(name: &str) -> PodUid {
    PodUid::from(name)
}

fn plugins() -> BTreeSet<String> {
    BTreeSet::from(["P".to_owned()])
}

fn event() -> ClusterEvent {
    ClusterEvent::NodeAdded(node(json!({})))
}

const ALWAYS: Helps<'static> = &|_, _, _| true;
const NEVER: Helps<'static> = &|_, _, _| false;

#[test]
fn active_order_is_priority_then_queue_time() {
    let mut queue = queue();
    for (name, priority, millis) in [("late", 0, 3), ("low", -5, 0), ("early", 0, 1), ("high", 9, 2)] {
        queue.add(important(name, priority), None, at(millis));
    }
    let order: Vec<_> = std::iter::from_fn(|| popped(&mut queue, at(10))).collect();
    assert_eq!(order, ["high", "early", "late", "low"]);
}

#[test]
fn backoff_doubles_per_rejection_up_to_the_longest_and_ends_on_whole_seconds() {
    let options = BackoffOptions::default();
    for (count, seconds) in [(0, 0.3), (1, 1.0), (2, 2.0), (3, 4.0), (4, 8.0), (5, 10.0), (99, 10.0)] {
        assert_eq!(options.over(at(300), count, 0), Moment(Duration::from_secs_f64(seconds)), "{count}");
    }
    assert_eq!(options.over(at(0), 4, 1), at(1000), "errors in a row count instead");
}

#[test]
fn a_rejected_pod_waits_until_an_event_helps_it() {
    let mut queue = queue();
    queue.add(important("p", 0), None, at(0));
    queue.pop(at(0));
    queue.reject(&uid("p"), plugins(), at(0), NEVER);
    assert_eq!(queue.counts().unschedulable, 1);
    queue.happened(&event(), at(1), NEVER);
    assert_eq!(popped(&mut queue, at(2)), None);
    queue.happened(&event(), at(1500), &|_, rejected_by, _| rejected_by.contains("P"));
    assert_eq!(queue.counts().active, 1);
    assert_eq!(popped(&mut queue, at(1500)).as_deref(), Some("p"));
}

#[test]
fn an_event_before_the_pause_is_over_moves_the_pod_to_backoff() {
    let mut queue = queue();
    queue.add(important("p", 0), None, at(0));
    queue.pop(at(0));
    queue.reject(&uid("p"), plugins(), at(0), NEVER);
    queue.happened(&event(), at(500), ALWAYS);
    assert_eq!(queue.counts().backoff, 1);
    assert_eq!(queue.next_due(), Some(at(1000)));
}

#[test]
fn backoff_is_popped_when_nothing_is_active_but_error_backoff_is_not() {
    let mut queue = queue();
    for name in ["rejected", "failed"] {
        queue.add(important(name, 0), None, at(0));
    }
    queue.pop(at(0));
    queue.pop(at(0));
    queue.reject(&uid("rejected"), plugins(), at(0), NEVER);
    queue.fail(&uid("failed"), at(0));
    queue.happened(&event(), at(1), ALWAYS);
    assert_eq!(popped(&mut queue, at(2)).as_deref(), Some("rejected"));
    assert_eq!(popped(&mut queue, at(999)), None);
    assert_eq!(popped(&mut queue, at(1000)).as_deref(), Some("failed"));
}

#[test]
fn within_one_second_of_backoff_the_more_important_pod_is_first() {
    let mut queue = queue();
    for (name, priority) in [("low", 1), ("high", 2)] {
        queue.add(important(name, priority), None, at(0));
    }
    assert!(popped(&mut queue, at(0)).is_some() && popped(&mut queue, at(0)).is_some());
    for (name, millis) in [("low", 10), ("high", 900)] {
        queue.reject(&uid(name), plugins(), at(millis), NEVER);
    }
    queue.happened(&event(), at(950), ALWAYS);
    assert_eq!(popped(&mut queue, at(960)).as_deref(), Some("high"));
}

#[test]
fn events_seen_while_in_flight_are_replayed() {
    let mut queue = queue();
    queue.add(important("p", 0), None, at(0));
    queue.happened(&event(), at(0), ALWAYS);
    queue.pop(at(0));
    queue.happened(&event(), at(1), ALWAYS);
    queue.reject(&uid("p"), plugins(), at(2), ALWAYS);
    assert_eq!(queue.counts().backoff, 1);
}

#[test]
fn leftovers_are_tried_again_after_five_minutes() {
    let mut queue = queue();
    queue.add(important("p", 0), None, at(0));
    queue.pop(at(0));
    queue.reject(&uid("p"), plugins(), at(0), NEVER);
    assert_eq!(queue.next_due(), Some(at(300_000)));
    assert_eq!(popped(&mut queue, at(299_999)), None);
    assert_eq!(popped(&mut queue, at(300_000)).as_deref(), Some("p"));
}

#[test]
fn gated_pods_are_not_tried_until_let_in() {
    let mut queue = queue();
    queue.add(important("p", 0), Some("SchedulingGates".into()), at(0));
    queue.happened(&event(), at(0), ALWAYS);
    assert_eq!(popped(&mut queue, at(1_000_000)), None);
    queue.ungate(&uid("p"), at(1_000_000));
    assert_eq!(popped(&mut queue, at(1_000_000)).as_deref(), Some("p"));
}

#[test]
fn removed_pods_are_not_popped_and_re_added_ones_only_once() {
    let mut queue = queue();
    queue.add(important("p", 0), None, at(0));
    queue.remove(&uid("p"));
    assert_eq!(popped(&mut queue, at(0)), None);
    queue.add(important("p", 0), None, at(1));
    queue.replace(important("p", 7));
    assert_eq!(popped(&mut queue, at(1)).as_deref(), Some("p"));
    assert_eq!(popped(&mut queue, at(1)), None);
}

#[test]
fn pods_are_counted_by_queue_and_cause_and_those_rejected_by_plugin() {
    let mut queue = queue();
    queue.add(pod(json!({"metadata": {"name": "p"}})), None, at(0));
    queue.add(pod(json!({"metadata": {"name": "g"}})), Some("P".to_owned()), at(0));
    let rejected = |queue: &Queue| queue.tally().rejected.values().sum::<usize>();
    assert_eq!(popped(&mut queue, at(0)).as_deref(), Some("p"));
    queue.reject(&uid("p"), plugins(), at(0), NEVER);
    assert_eq!(rejected(&queue), 1);
    queue.happened(&event(), at(5_000), ALWAYS);
    assert_eq!(popped(&mut queue, at(5_000)).as_deref(), Some("p"));
    assert_eq!(rejected(&queue), 0);
    queue.reject(&uid("p"), plugins(), at(5_000), NEVER);
    assert_eq!(popped(&mut queue, at(400_000)).as_deref(), Some("p"));
    assert!(queue.is_flushed(&uid("p")));
    queue.reject(&uid("p"), plugins(), at(400_000), NEVER);
    queue.remove(&uid("p"));
    assert_eq!(rejected(&queue), 0);
    let counted: Vec<_> = queue.tally().incoming.clone().into_iter().collect();
    assert_eq!(
        counted,
        [
            (("active", "NodeAdd"), 1),
            (("active", "UnschedulablePodAdd"), 1),
            (("active", "UnschedulableTimeout"), 1),
            (("gated", "UnschedulablePodAdd"), 1),
            (("unschedulable", "ScheduleAttemptFailure"), 3),
        ]
    );
}

#[test]
fn a_rejection_ends_a_row_of_errors() {
    let mut queue = queue();
    queue.add(important("p", 0), None, at(0));
    for now in [0, 10_000, 20_000] {
        queue.pop(at(now));
        queue.fail(&uid("p"), at(now));
    }
    assert_eq!(queue.next_due(), Some(at(24_000)), "the third error in a row");
    queue.pop(at(30_000));
    queue.reject(&uid("p"), plugins(), at(30_000), ALWAYS);
    queue.happened(&event(), at(30_001), ALWAYS);
    assert_eq!(queue.next_due(), Some(at(31_000)), "the first rejection");
}

#[test]
fn a_pause_begins_when_the_pod_comes_back() {
    let mut queue = queue();
    queue.add(important("p", 0), None, at(0));
    queue.pop(at(50_000));
    queue.reject(&uid("p"), plugins(), at(50_000), NEVER);
    queue.happened(&event(), at(50_001), ALWAYS);
    assert_eq!(queue.next_due(), Some(at(51_000)));
}

#[test]
fn a_queue_that_was_long_gives_back_what_it_took() {
    let (mut queue, names) = (queue(), (0..10_000).map(|number| format!("p{number}")).collect::<Vec<_>>());
    for name in &names {
        queue.add(important(name, 0), None, at(0));
    }
    let most = (queue.entries.capacity(), queue.active.capacity());
    assert!(most.0 >= names.len() && most.1 >= names.len());
    for name in &names[..names.len() - 1] {
        assert_eq!(popped(&mut queue, at(0)).as_ref(), Some(name));
        queue.remove(&uid(name));
    }
    let least = (queue.entries.capacity(), queue.active.capacity());
    assert!(least.0 <= LEAST_ROOM && least.1 <= LEAST_ROOM, "{least:?} of {most:?}");
    assert_eq!(popped(&mut queue, at(0)).as_ref(), names.last(), "nobody is lost");
}
