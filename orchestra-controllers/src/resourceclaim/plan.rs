//! What a pod's claims of devices are called, what is made of a template, and what is left of a claim once pods are done. Pure.

use k8s_openapi::api::core::v1::{Pod, PodResourceClaim};
use k8s_openapi::api::resource::v1::{
    ResourceClaim, ResourceClaimConsumerReference, ResourceClaimStatus, ResourceClaimTemplate,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::ownership::{controller_of, controller_reference, is_controlled_by};
use crate::pod;

/// Tells which of a pod's claims one was made for.
const MADE_FOR: &str = "resource.kubernetes.io/pod-claim-name";
/// Keeps a claim that has devices.
const GUARD: &str = "resource.kubernetes.io/delete-protection";
/// How many may use a claim at once.
const MOST_USERS: usize = 256;
/// What a generated name may begin with: five characters follow, and a label has 63.
const LONGEST_PREFIX: usize = 57;

/// The claims that a pod asks for.
pub(super) fn wanted(pod: &Pod) -> &[PodResourceClaim] {
    pod.spec.as_ref().and_then(|spec| spec.resource_claims.as_deref()).unwrap_or_default()
}

/// How one of a pod's claims is called in the cluster.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Called<'a> {
    /// So.
    Name(&'a str),
    /// It turned out that none is needed.
    NotNeeded,
    /// It is still to be made of a template.
    Unmade,
}

pub(super) fn called<'a>(pod: &'a Pod, wanted: &'a PodResourceClaim) -> Called<'a> {
    if let Some(name) = &wanted.resource_claim_name {
        return Called::Name(name);
    }
    let known = pod.status.as_ref().and_then(|status| status.resource_claim_statuses.as_deref());
    match known.unwrap_or_default().iter().find(|known| known.name == wanted.name) {
        Some(known) => known.resource_claim_name.as_deref().map_or(Called::NotNeeded, Called::Name),
        None => Called::Unmade,
    }
}

/// The names of the claims that a pod has.
pub(super) fn names(pod: &Pod) -> impl Iterator<Item = &str> {
    wanted(pod).iter().filter_map(|wanted| match called(pod, wanted) {
        Called::Name(name) => Some(name),
        Called::NotNeeded | Called::Unmade => None,
    })
}

/// The claim that a scheduler made of extended resources of a pod. It made the pod its user, too; what is left to do is to give
/// it back.
pub(super) fn made_of_resources(pod: &Pod) -> Option<&str> {
    let made = pod.status.as_ref()?.extended_resource_claim_status.as_ref()?;
    Some(&*made.resource_claim_name).filter(|name| !name.is_empty())
}

/// Whether a pod will never use a device again: it has ended, or goes before it had a node.
pub(super) fn is_done(pod: &Pod) -> bool {
    pod::is_finished(pod) || (pod::is_terminating(pod) && pod::node_name(pod).is_none())
}

/// Whether a claim was made for this one of a pod's.
pub(super) fn is_made_for(claim: &ResourceClaim, pod: &Pod, wanted: &PodResourceClaim) -> bool {
    let made_for = claim.metadata.annotations.as_ref().and_then(|all| all.get(MADE_FOR));
    is_controlled_by(&claim.metadata, &pod.metadata) && made_for == Some(&wanted.name)
}

/// The claim that a template stands for, which goes with the pod.
pub(super) fn made(pod: &Pod, wanted: &PodResourceClaim, template: &ResourceClaimTemplate) -> ResourceClaim {
    let kept = template.spec.metadata.clone().unwrap_or_default();
    let mut annotations = kept.annotations.unwrap_or_default();
    annotations.insert(MADE_FOR.to_owned(), wanted.name.clone());
    ResourceClaim {
        metadata: ObjectMeta {
            generate_name: Some(prefix(pod.metadata.name.as_deref().unwrap_or_default(), &wanted.name)),
            labels: kept.labels,
            annotations: Some(annotations),
            owner_references: Some(vec![controller_reference(pod)]),
            ..ObjectMeta::default()
        },
        spec: template.spec.spec.clone(),
        status: None,
    }
}

/// Of names that are too long, as much of each as it has of the whole. Names are ASCII.
fn prefix(pod: &str, claim: &str) -> String {
    let whole = format!("{pod}-{claim}-");
    if whole.len() <= LONGEST_PREFIX {
        return whole;
    }
    let part = |text: &str| text.chars().take(text.len() * LONGEST_PREFIX / whole.len()).collect::<String>();
    format!("{}-{}", part(pod), part(claim))
}

/// Who uses a claim.
pub(super) fn users(claim: &ResourceClaim) -> &[ResourceClaimConsumerReference] {
    claim.status.as_ref().and_then(|status| status.reserved_for.as_deref()).unwrap_or_default()
}

/// Whether a user is a pod. Others are not known here, and stay.
pub(super) fn is_pod(user: &ResourceClaimConsumerReference) -> bool {
    user.api_group.as_deref().unwrap_or_default().is_empty() && user.resource == "pods"
}

/// The claim with a pod as one more user, if it has devices, room, and the pod not yet.
pub(super) fn reserved(claim: &ResourceClaim, pod: &Pod) -> Option<ResourceClaim> {
    let has_devices = claim.status.as_ref().is_some_and(|status| status.allocation.is_some());
    let uid = pod.metadata.uid.as_deref()?;
    let held = users(claim);
    if !has_devices || held.len() >= MOST_USERS || held.iter().any(|user| user.uid == uid) {
        return None;
    }
    let mut next = claim.clone();
    let users = next.status.get_or_insert_default().reserved_for.get_or_insert_default();
    users.push(ResourceClaimConsumerReference {
        api_group: None,
        resource: "pods".to_owned(),
        name: pod.metadata.name.clone()?,
        uid: uid.to_owned(),
    });
    Some(next)
}

fn is_guarded(claim: &ResourceClaim) -> bool {
    claim.metadata.finalizers.iter().flatten().any(|held| held == GUARD)
}

/// The claim without the users that have gone, and without its devices once nobody is left, so that they can be given to others
/// and the next user can be anywhere. A claim that is on its way out loses them, too.
///
/// It must have had users: its devices may be there before the first.
pub(super) fn released(
    claim: &ResourceClaim,
    stays: impl Fn(&ResourceClaimConsumerReference) -> bool,
) -> Option<ResourceClaim> {
    let status = claim.status.as_ref()?;
    let left: Vec<_> = users(claim).iter().filter(|user| stays(user)).cloned().collect();
    let some_went = left.len() < users(claim).len();
    let gives_back = left.is_empty()
        && status.allocation.is_some()
        && is_guarded(claim)
        && (some_went || claim.metadata.deletion_timestamp.is_some());
    if !some_went && !gives_back {
        return None;
    }
    let allocation = if gives_back { None } else { status.allocation.clone() };
    let reserved_for = (!left.is_empty()).then_some(left);
    let mut next = claim.clone();
    next.status = Some(ResourceClaimStatus { allocation, reserved_for, ..status.clone() });
    Some(next)
}

/// The claim without what keeps it, once it has no devices.
pub(super) fn unguarded(claim: &ResourceClaim) -> Option<ResourceClaim> {
    let has_devices = claim.status.as_ref().is_some_and(|status| status.allocation.is_some());
    if has_devices || !is_guarded(claim) {
        return None;
    }
    let mut next = claim.clone();
    let left = next.metadata.finalizers.take().unwrap_or_default().into_iter().filter(|held| held != GUARD);
    next.metadata.finalizers = Some(left.collect::<Vec<_>>()).filter(|left| !left.is_empty());
    Some(next)
}

/// The name of the pod that a claim was made for.
pub(super) fn owner(claim: &ResourceClaim) -> Option<&str> {
    let owner = controller_of(&claim.metadata)?;
    (owner.kind == "Pod" && owner.api_version == "v1").then_some(&owner.name)
}

/// Whether a claim that nobody uses was made for a pod that does not need it any more: this one, or one that had its name.
pub(super) fn is_left_over(claim: &ResourceClaim, pod: &Pod) -> bool {
    claim.metadata.deletion_timestamp.is_none()
        && (is_done(pod) || !is_controlled_by(&claim.metadata, &pod.metadata))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(status: Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "web", "namespace": "default", "uid": "u"},
            "spec": {"containers": [], "nodeName": "n", "resourceClaims": [
                {"name": "own", "resourceClaimName": "shared"},
                {"name": "gpu", "resourceClaimTemplateName": "one-gpu"},
            ]},
            "status": status,
        }))
        .unwrap()
    }

    fn claim(metadata: Value, status: Value) -> ResourceClaim {
        let claim = json!({"metadata": metadata, "spec": {}, "status": status});
        serde_json::from_value(claim).unwrap()
    }

    fn user(uid: &str) -> Value {
        json!({"resource": "pods", "name": "web", "uid": uid})
    }

    #[test]
    fn a_claim_is_called_as_the_pod_says_or_its_status_or_not_yet() {
        let called = |status| {
            let pod = pod(status);
            let all = wanted(&pod).iter().map(|wanted| format!("{:?}", called(&pod, wanted)));
            all.collect::<Vec<_>>()
        };
        assert_eq!(called(json!({})), ["Name(\"shared\")", "Unmade"]);
        let made = json!({"resourceClaimStatuses": [{"name": "gpu", "resourceClaimName": "web-gpu-x"}]});
        assert_eq!(called(made), ["Name(\"shared\")", "Name(\"web-gpu-x\")"]);
        let none = json!({"resourceClaimStatuses": [{"name": "gpu"}]});
        assert_eq!(called(none), ["Name(\"shared\")", "NotNeeded"]);
    }

    #[test]
    fn what_is_made_of_a_template_belongs_to_the_pod_and_says_for_what() {
        let template = serde_json::from_value(json!({
            "metadata": {"name": "one-gpu"},
            "spec": {"metadata": {"labels": {"a": "b"}, "annotations": {"c": "d"}},
                     "spec": {"devices": {"requests": [{"name": "r"}]}}},
        }));
        let pod = pod(json!({}));
        let gpu = &wanted(&pod)[1];
        let made = made(&pod, gpu, &template.unwrap());
        assert_eq!(made.metadata.generate_name.as_deref(), Some("web-gpu-"));
        assert_eq!(made.metadata.labels.as_ref().unwrap()["a"], "b");
        assert_eq!(made.metadata.annotations.as_ref().unwrap().len(), 2);
        assert!(made.spec.devices.is_some());
        assert!(is_made_for(&made, &pod, gpu) && !is_made_for(&made, &pod, &wanted(&pod)[0]));
        assert_eq!(owner(&made), Some("web"));
    }

    #[test]
    fn long_names_give_way_in_proportion() {
        assert_eq!(prefix(&"p".repeat(53), "cc"), format!("{}-cc-", "p".repeat(53)));
        let cut = prefix(&"p".repeat(100), &"c".repeat(50));
        assert_eq!(cut, format!("{}-{}", "p".repeat(37), "c".repeat(18)));
    }

    #[test]
    fn the_last_user_gives_the_devices_back_and_no_other() {
        let held = json!({"allocation": {}, "reservedFor": [user("u"), user("v")]});
        let guarded = json!({"name": "c", "finalizers": [GUARD, "example.com/own"]});
        let both = claim(guarded.clone(), held);
        assert_eq!(released(&both, |_| true), None);
        let one = released(&both, |user| user.uid == "v").unwrap();
        assert!(one.status.as_ref().unwrap().allocation.is_some());
        assert_eq!((users(&one).len(), unguarded(&one)), (1, None));
        let none = released(&one, |_| false).unwrap();
        assert_eq!(none.status, Some(ResourceClaimStatus::default()));
        assert_eq!(unguarded(&none).unwrap().metadata.finalizers, Some(vec!["example.com/own".to_owned()]));
        // Devices that nobody has used yet wait for their user, until the claim is deleted.
        let unused = claim(guarded, json!({"allocation": {}}));
        assert_eq!(released(&unused, |_| true), None);
        let mut going = unused;
        going.metadata.deletion_timestamp = serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
        assert!(released(&going, |_| true).unwrap().status.unwrap().allocation.is_none());
        // Without the guard they were not given by a scheduler.
        let strange = claim(json!({"name": "c"}), json!({"allocation": {}, "reservedFor": [user("u")]}));
        assert!(released(&strange, |_| false).unwrap().status.unwrap().allocation.is_some());
    }

    #[test]
    fn a_pod_that_came_to_its_node_by_itself_becomes_a_user_once() {
        let pod = pod(json!({}));
        let free = claim(json!({"name": "c"}), json!({"allocation": {}}));
        let reserved_for = |claim: &ResourceClaim| reserved(claim, &pod);
        let taken = reserved_for(&free).unwrap();
        assert_eq!(users(&taken)[0].uid, "u");
        assert_eq!(reserved_for(&taken), None);
        assert_eq!(reserved_for(&claim(json!({"name": "c"}), json!({}))), None);
        let crowd: Vec<Value> = (0..MOST_USERS).map(|at| user(&format!("x{at}"))).collect();
        let full = claim(json!({"name": "c"}), json!({"allocation": {}, "reservedFor": crowd}));
        assert_eq!(reserved_for(&full), None);
    }

    #[test]
    fn a_claim_is_left_over_when_its_pod_is_done_or_another() {
        let living = pod(json!({"phase": "Running"}));
        let owned = |uid: &str| {
            let owner =
                json!([{"apiVersion": "v1", "kind": "Pod", "name": "web", "uid": uid, "controller": true}]);
            claim(json!({"name": "c", "ownerReferences": owner}), json!({}))
        };
        assert!(!is_left_over(&owned("u"), &living));
        assert!(is_left_over(&owned("earlier"), &living));
        assert!(is_left_over(&owned("u"), &pod(json!({"phase": "Succeeded"}))));
    }
}
