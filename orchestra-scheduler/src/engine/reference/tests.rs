//! Tests of the cycle against the statements about it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::plugin::{Filter, Normalise, Plugin, PostFilter, PreFilter, PreScore, Refilter, Score};
use crate::profile::Registration;
use crate::testing::{asking, cluster, pod};
use crate::unit::Points;
use crate::verdict::{Nomination, PreFiltered, PreScored, Rejection, RejectionKind, Verdict};
use crate::view::{ClusterView, NodeName};

mod promised;
mod sampling;

fn place(profile: &Profile, cluster: &ClusterView, pod: &PodView) -> Outcome {
    ReferenceEngine::seeded(0).place(profile, &mut Cycle::new(cluster), pod)
}

fn nodes(names: &[&str]) -> ClusterView {
    cluster(names.iter().map(|name| json!({"metadata": {"name": name}})))
}

fn chosen(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::Chosen(choice) => &choice.node,
        other => panic!("{other:?}"),
    }
}

fn message(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Rejected(diagnosis) => diagnosis.message(),
        Outcome::Failed(failure) => failure.message.clone(),
        other => panic!("{other:?}"),
    }
}

/// A plugin whose answers are closures, and which writes down when it was asked.
struct Scripted {
    name: &'static str,
    asked: Arc<Mutex<Vec<String>>>,
    before: fn() -> PreFiltered,
    filter: fn(&NodeView) -> Verdict,
    pre_score: PreScored,
    score: fn(&NodeView) -> i64,
}

impl std::fmt::Debug for Scripted {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(self.name)
    }
}

impl Scripted {
    fn named(name: &'static str) -> Self {
        Self {
            name,
            asked: Arc::default(),
            before: || PreFiltered::All,
            filter: |_| Verdict::Pass,
            pre_score: PreScored::Score,
            score: |_| 0,
        }
    }

    fn note(&self, what: &str) {
        self.asked.lock().unwrap().push(format!("{} {what}", self.name));
    }
}

impl Plugin for Scripted {
    fn name(&self) -> &str {
        self.name
    }
}

impl PreFilter for Scripted {
    fn pre_filter(&self, _: &mut Cycle<'_>, _: &PodView) -> PreFiltered {
        self.note("before");
        (self.before)()
    }
}

impl crate::plugin::Adjust for Scripted {
    fn added(&self, _: &mut Cycle<'_>, _: &PodView, _: &PodView, _: &NodeView) {
        self.note("added");
    }

    fn removed(&self, _: &mut Cycle<'_>, _: &PodView, _: &PodView, _: &NodeView) {
        self.note("removed");
    }
}

impl Filter for Scripted {
    fn filter(&self, _: &Cycle<'_>, _: &PodView, node: &NodeView) -> Verdict {
        self.note("filter");
        (self.filter)(node)
    }
}

impl PostFilter for Scripted {
    fn post_filter(&self, _: &Cycle<'_>, _: &PodView, _: &Diagnosis, _: &dyn Refilter) -> Nomination {
        self.note("post");
        Nomination::Nothing(vec![self.name.into()])
    }
}

impl PreScore for Scripted {
    fn pre_score(&self, _: &mut Cycle<'_>, _: &PodView, _: &[&NodeView]) -> PreScored {
        self.pre_score.clone()
    }
}

impl Score for Scripted {
    fn score(&self, _: &Cycle<'_>, _: &PodView, node: &NodeView) -> Points {
        self.note("score");
        Points((self.score)(node))
    }
}

impl Normalise for Scripted {
    fn normalise(&self, _: &Cycle<'_>, _: &PodView, nodes: &[&NodeView], scores: &mut [Points]) {
        assert_eq!(nodes.len(), scores.len());
        for points in scores {
            points.0 /= 10;
        }
    }
}

fn everything(plugin: Scripted) -> crate::profile::PluginSet {
    Registration::of(plugin).pre_filter().filter().post_filter().pre_score().score(1).into()
}

#[test]
fn no_nodes_is_told_apart_from_a_rejection() {
    assert_eq!(place(&Profile::default(), &ClusterView::default(), &pod(json!({}))), Outcome::NoNodes);
}

