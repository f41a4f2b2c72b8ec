//! A Deployment's ReplicaSets: the one of the current template, and what is written on each.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetSpec};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use super::facts::Facts;
use crate::template_hash::hash;

pub(super) const REVISION: &str = "deployment.kubernetes.io/revision";
const REVISION_HISTORY: &str = "deployment.kubernetes.io/revision-history";
const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
const MAX: &str = "deployment.kubernetes.io/max-replicas";
pub(super) const TEMPLATE_HASH: &str = "pod-template-hash";
const HISTORY_LIMIT: usize = 2000;

/// Annotations that stay on the Deployment alone.
const PRIVATE: &[&str] = &[
    "kubectl.kubernetes.io/last-applied-configuration",
    "deprecated.deployment.rollback.revision",
    "deprecated.deployment.rollback.revisionHash",
    REVISION,
    REVISION_HISTORY,
    DESIRED,
    MAX,
];

/// A ReplicaSet and what it shall become.
#[derive(Clone, Debug)]
pub(super) struct Set {
    pub(super) object: Arc<ReplicaSet>,
    /// Whether it is on the server yet.
    pub(super) exists: bool,
    /// How many replicas it shall have.
    pub(super) replicas: i32,
    pub(super) annotations: BTreeMap<String, String>,
    pub(super) min_ready: i32,
}

impl Set {
    pub(super) fn of(object: Arc<ReplicaSet>) -> Self {
        let spec = object.spec.as_ref();
        Self {
            exists: true,
            replicas: spec.and_then(|spec| spec.replicas).unwrap_or(1),
            annotations: object.metadata.annotations.clone().unwrap_or_default(),
            min_ready: spec.and_then(|spec| spec.min_ready_seconds).unwrap_or(0),
            object,
        }
    }

    /// The set that a Deployment's template needs and does not have.
    pub(super) fn missing(facts: &Facts<'_>, owner: OwnerReference) -> Self {
        let hash = hash(facts.template(), facts.collisions());
        let labelled = |labels: Option<&BTreeMap<String, String>>| {
            let mut labels = labels.cloned().unwrap_or_default();
            labels.insert(TEMPLATE_HASH.into(), hash.clone());
            Some(labels)
        };
        let mut template = facts.template().clone();
        let meta = template.metadata.get_or_insert_default();
        meta.labels = labelled(meta.labels.as_ref());
        let mut selector = facts.spec.selector.clone();
        selector.match_labels = labelled(selector.match_labels.as_ref());
        let object = ReplicaSet {
            metadata: ObjectMeta {
                name: Some(format!("{}-{hash}", facts.name())),
                namespace: facts.deployment.metadata.namespace.clone(),
                labels: meta.labels.clone(),
                owner_references: Some(vec![owner]),
                ..ObjectMeta::default()
            },
            spec: Some(ReplicaSetSpec {
                replicas: Some(0),
                min_ready_seconds: facts.spec.min_ready_seconds.filter(|seconds| *seconds != 0),
                selector,
                template: Some(template),
            }),
            status: None,
        };
        Self { exists: false, ..Self::of(Arc::new(object)) }
    }

    pub(super) fn name(&self) -> &str {
        self.object.metadata.name.as_deref().unwrap_or_default()
    }

    pub(super) fn held_replicas(&self) -> i32 {
        self.object.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
    }

    pub(super) fn available(&self) -> i32 {
        self.object.status.as_ref().and_then(|status| status.available_replicas).unwrap_or(0)
    }

    pub(super) fn ready(&self) -> i32 {
        self.object.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or(0)
    }

    pub(super) fn running(&self) -> i32 {
        self.object.status.as_ref().map_or(0, |status| status.replicas)
    }

    /// Whether its status says how it is since its last change.
    pub(super) fn is_observed(&self) -> bool {
        let observed = self.object.status.as_ref().and_then(|status| status.observed_generation);
        self.object.metadata.generation <= observed
    }

    pub(super) fn terminating(&self) -> Option<i32> {
        match &self.object.status {
            Some(status) => status.terminating_replicas,
            None => Some(0),
        }
    }

