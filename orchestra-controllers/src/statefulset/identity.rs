//! Who a pod of a StatefulSet is: its number, name, labels, host name and claims.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimVolumeSource, Pod, PodTemplateSpec, Volume,
};

use crate::ownership::controller_reference;
use crate::pod;

pub(super) const POD_NAME: &str = "statefulset.kubernetes.io/pod-name";
pub(super) const POD_INDEX: &str = "apps.kubernetes.io/pod-index";
pub(crate) const REVISION: &str = "controller-revision-hash";

pub(super) fn set_name(set: &StatefulSet) -> &str {
    set.metadata.name.as_deref().unwrap_or_default()
}

/// The number at the end of a pod's name, if the rest is the set's.
pub(super) fn ordinal(set: &StatefulSet, pod: &Pod) -> Option<i32> {
    let rest = pod.metadata.name.as_deref()?.strip_prefix(set_name(set))?.strip_prefix('-')?;
    let number: i32 = rest.parse().ok()?;
    (number >= 0 && number.to_string() == rest).then_some(number)
}

pub(super) fn revision(pod: &Pod) -> &str {
    pod.metadata.labels.as_ref().and_then(|labels| labels.get(REVISION)).map_or("", String::as_str)
}

fn templates(set: &StatefulSet) -> &[PersistentVolumeClaim] {
    set.spec.as_ref().and_then(|spec| spec.volume_claim_templates.as_deref()).unwrap_or_default()
}

fn claim_name(set: &StatefulSet, template: &PersistentVolumeClaim, ordinal: i32) -> String {
    format!("{}-{}-{ordinal}", template.metadata.name.as_deref().unwrap_or_default(), set_name(set))
}

/// The claims of the pod of this number.
pub(super) fn claims(set: &StatefulSet, ordinal: i32) -> Vec<PersistentVolumeClaim> {
    let selected = set.spec.as_ref().and_then(|spec| spec.selector.match_labels.clone()).unwrap_or_default();
    let claim = |template: &PersistentVolumeClaim| {
        let mut claim = template.clone();
        claim.metadata.name = Some(claim_name(set, template, ordinal));
        claim.metadata.namespace.clone_from(&set.metadata.namespace);
        claim.metadata.labels.get_or_insert_default().extend(selected.clone());
        claim.status = None;
        claim
    };
    templates(set).iter().map(claim).collect()
}

/// The pod of this number, made from the template of a revision.
pub(super) fn new_pod(set: &StatefulSet, template: &PodTemplateSpec, revision: &str, ordinal: i32) -> Pod {
    let namespace = set.metadata.namespace.as_deref().unwrap_or_default();
    let mut pod = pod::from_template(template, namespace, controller_reference(set));
    let name = format!("{}-{ordinal}", set_name(set));
    pod.metadata.name = Some(name.clone());
    let labels = pod.metadata.labels.get_or_insert_default();
    labels.insert(REVISION.into(), revision.to_owned());
    labels.extend(identity(&name, ordinal));
    let spec = pod.spec.get_or_insert_default();
    spec.hostname = Some(name);
    spec.subdomain =
        set.spec.as_ref().and_then(|spec| spec.service_name.clone()).filter(|name| !name.is_empty());
    let mut volumes: Vec<Volume> =
        templates(set).iter().map(|template| volume(set, template, ordinal)).collect();
    let own = spec.volumes.take().unwrap_or_default();
    let names: Vec<_> = volumes.iter().map(|volume| volume.name.clone()).collect();
    volumes.extend(own.into_iter().filter(|volume| !names.contains(&volume.name)));
    spec.volumes = (!volumes.is_empty()).then_some(volumes);
    pod
}

fn volume(set: &StatefulSet, template: &PersistentVolumeClaim, ordinal: i32) -> Volume {
    Volume {
        name: template.metadata.name.clone().unwrap_or_default(),
        persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
            claim_name: claim_name(set, template, ordinal),
            read_only: None,
        }),
        ..Volume::default()
    }
}

fn identity(name: &str, ordinal: i32) -> [(String, String); 2] {
    [(POD_NAME.to_owned(), name.to_owned()), (POD_INDEX.to_owned(), ordinal.to_string())]
}

/// The identity labels that a pod lost, or had never got because it was adopted.
pub(super) fn missing_labels(pod: &Pod, ordinal: i32) -> BTreeMap<String, String> {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let has = |(key, value): &(String, String)| {
        pod.metadata.labels.as_ref().is_some_and(|labels| labels.get(key) == Some(value))
    };
    identity(name, ordinal).into_iter().filter(|pair| !has(pair)).collect()
}