#[test]
fn the_default_profile_spreads_by_what_is_left() {
    let mut cluster = nodes(&["a", "b"]);
    cluster.place(asking("old", "2", "2Gi"), &NodeName::from("a"));
    assert_eq!(chosen(&place(&Profile::default(), &cluster, &asking("new", "1", "1Gi"))), "b");
}

#[test]
fn the_first_failing_filter_ends_a_node_and_only_its_reasons_count() {
    let cluster = cluster([json!({"metadata": {"name": "a"}, "spec": {"unschedulable": true,
        "taints": [{"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}]}})]);
    let outcome = place(&Profile::default(), &cluster, &asking("p", "99", "0"));
    assert_eq!(
        message(&outcome),
        "0/1 nodes are available: 1 node(s) were unschedulable. no new claims to \
         deallocate, preemption: 0/1 nodes are available: \
         1 Preemption is not helpful for scheduling."
    );
}

#[test]
fn reasons_of_different_nodes_are_counted() {
    let taint = json!([{"key": "k", "effect": "NoSchedule"}]);
    let cluster = cluster([
        json!({"metadata": {"name": "a"}, "spec": {"taints": taint}}),
        json!({"metadata": {"name": "b"}}),
        json!({"metadata": {"name": "c"}}),
    ]);
    let outcome = place(&Profile::default(), &cluster, &asking("p", "99", "0"));
    let expected = "0/3 nodes are available: 1 node(s) had untolerated taint(s), 2 Insufficient cpu. no new claims to \
         deallocate, preemption: 0/3 \
         nodes are available: 3 Preemption is not helpful for scheduling.";
    assert_eq!(message(&outcome), expected);
}

#[test]
fn pre_filter_skip_skips_that_plugins_filter_only() {
    let plugin = Scripted { before: || PreFiltered::Skip, ..Scripted::named("skips") };
    let asked = plugin.asked.clone();
    let profile =
        Profile::empty("p").register(everything(plugin)).register(everything(Scripted::named("other")));
    place(&profile, &nodes(&["a"]), &pod(json!({})));
    assert_eq!(*asked.lock().unwrap(), ["skips before"]);
}

#[test]
fn unresolvable_pre_filter_stops_and_plain_rejection_lets_the_others_run() {
    for (kind, others) in [(RejectionKind::Unresolvable, 0), (RejectionKind::Unschedulable, 1)] {
        let first = Scripted {
            before: match kind {
                RejectionKind::Unresolvable => || PreFiltered::Reject(Rejection::unresolvable("no")),
                RejectionKind::Unschedulable => || PreFiltered::Reject(Rejection::unschedulable("no")),
            },
            ..Scripted::named("first")
        };
        let second = Scripted::named("second");
        let asked = second.asked.clone();
        let profile = Profile::empty("p")
            .register(Registration::of(first).pre_filter().into())
            .register(Registration::of(second).pre_filter().filter().into());
        let outcome = place(&profile, &nodes(&["a", "b"]), &pod(json!({})));
        assert_eq!(message(&outcome), "0/2 nodes are available: no.");
        assert_eq!(asked.lock().unwrap().len(), others);
    }
}

#[test]
fn node_sets_intersect_and_an_empty_intersection_is_unresolvable() {
    let only = |name, before| Scripted { before, ..Scripted::named(name) };
    let a = || PreFiltered::Only(BTreeSet::from([NodeName::from("a")]));
    let b = || PreFiltered::Only(BTreeSet::from([NodeName::from("b")]));
    let profile = |one, two| {
        Profile::empty("p").register(everything(only("A", one))).register(everything(only("B", two)))
    };
    let cluster = nodes(&["a", "b"]);
    assert_eq!(chosen(&place(&profile(a, a), &cluster, &pod(json!({})))), "a");
    let outcome = place(&profile(a, b), &cluster, &pod(json!({})));
    let text = "0/2 nodes are available: node(s) didn't satisfy plugin(s) [A B] simultaneously. A, B";
    assert_eq!(message(&outcome), text);
}

#[test]
fn nodes_outside_a_node_set_take_its_reason() {
    let narrow = Scripted {
        before: || PreFiltered::Only(BTreeSet::from([NodeName::from("a")])),
        filter: |_| Verdict::unschedulable("full"),
        ..Scripted::named("A")
    };
    let profile = Profile::empty("p").register(Registration::of(narrow).pre_filter().filter().into());
    let outcome = place(&profile, &nodes(&["a", "b", "c"]), &pod(json!({})));
    assert_eq!(message(&outcome), "0/3 nodes are available: 1 full, 2 node(s) didn't satisfy plugin(s) [A].");
}

#[test]
fn one_feasible_node_is_chosen_without_scoring() {
    let plugin = Scripted {
        filter: |node| if &**node.name() == "b" { Verdict::Pass } else { Verdict::unschedulable("x") },
        ..Scripted::named("s")
    };
    let asked = plugin.asked.clone();
    let profile = Profile::empty("p").register(everything(plugin));
    assert_eq!(chosen(&place(&profile, &nodes(&["a", "b", "c"]), &pod(json!({})))), "b");
    assert!(!asked.lock().unwrap().iter().any(|call| call.ends_with("score")));
}

#[test]
fn scores_are_weighted_and_a_skipped_scorer_adds_nothing() {
    let likes = |name, weight, pre_score, score| {
        Registration::of(Scripted { pre_score, score, ..Scripted::named(name) })
            .pre_score()
            .score(weight)
            .into()
    };
    let b_good = |node: &NodeView| if &**node.name() == "b" { 60 } else { 0 };
    let a_good = |node: &NodeView| if &**node.name() == "a" { 100 } else { 0 };
    let profile = |skipped| {
        Profile::empty("p")
            .register(likes("light", 1, PreScored::Score, a_good))
            .register(likes("heavy", 2, skipped, b_good))
    };
    let cluster = nodes(&["a", "b"]);
    assert_eq!(chosen(&place(&profile(PreScored::Score), &cluster, &pod(json!({})))), "b");
    assert_eq!(chosen(&place(&profile(PreScored::Skip), &cluster, &pod(json!({})))), "a");
}

#[test]
fn a_score_out_of_range_fails_the_pod_with_the_plugins_name() {
    let wild = || Scripted { score: |_| 101, ..Scripted::named("Wild") };
    let profile = Profile::empty("p").score(wild(), 1);
    let outcome = place(&profile, &nodes(&["a", "b"]), &pod(json!({})));
    let text =
        "plugin \"Wild\" returns an invalid score 101, it should in the range of [0, 100] after normalizing";
    assert_eq!(message(&outcome), text);
    let tamed = Profile::empty("p").score_normalised(wild(), 1);
    chosen(&place(&tamed, &nodes(&["a", "b"]), &pod(json!({}))));
}

#[test]
fn a_panicking_plugin_fails_the_pod_with_its_name() {
    let broken = Scripted { filter: |_| panic!("out of cheese"), ..Scripted::named("Broken") };
    let profile = Profile::empty("p").filter(broken);
    let outcome = place(&profile, &nodes(&["a"]), &pod(json!({})));
    assert_eq!(message(&outcome), "plugin \"Broken\" panicked in Filter: out of cheese");
    assert!(matches!(outcome, Outcome::Failed(Failure { plugin: Some(name), .. }) if name == "Broken"));
}

#[test]
fn an_error_in_a_filter_is_told_as_upstream_does() {
    let broken = Scripted { filter: |_| Verdict::Fail("no idea".into()), ..Scripted::named("Broken") };
    let outcome = place(&Profile::empty("p").filter(broken), &nodes(&["a"]), &pod(json!({})));
    assert_eq!(message(&outcome), "running \"Broken\" filter plugin: no idea");
}

/// Nominates the first node the pod would fit on if it were empty.
#[derive(Debug)]
struct Evictor;

impl Plugin for Evictor {
    fn name(&self) -> &str {
        "Evictor"
    }
}

impl PostFilter for Evictor {
    fn post_filter(
        &self,
        cycle: &Cycle<'_>,
        _: &PodView,
        _: &Diagnosis,
        filters: &dyn Refilter,
    ) -> Nomination {
        let fits_emptied = |node: &&Arc<NodeView>| {
            let mut trial = filters.trial(node);
            node.pods().iter().for_each(|pod| trial.remove(&pod.uid));
            trial.node().pods().is_empty() && trial.refusal().unwrap().is_none()
        };
        match cycle.cluster().nodes().find(fits_emptied) {
            Some(node) => Nomination::Node(node.name().clone()),
            None => Nomination::Nothing(vec!["not even empty".into()]),
        }
    }
}

#[test]
fn a_post_filter_can_try_nodes_as_they_might_be() {
    let mut cluster = nodes(&["a"]);
    cluster.place(asking("old", "3", "0"), &NodeName::from("a"));
    let profile = Profile::default().register(Registration::of(Evictor).post_filter().into());
    let Outcome::Rejected(diagnosis) = place(&profile, &cluster, &asking("p", "2", "0")) else { panic!() };
    assert_eq!(diagnosis.nominated.as_deref(), Some("a"));
    assert_eq!(diagnosis.message(), "0/1 nodes are available: 1 Insufficient cpu.");
    let outcome = place(&profile, &cluster, &asking("p", "20", "0"));
    assert_eq!(
        message(&outcome),
        "0/1 nodes are available: 1 Insufficient cpu. no new claims to \
         deallocate, preemption: 0/1 nodes are available: 1 Preemption is not \
         helpful for scheduling., not even empty"
    );
}

#[test]
fn without_scorers_the_first_node_that_fits_is_taken() {
    let cluster = nodes(&["a", "b"]);
    let Outcome::Chosen(choice) = place(&Profile::empty("p"), &cluster, &pod(json!({}))) else { panic!() };
    assert_eq!((choice.feasible, &*choice.node), (1, "a"));
}

/// What upstream's default plugins are asked at each extension point, in order.
#[test]
fn default_plugins_serve_where_upstream_has_them_in_its_order() {
    let profile = Profile::default();
    fn names<T: ?Sized + Plugin>(plugins: &[Arc<T>]) -> String {
        plugins.iter().map(|plugin| plugin.name()).collect::<Vec<_>>().join(" ")
    }
    let scorers = profile.score.iter().map(|one| format!("{} {}", one.plugin.name(), one.weight));
    for (point, found, expected) in [
        ("PreEnqueue", names(&profile.pre_enqueue), "SchedulingGates"),
        (
            "PreFilter",
            names(&profile.pre_filter),
            "NodeAffinity NodePorts VolumeRestrictions NodeVolumeLimits VolumeBinding VolumeZone PodTopologySpread \
             InterPodAffinity DynamicResources NodeDeclaredFeatures",
        ),
        (
            "AddPod and RemovePod",
            names(&profile.adjust),
            "VolumeRestrictions PodTopologySpread InterPodAffinity",
        ),
        (
            "Filter",
            names(&profile.filter),
            "NodeUnschedulable NodeName TaintToleration NodeAffinity NodePorts NodeResourcesFit VolumeRestrictions \
             NodeVolumeLimits VolumeBinding VolumeZone PodTopologySpread InterPodAffinity DynamicResources \
             NodeDeclaredFeatures",
        ),
        ("PostFilter", names(&profile.post_filter), "DynamicResources DefaultPreemption"),
        ("Reserve", names(&profile.reserve), "VolumeBinding DynamicResources"),
        ("PreBind", names(&profile.pre_bind), "VolumeBinding DynamicResources"),
        ("Permit", names(&profile.permit), ""),
        ("Bind", names(&profile.bind), "DefaultBinder"),
        (
            "Score",
            scorers.collect::<Vec<_>>().join(", "),
            "TaintToleration 3, NodeAffinity 2, NodeResourcesFit 1, PodTopologySpread 2, InterPodAffinity 2, \
             DynamicResources 2, NodeResourcesBalancedAllocation 1, ImageLocality 1",
        ),
    ] {
        assert_eq!(found, expected, "{point}");
    }
    let normalised: Vec<_> = profile.score.iter().filter(|one| one.normalise.is_some()).collect();
    let normalised: Vec<_> = normalised.iter().map(|one| one.plugin.name()).collect();
    assert_eq!(
        normalised,
        ["TaintToleration", "NodeAffinity", "PodTopologySpread", "InterPodAffinity", "DynamicResources"]
    );
    assert_eq!(profile.queue_sort.as_ref().map(|plugin| plugin.name()), Some("PrioritySort"));
}

#[test]
fn versions_differ_in_the_plugins_they_have() {
    let has =
        |version, name: &str| Profile::for_version(version).filter.iter().any(|plugin| plugin.name() == name);
    use crate::Version;
    assert!(has(Version::V1_36, "NodeDeclaredFeatures") && !has(Version::V1_35, "NodeDeclaredFeatures"));
    let scores = |version| {
        Profile::for_version(version).score.iter().any(|scorer| scorer.plugin.name() == "DynamicResources")
    };
    assert!(scores(Version::V1_35) && !scores(Version::V1_34));
    assert_eq!(Profile::for_version(Version::V1_34).tie_break, crate::TieBreak::Random);
    assert_eq!(Profile::for_version(Version::V1_35).tie_break, crate::TieBreak::Heap);
}

#[test]
fn terminating_pods_still_occupy_what_they_requested() {
    let mut cluster = nodes(&["a"]);
    let leaving = pod(json!({"metadata": {"name": "old", "deletionTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "3"}}}]}}));
    cluster.place(leaving, &NodeName::from("a"));
    let outcome = place(&Profile::default(), &cluster, &asking("p", "2", "0"));
    assert!(message(&outcome).starts_with("0/1 nodes are available: 1 Insufficient cpu."));
}

#[test]
fn a_node_full_of_pods_takes_no_more_whatever_they_ask_for() {
    let mut cluster = cluster([json!({"metadata": {"name": "a"}, "status": {"allocatable": {"pods": "1"}}})]);
    cluster.place(pod(json!({"metadata": {"name": "one"}})), &NodeName::from("a"));
    let outcome = place(&Profile::default(), &cluster, &pod(json!({})));
    assert!(
        message(&outcome).starts_with("0/1 nodes are available: 1 Too many pods."),
        "{}",
        message(&outcome)
    );
}

#[test]
fn errors_before_filtering_and_before_scoring_are_told_as_upstream_does() {
    fn broken() -> PreFiltered {
        PreFiltered::Fail("broken".into())
    }
    let profile = |scripted| Profile::empty("p").register(everything(scripted));
    let cluster = nodes(&["a", "b"]);
    let outcome =
        place(&profile(Scripted { before: broken, ..Scripted::named("A") }), &cluster, &pod(json!({})));
    assert_eq!(message(&outcome), "running PreFilter plugin \"A\": broken");
    let scripted = Scripted { pre_score: PreScored::Fail("broken".into()), ..Scripted::named("A") };
    let outcome = place(&profile(scripted), &cluster, &pod(json!({})));
    assert_eq!(message(&outcome), "running PreScore plugin \"A\": broken");
}

#[test]
fn a_stop_before_dynamic_resources_had_its_turn_ends_the_search_for_help() {
    let unbound =
        pod(json!({"spec": {"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "x"}}]}}));
    let outcome = place(&Profile::default(), &nodes(&["a"]), &unbound);
    let text = "0/1 nodes are available: persistentvolumeclaim \"x\" not found. not found";
    assert_eq!(message(&outcome), text);
}

/// Places pods one after the other and gives back where they went.
fn place_all(
    pods: &[Arc<PodView>],
    sizes: &[(u32, u32)],
    seed: u64,
    profile: &Profile,
) -> Vec<Option<String>> {
    let mut cluster = cluster(sizes.iter().enumerate().map(|(index, (cpu, memory))| {
        json!({"metadata": {"name": format!("n{index}")},
            "status": {"allocatable": {"cpu": cpu.to_string(), "memory": memory.to_string(), "pods": "5"}}})
    }));
    let mut engine = ReferenceEngine::seeded(seed);
    let placed = pods
        .iter()
        .map(|pod| {
            let Outcome::Chosen(choice) = engine.place(profile, &mut Cycle::new(&cluster), pod) else {
                return None;
            };
            cluster.place(pod.clone(), &choice.node);
            Some(choice.node.to_string())
        })
        .collect();
    for node in cluster.nodes() {
        let (used, offered) = (node.requested(), &node.facts().allocatable);
        assert!(used.cpu <= offered.cpu && used.memory <= offered.memory && node.pods().len() <= 5);
    }
    placed
}

proptest! {
    #[test]
    fn nodes_are_never_over_capacity_and_one_seed_gives_one_answer(
        sizes in prop::collection::vec((1_u32..8, 1_u32..1000), 1..12),
        asked in prop::collection::vec((0_u32..4000, 0_u32..600), 1..60),
        seed in any::<u64>(),
        random in any::<bool>(),
    ) {
        let pods: Vec<_> = asked.iter().enumerate().map(|(index, (cpu, memory))| {
            asking(&format!("p{index}"), &format!("{cpu}m"), &memory.to_string())
        }).collect();
        let version = if random { crate::Version::V1_34 } else { crate::Version::V1_36 };
        let profile = Profile::for_version(version);
        let first = place_all(&pods, &sizes, seed, &profile);
        prop_assert_eq!(&first, &place_all(&pods, &sizes, seed, &profile));
    }
}

#[test]
fn only_nodes_that_passed_are_scored() {
    let plugin = Scripted {
        filter: |node| if &**node.name() == "c" { Verdict::unschedulable("x") } else { Verdict::Pass },
        ..Scripted::named("s")
    };
    let asked = plugin.asked.clone();
    place(&Profile::empty("p").register(everything(plugin)), &nodes(&["a", "b", "c"]), &pod(json!({})));
    assert_eq!(asked.lock().unwrap().iter().filter(|call| call.ends_with("score")).count(), 2);
}

#[test]
fn a_plugin_that_names_no_node_is_told_alone_and_nobody_is_evicted() {
    let nobody = Scripted { before: || PreFiltered::Only(BTreeSet::new()), ..Scripted::named("A") };
    let profile = Profile::default().register(Registration::of(nobody).pre_filter().into());
    let mut cluster = nodes(&["a"]);
    cluster.place(asking("old", "4", "0"), &NodeName::from("a"));
    let important = pod(json!({"metadata": {"name": "p"}, "spec": {"priority": 9, "containers": [
        {"name": "c", "resources": {"requests": {"cpu": "1"}}}]}}));
    let Outcome::Rejected(diagnosis) = place(&profile, &cluster, &important) else { panic!() };
    assert!(diagnosis.message().starts_with("0/1 nodes are available: node(s) didn't satisfy plugin A. "));
    assert!(diagnosis.nominated.is_none() && diagnosis.victims.is_empty());
}

#[test]
fn the_first_plugin_that_helps_ends_the_search_for_help() {
    let (filter, after) = (
        Scripted {
            filter: |node| if node.pods().is_empty() { Verdict::Pass } else { Verdict::unschedulable("x") },
            ..Scripted::named("full")
        },
        Scripted::named("after"),
    );
    let asked = after.asked.clone();
    let profile = Profile::empty("p")
        .register(Registration::of(filter).filter().into())
        .register(Registration::of(Evictor).post_filter().into())
        .register(Registration::of(after).post_filter().into());
    let mut cluster = nodes(&["a"]);
    cluster.place(asking("old", "1", "0"), &NodeName::from("a"));
    let Outcome::Rejected(diagnosis) = place(&profile, &cluster, &pod(json!({}))) else { panic!() };
    assert_eq!(diagnosis.nominated.as_deref(), Some("a"));
    assert!(asked.lock().unwrap().is_empty());
}

#[test]
fn who_skips_does_not_hear_of_pods_that_come_in_thought() {
    let mut cluster = nodes(&["a"]);
    cluster.nominate(pod(json!({"metadata": {"name": "rival"}})), &NodeName::from("a"));
    for (before, heard) in
        [((|| PreFiltered::Skip) as fn() -> PreFiltered, false), (|| PreFiltered::All, true)]
    {
        let plugin = Scripted { before, ..Scripted::named("s") };
        let asked = plugin.asked.clone();
        let profile =
            Profile::empty("p").register(Registration::of(plugin).pre_filter().adjust().filter().into());
        place(&profile, &cluster, &pod(json!({"metadata": {"name": "p"}})));
        assert_eq!(asked.lock().unwrap().iter().any(|call| call == "s added"), heard);
    }
}
