//! ReplicationControllers: ReplicaSets from before there were any. As upstream, the plan of the one does for the other.

use std::borrow::Cow;

use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetSpec, ReplicaSetStatus};
use k8s_openapi::api::core::v1::{
    ReplicationController, ReplicationControllerCondition, ReplicationControllerStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use crate::replicaset::Replicated;

impl Replicated for ReplicationController {
    const COMPONENT: &'static str = "replication-controller";
    const NAME: &'static str = "replicationcontroller";

    fn form(&self) -> Cow<'_, ReplicaSet> {
        let spec = self.spec.as_ref().map(|spec| ReplicaSetSpec {
            min_ready_seconds: spec.min_ready_seconds,
            replicas: spec.replicas,
            selector: LabelSelector { match_labels: spec.selector.clone(), ..LabelSelector::default() },
            template: spec.template.clone(),
        });
        let status = self.status.as_ref().map(|status| ReplicaSetStatus {
            available_replicas: status.available_replicas,
            conditions: status.conditions.as_ref().map(|held| held.iter().map(to_set).collect()),
            fully_labeled_replicas: status.fully_labeled_replicas,
            observed_generation: status.observed_generation,
            ready_replicas: status.ready_replicas,
            replicas: status.replicas,
            // It does not say how many are terminating; as long as none is, nothing is to be written.
            terminating_replicas: Some(0),
        });
        Cow::Owned(ReplicaSet { metadata: self.metadata.clone(), spec, status })
    }

    fn with_status(&self, status: &ReplicaSetStatus) -> Option<Self> {
        let status = ReplicationControllerStatus {
            available_replicas: status.available_replicas,
            conditions: status.conditions.as_ref().map(|held| held.iter().map(from_set).collect()),
            fully_labeled_replicas: status.fully_labeled_replicas,
            observed_generation: status.observed_generation,
            ready_replicas: status.ready_replicas,
            replicas: status.replicas,
        };
        (self.status.as_ref() != Some(&status)).then(|| Self { status: Some(status), ..self.clone() })
    }
}

fn to_set(condition: &ReplicationControllerCondition) -> ReplicaSetCondition {
    let held = condition.clone();
    ReplicaSetCondition {
        last_transition_time: held.last_transition_time,
        message: held.message,
        reason: held.reason,
        status: held.status,
        type_: held.type_,
    }
}

fn from_set(condition: &ReplicaSetCondition) -> ReplicationControllerCondition {
    let held = condition.clone();
    ReplicationControllerCondition {
        last_transition_time: held.last_transition_time,
        message: held.message,
        reason: held.reason,
        status: held.status,
        type_: held.type_,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::replicaset::{Action, Observed, plan};
    use crate::testing::pod_named;

    #[test]
    fn rests_when_its_status_fits_and_says_nothing_of_what_ends() {
        let mut controller: ReplicationController = serde_json::from_value(serde_json::json!({
            "metadata": {"name": "web", "uid": "rc", "generation": 1},
            "spec": {"replicas": 1, "selector": {"app": "web"},
                     "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": []}}},
        }))
        .unwrap();
        let now = "2026-01-01T01:00:00Z".parse().unwrap();
        let running = Arc::new(pod_named("a").running().build());
        let ending = Arc::new(pod_named("b").running().terminating().build());
        for pods in [&[running.clone()][..], &[running, ending]] {
            let set = controller.form().into_owned();
            let actions = plan(&Observed { set: &set, pods, related: pods, settled: true, now });
            match &actions[..] {
                [Action::SetStatus(status)] if pods.len() == 1 => {
                    controller = controller.with_status(status).unwrap();
                }
                [Action::SetStatus(status)] => assert_eq!(controller.with_status(status), None),
                other => panic!("{other:?}"),
            }
        }
    }
}
