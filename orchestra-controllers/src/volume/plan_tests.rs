use std::sync::Arc;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::StorageClass;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn volume(name: &str, size: &str) -> Value {
    json!({
        "metadata": {"name": name, "uid": name, "annotations": {}, "labels": {}},
        "spec": {"capacity": {"storage": size}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/x"},
            "storageClassName": "fast", "persistentVolumeReclaimPolicy": "Delete"},
        "status": {"phase": "Available"},
    })
}

fn claim(size: &str) -> Value {
    json!({
        "metadata": {"name": "data", "namespace": "ns", "uid": "u1", "annotations": {}},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}},
            "storageClassName": "fast"},
        "status": {"phase": "Pending"},
    })
}

fn class(provisioner: &str, mode: &str) -> StorageClass {
    let value = json!({"metadata": {"name": "fast"}, "provisioner": provisioner, "volumeBindingMode": mode});
    serde_json::from_value(value).unwrap()
}

fn plan(claim: &Value, volumes: &[Value], class: Option<&StorageClass>) -> ClaimAction {
    let claim: PersistentVolumeClaim = serde_json::from_value(claim.clone()).unwrap();
    let read = |volume: &Value| -> Arc<PersistentVolume> {
        Arc::new(serde_json::from_value(volume.clone()).unwrap())
    };
    let volumes: Vec<_> = volumes.iter().map(read).collect();
    plan_claim(&ObservedClaim { claim: &claim, volumes: &volumes, class, default: class })
}

/// The volume a claim is bound to, or the reason of what happens instead.
fn outcome(action: &ClaimAction) -> String {
    match action {
        ClaimAction::Bind(volume) => volume.metadata.name.clone().unwrap(),
        ClaimAction::Wait(note) | ClaimAction::Lose(note) => note.reason.into(),
        ClaimAction::Assume(class) => format!("assume {class}"),
        ClaimAction::Provision => "provision".into(),
        ClaimAction::Await(_) => "await".into(),
        ClaimAction::Rest => "rest".into(),
    }
}

fn with(mut object: Value, path: &str, value: Value) -> Value {
    let (parent, key) = path.rsplit_once('/').unwrap();
    object.pointer_mut(parent).unwrap()[key] = value;
    object
}

#[test]
fn the_smallest_volume_that_suits_is_taken() {
    let volumes = [volume("big", "10Gi"), volume("fit", "1Gi"), volume("small", "512Mi")];
    assert_eq!(outcome(&plan(&claim("1024Mi"), &volumes, None)), "fit");
}

#[test]
fn a_volume_must_suit_in_every_respect() {
    let claim = claim("1Gi");
    for (path, value) in [
        ("/spec/storageClassName", json!("slow")),
        ("/spec/volumeMode", json!("Block")),
        ("/spec/accessModes", json!(["ReadOnlyMany"])),
        ("/spec/claimRef", json!({"name": "other", "namespace": "ns"})),
        ("/spec/claimRef", json!({"name": "data", "namespace": "ns", "uid": "older"})),
        ("/status/phase", json!("Released")),
        ("/metadata/deletionTimestamp", json!("2026-01-01T00:00:00Z")),
    ] {
        let volume = with(volume("v", "1Gi"), path, value);
        let provisioning = class(PROVISIONER, "Immediate");
        assert_eq!(outcome(&plan(&claim, &[volume], Some(&provisioning))), "provision", "{path}");
    }
    let selecting = with(claim, "/spec/selector", json!({"matchLabels": {"a": "b"}}));
    let labelled = with(volume("right", "5Gi"), "/metadata/labels", json!({"a": "b"}));
    assert_eq!(outcome(&plan(&selecting, &[volume("v", "1Gi"), labelled], None)), "right");
}

#[test]
fn a_volume_made_for_the_claim_comes_first() {
    let meant = with(volume("meant", "10Gi"), "/spec/claimRef", json!({"name": "data", "namespace": "ns"}));
    assert_eq!(outcome(&plan(&claim("1Gi"), &[volume("fit", "1Gi"), meant], None)), "meant");
}

#[test]
fn without_a_volume_the_class_decides() {
    let claim = claim("1Gi");
    let outcome = |claim: &Value, class: Option<&StorageClass>| outcome(&plan(claim, &[], class));
    assert_eq!(outcome(&claim, None), "ProvisioningFailed");
    assert_eq!(outcome(&claim, Some(&class("example.com/x", "Immediate"))), "await");
    assert_eq!(outcome(&claim, Some(&class("kubernetes.io/no-provisioner", "Immediate"))), "FailedBinding");
    let late = class(PROVISIONER, "WaitForFirstConsumer");
    assert_eq!(outcome(&claim, Some(&late)), "WaitForFirstConsumer");
    let placed = with(claim.clone(), "/metadata/annotations", json!({SELECTED_NODE: "n"}));
    assert_eq!(outcome(&placed, Some(&late)), "provision");
    let classless = with(claim.clone(), "/spec/storageClassName", json!(""));
    assert_eq!(outcome(&classless, None), "FailedBinding");
    let going = with(claim, "/metadata/deletionTimestamp", json!("2026-01-01T00:00:00Z"));
    assert_eq!(outcome(&going, Some(&class(PROVISIONER, "Immediate"))), "rest");
}

