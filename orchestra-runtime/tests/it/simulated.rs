//! The node agent with simulated containers, on virtual time.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, WatchEvent, WatchParams};
use orchestra_runtime::agent::NodeAgentBuilder;
use orchestra_runtime::backend::sim::{Script, SimRuntime};
use orchestra_runtime::clock::TokioClock;
use serde_json::{Value, json};

use crate::cluster::{Cluster, RunningAgent, condition, is_ready, phase, restarts};

fn agent(cluster: &Cluster, dir: &Path) -> RunningAgent {
    agent_with(cluster, dir, |builder| builder)
}

fn agent_with(
    cluster: &Cluster,
    dir: &Path,
    options: impl FnOnce(NodeAgentBuilder) -> NodeAgentBuilder,
) -> RunningAgent {
    let clock = Arc::new(TokioClock::starting_at("2026-01-01T00:00:00Z".parse().unwrap()));
    let runtime = SimRuntime::new(clock.clone(), |config| match config.name.as_str() {
        "crash" => Script::ending(Duration::from_secs(1), 1),
        "init" => Script::ending(Duration::from_secs(5), 0),
        "slow" => Script::forever().ready_after(Duration::from_secs(30)),
        _ => Script::forever(),
    });
    cluster.agent(Arc::new(runtime), dir, |builder| options(builder.clock(clock)))
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

/// What events tell of a pod's resizing, oldest first: type, reason and message, once there are so many.
async fn resizes(cluster: &Cluster, name: &str, count: usize) -> Vec<[String; 3]> {
    let events: Api<Event> = Api::default_namespaced(cluster.client.clone());
    let params = ListParams::default().fields(&format!("involvedObject.name={name}"));
    for _ in 0..600 {
        let mut told: Vec<Event> = events.list(&params).await.unwrap().items;
        told.retain(|event| event.reason.as_deref().is_some_and(|reason| reason.starts_with("Resize")));
        if told.len() >= count {
            assert!(told.iter().all(|event| event.count == Some(1)), "told again: {told:?}");
            told.sort_by_key(|event| {
                event.metadata.resource_version.as_ref().and_then(|version| version.parse::<u64>().ok())
            });
            let text = |text: Option<String>| text.unwrap_or_default();
            return told.into_iter().map(|e| [text(e.type_), text(e.reason), text(e.message)]).collect();
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("no {count} events of {name}: {:?}", events.list(&params).await.unwrap().items);
}

async fn resize(cluster: &Cluster, name: &str, requests: Value) {
    let patch = json!({"spec": {"containers": [{"name": name, "resources": {"requests": requests}}]}});
    let patch = Patch::Strategic(patch);
    cluster.pods.patch_subresource("resize", name, &PatchParams::default(), &patch).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn events_tell_how_a_pod_is_resized_and_why_not() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start().await;
    let agent = agent_with(&cluster, dir.path(), |b| b.capacity("cpu", "2").capacity("memory", "1Gi"));
    for name in ["web", "other"] {
        let mut container = containers(&[name]);
        container[0]["resources"] = json!({"requests": {"cpu": "500m", "memory": "100Mi"}});
        container[0]["resizePolicy"] =
            json!([{"resourceName": "memory", "restartPolicy": "RestartContainer"}]);
        cluster.pod(name, json!({"containers": container})).await;
        cluster.until(name, "ready", is_ready).await;
    }
    let event = |kind: &str,
                 reason: &str,
                 begin: &str,
                 cpu: &str,
                 memory: &str,
                 generation: u8,
                 error: &str| {
        let error = if error.is_empty() { String::new() } else { format!(",\"error\":\"{error}\"") };
        let message = format!(
            "{begin}: {{\"containers\":[{{\"name\":\"web\",\"resources\":{{\"requests\":{{\"cpu\":\"{cpu}\",\
             \"memory\":\"{memory}\"}}}}}}],\"generation\":{generation}{error}}}"
        );
        [kind.to_owned(), reason.to_owned(), message]
    };
    let started = |cpu, memory, generation| {
        event("Normal", "ResizeStarted", "Pod resize started", cpu, memory, generation, "")
    };
    let completed = |cpu, memory, generation| {
        event("Normal", "ResizeCompleted", "Pod resize completed", cpu, memory, generation, "")
    };

    resize(&cluster, "web", json!({"cpu": "1"})).await;
    let mut told = vec![started("1", "100Mi", 2), completed("1", "100Mi", 2)];
    assert_eq!(resizes(&cluster, "web", 2).await, told);

    // The container begins anew with more memory, and only then has it.
    resize(&cluster, "web", json!({"memory": "200Mi"})).await;
    cluster.until("web", "restarted", |pod| restarts(pod) == 1 && is_ready(pod)).await;
    told.extend([started("1", "200Mi", 3), completed("1", "200Mi", 3)]);
    assert_eq!(resizes(&cluster, "web", 4).await, told);

    let error = "Node didn't have enough capacity: cpu, requested: 3000, capacity: 2000";
    resize(&cluster, "web", json!({"cpu": "3"})).await;
    told.push(event("Warning", "ResizeInfeasible", "Pod resize Infeasible", "3", "200Mi", 4, error));
    assert_eq!(resizes(&cluster, "web", 5).await, told);

    // What it waits for comes when the other pod goes, and is not told of again and again.
    let error = "Node didn't have enough resource: cpu, requested: 1800, used: 500, capacity: 2000";
    resize(&cluster, "web", json!({"cpu": "1800m"})).await;
    told.push(event("Warning", "ResizeDeferred", "Pod resize Deferred", "1800m", "200Mi", 5, error));
    assert_eq!(resizes(&cluster, "web", 6).await, told);
    tokio::time::sleep(Duration::from_secs(20)).await;
    cluster.delete("other").await;
    told.extend([started("1800m", "200Mi", 5), completed("1800m", "200Mi", 5)]);
    assert_eq!(resizes(&cluster, "web", 8).await, told);
    agent.stop().await;
}
