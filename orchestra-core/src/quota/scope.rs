//! Which objects a quota speaks of.

use k8s_openapi::api::core::v1::{
    Affinity, PersistentVolumeClaim, Pod, PodAffinityTerm, ResourceQuotaSpec,
    ScopedResourceSelectorRequirement,
};

use super::{Tracked, pod};

/// Whether a quota counts an object: each of its scopes must fit, and what is neither a pod nor a claim fits none.
pub fn covers(quota: &ResourceQuotaSpec, tracked: Tracked<'_>) -> bool {
    let plain = quota.scopes.iter().flatten().map(|scope| ScopedResourceSelectorRequirement {
        scope_name: scope.clone(),
        operator: "Exists".to_owned(),
        values: None,
    });
    let selector = quota.scope_selector.as_ref().and_then(|selector| selector.match_expressions.clone());
    plain.chain(selector.into_iter().flatten()).all(|scope| match tracked {
        Tracked::Pod(pod) => fits_pod(&scope, pod),
        Tracked::Claim(claim) => fits_claim(&scope, claim),
        Tracked::Service(_) | Tracked::Devices(_) | Tracked::Other(_) => false,
    })
}

fn fits_pod(scope: &ScopedResourceSelectorRequirement, pod: &Pod) -> bool {
    let spec = pod.spec.as_ref();
    let is_terminating =
        || spec.and_then(|spec| spec.active_deadline_seconds).is_some_and(|deadline| deadline >= 0);
    match scope.scope_name.as_str() {
        "Terminating" => is_terminating(),
        "NotTerminating" => !is_terminating(),
        "BestEffort" => pod::is_best_effort(pod),
        "NotBestEffort" => !pod::is_best_effort(pod),
        "PriorityClass" => {
            let class = spec.and_then(|spec| spec.priority_class_name.as_deref());
            names(scope, class.filter(|class| !class.is_empty()).as_slice())
        }
        "CrossNamespacePodAffinity" => {
            spec.and_then(|spec| spec.affinity.as_ref()).is_some_and(looks_elsewhere)
        }
        _ => false,
    }
}

fn fits_claim(scope: &ScopedResourceSelectorRequirement, claim: &PersistentVolumeClaim) -> bool {
    if scope.scope_name != "VolumeAttributesClass" {
        return false;
    }
    let status = claim.status.as_ref();
    let classes = [
        claim.spec.as_ref().and_then(|spec| spec.volume_attributes_class_name.as_deref()),
        status.and_then(|status| status.current_volume_attributes_class_name.as_deref()),
        status.and_then(|status| {
            status.modify_volume_status.as_ref()?.target_volume_attributes_class_name.as_deref()
        }),
    ];
    let classes: Vec<&str> = classes.into_iter().flatten().filter(|class| !class.is_empty()).collect();
    names(scope, &classes)
}

/// Whether one of the names an object has is as the scope wants it; an object without a name is none of any list.
fn names(scope: &ScopedResourceSelectorRequirement, held: &[&str]) -> bool {
    let listed = |name: &str| scope.values.iter().flatten().any(|value| value == name);
    match scope.operator.as_str() {
        "Exists" => !held.is_empty(),
        "DoesNotExist" => held.is_empty(),
        "In" => held.iter().any(|name| listed(name)),
        "NotIn" => held.is_empty() || held.iter().any(|name| !listed(name)),
        _ => false,
    }
}

/// Whether the pod wants to be near to, or far from, pods of other namespaces.
fn looks_elsewhere(affinity: &Affinity) -> bool {
    let elsewhere = |term: &PodAffinityTerm| {
        term.namespace_selector.is_some() || term.namespaces.as_ref().is_some_and(|names| !names.is_empty())
    };
    let near = affinity.pod_affinity.as_ref().is_some_and(|near| {
        let wished = near.preferred_during_scheduling_ignored_during_execution.iter().flatten();
        near.required_during_scheduling_ignored_during_execution.iter().flatten().any(elsewhere)
            || wished.map(|term| &term.pod_affinity_term).any(elsewhere)
    });
    near || affinity.pod_anti_affinity.as_ref().is_some_and(|far| {
        let wished = far.preferred_during_scheduling_ignored_during_execution.iter().flatten();
        far.required_during_scheduling_ignored_during_execution.iter().flatten().any(elsewhere)
            || wished.map(|term| &term.pod_affinity_term).any(elsewhere)
    })
}
