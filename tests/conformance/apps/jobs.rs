//! Jobs and what makes them.

use std::sync::{Arc, Mutex};

use jiff::{SignedDuration, Timestamp};
use orchestra::Cluster;
use orchestra::controllers::{Clock, Controllers};
use serde_json::{Value, json};

use super::with_a_node;
use crate::kind::{Kind, items, names, version};
use crate::world::{World, with, world};

fn cronjobs(world: &World) -> Kind<'_> {
    Kind::namespaced(world, "batch/v1", "CronJob", "cronjobs")
}

fn jobs(world: &World) -> Kind<'_> {
    Kind::namespaced(world, "batch/v1", "Job", "jobs")
}

fn cronjob(name: &str, schedule: &str) -> Value {
    json!({
        "metadata": { "name": name, "labels": { "special-label": "conformance" } },
        "spec": {
            "schedule": schedule,
            "concurrencyPolicy": "Allow",
            "jobTemplate": { "spec": {
                "parallelism": 1,
                "completions": 1,
                "backoffLimit": 1,
                "template": { "spec": {
                    "restartPolicy": "OnFailure",
                    "volumes": [{ "name": "data", "emptyDir": {} }],
                    "containers": [{
                        "name": "c",
                        "image": "busybox",
                        "command": ["sleep", "300"],
                        "volumeMounts": [{ "name": "data", "mountPath": "/data" }],
                    }],
                } },
            } },
        },
    })
}

#[tokio::test]
async fn cronjob_should_support_cronjob_api_operations() {
    let world = world().await;
    let kind = cronjobs(&world);
    let selector = "labelSelector=special-label%3Dconformance";
    kind.is_discovered(&["status"]).await;
    // Never due while the test runs.
    let created = kind.create(cronjob("mycronjob", "0 0 31 2 *")).await;
    assert_eq!(kind.get("mycronjob").await["metadata"]["uid"], created["metadata"]["uid"]);
    let list = kind.list(selector).await;
    assert_eq!(items(&list).len(), 1);
    let parameters = format!("watch=true&resourceVersion={}&{selector}", version(&list));
    let mut watch = world.watch(&format!("{}?{parameters}", kind.collection())).await;
    assert_eq!(items(&kind.list_everywhere(selector).await).len(), 1);
    world.watch(&format!("{}?{parameters}", kind.everywhere())).await;
    let patched =
        kind.merge("mycronjob", json!({ "metadata": { "annotations": { "patched": "true" } } })).await;
    assert_eq!(patched["metadata"]["annotations"]["patched"], "true");
    let updated =
        kind.update("mycronjob", |job| job["metadata"]["annotations"]["updated"] = "true".into()).await;
    assert_eq!(updated["metadata"]["annotations"]["updated"], "true");
    for _ in 0..2 {
        let seen = watch.expect_named("MODIFIED", "mycronjob").await;
        assert_eq!(seen["metadata"]["annotations"]["patched"], "true");
    }

    let patched = kind
        .merge(
            "mycronjob/status",
            json!({
                "metadata": { "annotations": { "patchedstatus": "true" } },
                "status": { "lastScheduleTime": "2026-01-02T03:04:05Z" },
            }),
        )
        .await;
    assert_eq!(patched["status"]["lastScheduleTime"], "2026-01-02T03:04:05Z");
    assert_eq!(patched["metadata"]["annotations"]["patchedstatus"], "true");
    let updated = kind
        .update_status("mycronjob", |job| job["status"]["lastScheduleTime"] = "2026-01-02T03:04:06Z".into())
        .await;
    assert_eq!(updated["status"]["lastScheduleTime"], "2026-01-02T03:04:06Z");
    assert_eq!(kind.get("mycronjob/status").await["metadata"]["uid"], created["metadata"]["uid"]);

    kind.create(cronjob("for-removal", "0 0 31 2 *")).await;
    kind.delete("for-removal").await;
    assert!(!kind.exists("for-removal").await);
    kind.delete_collection(selector).await;
    assert_eq!(kind.count(selector).await, 0);
    world.end().await;
}

