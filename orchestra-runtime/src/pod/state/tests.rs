use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::pod::status::{NodeFacts, status};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + seconds).unwrap()
}

fn pod(spec: serde_json::Value) -> Pod {
    let meta = json!({"name": "p", "namespace": "ns", "uid": "u", "generation": 3});
    serde_json::from_value(json!({"metadata": meta, "spec": spec})).unwrap()
}

/// A pod with an init container, a sidecar and two containers.
fn family(policy: &str) -> Pod {
    pod(json!({
        "restartPolicy": policy,
        "initContainers": [{"name": "init"}, {"name": "side", "restartPolicy": "Always"}],
        "containers": [{"name": "a"}, {"name": "b"}],
    }))
}

fn one(policy: &str) -> Pod {
    pod(json!({"restartPolicy": policy, "containers": [{"name": "a"}]}))
}

fn sandboxed() -> PodState {
    PodState {
        sandbox: Sandbox::Ready { id: SandboxId("s".into()), addresses: vec!["127.64.0.2".parse().unwrap()] },
        ..PodState::default()
    }
}

fn with(life: Life) -> Container {
    Container { life, started: true, ready: true, ..Container::new() }
}

fn running() -> Container {
    with(Life::Running { id: ContainerId("c".into()), started_at: at(0), hooked: true })
}

fn ended(code: i32) -> Container {
    let exit =
        Exit { code, signal: None, started_at: Some(at(0)), finished_at: at(1), reason: None, message: None };
    with(Life::Ended(Ended { id: Some(ContainerId("c".into())), exit }))
}

fn state(containers: &[(&str, Container)]) -> PodState {
    let containers = containers.iter().map(|(name, c)| ((*name).to_owned(), c.clone())).collect();
    PodState { containers, ..sandboxed() }
}

fn stopping(why: StopReason, mut state: PodState) -> PodState {
    state.stop = Some(Stop { since: at(0), grace_seconds: 30, why });
    state
}

/// The actions in short.
fn actions(pod: &Pod, state: &PodState, now: i64) -> Vec<String> {
    let line = |action| match action {
        Action::RunSandbox => "sandbox".to_owned(),
        Action::Start(name) => format!("start {name}"),
        Action::Stop { name, grace_seconds, .. } => format!("stop {name} {grace_seconds}"),
        Action::Release => "release".to_owned(),
        Action::Finish => "finish".to_owned(),
    };
    decide(pod, state, at(now)).actions.into_iter().map(line).collect()
}

#[test]
fn a_pod_gets_its_sandbox_first() {
    assert_eq!(actions(&one("Always"), &PodState::default(), 0), ["sandbox"]);
    let failed = Sandbox::Failed { message: String::new(), retry_at: at(5) };
    let failed = PodState { sandbox: failed, ..PodState::default() };
    assert!(actions(&one("Always"), &failed, 4).is_empty());
    assert_eq!(decide(&one("Always"), &failed, at(4)).wake, Some(at(5)));
    assert_eq!(actions(&one("Always"), &failed, 5), ["sandbox"]);
}

#[test]
fn containers_start_in_the_order_of_their_parts() {
    let pod = family("Always");
    assert_eq!(actions(&pod, &sandboxed(), 0), ["start init"]);
    assert!(actions(&pod, &state(&[("init", running())]), 0).is_empty());
    assert_eq!(actions(&pod, &state(&[("init", ended(0))]), 0), ["start side"]);
    let unstarted = Container { started: false, ..running() };
    assert!(actions(&pod, &state(&[("init", ended(0)), ("side", unstarted)]), 0).is_empty());
    let all = actions(&pod, &state(&[("init", ended(0)), ("side", running())]), 0);
    assert_eq!(all, ["start a", "start b"]);
}

#[test]
fn init_containers_run_once_in_a_sandbox_and_sidecars_always() {
    let pod = family("Always");
    let mut late = state(&[("side", ended(0)), ("a", running()), ("b", running())]);
    late.initialized = true;
    assert_eq!(actions(&pod, &late, 5), ["start side"]);
}

#[test]
fn restart_policies_decide_about_exits() {
    for (policy, code, want) in [
        ("Always", 0, vec!["start a"]),
        ("Always", 1, vec!["start a"]),
        ("OnFailure", 0, vec!["release"]),
        ("OnFailure", 1, vec!["start a"]),
        ("Never", 0, vec!["release"]),
        ("Never", 1, vec!["release"]),
    ] {
        assert_eq!(actions(&one(policy), &state(&[("a", ended(code))]), 5), want, "{policy} {code}");
    }
}

