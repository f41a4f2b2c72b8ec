use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};

use crate::cluster::{TestCluster, fingerprint, until};

/// A Job whose pods end with the codes in their annotation.
pub(crate) fn job(name: &str, ends_with: &str, spec: Value) -> Value {
    let mut whole = json!({"template": {
        "metadata": {"annotations": {"test/ends-with": ends_with}},
        "spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}});
    whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    json!({"metadata": {"name": name}, "spec": whole})
}

pub(crate) fn has(job: &Job, type_: &str) -> bool {
    let conditions = job.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|held| held.type_ == type_ && held.status == "True")
}

pub(crate) async fn ended(jobs: &Api<Job>, name: &str, type_: &str) -> Job {
    let is_it = |job: &&Job| job.metadata.name.as_deref() == Some(name) && has(job, type_);
    let held = until(jobs, &format!("{name} {type_}"), |all| all.iter().any(|job| is_it(&job))).await;
    held.iter().find(is_it).unwrap().clone()
}

#[tokio::test]
async fn a_job_completes_and_says_so() {
    let cluster = TestCluster::start().await;
    cluster.create::<Job>(job("sum", "0", json!({"completions": 5, "parallelism": 2}))).await;
    let done = ended(&cluster.api(), "sum", "Complete").await;
    let status = done.status.unwrap();
    assert_eq!(
        (status.succeeded, status.failed, status.active, status.ready),
        (Some(5), None, None, Some(0))
    );
    assert!(has(&cluster.api::<Job>().get("sum").await.unwrap(), "SuccessCriteriaMet"));
    let pods = cluster.api::<Pod>().list(&Default::default()).await.unwrap().items;
    assert_eq!(pods.len(), 5);
    assert!(pods.iter().all(|pod| pod.metadata.finalizers.is_none()));
    let events = until(&cluster.api::<Event>(), "the news", |events| {
        events.iter().any(|event| event.reason.as_deref() == Some("Completed"))
    })
    .await;
    assert!(events.iter().any(|event| event.message.as_deref() == Some("Job completed")));
}

#[tokio::test(start_paused = true)]
async fn a_job_that_fails_too_often_fails() {
    let cluster = TestCluster::start().await;
    cluster.create::<Job>(job("sum", "1", json!({"backoffLimit": 2}))).await;
    let jobs = cluster.api::<Job>();
    let done = ended(&jobs, "sum", "Failed").await;
    assert_eq!(done.status.unwrap().failed, Some(3));
}

#[tokio::test]
async fn each_index_runs_until_it_ends_well() {
    let cluster = TestCluster::start().await;
    let spec =
        json!({"completions": 4, "parallelism": 4, "completionMode": "Indexed", "backoffLimitPerIndex": 1});
    cluster.create::<Job>(job("sum", "1,0", spec)).await;
    let status = ended(&cluster.api(), "sum", "Complete").await.status.unwrap();
    assert_eq!(
        (status.completed_indexes.as_deref(), status.failed_indexes.as_deref()),
        (Some("0-3"), Some(""))
    );
    assert_eq!((status.succeeded, status.failed), (Some(4), Some(4)));
}

#[tokio::test]
async fn the_pods_of_a_deleted_job_go() {
    let cluster = TestCluster::start().await;
    let stuck = json!({"parallelism": 2, "completions": 2, "template": {"metadata": {"annotations": {"test/stuck": ""}},
        "spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}});
    cluster.create::<Job>(job("sum", "0", stuck)).await;
    let jobs = cluster.api::<Job>();
    let active = |job: &Job| job.status.as_ref().and_then(|status| status.active);
    until(&jobs, "two pods", |all| all.iter().any(|job| active(job) == Some(2))).await;
    jobs.delete("sum", &DeleteParams::background()).await.unwrap();
    until(&cluster.api::<Pod>(), "no pods", <[Pod]>::is_empty).await;
}

#[tokio::test]
async fn a_finished_or_suspended_job_causes_no_writes() {
    let cluster = TestCluster::start().await;
    cluster.create::<Job>(job("sum", "0", json!({}))).await;
    cluster.create::<Job>(job("later", "0", json!({"suspend": true}))).await;
    let jobs = cluster.api::<Job>();
    ended(&jobs, "sum", "Complete").await;
    ended(&jobs, "later", "Suspended").await;
    let before = fingerprint(&cluster.client).await;
    // A job that comes and goes proves that the controller is awake.
    cluster.create::<Job>(job("probe", "0", json!({}))).await;
    ended(&jobs, "probe", "Complete").await;
    let mine = |line: &&String| line.starts_with("jobs") && !line.contains("probe");
    let after = fingerprint(&cluster.client).await;
    assert_eq!(before.iter().filter(mine).collect::<Vec<_>>(), after.iter().filter(mine).collect::<Vec<_>>());
    jobs.patch("later", &PatchParams::default(), &Patch::Merge(json!({"spec": {"suspend": false}})))
        .await
        .unwrap();
    ended(&jobs, "later", "Complete").await;
}