/// Five minutes of the controllers' clock, which this test moves; a second CronJob shows that they saw each of them.
#[tokio::test]
async fn cronjob_should_not_schedule_jobs_when_suspended() {
    let now = Arc::new(Mutex::new(Timestamp::UNIX_EPOCH));
    let reads = now.clone();
    let clock = Clock::new(move || *reads.lock().unwrap());
    let controllers = Controllers::all().clock(clock);
    let world = with(Cluster::builder().without_nodes().controllers(controllers)).await;
    let (kind, jobs) = (cronjobs(&world), jobs(&world));
    let witness = kind.create(cronjob("witness", "*/1 * * * ?")).await;
    let mut suspended = cronjob("suspended", "*/1 * * * ?");
    suspended["spec"]["suspend"] = true.into();
    kind.create(suspended).await;
    let start: Timestamp = witness["metadata"]["creationTimestamp"].as_str().unwrap().parse().unwrap();
    let mut last = Value::Null;
    for minute in 1..=5 {
        *now.lock().unwrap() = start + SignedDuration::from_mins(minute);
        for name in ["suspended", "witness"] {
            let seen = json!({ "metadata": { "annotations": { "minute": minute.to_string() } } });
            kind.merge(name, seen).await;
        }
        let seen = kind.eventually("witness", |job| job["status"]["lastScheduleTime"] != last).await;
        last = seen["status"]["lastScheduleTime"].clone();
        assert!(kind.get("suspended").await["status"]["active"].is_null());
    }
    let list = jobs.list("").await;
    assert!(!items(&list).is_empty() && names(&list).iter().all(|job| job.starts_with("witness-")), "{list}");
    let path = kind.path("suspended");
    world.delete_with(&path, json!({ "propagationPolicy": "Background" })).await;
    kind.gone("suspended").await;
    world.end().await;
}

/// A world whose controllers' clock the test moves, and a CronJob whose jobs do not end; returns after each of two minutes how many of
/// its jobs there are, and which are said to be active.
async fn two_minutes_of(policy: &str) -> [(Vec<String>, Vec<String>); 2] {
    let now = Arc::new(Mutex::new(Timestamp::UNIX_EPOCH));
    let reads = now.clone();
    let clock = Clock::new(move || *reads.lock().unwrap());
    let controllers = Controllers::all().clock(clock);
    let world = with(Cluster::builder().without_nodes().controllers(controllers)).await;
    let (kind, jobs) = (cronjobs(&world), jobs(&world));
    // A second one that lets all run shows that the controllers saw each minute.
    kind.create(cronjob("witness", "*/1 * * * ?")).await;
    let mut tried = cronjob("tried", "*/1 * * * ?");
    tried["spec"]["concurrencyPolicy"] = policy.into();
    // The later of the two: a full minute may lie between them, which would count for the first alone.
    let tried = kind.create(tried).await;
    let start: Timestamp = tried["metadata"]["creationTimestamp"].as_str().unwrap().parse().unwrap();
    let mut seen = Vec::new();
    for minute in 1..=2 {
        *now.lock().unwrap() = start + SignedDuration::from_mins(minute);
        for name in ["tried", "witness"] {
            let told = json!({ "metadata": { "annotations": { "minute": minute.to_string() } } });
            kind.merge(name, told).await;
        }
        let count = |job: &Value| job["status"]["active"].as_array().map_or(0, Vec::len);
        kind.eventually("witness", |job| count(job) == usize::try_from(minute).unwrap()).await;
        let wanted = if policy == "Allow" { usize::try_from(minute).unwrap() } else { 1 };
        let before = seen.last().map(|(_, active): &(_, Vec<String>)| active.clone()).unwrap_or_default();
        let active = |job: &Value| -> Vec<String> {
            let active = job["status"]["active"].as_array().into_iter().flatten();
            active.filter_map(|job| job["name"].as_str()).map(str::to_owned).collect()
        };
        let is_replaced = policy != "Replace" || minute == 1;
        let tried = kind
            .eventually("tried", |job| active(job).len() == wanted && (is_replaced || active(job) != before))
            .await;
        let list = jobs.list("").await;
        let own = names(&list).into_iter().filter(|name| name.starts_with("tried-")).map(str::to_owned);
        seen.push((own.collect(), active(&tried)));
    }
    world.end().await;
    seen.try_into().expect("two")
}