#[test]
fn an_init_container_that_fails_for_good_ends_the_pod() {
    let failed = state(&[("init", ended(1))]);
    assert_eq!(outcome(&family("Never"), &failed), Some(Outcome::Failed));
    assert_eq!(outcome(&family("OnFailure"), &failed), None);
    assert_eq!(actions(&family("OnFailure"), &failed, 5), ["start init"]);
}

#[test]
fn a_crash_waits_for_its_backoff() {
    let mut container = ended(1);
    container.backoff.step(at(0), at(0));
    let state = state(&[("a", container)]);
    let pod = one("Always");
    assert!(actions(&pod, &state, 10).is_empty());
    assert_eq!(decide(&pod, &state, at(10)).wake, Some(at(11)));
    assert_eq!(actions(&pod, &state, 11), ["start a"]);
}

#[test]
fn sidecars_stop_last_and_get_what_is_left_of_the_grace() {
    let pod = family("Always");
    let all = [("side", running()), ("a", running()), ("b", running())];
    let begin = stopping(StopReason::Deleted, state(&all));
    assert_eq!(actions(&pod, &begin, 0), ["stop a 30", "stop b 30"]);
    let half = stopping(StopReason::Deleted, state(&[("side", running()), ("a", ended(0)), ("b", ended(0))]));
    assert_eq!(actions(&pod, &half, 10), ["stop side 20"]);
    assert_eq!(actions(&pod, &half, 40), ["stop side 2"]);
    let quiet = stopping(StopReason::Deleted, state(&[("side", ended(0)), ("a", ended(0)), ("b", ended(0))]));
    assert_eq!(actions(&pod, &quiet, 10), ["finish"]);
}

#[test]
fn sidecars_of_a_finished_pod_are_stopped() {
    let pod = family("Never");
    let done = [("init", ended(0)), ("side", running()), ("a", ended(0)), ("b", ended(0))];
    let mut done = state(&done);
    done.initialized = true;
    assert_eq!(actions(&pod, &done, 0), ["stop side 30"]);
}

#[test]
fn a_pod_past_its_deadline_stays_in_the_api() {
    let quiet = stopping(StopReason::Deadline, state(&[("a", ended(143))]));
    assert_eq!(actions(&one("Always"), &quiet, 0), ["release"]);
    let released = PodState { released: true, ..quiet };
    assert!(actions(&one("Always"), &released, 0).is_empty());
}

#[test]
fn a_failed_probe_restarts_the_container() {
    let condemned = Container { condemned: Some("why".into()), ..running() };
    assert_eq!(actions(&one("Always"), &state(&[("a", condemned)]), 0), ["stop a 30"]);
}

fn node() -> NodeFacts {
    NodeFacts { address: "127.0.0.1".into(), runtime: "process".into() }
}

fn phase(pod: &Pod, state: &PodState) -> String {
    status(pod, state, &node(), at(100)).phase.unwrap()
}

#[test]
fn phases_follow_the_containers() {
    let both = |a, b| {
        let mut state = state(&[("a", a), ("b", b), ("init", ended(0)), ("side", running())]);
        state.initialized = true;
        state
    };
    let starting = with(Life::Starting);
    for (policy, state, want) in [
        ("Always", sandboxed(), "Pending"),
        ("Always", both(running(), starting), "Pending"),
        ("Always", both(running(), running()), "Running"),
        ("Always", both(ended(0), ended(0)), "Running"),
        ("OnFailure", both(ended(0), running()), "Running"),
        ("OnFailure", both(ended(0), ended(0)), "Succeeded"),
        ("Never", both(ended(0), ended(1)), "Failed"),
        ("Never", state(&[("init", ended(1))]), "Failed"),
        ("Always", stopping(StopReason::Deadline, both(running(), running())), "Failed"),
        ("Always", stopping(StopReason::Deleted, both(ended(0), ended(0))), "Succeeded"),
        ("Always", stopping(StopReason::Deleted, both(ended(0), ended(143))), "Failed"),
    ] {
        assert_eq!(phase(&family(policy), &state), want, "{policy} {state:?}");
    }
}

