//! Tests of extenders: what they say, and what is made of it.

use std::sync::Mutex;

use serde_json::json;

use super::*;
use crate::engine::{Engine, ReferenceEngine};
use crate::outcome::Outcome;
use crate::plugin::Cycle;
use crate::testing::{asking, cluster, pod};
use crate::view::ClusterView;
use crate::{Profile, TieBreak};

type Filter = Box<dyn Fn(Vec<&str>) -> Result<Passed, String> + Send + Sync>;

/// Answers from a script, and keeps what it was asked.
struct Scripted {
    options: ExtenderOptions,
    filter: Filter,
    points: Result<Vec<(String, i64)>, String>,
    victims: Result<Vec<(NodeName, Vec<PodUid>, usize)>, String>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl std::fmt::Debug for Scripted {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Scripted")
    }
}

impl Default for Scripted {
    fn default() -> Self {
        Self {
            options: ExtenderOptions::default(),
            filter: Box::new(|nodes| Ok(passed(&nodes))),
            points: Ok(Vec::new()),
            victims: Ok(Vec::new()),
            asked: Arc::default(),
        }
    }
}

impl Extender for Scripted {
    fn name(&self) -> &str {
        "http://other"
    }

    fn options(&self) -> &ExtenderOptions {
        &self.options
    }

    fn originals(&self) -> Option<&Originals> {
        None
    }

    fn filter(&self, _: &PodView, nodes: &[&NodeView]) -> Result<Passed, String> {
        let names: Vec<&str> = nodes.iter().map(|node| &**node.name()).collect();
        self.asked.lock().unwrap().push(names.join(","));
        (self.filter)(names)
    }

    fn prioritize(&self, _: &PodView, _: &[&NodeView]) -> Result<Vec<(String, i64)>, String> {
        self.points.clone()
    }

    fn preempt(&self, _: &PodView, _: &[Proposal]) -> Result<Vec<(NodeName, Vec<PodUid>, usize)>, String> {
        self.victims.clone()
    }

    fn bind(&self, _: &PodKey, _: &PodUid, _: &NodeName) -> Result<(), String> {
        Ok(())
    }
}

fn passed(nodes: &[&str]) -> Passed {
    Passed { nodes: nodes.iter().map(|name| NodeName::from(*name)).collect(), ..Passed::default() }
}

fn filtering(filter: impl Fn(Vec<&str>) -> Result<Passed, String> + Send + Sync + 'static) -> Scripted {
    let options = ExtenderOptions { filters: true, ..ExtenderOptions::default() };
    Scripted { options, filter: Box::new(filter), ..Scripted::default() }
}

fn three() -> ClusterView {
    cluster(["a", "b", "c"].map(|name| json!({"metadata": {"name": name}})))
}

fn place(extenders: Vec<Scripted>, cluster: &ClusterView, pod: &PodView) -> Outcome {
    let profile =
        extenders.into_iter().fold(Profile::default(), |profile, one| profile.extender(Arc::new(one)));
    ReferenceEngine::seeded(1).place(&profile, &mut Cycle::new(cluster), pod)
}

fn node(outcome: Outcome) -> String {
    match outcome {
        Outcome::Chosen(choice) => choice.node.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn extenders_are_asked_one_after_the_other_about_what_is_left() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let first = Scripted { asked: asked.clone(), ..filtering(|_| Ok(passed(&["a", "c"]))) };
    let second = Scripted { asked: asked.clone(), ..filtering(|_| Ok(passed(&["c"]))) };
    assert_eq!(node(place(vec![first, second], &three(), &pod(json!({})))), "c");
    assert_eq!(*asked.lock().unwrap(), ["a,b,c", "a,c"]);
}

#[test]
fn what_an_extender_says_of_refused_nodes_is_told() {
    let refusing = filtering(|_| {
        let text = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(node, why)| ((*node).into(), (*why).into())).collect()
        };
        Ok(Passed {
            failed: text(&[("a", "busy"), ("b", "busy")]),
            hopeless: text(&[("b", "broken")]),
            ..Passed::default()
        })
    });
    let Outcome::Rejected(diagnosis) = place(vec![refusing], &three(), &pod(json!({}))) else { panic!() };
    assert!(
        diagnosis.message().starts_with("0/3 nodes are available: 1 broken, 1 busy."),
        "{}",
        diagnosis.message()
    );
    assert!(diagnosis.plugins.contains(EXTENDER), "any change brings the pod back");
}

