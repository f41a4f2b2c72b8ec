//! How jobs come to their end: by index, by policy, by their criteria.

use std::sync::Arc;
use std::time::Duration;

use orchestra::runtime::backend::sim::{Script, SimRuntime};
use orchestra::runtime::clock::SystemClock;
use orchestra::runtime::runtime::ContainerConfig;
use orchestra::{Cluster, Node};
use serde_json::{Value, json};

use super::with_a_node;
use crate::kind::{Kind, condition, items, name};
use crate::world::{World, with};

const INDEX: &str = "batch.kubernetes.io/job-completion-index";
/// What a container does that is to run until it is stopped.
const FOREVER: Option<i32> = None;

fn jobs(world: &World) -> Kind<'_> {
    Kind::namespaced(world, "batch/v1", "Job", "jobs")
}

fn pods(world: &World) -> Kind<'_> {
    Kind::namespaced(world, "v1", "Pod", "pods")
}

/// A world whose containers end with the code that this says of their index.
async fn by_index(code: impl Fn(u32) -> Option<i32> + Send + Sync + 'static) -> World {
    let script = move |config: &ContainerConfig| {
        let index = config.annotations.get(INDEX).and_then(|index| index.parse().ok()).unwrap_or(0);
        code(index).map_or_else(Script::forever, |code| Script::ending(Duration::from_millis(10), code))
    };
    let runtime = SimRuntime::new(Arc::new(SystemClock), script);
    with(Cluster::builder().node(Node::named("node-1").runtime(runtime))).await
}

fn job(called: &str, parallelism: u32, completions: u32, more: Value) -> Value {
    let mut spec = json!({
        "parallelism": parallelism,
        "completions": completions,
        "completionMode": "Indexed",
        "template": {
            "metadata": { "labels": { "job": called } },
            "spec": {
                "restartPolicy": "Never",
                "terminationGracePeriodSeconds": 0,
                "containers": [{ "name": "c", "image": "busybox" }],
            },
        },
    });
    for (field, value) in more.as_object().expect("fields") {
        spec[field] = value.clone();
    }
    json!({ "metadata": { "name": called }, "spec": spec })
}

/// Waits until the job has this condition and nothing of it runs, and returns it with the condition's reason.
async fn ended(kind: &Kind<'_>, name: &str, type_: &str) -> (Value, String) {
    let is_true = |job: &Value| condition(job, type_).is_some_and(|found| found["status"] == "True");
    let job = kind.eventually(name, is_true).await;
    let reason = condition(&job, type_).expect("it")["reason"].as_str().unwrap_or_default().to_owned();
    for left in ["active", "ready", "terminating"] {
        assert!(job["status"][left].as_u64().unwrap_or_default() == 0, "{job}");
    }
    (job, reason)
}

#[tokio::test]
async fn job_should_create_pods_for_an_indexed_job_with_completion_indexes_and_specified_hostname() {
    let world = by_index(|_| Some(0)).await;
    let kind = jobs(&world);
    kind.create(job("indexed-job", 2, 4, json!({}))).await;
    let (job, _) = ended(&kind, "indexed-job", "Complete").await;
    assert_eq!(job["status"]["completedIndexes"], "0-3");
    let list = pods(&world).list("labelSelector=job%3Dindexed-job").await;
    let mut indexes = Vec::new();
    for pod in items(&list).iter().filter(|pod| pod["status"]["phase"] == "Succeeded") {
        let index = pod["metadata"]["annotations"][INDEX].as_str().expect("an index").to_owned();
        assert_eq!(pod["spec"]["hostname"], format!("indexed-job-{index}"));
        indexes.push(index);
    }
    indexes.sort();
    assert_eq!(indexes, ["0", "1", "2", "3"]);
    world.end().await;
}

