//! Victims, and the room they leave to whom it is promised.

use super::*;

#[test]
fn the_last_victim_goes_when_the_others_are_gone_and_its_end_wakes_the_pod() {
    let mut dispatcher = dispatcher();
    dispatcher.node_applied(node("n"), START);
    for name in ["p", "q", "r"] {
        dispatcher.pod_applied(bound_to(name, "n", "1"), START);
    }
    dispatcher.pod_applied(important("vip", 9, "4"), START);
    let mut first = evictions(&mut dispatcher, START);
    first.sort();
    assert_eq!(first, [("p".to_owned(), false), ("q".to_owned(), false)]);
    assert_eq!(dispatcher.cluster().nominated("n").len(), 1);
    for name in ["p", "q"] {
        dispatcher.pod_deleted(&PodKey::new("default", name), START);
        assert_eq!(dispatcher.counts().unschedulable, 1, "held back until the last eviction begins");
        dispatcher.evicted(&uid("vip"), Ok(()), START);
    }
    assert_eq!(evictions(&mut dispatcher, START), [("r".to_owned(), false)]);
    dispatcher.pod_deleted(&PodKey::new("default", "r"), START);
    dispatcher.evicted(&uid("vip"), Ok(()), START);
    assert_eq!(binding(dispatcher.next(seconds(2))), pair("vip", "n"));
}

#[test]
fn a_failed_eviction_spares_the_last_victim_and_tries_the_pod_again() {
    let mut dispatcher = dispatcher();
    dispatcher.node_applied(node("n"), START);
    for name in ["p", "q"] {
        dispatcher.pod_applied(bound_to(name, "n", "2"), START);
    }
    dispatcher.pod_applied(important("vip", 9, "4"), START);
    assert_eq!(evictions(&mut dispatcher, START).len(), 1);
    dispatcher.evicted(&uid("vip"), Err("no".into()), START);
    assert_eq!(dispatcher.counts().active, 1);
}

#[test]
fn promised_room_is_kept_from_lesser_pods_and_lost_to_greater_ones() {
    let mut dispatcher = dispatcher();
    dispatcher.node_applied(node("n"), START);
    dispatcher.pod_applied(bound_to("p", "n", "4"), START);
    dispatcher.pod_applied(important("vip", 9, "4"), START);
    assert_eq!(evictions(&mut dispatcher, START).len(), 1);
    dispatcher.pod_applied(important("vip", 9, "4"), START);
    assert_eq!(
        dispatcher.cluster().nominated("n").len(),
        1,
        "a status that says nothing yet takes nothing back"
    );
    dispatcher.pod_deleted(&PodKey::new("default", "p"), START);
    dispatcher.pod_applied(important("low", 1, "1"), START);
    let nominated = |dispatcher: &Dispatcher| {
        let pods = dispatcher.cluster().nominated("n").iter();
        pods.map(|pod| pod.key.name.to_string()).collect::<Vec<_>>()
    };
    // The pod that made room pauses; the lesser one must not slip in.
    let mut steps = Vec::new();
    while let Some(step) = dispatcher.next(START) {
        steps.push(step);
    }
    let bound: Vec<_> = steps.into_iter().filter(|step| matches!(step, Step::Perform(_))).collect();
    assert_eq!(bound.len(), 1);
    assert_eq!(binding(bound.into_iter().next()), pair("vip", "n"));
    assert!(nominated(&dispatcher).is_empty());
}

#[test]
fn a_more_important_pod_takes_what_a_lesser_one_was_promised() {
    let mut dispatcher = dispatcher();
    dispatcher.node_applied(node("n"), START);
    dispatcher.pod_applied(bound_to("p", "n", "4"), START);
    dispatcher.pod_applied(important("vip", 9, "4"), START);
    assert_eq!(evictions(&mut dispatcher, START).len(), 1);
    dispatcher.pod_applied(important("king", 99, "4"), START);
    let mut displaced = Vec::new();
    while let Some(step) = dispatcher.next(START) {
        if let Step::Report(Report { pod, reason: ReportReason::Displaced, .. }) = step {
            displaced.push(pod.key.name.to_string());
        }
    }
    assert_eq!(displaced, ["vip"]);
    assert_eq!(&*dispatcher.cluster().nominated("n")[0].key.name, "king");
}

#[test]
fn a_victim_that_is_not_bound_yet_is_taken_back_without_deleting_it() {
    let mut dispatcher = pairing();
    dispatcher.pod_applied(important("low", 1, "4"), START);
    assert!(dispatcher.next(START).is_none(), "low waits for company");
    dispatcher.pod_applied(important("vip", 9, "4"), START);
    let (mut evicted, mut told) = (Vec::new(), Vec::new());
    while let Some(step) = dispatcher.next(START) {
        match step {
            Step::Evict(eviction) => evicted.push((eviction.victim.key.name.to_string(), eviction.in_memory)),
            Step::Report(report) => {
                told.push((report.pod.key.name.to_string(), report.reason, report.message))
            }
            _ => {}
        }
    }
    assert_eq!(evicted, [("low".to_owned(), true)]);
    let why = "preempted by pod default/vip".to_owned();
    assert!(told.contains(&("low".to_owned(), ReportReason::SchedulerError, why)), "{told:?}");
    assert!(dispatcher.cluster().node("n").unwrap().pods().iter().all(|pod| &*pod.key.name != "low"));
}
