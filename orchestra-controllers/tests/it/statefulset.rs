use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::cluster::{TestCluster, until};

pub(crate) fn db(replicas: i32) -> Value {
    json!({
        "metadata": {"name": "db"},
        "spec": {"replicas": replicas, "serviceName": "db", "selector": {"matchLabels": {"app": "db"}},
                 "template": {"metadata": {"labels": {"app": "db"}},
                              "spec": {"containers": [{"name": "c", "image": "a",
                                       "volumeMounts": [{"name": "data", "mountPath": "/data"}]}]}},
                 "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {
                     "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}}]},
    })
}

pub(crate) async fn updated(sets: &Api<StatefulSet>, replicas: i32) {
    until(sets, "an updated set", |all| {
        all.iter().any(|set| {
            let status = set.status.clone().unwrap_or_default();
            status.observed_generation == set.metadata.generation
                && status.updated_replicas == Some(replicas)
                && status.ready_replicas == Some(replicas)
                && status.replicas == replicas
                && status.current_revision == status.update_revision
        })
    })
    .await;
}

#[tokio::test]
async fn pods_start_in_order_with_claims_and_update_in_reverse() {
    let cluster = TestCluster::start().await;
    cluster.create::<StatefulSet>(db(3)).await;
    updated(&cluster.api(), 3).await;
    let mut pods = cluster.api::<Pod>().list(&Default::default()).await.unwrap().items;
    let version = |pod: &Pod| pod.metadata.creation_timestamp.clone();
    pods.sort_by_key(|pod| pod.metadata.name.clone());
    let names: Vec<_> = pods.iter().filter_map(|pod| pod.metadata.name.as_deref()).collect();
    assert_eq!(names, ["db-0", "db-1", "db-2"]);
    assert!(version(&pods[0]) <= version(&pods[2]));
    let claims = cluster.api::<PersistentVolumeClaim>().list(&Default::default()).await.unwrap().items;
    let mut claims: Vec<_> = claims.into_iter().filter_map(|claim| claim.metadata.name).collect();
    claims.sort();
    assert_eq!(claims, ["data-db-0", "data-db-1", "data-db-2"]);

    let image = json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "b"}]}}}});
    let sets = cluster.api::<StatefulSet>();
    sets.patch("db", &PatchParams::default(), &Patch::Merge(image)).await.unwrap();
    updated(&cluster.api(), 3).await;
    let pods = cluster.api::<Pod>().list(&Default::default()).await.unwrap().items;
    assert!(pods.iter().all(|pod| pod.spec.as_ref().unwrap().containers[0].image.as_deref() == Some("b")));
    assert_eq!(cluster.api::<ControllerRevision>().list(&Default::default()).await.unwrap().items.len(), 2);

    let size = json!({"spec": {"replicas": 1}});
    sets.patch("db", &PatchParams::default(), &Patch::Merge(size)).await.unwrap();
    until(&cluster.api::<Pod>(), "one pod", |pods| {
        pods.len() == 1 && pods[0].metadata.name.as_deref() == Some("db-0")
    })
    .await;
}