/// The odd ones fail, once more after ten seconds, as upstream waits.
#[tokio::test]
async fn job_should_execute_all_indexes_despite_some_failing_when_using_backofflimitperindex() {
    let world = by_index(|index| Some(i32::from(index % 2 == 1))).await;
    let kind = jobs(&world);
    kind.create(job("with-backofflimit-per-index", 2, 4, json!({ "backoffLimitPerIndex": 1 }))).await;
    let (job, reason) = ended(&kind, "with-backofflimit-per-index", "Failed").await;
    assert_eq!(reason, "FailedIndexes");
    let status = &job["status"];
    assert_eq!((&status["completedIndexes"], &status["failedIndexes"]), (&json!("0,2"), &json!("1,3")));
    assert_eq!((&status["succeeded"], &status["failed"]), (&json!(2), &json!(4)));
    world.end().await;
}

#[tokio::test]
async fn job_should_mark_indexes_as_failed_when_the_failindex_action_is_matched_in_podfailurepolicy() {
    let world = by_index(|index| Some(if index == 0 { 42 } else { 0 })).await;
    let kind = jobs(&world);
    let rule = json!({ "action": "FailIndex", "onExitCodes": { "operator": "In", "values": [42] } });
    let more = json!({ "backoffLimitPerIndex": 1, "podFailurePolicy": { "rules": [rule] } });
    kind.create(job("matching-failindex-action", 2, 2, more)).await;
    let (job, reason) = ended(&kind, "matching-failindex-action", "Failed").await;
    assert_eq!(reason, "FailedIndexes");
    let status = &job["status"];
    assert_eq!((&status["completedIndexes"], &status["failedIndexes"]), (&json!("1"), &json!("0")));
    assert_eq!((&status["succeeded"], &status["failed"]), (&json!(1), &json!(1)));
    world.end().await;
}

#[tokio::test]
async fn job_should_terminate_job_execution_when_the_number_of_failed_indexes_exceeds_maxfailedindexes() {
    let world = by_index(|_| Some(1)).await;
    let kind = jobs(&world);
    let more = json!({ "backoffLimitPerIndex": 0, "maxFailedIndexes": 4 });
    kind.create(job("with-max-failed-indexes", 10, 10, more)).await;
    let (job, reason) = ended(&kind, "with-max-failed-indexes", "Failed").await;
    assert_eq!(reason, "MaxFailedIndexesExceeded");
    assert!(job["status"]["failed"].as_u64() >= Some(5), "{job}");
    world.end().await;
}

#[tokio::test]
async fn job_should_allow_to_use_the_pod_failure_policy_on_exit_code_to_fail_the_job_early() {
    let world = by_index(|_| Some(1)).await;
    let kind = jobs(&world);
    let rule = json!({ "action": "FailJob", "onExitCodes": { "operator": "In", "values": [1] } });
    let mut early = job(
        "pod-failure-failjob",
        1,
        1,
        json!({ "backoffLimit": 1, "podFailurePolicy": { "rules": [rule] } }),
    );
    early["spec"]["completionMode"] = "NonIndexed".into();
    kind.create(early).await;
    let (job, reason) = ended(&kind, "pod-failure-failjob", "Failed").await;
    assert_eq!((reason.as_str(), &job["status"]["failed"]), ("PodFailurePolicy", &json!(1)));
    world.end().await;
}

/// A job with criteria of success meets them, and these indexes have succeeded then.
async fn meets(world: &World, job: Value, indexes: &[&str]) {
    let kind = jobs(world);
    let made = kind.create(job).await;
    let (met, reason) = ended(&kind, name(&made), "Complete").await;
    assert_eq!(reason, "SuccessPolicy");
    let criteria = condition(&met, "SuccessCriteriaMet").expect("the criteria are met");
    assert_eq!((&criteria["status"], &criteria["reason"]), (&json!("True"), &json!("SuccessPolicy")));
    let completed = met["status"]["completedIndexes"].as_str().unwrap_or_default();
    assert!(indexes.contains(&completed), "{met}");
}

#[tokio::test]
async fn job_with_successpolicy_should_succeeded_when_all_indexes_succeeded() {
    let world = by_index(|_| Some(0)).await;
    let more = json!({ "successPolicy": { "rules": [{ "succeededIndexes": "0-1" }] } });
    meets(&world, job("with-success-policy-all-index-succeeded", 2, 2, more), &["0,1", "0-1"]).await;
    world.end().await;
}

