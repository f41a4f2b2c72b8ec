use proptest::prelude::*;

use super::*;

fn item(owners: &[Standing], dependents: &[Dependent]) -> Item {
    let owners = owners.iter().enumerate().map(|(i, standing)| (Uid::from(format!("o{i}")), *standing));
    Item { terminating: false, propagation: None, owners: owners.collect(), dependents: dependents.to_vec() }
}

fn dependent(blocks: bool, waits: bool) -> Dependent {
    Dependent { uid: "d".into(), blocks, waits }
}

fn delete(policy: Policy) -> Action {
    Action::Delete { policy, unblock: false }
}

#[test]
fn an_object_goes_when_its_last_owner_has_gone() {
    use Standing::{Absent, Ambiguous, Solid, Waiting};
    for (owners, expected) in [
        (&[][..], Action::Rest),
        (&[Solid], Action::Rest),
        (&[Absent], delete(Policy::Background)),
        (&[Waiting], delete(Policy::Background)),
        (&[Absent, Waiting], delete(Policy::Background)),
        (&[Solid, Absent], Action::Release(vec!["o1".into()])),
        (&[Waiting, Solid, Absent], Action::Release(vec!["o0".into(), "o2".into()])),
        (&[Ambiguous], Action::Rest),
        (&[Ambiguous, Absent], Action::Rest),
    ] {
        assert_eq!(plan(&item(owners, &[])), expected, "{owners:?}");
    }
}

#[test]
fn a_foreground_deletion_goes_down_the_tree_and_breaks_circles() {
    let below = |waits| plan(&item(&[Standing::Waiting], &[dependent(true, waits)]));
    assert_eq!(below(false), delete(Policy::Foreground));
    assert_eq!(below(true), Action::Delete { policy: Policy::Foreground, unblock: true });
}

#[test]
fn an_object_being_deleted_in_the_foreground_waits_for_those_that_block() {
    let waiting = |dependents: &[Dependent]| Item {
        terminating: true,
        propagation: Some(Propagation::Foreground),
        ..item(&[], dependents)
    };
    assert_eq!(plan(&waiting(&[dependent(true, false)])), Action::Rest);
    assert_eq!(plan(&waiting(&[dependent(false, false)])), Action::Finish);
    assert_eq!(plan(&waiting(&[])), Action::Finish);
}

#[test]
fn an_orphaning_object_lets_all_dependents_go() {
    let orphaning = Item {
        terminating: true,
        propagation: Some(Propagation::Orphan),
        ..item(&[], &[dependent(true, false)])
    };
    assert_eq!(plan(&orphaning), Action::Orphan(vec!["d".into()]));
}

#[test]
fn an_object_keeps_the_policy_its_finalizers_ask_for() {
    let orphaning = Item { propagation: Some(Propagation::Orphan), ..item(&[Standing::Absent], &[]) };
    assert_eq!(plan(&orphaning), delete(Policy::Orphan));
}

fn standing() -> impl Strategy<Value = Standing> {
    prop_oneof![
        Just(Standing::Solid),
        Just(Standing::Waiting),
        Just(Standing::Absent),
        Just(Standing::Ambiguous)
    ]
}

proptest! {
    #[test]
    fn nothing_with_a_living_owner_is_ever_deleted(
        owners in proptest::collection::vec(standing(), 0..5),
        dependents in proptest::collection::vec((any::<bool>(), any::<bool>()), 0..4),
        terminating in any::<bool>(),
    ) {
        let dependents: Vec<_> = dependents.into_iter().map(|(b, w)| dependent(b, w)).collect();
        let item = Item { terminating, ..item(&owners, &dependents) };
        let deletes = matches!(plan(&item), Action::Delete { .. });
        let spared = owners.is_empty()
            || terminating
            || owners.iter().any(|o| matches!(o, Standing::Solid | Standing::Ambiguous));
        prop_assert_eq!(deletes, !spared);
    }

    #[test]
    fn what_keeps_only_living_owners_rests(count in 0_usize..5) {
        prop_assert_eq!(plan(&item(&vec![Standing::Solid; count], &[])), Action::Rest);
    }
}
