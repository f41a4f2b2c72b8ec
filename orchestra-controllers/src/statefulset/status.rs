//! The status of a StatefulSet.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetStatus};
use k8s_openapi::api::core::v1::Pod;

use super::identity::revision;
use crate::pod::{self, count, unless_zero};

/// The status that fits the pods; `current` and `update` are the names of revisions.
pub(super) fn status(
    set: &StatefulSet,
    pods: &[Arc<Pod>],
    current: &str,
    update: &str,
    now: Timestamp,
) -> StatefulSetStatus {
    let spec = set.spec.as_ref();
    let min_ready = spec.and_then(|spec| spec.min_ready_seconds).unwrap_or(0);
    let wanted = spec.and_then(|spec| spec.replicas).unwrap_or(1);
    let number = |test: &dyn Fn(&Pod) -> bool| count(pods.iter().filter(|pod| test(pod)).count());
    let running = |pod: &Pod| pod::phase(pod) == "Running";
    let stays = |pod: &Pod| !pod::is_terminating(pod);
    let mut status = StatefulSetStatus {
        replicas: number(&|_| true),
        ready_replicas: unless_zero(number(&|pod| running(pod) && pod::is_ready(pod))),
        available_replicas: Some(number(&|pod| running(pod) && pod::is_available(pod, min_ready, now))),
        current_replicas: unless_zero(number(&|pod| stays(pod) && revision(pod) == current)),
        updated_replicas: unless_zero(number(&|pod| stays(pod) && revision(pod) == update)),
        current_revision: Some(current.to_owned()),
        update_revision: Some(update.to_owned()),
        observed_generation: set.metadata.generation,
        collision_count: Some(set.status.as_ref().and_then(|status| status.collision_count).unwrap_or(0)),
        conditions: set.status.as_ref().and_then(|status| status.conditions.clone()),
    };
    let all = unless_zero(wanted);
    if status.updated_replicas == all
        && status.ready_replicas == all
        && status.replicas == wanted
        && !on_delete(set)
    {
        status.current_replicas = status.updated_replicas;
        status.current_revision.clone_from(&status.update_revision);
    }
    status
}

pub(super) fn on_delete(set: &StatefulSet) -> bool {
    let strategy = set.spec.as_ref().and_then(|spec| spec.update_strategy.as_ref());
    strategy.and_then(|strategy| strategy.type_.as_deref()) == Some("OnDelete")
}
