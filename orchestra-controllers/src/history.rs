//! Revisions of a pod template, kept in ControllerRevisions: what StatefulSets and DaemonSets roll between.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use k8s_openapi::apimachinery::pkg::runtime::RawExtension;
use serde_json::{Value, json};

use crate::template_hash::hash;

/// The label of a revision that carries its hash.
const HASH: &str = "controller.kubernetes.io/hash";

/// What to do about revisions before anything else.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Step {
    /// The template has no revision: create this one.
    Create(Box<ControllerRevision>),
    /// The template went back to an earlier revision, which becomes the latest again.
    Raise(Arc<ControllerRevision>, i64),
}

/// The data of a revision: a strategic merge patch that puts the template back, as upstream stores it.
fn data(template: &PodTemplateSpec) -> Value {
    // A template is plain data and always serialises.
    let mut template = serde_json::to_value(template).unwrap_or_default();
    if let Some(template) = template.as_object_mut() {
        template.insert("$patch".into(), json!("replace"));
    }
    json!({"spec": {"template": template}})
}

/// The template of a revision.
pub(crate) fn template(revision: &ControllerRevision) -> Option<PodTemplateSpec> {
    let mut template = revision.data.as_ref()?.0.pointer("/spec/template")?.clone();
    template.as_object_mut()?.remove("$patch");
    serde_json::from_value(template).ok()
}

pub(crate) fn hash_of(revision: &ControllerRevision) -> Option<&str> {
    revision.metadata.labels.as_ref()?.get(HASH).map(String::as_str)
}

pub(crate) fn name_of(revision: &ControllerRevision) -> &str {
    revision.metadata.name.as_deref().unwrap_or_default()
}

fn by_number(revisions: &[Arc<ControllerRevision>]) -> Vec<&Arc<ControllerRevision>> {
    let mut sorted: Vec<_> = revisions.iter().collect();
    sorted.sort_by_key(|revision| {
        let created = revision.metadata.creation_timestamp.as_ref().map(|time| time.0);
        (revision.revision, created, revision.metadata.name.clone())
    });
    sorted
}

/// The revision of the current template, if it stands as the latest; otherwise what to do first.
pub(crate) fn current(
    owner: &ObjectMeta,
    reference: OwnerReference,
    current: &PodTemplateSpec,
    collisions: i32,
    revisions: &[Arc<ControllerRevision>],
) -> Result<Arc<ControllerRevision>, Step> {
    let sorted = by_number(revisions);
    let last = sorted.last().map_or(0, |revision| revision.revision);
    let same = |revision: &&&Arc<ControllerRevision>| template(revision).as_ref() == Some(current);
    match sorted.iter().rev().find(same) {
        Some(found) if found.revision == last => Ok((*found).clone()),
        Some(found) => Err(Step::Raise((*found).clone(), last.saturating_add(1))),
        None => {
            let hash = hash(current, Some(collisions));
            let labels = current.metadata.as_ref().and_then(|meta| meta.labels.clone());
            let mut labels: BTreeMap<String, String> = labels.unwrap_or_default();
            labels.insert(HASH.into(), hash.clone());
            Err(Step::Create(Box::new(ControllerRevision {
                metadata: ObjectMeta {
                    name: Some(format!("{}-{hash}", owner.name.as_deref().unwrap_or_default())),
                    namespace: owner.namespace.clone(),
                    labels: Some(labels),
                    owner_references: Some(vec![reference]),
                    ..ObjectMeta::default()
                },
                data: Some(RawExtension(data(current))),
                revision: last.saturating_add(1),
            })))
        }
    }
}

/// The oldest revisions nobody uses, beyond the number to be kept.
pub(crate) fn surplus(
    revisions: &[Arc<ControllerRevision>],
    used: &BTreeSet<&str>,
    limit: i32,
) -> Vec<Arc<ControllerRevision>> {
    let idle = by_number(revisions).into_iter().filter(|revision| {
        let hash = hash_of(revision).unwrap_or_default();
        !used.contains(name_of(revision)) && !used.contains(hash)
    });
    let idle: Vec<_> = idle.cloned().collect();
    let surplus = idle.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
    idle.into_iter().take(surplus).collect()
}