    /// Oldest first, then by name.
    pub(super) fn age(&self) -> (Option<Timestamp>, String) {
        let created = self.object.metadata.creation_timestamp.as_ref().map(|time| time.0);
        (created, self.name().to_owned())
    }

    fn number(&self, annotation: &str) -> Option<i64> {
        self.annotations.get(annotation)?.parse().ok()
    }

    pub(super) fn revision(&self) -> i64 {
        self.number(REVISION).unwrap_or(0)
    }

    /// The Deployment's replicas when this set was last scaled.
    pub(super) fn desired(&self) -> Option<i32> {
        self.number(DESIRED).and_then(|number| i32::try_from(number).ok())
    }

    /// The most pods that were allowed when this set was last scaled.
    pub(super) fn max(&self) -> Option<i32> {
        self.number(MAX).and_then(|number| i32::try_from(number).ok())
    }

    /// Gives the set a size, and notes the size of the whole that it was computed from.
    pub(super) fn scale(&mut self, facts: &Facts<'_>, replicas: i32) {
        self.replicas = replicas;
        self.note_whole(facts);
    }

    pub(super) fn note_whole(&mut self, facts: &Facts<'_>) {
        self.annotations.insert(DESIRED.into(), facts.replicas().to_string());
        self.annotations.insert(MAX.into(), facts.replicas().saturating_add(facts.max_surge()).to_string());
    }

    /// Makes this set the current one: the highest revision, earlier numbers kept in its history.
    pub(super) fn make_current(&mut self, facts: &Facts<'_>, highest_old: i64) {
        let shared = facts.deployment.metadata.annotations.iter().flatten();
        for (key, value) in shared.filter(|(key, _)| !PRIVATE.contains(&key.as_str())) {
            self.annotations.insert(key.clone(), value.clone());
        }
        let revision = highest_old.saturating_add(1);
        let before = self.annotations.get(REVISION).cloned();
        if self.revision() < revision {
            self.annotations.insert(REVISION.into(), revision.to_string());
            if let (true, Some(before)) = (self.exists, before.filter(|before| !before.is_empty())) {
                self.remember(&before);
            }
        }
        self.min_ready = facts.spec.min_ready_seconds.unwrap_or(0);
    }

    fn remember(&mut self, revision: &str) {
        let history = self.annotations.entry(REVISION_HISTORY.into()).or_default();
        let mut kept: Vec<&str> = history.split(',').filter(|entry| !entry.is_empty()).collect();
        kept.push(revision);
        while kept.len() > 1 && kept.iter().map(|entry| entry.len() + 1).sum::<usize>() > HISTORY_LIMIT {
            kept.remove(0);
        }
        *history = kept.join(",");
    }
}

/// Whether two templates are the same but for the hash that was put on one of them.
pub(super) fn same_template(a: &PodTemplateSpec, b: &PodTemplateSpec) -> bool {
    fn labels(template: &PodTemplateSpec) -> impl Iterator<Item = (&String, &String)> {
        let labels = template.metadata.as_ref().and_then(|meta| meta.labels.as_ref());
        labels.into_iter().flatten().filter(|(key, _)| *key != TEMPLATE_HASH)
    }
    fn rest(template: &PodTemplateSpec) -> ObjectMeta {
        let mut meta = template.metadata.clone().unwrap_or_default();
        meta.labels = None;
        meta.annotations = meta.annotations.filter(|annotations| !annotations.is_empty());
        meta
    }
    a.spec == b.spec && labels(a).eq(labels(b)) && rest(a) == rest(b)
}

/// Splits the sets into the one of the current template, if there is one (the oldest, if several), and the others.
pub(super) fn split(facts: &Facts<'_>, sets: &[Arc<ReplicaSet>]) -> (Option<Set>, Vec<Set>) {
    let mut sets: Vec<Set> = sets.iter().cloned().map(Set::of).collect();
    sets.sort_by_key(Set::age);
    let matches = |set: &Set| {
        let template = set.object.spec.as_ref().and_then(|spec| spec.template.as_ref());
        template.is_some_and(|template| same_template(template, facts.template()))
    };
    match sets.iter().position(matches) {
        Some(index) => {
            let new = sets.remove(index);
            (Some(new), sets)
        }
        None => (None, sets),
    }
}
