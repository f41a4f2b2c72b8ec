//! What becomes of a pod when a plugin says no after the choice, or breaks.

use super::*;
use crate::plugin::{PreBind, Reserve};
use crate::verdict::Preparation;
use crate::view::NodeName;

/// Says the same at every point after the choice.
#[derive(Debug)]
struct Late {
    reserve: fn() -> Reservation,
    prepare: fn() -> Preparation,
}

impl Plugin for Late {
    fn name(&self) -> &str {
        "Late"
    }
}

impl Reserve for Late {
    fn reserve(&self, _: &mut Cycle<'_>, _: &PodView, _: &NodeName) -> Reservation {
        (self.reserve)()
    }

    fn unreserve(&self, _: &mut Cycle<'_>, _: &PodView, _: &NodeName) -> Vec<Effect> {
        Vec::new()
    }
}

impl PreBind for Late {
    fn pre_bind(&self, _: &ClusterView, _: &PodView, _: &NodeName) -> Preparation {
        (self.prepare)()
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(10)
    }
}

/// What is told of a pod under such a plugin; its room is given back.
fn told(reserve: fn() -> Reservation, prepare: fn() -> Preparation) -> (ReportReason, String) {
    let late = Registration::of(Late { reserve, prepare }).reserve().pre_bind();
    let profile = Profile::default().register(late.into());
    let mut dispatcher = Scheduler::default().profile(profile).dispatcher().unwrap();
    dispatcher.node_applied(node("n"), START);
    dispatcher.pod_applied(asking("p", "1"), START);
    let told = report(dispatcher.next(START));
    assert!(dispatcher.cluster().node("n").unwrap().pods().is_empty());
    told
}

#[test]
fn a_refusal_while_reserving_is_told_of_one_node() {
    let refuse = || Reservation::Reject(Rejection::unschedulable("taken"));
    let expected = (ReportReason::Unschedulable, "0/1 nodes are available: 1 taken.".to_owned());
    assert_eq!(told(refuse, || Preparation::Ready), expected);
}

#[test]
fn errors_after_the_choice_name_point_and_plugin() {
    let error = |text: &str| (ReportReason::SchedulerError, text.to_owned());
    let fail = || Reservation::Fail("broken".into());
    assert_eq!(told(fail, || Preparation::Ready), error("running Reserve plugin \"Late\": broken"));
    let fail = || Preparation::Fail("broken".into());
    assert_eq!(told(|| Reservation::Made, fail), error("running PreBind plugin \"Late\": broken"));
}

#[test]
fn a_panic_after_the_choice_fails_the_pod_with_the_plugins_name() {
    let error = |text: &str| (ReportReason::SchedulerError, text.to_owned());
    let panics = told(|| panic!("boom"), || Preparation::Ready);
    assert_eq!(panics, error("plugin \"Late\" panicked in Reserve: boom"));
    let panics = told(|| Reservation::Made, || panic!("boom"));
    assert_eq!(panics, error("plugin \"Late\" panicked in PreBind: boom"));
}

#[test]
fn a_victim_that_is_leaving_already_is_not_evicted_again() {
    let mut dispatcher = dispatcher();
    dispatcher.node_applied(node("n"), START);
    let leaving = PodView { terminating: true, ..bound_to("p", "n", "2") };
    dispatcher.pod_applied(leaving, START);
    dispatcher.pod_applied(bound_to("q", "n", "2"), START);
    dispatcher.pod_applied(important("vip", 9, "4"), START);
    assert_eq!(evictions(&mut dispatcher, START), [("q".to_owned(), false)]);
}

/// Refuses every pod, and breaks when it is asked what would help.
#[derive(Debug)]
struct Speechless;

impl Plugin for Speechless {
    fn name(&self) -> &str {
        "Speechless"
    }
}

impl crate::plugin::Filter for Speechless {
    fn filter(&self, _: &Cycle<'_>, _: &PodView, _: &NodeView) -> crate::verdict::Verdict {
        crate::verdict::Verdict::unschedulable("no")
    }
}

impl crate::plugin::Requeue for Speechless {
    fn hint(&self, _: &ClusterView, _: &PodView, _: &ClusterEvent) -> crate::event::Hint {
        panic!("no idea")
    }
}

#[test]
fn where_nobody_can_say_what_helps_everything_is_a_reason_to_try_again() {
    let plugin = || Registration::of(Speechless).filter();
    for registration in [plugin(), plugin().requeue()] {
        let profile = Profile::default().register(registration.into());
        let mut dispatcher = Scheduler::default().profile(profile).dispatcher().unwrap();
        dispatcher.node_applied(node("n"), START);
        dispatcher.node_applied(node("m"), START);
        dispatcher.pod_applied(asking("p", "1"), START);
        assert_eq!(report(dispatcher.next(START)).0, ReportReason::Unschedulable);
        assert_eq!(dispatcher.counts().unschedulable, 1);
        dispatcher.node_deleted("m", START);
        assert_eq!((dispatcher.counts().unschedulable, dispatcher.counts().backoff), (0, 1));
    }
    let by_an_extender = BTreeSet::from([crate::extender::EXTENDER.to_owned()]);
    let event = ClusterEvent::NodeDeleted(std::sync::Arc::new(node("m")));
    let nobody = std::collections::HashMap::new();
    assert!(helps(&ClusterView::default(), &[], &nobody)(&asking("p", "1"), &by_an_extender, &event));
}

#[test]
fn pods_of_the_same_priority_keep_what_they_were_promised() {
    let mut dispatcher = dispatcher();
    dispatcher.node_applied(node("n"), START);
    for name in ["p", "q"] {
        dispatcher.pod_applied(bound_to(name, "n", "2"), START);
    }
    for name in ["one", "two"] {
        dispatcher.pod_applied(important(name, 9, "2"), START);
        assert!(!evictions(&mut dispatcher, START).is_empty());
    }
    assert_eq!(dispatcher.cluster().nominated("n").len(), 2);
}
