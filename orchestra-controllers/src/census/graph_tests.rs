use super::*;

fn kind(name: &str, namespaced: bool) -> Arc<Kind> {
    let api = ApiResource {
        group: String::new(),
        version: "v1".into(),
        api_version: "v1".into(),
        kind: name.into(),
        plural: format!("{}s", name.to_lowercase()),
    };
    Arc::new(Kind { api, namespaced })
}

fn node(name: &str, owners: &[&str]) -> Node {
    let owner = |name: &&str| Owner {
        uid: (*name).into(),
        group: "".into(),
        kind: "Thing".into(),
        name: (*name).into(),
        blocks: true,
    };
    Node {
        kind: kind("Thing", true),
        namespace: "ns".into(),
        name: name.into(),
        owners: owners.iter().map(owner).collect(),
        terminating: false,
        propagation: None,
    }
}

fn going(name: &str, owners: &[&str], propagation: Propagation) -> Node {
    Node { terminating: true, propagation: Some(propagation), ..node(name, owners) }
}

fn uids(names: &[&str]) -> Vec<Uid> {
    names.iter().map(|name| Uid::from(*name)).collect()
}

#[test]
fn an_object_without_owners_touches_nothing_and_an_unchanged_one_neither() {
    let mut graph = Graph::default();
    assert_eq!(graph.observe("a".into(), node("a", &[])), uids(&[]));
    assert_eq!(graph.observe("b".into(), node("b", &["a"])), uids(&["b"]));
    assert_eq!(graph.observe("b".into(), node("b", &["a"])), uids(&[]));
}

#[test]
fn a_removal_touches_the_dependents_even_of_an_owner_never_seen() {
    let mut graph = Graph::default();
    graph.observe("b".into(), node("b", &["a"]));
    assert_eq!(graph.remove("a").touched, uids(&["b"]));
}

#[test]
fn foreground_deletion_touches_the_dependents_once_and_the_owner_when_they_go() {
    let mut graph = Graph::default();
    graph.observe("a".into(), node("a", &[]));
    graph.observe("b".into(), node("b", &["a"]));
    assert_eq!(graph.observe("a".into(), going("a", &[], Propagation::Foreground)), uids(&["a", "b"]));
    assert_eq!(graph.remove("b").touched, uids(&["a"]));
}

#[test]
fn a_dependent_that_changes_hands_touches_the_owner_that_waits() {
    let mut graph = Graph::default();
    graph.observe("a".into(), going("a", &[], Propagation::Orphan));
    graph.observe("b".into(), node("b", &["a"]));
    assert_eq!(graph.observe("b".into(), node("b", &[])), uids(&["a"]));
    assert_eq!(graph.dependents("a").count(), 0);
}

#[test]
fn the_last_object_of_a_kind_empties_its_namespace() {
    let mut graph = Graph::default();
    graph.observe("a".into(), node("a", &[]));
    graph.observe("b".into(), node("b", &[]));
    assert_eq!(graph.remove("a").emptied, None);
    assert_eq!(graph.remove("b").emptied, Some(("things".into(), "ns".into())));
}

#[test]
fn an_owner_is_known_only_under_its_own_kind_name_and_namespace() {
    let mut graph = Graph::default();
    graph.observe("a".into(), node("a", &[]));
    let owner = &node("b", &["a"]).owners[0];
    assert!(graph.owner(owner, "ns").is_some());
    assert!(graph.owner(owner, "elsewhere").is_none());
    assert!(graph.owner(&Owner { name: "other".into(), ..owner.clone() }, "ns").is_none());
    assert!(graph.owner(&Owner { kind: "Other".into(), ..owner.clone() }, "ns").is_none());
}