#[test]
fn a_volume_asked_for_by_name_is_waited_for_and_must_suit() {
    let claim = with(claim("1Gi"), "/spec/volumeName", json!("v"));
    let outcome = |volumes: &[Value]| outcome(&plan(&claim, volumes, None));
    assert_eq!(outcome(&[]), "FailedBinding");
    assert_eq!(outcome(&[volume("v", "1Gi")]), "v");
    assert_eq!(outcome(&[volume("v", "1Mi")]), "VolumeMismatch");
    let taken = with(volume("v", "1Gi"), "/spec/claimRef", json!({"name": "other", "namespace": "ns"}));
    assert_eq!(outcome(&[taken]), "FailedBinding");
}

#[test]
fn a_bound_claim_without_its_volume_is_lost() {
    let bound = with(claim("1Gi"), "/metadata/annotations", json!({BIND_COMPLETED: "yes"}));
    assert_eq!(outcome(&plan(&bound, &[], None)), "ClaimLost");
    let named = with(bound, "/spec/volumeName", json!("v"));
    assert_eq!(outcome(&plan(&named, &[], None)), "ClaimLost");
    let reference = json!({"name": "other", "namespace": "ns", "uid": "u2"});
    let others = with(volume("v", "1Gi"), "/spec/claimRef", reference);
    assert_eq!(outcome(&plan(&named, &[others], None)), "ClaimMisbound");
}

#[test]
fn a_bound_pair_needs_no_write() {
    let volume: PersistentVolume = serde_json::from_value(volume("v", "2Gi")).unwrap();
    let claim: PersistentVolumeClaim = serde_json::from_value(claim("1Gi")).unwrap();
    let volume = binding::volume(&volume, &claim).unwrap();
    let claim = binding::claim(&claim, &volume).unwrap();
    let claim = binding::claim_status(&claim, &volume).unwrap();
    assert_eq!(claim.status.as_ref().unwrap().capacity.as_ref().unwrap()["storage"].0, "2Gi");
    assert_eq!(binding::volume(&volume, &claim), None);
    assert_eq!(binding::claim(&claim, &volume), None);
    assert_eq!(binding::claim_status(&claim, &volume), None);
    assert_eq!(fit::claim_of(&binding::unbound(&volume)), None);
}

#[test]
fn a_volume_shows_how_it_stands_to_its_claim() {
    let reference = json!({"name": "data", "namespace": "ns", "uid": "u1"});
    let free = volume("v", "1Gi");
    let taken = with(free.clone(), "/spec/claimRef", reference);
    let released = with(taken.clone(), "/status/phase", json!("Released"));
    let kept = with(released.clone(), "/spec/persistentVolumeReclaimPolicy", json!("Retain"));
    let made = with(taken.clone(), "/metadata/annotations", json!({PROVISIONED_BY: PROVISIONER}));
    let prebound = with(free.clone(), "/spec/claimRef", json!({"name": "data", "namespace": "ns"}));
    let waiting = claim("1Gi");
    let bound = with(waiting.clone(), "/spec/volumeName", json!("v"));
    let elsewhere = with(waiting.clone(), "/spec/volumeName", json!("w"));
    for (volume, claim, expected) in [
        (&free, None, VolumeAction::Rest),
        (&prebound, None, VolumeAction::Rest),
        (&taken, None, VolumeAction::SetPhase("Released")),
        (&released, None, VolumeAction::Reclaim),
        (&kept, None, VolumeAction::Rest),
        (&taken, Some(&waiting), VolumeAction::LookAtClaim),
        (&taken, Some(&bound), VolumeAction::SetPhase("Bound")),
        (&taken, Some(&elsewhere), VolumeAction::Unbind),
        (&made, Some(&elsewhere), VolumeAction::SetPhase("Released")),
    ] {
        let volume: PersistentVolume = serde_json::from_value(volume.clone()).unwrap();
        let claim: Option<PersistentVolumeClaim> =
            claim.map(|claim| serde_json::from_value(claim.clone()).unwrap());
        assert_eq!(plan_volume(&volume, claim.as_ref()), expected, "{volume:?}");
    }
}

proptest! {
    #[test]
    fn no_volume_smaller_than_the_request_is_ever_bound(
        sizes in proptest::collection::vec(1_u32..100, 0..8), wanted in 1_u32..100,
    ) {
        let volumes: Vec<_> =
            sizes.iter().enumerate().map(|(i, size)| volume(&format!("v{i}"), &format!("{size}Mi"))).collect();
        let action = plan(&claim(&format!("{wanted}Mi")), &volumes, None);
        let best = sizes.iter().filter(|size| **size >= wanted).min();
        match action {
            ClaimAction::Bind(volume) => {
                let held = &volume.spec.as_ref().unwrap().capacity.as_ref().unwrap()["storage"].0;
                prop_assert_eq!(held, &format!("{}Mi", best.unwrap()));
            }
            _ => prop_assert_eq!(best, None),
        }
    }
}

#[test]
fn a_claim_without_a_class_takes_the_default_that_came_after_it() {
    let class = class(PROVISIONER, "Immediate");
    let classless = with(claim("1Gi"), "/spec/storageClassName", Value::Null);
    assert_eq!(outcome(&plan(&classless, &[], Some(&class))), "assume fast");
    let refuses = with(claim("1Gi"), "/spec/storageClassName", "".into());
    assert_eq!(outcome(&plan(&refuses, &[], Some(&class))), "FailedBinding");
}
