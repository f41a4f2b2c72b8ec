//! The node agent with simulated containers, on virtual time.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, WatchEvent, WatchParams};
use orchestra_runtime::backend::sim::{Script, SimRuntime};
use orchestra_runtime::clock::TokioClock;
use serde_json::{Value, json};

use crate::cluster::{Cluster, RunningAgent, condition, is_ready, phase, restarts};

fn agent(cluster: &Cluster, dir: &Path) -> RunningAgent {
    let clock = Arc::new(TokioClock::starting_at("2026-01-01T00:00:00Z".parse().unwrap()));
    let runtime = SimRuntime::new(clock.clone(), |config| match config.name.as_str() {
        "crash" => Script::ending(Duration::from_secs(1), 1),
        "init" => Script::ending(Duration::from_secs(5), 0),
        "slow" => Script::forever().ready_after(Duration::from_secs(30)),
        _ => Script::forever(),
    });
    cluster.agent(Arc::new(runtime), dir, |b| b.clock(clock))
}

fn containers(names: &[&str]) -> Value {
    names.iter().map(|name| json!({"name": name, "image": "any"})).collect()
}

#[tokio::test(start_paused = true)]
async fn backoff_doubles_on_virtual_time() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start().await;
    let agent = agent(&cluster, dir.path());
    cluster.pod("crash", json!({"containers": containers(&["crash"])})).await;
    cluster.until("crash", "restarted", |p| restarts(p) == 1).await;
    let begun = tokio::time::Instant::now();
    for (restart, delay) in [(2, 11), (3, 21), (4, 41)] {
        cluster.until("crash", "restarted", |p| restarts(p) == restart).await;
        let took = begun.elapsed().as_secs_f64();
        let want: f64 = [11.0, 21.0, 41.0].iter().take_while(|d| **d <= f64::from(delay)).sum();
        assert!((want - 0.1..want + 1.5).contains(&took), "restart {restart} after {took}, not {want}");
    }
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn init_containers_come_first_and_sidecars_stay() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start().await;
    let agent = agent(&cluster, dir.path());
    let mut inits = containers(&["sidecar", "init"]);
    inits[0]["restartPolicy"] = json!("Always");
    cluster.pod("ordered", json!({"initContainers": inits, "containers": containers(&["main"])})).await;
    let early = cluster
        .until("ordered", "initializing", |p| {
            let inits = p.status.as_ref().and_then(|s| s.init_container_statuses.as_ref());
            inits.is_some_and(|i| i[1].state.as_ref().is_some_and(|s| s.running.is_some()))
        })
        .await;
    assert_eq!((phase(&early), condition(&early, "Initialized")), ("Pending", "False"));
    let begun = tokio::time::Instant::now();
    let ready = cluster.until("ordered", "ready", is_ready).await;
    assert!(begun.elapsed() >= Duration::from_secs(4));
    let inits = ready.status.as_ref().unwrap().init_container_statuses.as_ref().unwrap();
    assert!(inits[0].state.as_ref().unwrap().running.is_some() && inits[0].ready);
    assert_eq!(
        inits[1].state.as_ref().unwrap().terminated.as_ref().unwrap().reason.as_deref(),
        Some("Completed")
    );
    cluster.delete("ordered").await;
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn readiness_follows_the_probe() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start().await;
    let agent = agent(&cluster, dir.path());
    let mut slow = containers(&["slow"]);
    slow[0]["readinessProbe"] = json!({"exec": {"command": ["true"]}, "periodSeconds": 5});
    cluster.pod("slow", json!({"containers": slow})).await;
    let running = cluster.until("slow", "running", |p| phase(p) == "Running").await;
    let ready = running.status.as_ref().unwrap().conditions.as_ref().unwrap().iter();
    let ready = ready.clone().find(|c| c.type_ == "Ready").unwrap();
    assert_eq!(ready.reason.as_deref(), Some("ContainersNotReady"));
    assert_eq!(ready.message.as_deref(), Some("containers with unready status: [slow]"));
    let begun = tokio::time::Instant::now();
    cluster.until("slow", "ready", is_ready).await;
    assert!(begun.elapsed() >= Duration::from_secs(25));
    agent.stop().await;
}

/// What is written of a pod from now on, until it is gone.
async fn written_until_gone(cluster: &Cluster, pod: &Pod) -> Vec<&'static str> {
    let (name, version) =
        (pod.metadata.name.as_deref().unwrap(), pod.metadata.resource_version.as_deref().unwrap());
    let params = WatchParams::default().fields(&format!("metadata.name={name}"));
    let mut events = Box::pin(cluster.pods.watch(&params, version).await.unwrap());
    cluster.pods.delete(name, &DeleteParams::default()).await.unwrap();
    let mut written = Vec::new();
    while written.last() != Some(&"deleted") {
        let event = tokio::time::timeout(Duration::from_secs(60), events.next()).await.expect("the pod goes");
        written.push(match event.expect("the watch goes on").unwrap() {
            WatchEvent::Modified(pod)
                if pod.status.as_ref().and_then(|s| s.phase.as_deref()) == Some("Running") =>
            {
                "marked"
            }
            WatchEvent::Modified(_) => "ended",
            WatchEvent::Deleted(_) => "deleted",
            _ => "something else",
        });
    }
    written
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_ends_at_once_is_reported_once_before_it_goes() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start().await;
    let agent = agent(&cluster, dir.path());
    cluster.pod("web", json!({"containers": containers(&["web", "beside"])})).await;
    let running = cluster.until("web", "ready", is_ready).await;
    assert_eq!(written_until_gone(&cluster, &running).await, ["marked", "ended", "deleted"]);
    agent.stop().await;
}
