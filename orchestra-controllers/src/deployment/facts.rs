//! What a Deployment's spec says, with upstream's defaults where an object came without them.

use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::share::fenceposts;

/// A Deployment's spec, read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts<'a> {
    pub(super) deployment: &'a Deployment,
    pub(super) spec: &'a DeploymentSpec,
}

impl<'a> Facts<'a> {
    pub(super) fn of(deployment: &'a Deployment) -> Option<Self> {
        Some(Self { deployment, spec: deployment.spec.as_ref()? })
    }

    pub(super) fn name(&self) -> &'a str {
        self.deployment.metadata.name.as_deref().unwrap_or_default()
    }

    pub(super) fn replicas(&self) -> i32 {
        self.spec.replicas.unwrap_or(1)
    }

    pub(super) fn template(&self) -> &'a PodTemplateSpec {
        &self.spec.template
    }

    pub(super) fn is_paused(&self) -> bool {
        self.spec.paused.unwrap_or(false)
    }

    pub(super) fn recreates(&self) -> bool {
        self.spec.strategy.as_ref().and_then(|strategy| strategy.type_.as_deref()) == Some("Recreate")
    }

    fn bounds(&self) -> (i32, i32) {
        let rolling = self.spec.strategy.as_ref().and_then(|strategy| strategy.rolling_update.as_ref());
        let quarter = IntOrString::String("25%".into());
        let surge = rolling.and_then(|rolling| rolling.max_surge.as_ref()).unwrap_or(&quarter);
        let unavailable = rolling.and_then(|rolling| rolling.max_unavailable.as_ref()).unwrap_or(&quarter);
        fenceposts(Some(surge), Some(unavailable), self.replicas())
    }

    /// How many pods there may be beyond the replicas.
    pub(super) fn max_surge(&self) -> i32 {
        if self.recreates() { 0 } else { self.bounds().0 }
    }

    /// How many of the replicas may be unavailable.
    pub(super) fn max_unavailable(&self) -> i32 {
        if self.recreates() || self.replicas() == 0 { 0 } else { self.bounds().1.min(self.replicas()) }
    }

    /// The seconds a rollout may stand still, if it is limited.
    pub(super) fn progress_deadline(&self) -> Option<i32> {
        Some(self.spec.progress_deadline_seconds.unwrap_or(600)).filter(|seconds| *seconds != i32::MAX)
    }

    /// How many old ReplicaSets to keep, if that is limited.
    pub(super) fn history_limit(&self) -> Option<i32> {
        Some(self.spec.revision_history_limit.unwrap_or(10)).filter(|limit| *limit != i32::MAX)
    }

    pub(super) fn collisions(&self) -> Option<i32> {
        self.deployment.status.as_ref().and_then(|status| status.collision_count)
    }
}