#[tokio::test]
async fn job_with_successpolicy_succeededindexes_rule_should_succeeded_even_when_some_indexes_remain_pending()
{
    let world = by_index(|index| if index == 0 { Some(0) } else { FOREVER }).await;
    let more = json!({ "successPolicy": { "rules": [{ "succeededIndexes": "0" }] } });
    meets(&world, job("with-success-policy-succeeded-indexes-rule", 5, 5, more), &["0"]).await;
    world.end().await;
}

#[tokio::test]
async fn job_with_successpolicy_succeededcount_rule_should_succeeded_even_when_some_indexes_remain_pending() {
    let world = by_index(|index| if index == 0 { Some(0) } else { FOREVER }).await;
    let more = json!({ "successPolicy": { "rules": [{ "succeededIndexes": "0-4", "succeededCount": 1 }] } });
    meets(&world, job("with-success-policy-succeeded-count-rule", 5, 5, more), &["0"]).await;
    world.end().await;
}

/// A job whose pods run until they are stopped.
async fn running(world: &World, called: &str) -> Value {
    let mut endless = job(called, 2, 2, json!({}));
    endless["spec"]["completionMode"] = "NonIndexed".into();
    jobs(world).create(endless).await;
    jobs(world).eventually(called, |job| job["status"]["ready"] == 2).await
}

#[tokio::test]
async fn job_should_delete_a_job() {
    let world = with_a_node().await;
    running(&world, "foo").await;
    let path = jobs(&world).path("foo");
    world.delete_with(&path, json!({ "propagationPolicy": "Foreground" })).await;
    jobs(&world).gone("foo").await;
    assert_eq!(pods(&world).count("labelSelector=job%3Dfoo").await, 0);
    world.end().await;
}

#[tokio::test]
async fn job_should_apply_changes_to_a_job_status() {
    let world = with_a_node().await;
    let kind = jobs(&world);
    running(&world, "suspend-false-to-true").await;
    let changed = |object: &Value| {
        condition(object, "CustomConditionType").expect("the condition")["lastTransitionTime"].clone()
    };
    // A condition of a kind that the controller does not know, as its type writes it.
    let annotated = json!({
        "metadata": { "annotations": { "patchedstatus": "true" } },
        "status": { "conditions": [{
            "type": "CustomConditionType", "status": "True", "lastProbeTime": null,
            "lastTransitionTime": "2026-01-02T03:04:05Z",
        }] },
    });
    let patched = kind.merge("suspend-false-to-true/status", annotated).await;
    assert_eq!(changed(&patched), "2026-01-02T03:04:05Z");
    assert_eq!(patched["metadata"]["annotations"]["patchedstatus"], "true");
    let updated = kind
        .update_status("suspend-false-to-true", |job| {
            let conditions = job["status"]["conditions"].as_array_mut().expect("conditions");
            let custom = conditions.iter_mut().find(|one| one["type"] == "CustomConditionType");
            custom.expect("the condition")["lastTransitionTime"] = "2026-01-02T03:04:06Z".into();
        })
        .await;
    assert_eq!(changed(&updated), "2026-01-02T03:04:06Z");
    let read = kind.get("suspend-false-to-true/status").await;
    assert_eq!(read["metadata"]["uid"], updated["metadata"]["uid"]);
    world.end().await;
}

#[tokio::test]
async fn job_should_adopt_matching_orphans_and_release_non_matching_pods() {
    let world = with_a_node().await;
    let (job, pods) = (running(&world, "adopt-release").await, pods(&world));
    let list = pods.list("labelSelector=job%3Dadopt-release").await;
    let pod = name(&items(&list)[0]).to_owned();
    let owner = |pod: &Value| pod["metadata"]["ownerReferences"][0]["uid"].clone();
    pods.update(&pod, |pod| pod["metadata"]["ownerReferences"] = json!([])).await;
    pods.eventually(&pod, |pod| owner(pod) == job["metadata"]["uid"]).await;
    pods.update(&pod, |pod| pod["metadata"]["labels"] = json!({})).await;
    pods.eventually(&pod, |pod| owner(pod).is_null()).await;
    world.end().await;
}