#[test]
fn an_extender_that_fails_fails_the_pod_unless_it_can_be_ignored() {
    let failing = |ignorable| {
        let mut extender = filtering(|_| Err("out of order".to_owned()));
        extender.options.ignorable = ignorable;
        extender
    };
    let Outcome::Failed(failure) = place(vec![failing(false)], &three(), &pod(json!({}))) else { panic!() };
    assert_eq!((failure.plugin.as_deref(), &*failure.message), (Some("http://other"), "out of order"));
    assert_eq!(node(place(vec![failing(true)], &three(), &pod(json!({})))), "a");
    let Outcome::Failed(failure) = place(vec![filtering(|_| panic!("boom"))], &three(), &pod(json!({})))
    else {
        panic!()
    };
    assert_eq!(failure.message, "plugin \"http://other\" panicked in Filter: boom");
    let Outcome::Failed(failure) = place(vec![filtering(|_| Ok(passed(&["z"])))], &three(), &pod(json!({})))
    else {
        panic!()
    };
    let text =
        "extender \"http://other\" claims a filtered node \"z\" which is not found in the input node list";
    assert_eq!(failure.message, text);
}

#[test]
fn those_that_can_be_ignored_are_asked_last() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let mut first = Scripted { asked: asked.clone(), ..filtering(|_| Ok(passed(&["a"]))) };
    first.options.ignorable = true;
    let second = Scripted { asked: asked.clone(), ..filtering(|_| Ok(passed(&["a", "b"]))) };
    place(vec![first, second], &three(), &pod(json!({})));
    assert_eq!(*asked.lock().unwrap(), ["a,b,c", "a,b"]);
}

#[test]
fn points_count_ten_times_their_weight_and_ties_among_the_scored_are_left_to_chance() {
    let scoring = |points: &[(&str, i64)], weight| Scripted {
        options: ExtenderOptions { weight, ..ExtenderOptions::default() },
        points: Ok(points.iter().map(|(node, points)| ((*node).to_owned(), *points)).collect()),
        ..Scripted::default()
    };
    assert_eq!(node(place(vec![scoring(&[("b", 1)], 1)], &three(), &pod(json!({})))), "b");
    let both = || vec![scoring(&[("b", 10)], 1), scoring(&[("c", 1), ("stranger", 10)], 11)];
    assert_eq!(node(place(both(), &three(), &pod(json!({})))), "c", "110 against 100");
    let mut uneven = three();
    uneven.place(crate::testing::asking("old", "200m", "0"), &NodeName::from("b"));
    let chosen = node(place(vec![scoring(&[("b", 1)], 1)], &uneven, &pod(json!({}))));
    assert_eq!(chosen, "b", "the ten points are more than the three for what is left");
    let only_b = node(place(vec![scoring(&[("b", 0)], 1)], &three(), &pod(json!({}))));
    assert_eq!(only_b, "b", "whom nobody scored has no lot");
    let failing = Scripted { points: Err("no".into()), ..scoring(&[], 1) };
    assert_eq!(node(place(vec![failing], &three(), &pod(json!({})))), "a", "no points are no error");
    let even = scoring(&[("a", 1), ("b", 1), ("c", 1)], 1);
    let profile = Profile::default().tie_break(TieBreak::Heap).extender(Arc::new(even));
    let mut engine = ReferenceEngine::seeded(7);
    let cluster = three();
    let mut chosen: Vec<_> =
        (0..50).map(|_| node(engine.place(&profile, &mut Cycle::new(&cluster), &pod(json!({}))))).collect();
    chosen.sort_unstable();
    chosen.dedup();
    assert_eq!(chosen, ["a", "b", "c"]);
}

#[test]
fn an_extender_is_asked_only_about_pods_that_request_what_it_manages() {
    let mut extender = filtering(|_| Ok(passed(&[])));
    extender.options.managed = vec!["example.com/gpu".into()];
    let asks = |request: &str| {
        let requests = json!({request: "1"});
        pod(json!({"spec": {"containers": [{"name": "c", "resources": {"requests": requests}}]}}))
    };
    assert!(is_interested(&extender, &asks("example.com/gpu")));
    assert!(!is_interested(&extender, &asks("cpu")));
    assert_eq!(node(place(vec![extender], &three(), &asks("cpu"))), "a");
}