#[tokio::test]
async fn cronjob_should_schedule_multiple_jobs_concurrently() {
    let [_, (jobs, active)] = two_minutes_of("Allow").await;
    assert_eq!((jobs.len(), active.len()), (2, 2));
}

#[tokio::test]
async fn cronjob_should_not_schedule_new_jobs_when_forbidconcurrent() {
    let [(_, first), (jobs, second)] = two_minutes_of("Forbid").await;
    assert_eq!((&first, &jobs), (&second, &second));
}

#[tokio::test]
async fn cronjob_should_replace_jobs_when_replaceconcurrent() {
    let [(_, first), (_, second)] = two_minutes_of("Replace").await;
    assert_eq!((first.len(), second.len()), (1, 1));
    assert_ne!(first, second);
}

#[tokio::test]
async fn job_should_manage_the_lifecycle_of_a_job() {
    let world = with_a_node().await;
    let kind = jobs(&world);
    let selector = "labelSelector=e2e-job-label%3De2e-job";
    let list = kind.list(selector).await;
    let path = format!("{}?watch=true&resourceVersion={}&{selector}", kind.collection(), version(&list));
    let mut watch = world.watch(&path).await;
    let created = kind
        .create(json!({
            "metadata": { "name": "e2e-job", "labels": { "e2e-job-label": "e2e-job" } },
            "spec": {
                "suspend": true,
                "parallelism": 2,
                "completions": 4,
                "backoffLimit": 6,
                "template": {
                    "metadata": {
                        "labels": { "job": "e2e-job" },
                        "annotations": { "sim.orchestra.dev/exit-after": "0.01" },
                    },
                    "spec": {
                        "restartPolicy": "Never",
                        "volumes": [{ "name": "data", "emptyDir": {} }],
                        "containers": [{
                            "name": "c",
                            "image": "busybox",
                            "command": ["sh", "-c", "exit 0"],
                            "volumeMounts": [{ "name": "data", "mountPath": "/data" }],
                        }],
                    },
                },
            },
        }))
        .await;
    watch.expect_named("ADDED", "e2e-job").await;
    kind.gets_a_label(&created).await;
    watch
        .until(|event| {
            event["type"] == "MODIFIED" && event["object"]["metadata"]["labels"]["e2e-job"] == "patched"
        })
        .await;
    let updated = kind
        .update("e2e-job", |job| {
            job["spec"]["suspend"] = false.into();
            job["metadata"]["annotations"]["updated"] = "true".into();
        })
        .await;
    assert_eq!(updated["metadata"]["annotations"]["updated"], "true");
    watch
        .until(|event| {
            event["type"] == "MODIFIED" && event["object"]["metadata"]["annotations"]["updated"] == "true"
        })
        .await;
    let everywhere = kind.list_everywhere(selector).await;
    assert_eq!(names(&everywhere), ["e2e-job"]);
    let done = kind
        .eventually("e2e-job", |job| {
            crate::kind::condition(job, "Complete").is_some_and(|condition| condition["status"] == "True")
        })
        .await;
    assert_eq!(done["status"]["succeeded"], 4);
    let condition = crate::kind::condition(&done, "Complete").expect("complete");
    assert_eq!(condition["reason"], "CompletionsReached");

    let path = format!("{}?{selector}", kind.collection());
    world.delete_with(&path, json!({ "propagationPolicy": "Background" })).await;
    let gone = watch.until(|event| event["type"] == "DELETED").await;
    assert_eq!(gone["metadata"]["labels"]["e2e-job-label"], "e2e-job");
    assert!(items(&kind.list_everywhere(selector).await).is_empty());
    world.end().await;
}
