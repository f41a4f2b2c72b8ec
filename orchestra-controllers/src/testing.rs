//! Pods and other objects for the tests of the plans.

use k8s_openapi::api::core::v1::{Pod, PodCondition, PodSpec, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};

/// A pod in the making.
pub(crate) struct PodBuilder(Pod);

/// An unplaced, pending pod in the namespace `default`; its uid is its name.
pub(crate) fn pod_named(name: &str) -> PodBuilder {
    PodBuilder(Pod {
        metadata: ObjectMeta {
            name: Some(name.into()),
            namespace: Some("default".into()),
            uid: Some(name.into()),
            ..ObjectMeta::default()
        },
        spec: Some(PodSpec::default()),
        status: Some(PodStatus { phase: Some("Pending".into()), ..PodStatus::default() }),
    })
}

impl PodBuilder {
    pub(crate) fn on(mut self, node: &str) -> Self {
        self.0.spec.get_or_insert_default().node_name = Some(node.into());
        self
    }

    pub(crate) fn phase(mut self, phase: &str) -> Self {
        self.0.status.get_or_insert_default().phase = Some(phase.into());
        self
    }

    pub(crate) fn running(self) -> Self {
        self.phase("Running")
    }

    pub(crate) fn ready_at(self, time: &str) -> Self {
        let mut pod = self.running();
        pod.0.status.get_or_insert_default().conditions = Some(vec![PodCondition {
            type_: "Ready".into(),
            status: "True".into(),
            last_transition_time: Some(Time(time.parse().unwrap())),
            ..PodCondition::default()
        }]);
        pod
    }

    pub(crate) fn terminating(mut self) -> Self {
        self.0.metadata.deletion_timestamp = Some(Time("2026-01-01T00:00:00Z".parse().unwrap()));
        self
    }

    pub(crate) fn annotated(mut self, key: &str, value: &str) -> Self {
        self.0.metadata.annotations.get_or_insert_default().insert(key.into(), value.into());
        self
    }

    pub(crate) fn labelled(mut self, key: &str, value: &str) -> Self {
        self.0.metadata.labels.get_or_insert_default().insert(key.into(), value.into());
        self
    }

    pub(crate) fn build(self) -> Pod {
        self.0
    }
}
