use std::time::Duration;

use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Patch, PatchParams};
use orchestra_controllers::{Clock, Controllers};
use serde_json::{Value, json};

use crate::cluster::{TestCluster, until_within};
use crate::job::job;

/// In virtual time.
const LONG: Duration = Duration::from_secs(3600);

/// A CronJob that comes round every minute, whose pods end well.
pub(crate) fn every_minute(name: &str, spec: Value) -> Value {
    let mut whole =
        json!({"schedule": "* * * * *", "jobTemplate": {"spec": job(name, "0", json!({}))["spec"]}});
    whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    json!({"metadata": {"name": name}, "spec": whole})
}

/// The server's clock at the beginning, and tokio's from then on.
#[allow(clippy::disallowed_methods)] // the server stamps objects by the machine's clock
fn from_now() -> Clock {
    Clock::ticking_from(jiff::Timestamp::now())
}

#[tokio::test(start_paused = true)]
async fn a_job_comes_every_minute_and_the_history_stays_short() {
    let cluster = TestCluster::with(Controllers::all().clock(from_now())).await;
    cluster.create::<CronJob>(every_minute("tick", json!({"successfulJobsHistoryLimit": 2}))).await;
    let jobs = cluster.api::<Job>();
    let mut seen = std::collections::BTreeSet::new();
    while seen.len() < 5 {
        let before = seen.clone();
        let held = until_within(LONG, &jobs, "another job", |jobs| {
            jobs.iter().any(|job| !before.contains(job.metadata.name.as_ref().unwrap()))
        })
        .await;
        seen.extend(held.iter().filter_map(|job| job.metadata.name.clone()));
    }
    until_within(LONG, &jobs, "two jobs", |jobs| jobs.len() == 2).await;
    until_within(LONG, &cluster.api::<Pod>(), "two pods", |pods| pods.len() == 2).await;
    let crons = cluster.api::<CronJob>();
    crons
        .patch("tick", &PatchParams::default(), &Patch::Merge(json!({"spec": {"suspend": true}})))
        .await
        .unwrap();
    let held = until_within(LONG, &crons, "no active job", |all| {
        all[0].status.as_ref().is_some_and(|status| status.active.is_none())
    })
    .await;
    let status = held[0].status.clone().unwrap();
    assert!(status.last_schedule_time.is_some() && status.last_successful_time.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_finished_job_goes_when_its_time_is_over() {
    let cluster = TestCluster::with(Controllers::all().clock(from_now())).await;
    cluster.create::<Job>(job("brief", "0", json!({"ttlSecondsAfterFinished": 30}))).await;
    let jobs = cluster.api::<Job>();
    until_within(LONG, &jobs, "an end", |jobs| jobs.iter().any(|job| crate::job::has(job, "Complete"))).await;
    until_within(LONG, &jobs, "no job", <[Job]>::is_empty).await;
    until_within(LONG, &cluster.api::<Pod>(), "no pod", <[Pod]>::is_empty).await;
}
