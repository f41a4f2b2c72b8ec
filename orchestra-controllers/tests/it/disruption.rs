use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::Api;
use kube::api::EvictParams;
use serde_json::{Value, json};

use crate::cluster::{TestCluster, fingerprint, until};
use crate::deployment::{rolled_out, web};

pub(crate) fn budget(app: &str, spec: Value) -> Value {
    let mut whole = json!({"selector": {"matchLabels": {"app": app}}});
    whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    json!({"metadata": {"name": app}, "spec": whole})
}

/// Waits until the budget allows so many evictions and waits for none.
pub(crate) async fn allowed(budgets: &Api<PodDisruptionBudget>, wanted: i32) {
    until(budgets, "that many evictions allowed", |all| {
        all.iter().any(|budget| {
            let status = budget.status.clone().unwrap_or_default();
            status.observed_generation == budget.metadata.generation
                && status.disruptions_allowed == Some(wanted)
                && status.disrupted_pods.is_none()
        })
    })
    .await;
}

/// Evicts every pod that is there now, each when the budget allows it.
pub(crate) async fn evict_all(pods: &Api<Pod>, budgets: &Api<PodDisruptionBudget>) {
    for pod in pods.list(&Default::default()).await.unwrap() {
        let name = pod.metadata.name.unwrap();
        while let Err(error) = pods.evict(&name, &EvictParams::default()).await {
            let kube::Error::Api(status) = error else { panic!("{error}") };
            assert_eq!((status.code, status.reason.as_str()), (429, "TooManyRequests"), "{status:?}");
            allowed(budgets, 1).await;
        }
        until(pods, "its going", |pods| pods.iter().all(|pod| pod.metadata.name.as_ref() != Some(&name)))
            .await;
    }
}

#[tokio::test]
async fn a_budget_counts_what_may_go_and_refuses_more() {
    let cluster = TestCluster::start().await;
    let budgets = cluster.api::<PodDisruptionBudget>();
    cluster.create::<Deployment>(web(3, "a")).await;
    cluster.create::<PodDisruptionBudget>(budget("web", json!({"minAvailable": 3}))).await;
    rolled_out(&cluster.api(), 3).await;
    let full = |budget: &PodDisruptionBudget| {
        budget.status.as_ref().is_some_and(|status| status.current_healthy == Some(3))
    };
    until(&budgets, "three healthy pods", |all| all.iter().any(full)).await;
    let pods = cluster.api::<Pod>();
    let name = pods.list(&Default::default()).await.unwrap().items[0].metadata.name.clone().unwrap();
    let kube::Error::Api(refusal) = pods.evict(&name, &EvictParams::default()).await.unwrap_err() else {
        panic!()
    };
    assert_eq!(refusal.message, "Cannot evict pod as it would violate the pod's disruption budget.");
    let cause = &refusal.details.as_ref().unwrap().causes[0];
    assert_eq!(cause.reason, "DisruptionBudget");
    assert_eq!(cause.message, "The disruption budget web needs 3 healthy pods and has 3 currently");

    let less = kube::api::Patch::Merge(json!({"spec": {"minAvailable": 2}}));
    budgets.patch("web", &Default::default(), &less).await.unwrap();
    allowed(&budgets, 1).await;
    evict_all(&pods, &budgets).await;
    rolled_out(&cluster.api(), 3).await;
    allowed(&budgets, 1).await;
    let before = fingerprint(&cluster.client).await;
    // Nothing is written once all is counted.
    cluster
        .create::<Pod>(
            json!({"metadata": {"name": "other"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}),
        )
        .await;
    until(&pods, "a stranger", |pods| {
        pods.len() == 4
            && pods.iter().all(|pod| {
                pod.status.as_ref().is_some_and(|status| status.phase.as_deref() == Some("Running"))
            })
    })
    .await;
    let mine = |line: &&String| line.starts_with("poddisruptionbudgets");
    let after = fingerprint(&cluster.client).await;
    assert_eq!(before.iter().filter(mine).collect::<Vec<_>>(), after.iter().filter(mine).collect::<Vec<_>>());
}