#[test]
fn victims_are_those_that_the_extender_agrees_to() {
    let mut cluster = three();
    for name in ["a", "b", "c"] {
        cluster.place(asking(&format!("low-{name}"), "4", "0"), &NodeName::from(name));
    }
    let vip = pod(json!({"metadata": {"name": "vip"}, "spec": {"priority": 10, "containers": [
        {"name": "c", "resources": {"requests": {"cpu": "3"}}}]}}));
    let agreeing = |victims: Result<Vec<(NodeName, Vec<PodUid>, usize)>, String>| Scripted {
        options: ExtenderOptions { preempts: true, ..ExtenderOptions::default() },
        victims,
        ..Scripted::default()
    };
    let on = |node: &str, victims: &[&str]| {
        (NodeName::from(node), victims.iter().map(|uid| PodUid::from(*uid)).collect(), 0)
    };
    let told = |victims| match place(vec![agreeing(victims)], &cluster, &vip) {
        Outcome::Rejected(diagnosis) => {
            (diagnosis.nominated.map(|node| node.to_string()), diagnosis.post_filter.join(", "))
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(told(Ok(vec![on("b", &["low-b"])])).0.as_deref(), Some("b"));
    assert_eq!(told(Ok(Vec::new())).0, None);
    let text = "preemption: extender: http://other claims to preempt pod (UID: low-a) on node: b, but the pod is not found on that node";
    assert_eq!(told(Ok(vec![on("b", &["low-a"])])).1, text);
    let text = "preemption: expected at least one victim pod on node \"c\"";
    assert_eq!(told(Ok(vec![on("c", &[])])).1, text);
    assert_eq!(told(Err("busy".into())).1, "preemption: busy");
}

#[test]
fn the_fast_engine_leaves_profiles_with_extenders_to_the_reference() {
    let profile = Profile::default().extender(Arc::new(filtering(|_| Ok(passed(&["b"])))));
    let mut engine = crate::engine::FastEngine::seeded(1);
    let (cluster, pod) = (three(), pod(json!({})));
    assert_eq!(node(engine.place(&profile, &mut Cycle::new(&cluster), &pod)), "b");
    assert_eq!(engine.tally().indexed, 0);
}

#[test]
fn answers_are_read_in_any_letter_case_and_garbage_is_an_error() {
    let answer = json!({"nodenames": ["a"], "failedNodes": {"b": "why"}, "error": ""});
    let read = wire::passed(&answer, true).unwrap();
    assert_eq!((read.nodes.len(), read.failed["b"].as_str()), (1, "why"));
    let whole = json!({"Nodes": {"items": [{"metadata": {"name": "a"}}]}, "NodeNames": null});
    assert_eq!(wire::passed(&whole, false).unwrap().nodes, [NodeName::from("a")]);
    assert_eq!(wire::passed(&json!({"Error": "no"}), true), Err("no".to_owned()));
    for garbage in [
        json!(1),
        json!([]),
        json!({"NodeNames": 1}),
        json!({"NodeNames": [1]}),
        json!({"FailedNodes": {"a": 1}}),
    ] {
        assert!(wire::passed(&garbage, true).is_err(), "{garbage}");
    }
    assert_eq!(wire::points(&json!([{"host": "a", "Score": 3}, {"Host": "b"}])).unwrap()[0], ("a".into(), 3));
    for garbage in [json!({}), json!([1]), json!([{"Score": 1}]), json!([{"Host": "a", "Score": 1.5}])] {
        assert!(wire::points(&garbage).is_err(), "{garbage}");
    }
    let answer = json!({"NodeNameToMetaVictims": {"n": {"Pods": [{"UID": "u"}], "NumPDBViolations": 2}}});
    assert_eq!(wire::victims(&answer).unwrap(), [(NodeName::from("n"), vec![PodUid::from("u")], 2)]);
    for garbage in [
        json!(1),
        json!({"NodeNameToMetaVictims": {"n": 1}}),
        json!({"NodeNameToMetaVictims": {"n": {"Pods": [{}]}}}),
    ] {
        assert!(wire::victims(&garbage).is_err(), "{garbage}");
    }
    assert_eq!(wire::bound(&json!({"Error": "full"})), Err("full".to_owned()));
    assert_eq!(wire::bound(&json!({})), Ok(()));
}

#[test]
fn a_nominated_node_that_an_extender_refuses_is_no_reason_to_stop() {
    let refusing = filtering(|nodes| {
        let others: Vec<_> = nodes.into_iter().filter(|node| *node != "b").collect();
        Ok(passed(&others))
    });
    let nominated = pod(json!({"metadata": {"name": "p"}, "status": {"nominatedNodeName": "b"}}));
    assert_eq!(node(place(vec![refusing], &three(), &nominated)), "a");
}