#[test]
fn statuses_say_what_upstream_says() {
    let mut state = state(&[("init", running())]);
    let told = status(&family("Always"), &state, &node(), at(100));
    let find = |status: &k8s_openapi::api::core::v1::PodStatus, kind: &str| {
        let found = status.conditions.as_ref().unwrap().iter().find(|c| c.type_ == kind).unwrap().clone();
        (found.status, found.reason.unwrap_or_default(), found.message.unwrap_or_default())
    };
    let text = |a: &str, b: &str, c: &str| (a.to_owned(), b.to_owned(), c.to_owned());
    let incomplete = "containers with incomplete status: [init side]";
    assert_eq!(find(&told, "Initialized"), text("False", "ContainersNotInitialized", incomplete));
    let unready = "containers with unready status: [side a b]";
    assert_eq!(find(&told, "Ready"), text("False", "ContainersNotReady", unready));
    assert_eq!(told.observed_generation, Some(3));
    let waiting = told.container_statuses.unwrap()[0].state.as_ref().unwrap().waiting.clone().unwrap();
    assert_eq!(waiting.reason.as_deref(), Some("PodInitializing"));
    state.initialized = true;
    let told = status(&family("Always"), &state, &node(), at(100));
    assert_eq!(find(&told, "Initialized").0, "True");
}

#[test]
fn failed_pulls_turn_to_waiting() {
    let life =
        Life::Waiting { reason: "ErrImagePull".into(), message: "no".into(), since: at(0), retry_at: at(10) };
    let state = state(&[("a", with(life))]);
    let reason = |now| {
        let told = status(&one("Always"), &state, &node(), at(now)).container_statuses.unwrap();
        told[0].state.as_ref().unwrap().waiting.as_ref().unwrap().reason.clone().unwrap()
    };
    assert_eq!((reason(0), reason(2)), ("ErrImagePull".into(), "ImagePullBackOff".into()));
    assert_eq!(decide(&one("Always"), &state, at(0)).wake, Some(at(2)));
    assert_eq!(decide(&one("Always"), &state, at(3)).wake, Some(at(10)));
}

fn any_container() -> impl Strategy<Value = Option<Container>> {
    let life = prop_oneof![
        Just(None),
        Just(Some(with(Life::Starting))),
        Just(Some(running())),
        Just(Some(with(Life::Stopping { id: ContainerId("c".into()), started_at: at(0) }))),
        (0..3i32).prop_map(|code| Some(ended(code))),
    ];
    (life, any::<bool>(), any::<bool>())
        .prop_map(|(container, started, ready)| container.map(|c| Container { started, ready, ..c }))
}

proptest! {
    /// Whatever is known: what runs is not started again, what does not run is not stopped, an end is only declared when
    /// nothing is active, no container of a pod that has to end is started, and whatever is begun or awaited, the pod
    /// is never stuck.
    #[test]
    fn decisions_are_sane(
        policy in prop_oneof![Just("Always"), Just("OnFailure"), Just("Never")],
        all in proptest::collection::vec(any_container(), 4),
        stop in any::<bool>(),
        initialized in any::<bool>(),
        now in 0i64..50,
    ) {
        let pod = family(policy);
        let names = ["init", "side", "a", "b"];
        let present = names.iter().zip(all).filter_map(|(n, c)| Some((*n, c?))).collect::<Vec<_>>();
        let mut known = state(&present);
        known.initialized = initialized;
        if stop {
            known = stopping(StopReason::Deleted, known);
        }
        let decision = decide(&pod, &known, at(now));
        let active = known.containers.values().any(Container::is_active);
        for action in &decision.actions {
            match action {
                Action::Start(name) => {
                    prop_assert!(!stop);
                    prop_assert!(!known.containers.get(name).is_some_and(Container::is_active));
                }
                Action::Stop { name, grace_seconds, .. } => {
                    prop_assert!(known.containers[name].is_running());
                    prop_assert!((0..=30).contains(grace_seconds));
                }
                Action::Finish | Action::Release => prop_assert!(!active),
                Action::RunSandbox => prop_assert!(false, "there is one"),
            }
        }
        prop_assert!(active || decision.wake.is_some() || !decision.actions.is_empty());
        // A status can always be told, and telling it twice changes nothing.
        let told = status(&pod, &known, &node(), at(now));
        let mut again = pod.clone();
        again.status = Some(told.clone());
        prop_assert_eq!(status(&again, &known, &node(), at(now + 1)), told);
    }
}
