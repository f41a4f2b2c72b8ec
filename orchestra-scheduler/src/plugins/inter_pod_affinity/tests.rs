//! Tests of affinity between pods against the statements about it, with values worked out by hand.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::plugin::{Adjust, Cycle, Filter, Normalise, PreFilter, PreScore, Score};
use crate::testing::{cluster, node, pod};
use crate::unit::Points;
use crate::verdict::{PreFiltered, PreScored, Verdict};
use crate::view::{NodeName, NodeView};

const NO_FRIENDS: Verdict2 = ("node(s) didn't match pod affinity rules", false);
const OWN_FOES: Verdict2 = ("node(s) didn't match pod anti-affinity rules", true);
const FOES_OF_OTHERS: Verdict2 = ("node(s) didn't satisfy existing pods anti-affinity rules", true);

/// A refusal, and whether preemption may help.
type Verdict2 = (&'static str, bool);

fn refused((reason, resolvable): Verdict2) -> Verdict {
    if resolvable { Verdict::unschedulable(reason) } else { Verdict::unresolvable(reason) }
}

fn plugin() -> InterPodAffinity {
    InterPodAffinity::for_version(Version::V1_36)
}

/// Nodes by name and zone; an empty zone is no label.
fn zoned(nodes: &[(&str, &str)]) -> ClusterView {
    cluster(nodes.iter().map(|(name, zone)| {
        let labels = if zone.is_empty() { json!({}) } else { json!({"zone": zone}) };
        json!({"metadata": {"name": name, "labels": labels}})
    }))
}

fn term(app: &str, more: Value) -> Value {
    let mut term = json!({"topologyKey": "zone", "labelSelector": {"matchLabels": {"app": app}}});
    for (field, value) in more.as_object().unwrap() {
        term[field] = value.clone();
    }
    term
}

fn near(terms: Value) -> Value {
    json!({"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}})
}

fn away(terms: Value) -> Value {
    json!({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}})
}

fn preferring(kind: &str, weighted: &[(i32, &str)]) -> Value {
    let terms: Vec<_> = weighted
        .iter()
        .map(|(weight, app)| json!({"weight": weight, "podAffinityTerm": term(app, json!({}))}))
        .collect();
    json!({(kind): {"preferredDuringSchedulingIgnoredDuringExecution": terms}})
}

fn member(name: &str, app: &str, affinity: Value) -> Arc<PodView> {
    pod(json!({"metadata": {"name": name, "labels": {"app": app}}, "spec": {"affinity": affinity}}))
}

fn occupy(cluster: &mut ClusterView, pod: Arc<PodView>, node: &str) {
    cluster.place(pod, &NodeName::from(node));
}

fn verdict(cluster: &ClusterView, pod: &PodView, node: &str) -> Verdict {
    let mut cycle = Cycle::new(cluster);
    match plugin().pre_filter(&mut cycle, pod) {
        PreFiltered::Skip => Verdict::Pass,
        PreFiltered::All => plugin().filter(&cycle, pod, cluster.node(node).unwrap()),
        other => panic!("{other:?}"),
    }
}

fn scores(plugin: InterPodAffinity, cluster: &ClusterView, pod: &PodView) -> Option<(Vec<i64>, Vec<i64>)> {
    let nodes: Vec<&NodeView> = cluster.nodes().map(Arc::as_ref).collect();
    let mut cycle = Cycle::new(cluster);
    if plugin.pre_score(&mut cycle, pod, &nodes) == PreScored::Skip {
        return None;
    }
    let mut points: Vec<Points> = nodes.iter().map(|node| plugin.score(&cycle, pod, node)).collect();
    let raw = points.iter().map(|points| points.0).collect();
    plugin.normalise(&cycle, pod, &nodes, &mut points);
    Some((raw, points.iter().map(|points| points.0).collect()))
}

#[test]
fn required_affinity_needs_a_matching_pod_in_the_domain_and_the_label_on_the_node() {
    let mut cluster = zoned(&[("a1", "a"), ("a2", "a"), ("b1", "b"), ("bare", "")]);
    occupy(&mut cluster, member("db", "db", json!({})), "a1");
    let pod = member("new", "web", near(json!([term("db", json!({}))])));
    assert_eq!(verdict(&cluster, &pod, "a2"), Verdict::Pass);
    assert_eq!(verdict(&cluster, &pod, "b1"), refused(NO_FRIENDS));
    assert_eq!(verdict(&cluster, &pod, "bare"), refused(NO_FRIENDS));
}

#[test]
fn one_pod_has_to_match_all_affinity_terms_together() {
    let mut cluster = zoned(&[("a1", "a")]);
    occupy(&mut cluster, member("db", "db", json!({})), "a1");
    occupy(&mut cluster, member("cache", "cache", json!({})), "a1");
    let both = near(json!([term("db", json!({})), term("cache", json!({}))]));
    assert_eq!(verdict(&cluster, &member("new", "web", both), "a1"), refused(NO_FRIENDS));
}

#[test]
fn the_first_pod_of_a_group_is_let_in_where_all_labels_are() {
    let cluster = zoned(&[("a1", "a"), ("bare", "")]);
    let terms = json!([term("web", json!({}))]);
    let first = member("new", "web", near(terms.clone()));
    assert_eq!(verdict(&cluster, &first, "a1"), Verdict::Pass);
    assert_eq!(verdict(&cluster, &first, "bare"), refused(NO_FRIENDS));
    assert_eq!(verdict(&cluster, &member("new", "other", near(terms)), "a1"), refused(NO_FRIENDS));
}

#[test]
fn own_anti_affinity_refuses_the_domains_of_matching_pods() {
    let mut cluster = zoned(&[("a1", "a"), ("a2", "a"), ("b1", "b"), ("bare", "")]);
    occupy(&mut cluster, member("web", "web", json!({})), "a1");
    let pod = member("new", "web", away(json!([term("web", json!({}))])));
    for (node, expected) in [("a2", refused(OWN_FOES)), ("b1", Verdict::Pass), ("bare", Verdict::Pass)] {
        assert_eq!(verdict(&cluster, &pod, node), expected, "{node}");
    }
}

#[test]
fn anti_affinity_of_placed_pods_holds_for_those_that_come() {
    let mut cluster = zoned(&[("a1", "a"), ("a2", "a"), ("b1", "b")]);
    occupy(&mut cluster, member("shy", "shy", away(json!([term("web", json!({}))]))), "a1");
    assert_eq!(verdict(&cluster, &member("new", "web", json!({})), "a2"), refused(FOES_OF_OTHERS));
    assert_eq!(verdict(&cluster, &member("new", "web", json!({})), "b1"), Verdict::Pass);
    assert_eq!(verdict(&cluster, &member("new", "db", json!({})), "a2"), Verdict::Pass);
}

#[test]
fn a_pod_that_nobody_minds_and_that_minds_nobody_is_skipped() {
    let mut cluster = zoned(&[("a1", "a")]);
    occupy(&mut cluster, member("shy", "shy", away(json!([term("web", json!({}))]))), "a1");
    let skipped = plugin().pre_filter(&mut Cycle::new(&cluster), &member("new", "db", json!({})));
    assert_eq!(skipped, PreFiltered::Skip);
}

fn namespace(name: &str, team: &str) -> Arc<NamespaceView> {
    let namespace = json!({"metadata": {"name": name, "labels": {"team": team}}});
    Arc::new(NamespaceView::from_api(&serde_json::from_value(namespace).unwrap()))
}

fn in_namespace(name: &str, namespace: &str, affinity: Value) -> Arc<PodView> {
    pod(json!({"metadata": {"name": name, "namespace": namespace, "labels": {"app": "db"}},
        "spec": {"affinity": affinity}}))
}

#[test]
fn terms_mean_their_own_namespace_the_listed_ones_or_those_selected() {
    let mut cluster = zoned(&[("a1", "a")]);
    cluster.keep(namespace("blue", "x"));
    occupy(&mut cluster, in_namespace("db", "blue", json!({})), "a1");
    let selecting = |value: &str| json!({"namespaceSelector": {"matchLabels": {"team": value}}});
    for (more, found) in [
        (json!({}), false),
        (json!({"namespaces": ["blue"]}), true),
        (json!({"namespaces": ["red"]}), false),
        (selecting("x"), true),
        (selecting("y"), false),
        (json!({"namespaceSelector": {}}), true),
    ] {
        let pod = member("new", "web", near(json!([term("db", more.clone())])));
        let expected = if found { Verdict::Pass } else { refused(NO_FRIENDS) };
        assert_eq!(verdict(&cluster, &pod, "a1"), expected, "{more}");
    }
}

#[test]
fn a_namespace_selector_that_absent_labels_satisfy_means_every_namespace() {
    let mut cluster = zoned(&[("a1", "a")]);
    cluster.keep(namespace("blue", "x"));
    occupy(&mut cluster, in_namespace("db", "blue", json!({})), "a1");
    let but_x = json!({"namespaceSelector": {"matchExpressions": [{"key": "team", "operator": "NotIn", "values": ["x"]}]}});
    let pod = member("new", "web", near(json!([term("db", but_x)])));
    assert_eq!(verdict(&cluster, &pod, "a1"), Verdict::Pass);
}

#[test]
fn terms_of_placed_pods_are_matched_with_the_live_labels_of_the_incoming_pods_namespace() {
    let mut cluster = zoned(&[("a1", "a")]);
    let shy = away(json!([term("db", json!({"namespaceSelector": {"matchLabels": {"team": "x"}}}))]));
    occupy(&mut cluster, member("shy", "shy", shy), "a1");
    let pod = in_namespace("new", "blue", json!({}));
    assert_eq!(verdict(&cluster, &pod, "a1"), Verdict::Pass);
    cluster.keep(namespace("blue", "x"));
    assert_eq!(verdict(&cluster, &pod, "a1"), refused(FOES_OF_OTHERS));
}

#[test]
fn match_and_mismatch_label_keys_compare_with_the_pods_own_labels() {
    let mut cluster = zoned(&[("a1", "a")]);
    occupy(&mut cluster, member("old", "v1", json!({})), "a1");
    let everyone = |keys: &str| json!({"labelSelector": {}, (keys): ["app"]});
    for (app, keys, found) in [
        ("v1", "matchLabelKeys", true),
        ("v2", "matchLabelKeys", false),
        ("v1", "mismatchLabelKeys", false),
        ("v2", "mismatchLabelKeys", true),
    ] {
        let pod = member("new", app, near(json!([term("", everyone(keys))])));
        // The first of a group is let in only where nobody matches and it matches itself.
        let itself = keys == "matchLabelKeys";
        let expected = if found || itself { Verdict::Pass } else { refused(NO_FRIENDS) };
        assert_eq!(verdict(&cluster, &pod, "a1"), expected, "{app} {keys}");
    }
}

#[test]
fn pods_that_come_and_go_in_thought_change_the_fork_alone() {
    let mut cluster = zoned(&[("a1", "a")]);
    occupy(&mut cluster, member("web", "web", json!({})), "a1");
    let pod = member("new", "web", away(json!([term("web", json!({}))])));
    let node = cluster.node("a1").unwrap();
    let mut cycle = Cycle::new(&cluster);
    plugin().pre_filter(&mut cycle, &pod);
    let mut fork = cycle.fork();
    plugin().removed(&mut fork, &pod, &node.pods()[0], node);
    assert_eq!(plugin().filter(&fork, &pod, node), Verdict::Pass);
    plugin().added(&mut fork, &pod, &node.pods()[0], node);
    assert_eq!(plugin().filter(&fork, &pod, node), refused(OWN_FOES));
    assert_eq!(plugin().filter(&cycle, &pod, node), refused(OWN_FOES));
}

#[test]
fn points_come_from_both_sides_and_are_stretched_over_the_range() {
    let mut cluster = zoned(&[("a1", "a"), ("b1", "b"), ("c1", "c")]);
    occupy(&mut cluster, member("db", "db", json!({})), "a1");
    occupy(&mut cluster, member("noisy", "noisy", json!({})), "b1");
    occupy(&mut cluster, member("fan", "fan", preferring("podAffinity", &[(7, "web")])), "c1");
    occupy(&mut cluster, member("snob", "snob", preferring("podAntiAffinity", &[(2, "web")])), "c1");
    let mut affinity = preferring("podAffinity", &[(10, "db")]);
    affinity["podAntiAffinity"] = preferring("podAntiAffinity", &[(4, "noisy")])["podAntiAffinity"].clone();
    // a +10, b −4, c 7 − 2 = 5; range 14: c = 100·(9/14) = 64.28
    let expected = (vec![10, -4, 5], vec![100, 0, 64]);
    assert_eq!(scores(plugin(), &cluster, &member("new", "web", affinity)), Some(expected));
}

#[test]
fn required_affinity_of_placed_pods_is_worth_the_hard_weight() {
    let mut cluster = zoned(&[("a1", "a"), ("b1", "b")]);
    occupy(&mut cluster, member("fan", "fan", near(json!([term("web", json!({}))]))), "a1");
    let pod = member("new", "web", json!({}));
    assert_eq!(scores(plugin(), &cluster, &pod), Some((vec![1, 0], vec![100, 0])));
    assert_eq!(scores(plugin().weighing_required(5), &cluster, &pod), Some((vec![5, 0], vec![100, 0])));
    assert_eq!(scores(plugin().weighing_required(0), &cluster, &pod), None);
    assert_eq!(scores(plugin().ignoring_preferences_of_existing(true), &cluster, &pod), None);
}

#[test]
fn the_quotient_comes_before_the_product() {
    let cluster = zoned(&[("a1", "a")]);
    let mut points = [0, 29, 100].map(Points);
    plugin().normalise(&Cycle::new(&cluster), &member("new", "web", json!({})), &[], &mut points);
    assert_eq!(points, [0, 28, 100].map(Points));
    let mut alike = [5, 5].map(Points);
    plugin().normalise(&Cycle::new(&cluster), &member("new", "web", json!({})), &[], &mut alike);
    assert_eq!(alike, [0, 0].map(Points));
}

#[test]
fn nobody_to_like_or_dislike_is_no_score_at_all() {
    let mut cluster = zoned(&[("a1", "a")]);
    occupy(&mut cluster, member("db", "db", json!({})), "a1");
    let pod = member("new", "web", preferring("podAffinity", &[(10, "absent")]));
    assert_eq!(scores(plugin(), &cluster, &pod), None);
}

#[test]
fn hints_look_at_who_comes_who_goes_and_what_changes() {
    let friendly = member("waiting", "web", near(json!([term("db", json!({}))])));
    let averse = member("waiting", "web", away(json!([term("db", json!({}))])));
    let (db, web) = (member("m", "db", json!({})), member("m", "web", json!({})));
    let shy = member("m", "shy", away(json!([term("web", json!({}))])));
    let zone = |zone: &str| node(json!({"metadata": {"labels": {"zone": zone}}}));
    let updated = |old: &Arc<PodView>, new: &Arc<PodView>| ClusterEvent::AssignedPodUpdated {
        old: old.clone(),
        new: new.clone(),
    };
    for (pod, event, expected) in [
        (&friendly, ClusterEvent::AssignedPodAdded(db.clone()), Hint::Queue),
        (&friendly, ClusterEvent::AssignedPodAdded(web.clone()), Hint::Skip),
        (&friendly, updated(&web, &db), Hint::Queue),
        (&friendly, updated(&db, &web), Hint::Skip),
        (&averse, updated(&db, &web), Hint::Queue),
        (&averse, ClusterEvent::AssignedPodDeleted(db.clone()), Hint::Queue),
        (&averse, ClusterEvent::AssignedPodDeleted(web.clone()), Hint::Skip),
        (&friendly, ClusterEvent::AssignedPodDeleted(shy.clone()), Hint::Queue),
        (&friendly, ClusterEvent::NodeAdded(zone("a")), Hint::Queue),
        (&friendly, ClusterEvent::NodeAdded(node(json!({"metadata": {"name": "n"}}))), Hint::Skip),
        (&friendly, ClusterEvent::NodeUpdated { old: zone("a"), new: zone("b") }, Hint::Queue),
        (&friendly, ClusterEvent::NodeUpdated { old: zone("a"), new: zone("a") }, Hint::Skip),
    ] {
        assert_eq!(plugin().hint(&ClusterView::default(), pod, &event), expected, "{event:?}");
    }
    let until_1_35 = InterPodAffinity::for_version(Version::V1_35);
    assert_eq!(
        until_1_35.hint(&ClusterView::default(), &friendly, &ClusterEvent::AssignedPodDeleted(shy)),
        Hint::Skip
    );
}

proptest! {
    #[test]
    fn scores_stay_in_range_and_anti_affinity_only_ever_refuses_more_with_more_pods(
        placed in prop::collection::vec((0_usize..4, 0_usize..3, 0_usize..4), 0..16),
    ) {
        let names = [("n0", "a"), ("n1", "b"), ("n2", "b"), ("n3", "")];
        let affinities = [
            json!({}),
            away(json!([term("web", json!({}))])),
            preferring("podAffinity", &[(50, "web")]),
            near(json!([term("web", json!({}))])),
        ];
        let mut cluster = zoned(&names);
        let pod = member("new", "web", away(json!([term("db", json!({}))])));
        let mut refused = [false; 4];
        for (index, (at, app, affinity)) in placed.iter().enumerate() {
            let other = member(&format!("p{index}"), ["web", "db", "x"][*app], affinities[*affinity].clone());
            occupy(&mut cluster, other, names[*at].0);
            for (node, refused) in refused.iter_mut().enumerate() {
                let now = verdict(&cluster, &pod, names[node].0) != Verdict::Pass;
                prop_assert!(now || !*refused);
                *refused = now;
            }
        }
        if let Some((_, points)) = scores(plugin(), &cluster, &member("new", "web", preferring("podAntiAffinity", &[(9, "db")]))) {
            prop_assert!(points.iter().all(|points| (0..=100).contains(points)));
        }
    }
}

#[test]
fn a_group_that_is_somewhere_already_is_joined_there() {
    let mut cluster = zoned(&[("a1", "a"), ("b1", "b")]);
    occupy(&mut cluster, member("web", "web", json!({})), "a1");
    let pod = member("new", "web", near(json!([term("web", json!({}))])));
    assert_eq!(verdict(&cluster, &pod, "a1"), Verdict::Pass);
    assert_eq!(verdict(&cluster, &pod, "b1"), refused(NO_FRIENDS));
}

#[test]
fn affinity_is_told_before_anti_affinity_and_the_own_before_that_of_others() {
    let mut cluster = zoned(&[("a1", "a")]);
    occupy(&mut cluster, member("foe", "foe", json!({})), "a1");
    occupy(&mut cluster, member("shy", "shy", away(json!([term("web", json!({}))]))), "a1");
    let mut all = away(json!([term("foe", json!({}))]));
    assert_eq!(verdict(&cluster, &member("new", "web", all.clone()), "a1"), refused(OWN_FOES));
    all["podAffinity"] = near(json!([term("absent", json!({}))]))["podAffinity"].clone();
    assert_eq!(verdict(&cluster, &member("new", "web", all), "a1"), refused(NO_FRIENDS));
    assert_eq!(verdict(&cluster, &member("new", "web", json!({})), "a1"), refused(FOES_OF_OTHERS));
}

#[test]
fn listed_and_selected_namespaces_add_up_and_the_own_one_is_not_among_them() {
    let mut cluster = zoned(&[("a1", "a")]);
    cluster.keep(namespace("blue", "x"));
    cluster.keep(namespace("default", "own"));
    occupy(&mut cluster, in_namespace("db", "blue", json!({})), "a1");
    let meaning = |namespaces: &[&str], team: &str| {
        let more = json!({"namespaces": namespaces, "namespaceSelector": {"matchLabels": {"team": team}}});
        member("new", "web", near(json!([term("db", more)])))
    };
    for (namespaces, team, found) in
        [(&["red"][..], "x", true), (&["blue"], "y", true), (&["red"], "y", false)]
    {
        let expected = if found { Verdict::Pass } else { refused(NO_FRIENDS) };
        assert_eq!(verdict(&cluster, &meaning(namespaces, team), "a1"), expected, "{namespaces:?} {team}");
    }
    let mut cluster = zoned(&[("a1", "a")]);
    cluster.keep(namespace("default", "own"));
    occupy(&mut cluster, in_namespace("db", "default", json!({})), "a1");
    assert_eq!(verdict(&cluster, &meaning(&[], "x"), "a1"), refused(NO_FRIENDS));
}

#[test]
fn from_1_36_on_new_labels_of_its_own_are_a_reason_to_try_a_pod_again() {
    let pod = member("waiting", "web", near(json!([term("db", json!({}))])));
    let relabelled = ClusterEvent::PodUpdated { old: pod.clone(), new: member("waiting", "db", json!({})) };
    for (version, expected) in [(Version::V1_35, Hint::Skip), (Version::V1_36, Hint::Queue)] {
        assert_eq!(
            InterPodAffinity::for_version(version).hint(&ClusterView::default(), &pod, &relabelled),
            expected,
            "{version:?}"
        );
    }
}
