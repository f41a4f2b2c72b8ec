//! The node agent with real processes, against the real API server.

use std::path::Path;
use std::sync::Arc;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Event, Secret};
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use orchestra_runtime::backend::process::{ProcessRuntime, Supervision};
use orchestra_runtime::runtime::ContainerRuntime;
use serde_json::json;

use crate::cluster::{Cluster, RunningAgent, condition, container, is_ready, phase, restarts, shell, waits};
use crate::process;

fn open(dir: &Path, supervision: Supervision) -> Arc<ProcessRuntime> {
    Arc::new(process::open(dir, supervision))
}

fn agent(cluster: &Cluster, dir: &Path) -> RunningAgent {
    let runtime = open(dir, process::shim());
    cluster.agent(runtime, dir, |b| b.stop_pods_on_shutdown(true))
}

#[tokio::test]
async fn a_node_registers_and_renews_its_lease() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start().await;
    let agent = agent(&cluster, dir.path());
    let node = cluster.until_node().await;
    assert_eq!(node.metadata.labels.as_ref().unwrap()["kubernetes.io/hostname"], "n1");
    let status = node.status.unwrap();
    assert!(status.node_info.unwrap().kubelet_version.starts_with("v1.36."));
    assert_eq!(status.capacity.unwrap()["pods"].0, "110");
    let leases: Api<Lease> = Api::namespaced(cluster.client.clone(), "kube-node-lease");
    let renewed = |lease: Option<&Lease>| {
        lease.is_some_and(|l| l.spec.as_ref().is_some_and(|s| s.renew_time.is_some()))
    };
    kube::runtime::wait::await_condition(leases, "n1", renewed).await.unwrap();
    assert_eq!(agent.get("/healthz").await, (200, "ok".to_owned()));
    agent.stop().await;
}

#[tokio::test]
async fn a_pod_runs_is_ready_logs_and_goes() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start().await;
    let agent = agent(&cluster, dir.path());
    let map: ConfigMap =
        serde_json::from_value(json!({"metadata": {"name": "cm"}, "data": {"greeting": "hello"}})).unwrap();
    let maps: Api<ConfigMap> = Api::default_namespaced(cluster.client.clone());
    maps.create(&PostParams::default(), &map).await.unwrap();
    let secret: Secret =
        serde_json::from_value(json!({"metadata": {"name": "s"}, "stringData": {"key": "hidden"}})).unwrap();
    let secrets: Api<Secret> = Api::default_namespaced(cluster.client.clone());
    secrets.create(&PostParams::default(), &secret).await.unwrap();
    let mut main = shell(
        "main",
        "echo $GREETING $KEY $MY_IP = $POD_IP; cat /orchestra-agent-test/cm/greeting; echo; trap 'exit 0' TERM; sleep 1000 & wait",
    );
    main["env"] = json!([
        {"name": "GREETING", "valueFrom": {"configMapKeyRef": {"name": "cm", "key": "greeting"}}},
        {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "s", "key": "key"}}},
        {"name": "MY_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
    ]);
    main["volumeMounts"] = json!([{"name": "cm", "mountPath": "/orchestra-agent-test/cm"}]);
    let spec = json!({"containers": [main], "volumes": [{"name": "cm", "configMap": {"name": "cm"}}]});
    cluster.pod("web", spec).await;
    let pod = cluster.until("web", "ready", is_ready).await;
    assert_eq!(phase(&pod), "Running");
    for kind in ["PodScheduled", "PodReadyToStartContainers", "Initialized", "ContainersReady"] {
        assert_eq!(condition(&pod, kind), "True", "{kind}");
    }
    let status = pod.status.as_ref().unwrap();
    let ip = status.pod_ip.clone().unwrap();
    assert_eq!(status.pod_ips.as_ref().unwrap().len(), 1);
    assert!(status.start_time.is_some() && status.host_ip.is_some());
    assert!(container(&pod).container_id.as_ref().unwrap().starts_with("process://"));

    let want = format!("hello hidden {ip} = {ip}\nhello\n");
    let path = "/containerLogs/default/web/main";
    let mut seen = String::new();
    while seen != want {
        assert!(want.starts_with(&seen), "{seen}");
        seen = agent.get(path).await.1;
    }
    assert_eq!(agent.get(&format!("{path}?tailLines=1")).await.1, "hello\n");
    assert_eq!(agent.get(&format!("{path}?previous=true")).await.0, 400);
    assert_eq!(agent.get("/containerLogs/default/web/other").await.0, 404);
    assert_eq!(agent.get("/containerLogs/default/none/main").await.0, 404);

    // A change of the ConfigMap reaches the file.
    let change = json!({"data": {"greeting": "changed"}});
    maps.patch("cm", &PatchParams::default(), &Patch::Merge(&change)).await.unwrap();
    let uid = pod.metadata.uid.clone().unwrap();
    let file = dir.path().join("pods").join(&uid).join("volumes/kubernetes.io~configmap/cm/greeting");
    while std::fs::read_to_string(&file).unwrap() != "changed" {
        tokio::task::yield_now().await;
    }

    // Whoever follows gets the end.
    let (followed, ()) =
        tokio::join!(agent.get("/containerLogs/default/web/main?follow=true"), cluster.delete("web"));
    assert_eq!(followed.1, want);
    assert!(!dir.path().join("pods").join(&uid).exists(), "its files are gone");
    let events: Api<Event> = Api::default_namespaced(cluster.client.clone());
    let events = events.list(&ListParams::default()).await.unwrap();
    let reasons: Vec<_> = events.items.iter().filter_map(|e| e.reason.as_deref()).collect();
    for reason in ["Pulled", "Created", "Started", "Killing"] {
        assert!(reasons.contains(&reason), "{reason} is missing in {reasons:?}");
    }
    agent.stop().await;
}

#[tokio::test]
async fn a_crashing_container_is_restarted_counted_and_backed_off() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start().await;
    let agent = agent(&cluster, dir.path());
    let mut main = shell("main", "echo why; exit 3");
    main["terminationMessagePolicy"] = json!("FallbackToLogsOnError");
    cluster.pod("bad", json!({"containers": [main]})).await;
    let pod = cluster.until("bad", "backed off", |p| waits(p) == Some("CrashLoopBackOff")).await;
    assert_eq!((restarts(&pod), phase(&pod)), (1, "Running"));
    let status = container(&pod);
    let last = status.last_state.as_ref().unwrap().terminated.as_ref().unwrap();
    assert_eq!(
        (last.exit_code, last.reason.as_deref(), last.message.as_deref()),
        (3, Some("Error"), Some("why\n"))
    );
    let message = status.state.as_ref().unwrap().waiting.as_ref().unwrap().message.as_deref().unwrap();
    assert!(
        message.starts_with("back-off 10s restarting failed container=main pod=bad_default("),
        "{message}"
    );
    assert_eq!(agent.get("/containerLogs/default/bad/main?previous=true").await, (200, "why\n".to_owned()));
    agent.stop().await;
}

#[tokio::test]
async fn a_failing_liveness_probe_restarts_the_container() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start().await;
    let agent = agent(&cluster, dir.path());
    let mut main = shell("main", "exec sleep 1000");
    let file = dir.path().join("healthy");
    std::fs::write(&file, "").unwrap();
    main["livenessProbe"] =
        json!({"exec": {"command": ["test", "-e", file]}, "periodSeconds": 1, "failureThreshold": 1});
    cluster.pod("sick", json!({"containers": [main]})).await;
    cluster.until("sick", "ready", is_ready).await;
    std::fs::remove_file(&file).unwrap();
    cluster.until("sick", "restarted", |p| restarts(p) > 0).await;
    agent.stop().await;
}

#[tokio::test]
async fn pods_that_end_are_succeeded_or_failed_and_keep_their_logs() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start().await;
    let agent = agent(&cluster, dir.path());
    let spec = |script| json!({"restartPolicy": "Never", "containers": [shell("main", script)]});
    cluster.pod("good", spec("echo done")).await;
    cluster.pod("poor", spec("exit 4")).await;
    let good = cluster.until("good", "over", |p| phase(p) == "Succeeded").await;
    assert_eq!(condition(&good, "Ready"), "False");
    assert_eq!(agent.get("/containerLogs/default/good/main?follow=true").await.1, "done\n");
    let poor = cluster.until("poor", "over", |p| phase(p) == "Failed").await;
    assert_eq!(container(&poor).state.as_ref().unwrap().terminated.as_ref().unwrap().exit_code, 4);
    cluster.delete("good").await;
    agent.stop().await;
}

#[tokio::test]
async fn what_keeps_a_container_from_starting_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start().await;
    let agent = agent(&cluster, dir.path());
    let mut image = shell("main", "true");
    image["image"] = json!("nginx");
    cluster.pod("image", json!({"containers": [image]})).await;
    let pod = cluster.until("image", "waiting", |p| waits(p) == Some("ErrImagePull")).await;
    assert_eq!(phase(&pod), "Pending");
    let mut key = shell("main", "exec sleep 1000");
    key["envFrom"] = json!([{"configMapRef": {"name": "late"}}]);
    cluster.pod("late", json!({"containers": [key]})).await;
    let pod = cluster.until("late", "waiting", |p| waits(p) == Some("CreateContainerConfigError")).await;
    let message = container(&pod).state.as_ref().unwrap().waiting.as_ref().unwrap().message.as_deref();
    assert_eq!(message, Some("configmap \"late\" not found"));
    let maps: Api<ConfigMap> = Api::default_namespaced(cluster.client.clone());
    let map = serde_json::from_value(json!({"metadata": {"name": "late"}})).unwrap();
    maps.create(&PostParams::default(), &map).await.unwrap();
    cluster.until("late", "ready", is_ready).await;
    agent.stop().await;
}

#[tokio::test]
async fn a_new_agent_adopts_what_runs_and_restarts_what_died() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start().await;
    let runtime = open(dir.path(), process::shim());
    let first = cluster.agent(runtime.clone(), dir.path(), |b| b);
    let spec = || json!({"containers": [shell("main", "exec sleep 1000")]});
    cluster.pod("lives", spec()).await;
    cluster.pod("dies", spec()).await;
    let before = cluster.until("lives", "ready", is_ready).await;
    cluster.until("dies", "ready", is_ready).await;
    first.stop().await;
    let running = runtime.list_containers().await.unwrap();
    let dies = running.iter().find(|c| c.pod.name == "dies").unwrap().id.clone();
    runtime.stop_container(&dies, std::time::Duration::ZERO).await.unwrap();
    drop(runtime);

    let second = agent(&cluster, dir.path());
    let died = cluster.until("dies", "restarted", |p| restarts(p) == 1 && is_ready(p)).await;
    let last = container(&died).last_state.as_ref().unwrap().terminated.as_ref().unwrap();
    assert_eq!(last.exit_code, 137);
    let after = cluster.until("lives", "ready", is_ready).await;
    assert_eq!(container(&after).container_id, container(&before).container_id);
    assert_eq!(restarts(&after), 0);
    second.stop().await;

    // Stopped with its agent, and started again by the next one.
    let third = agent(&cluster, dir.path());
    let back = cluster.until("lives", "back", |p| restarts(p) == 1 && is_ready(p)).await;
    assert_ne!(container(&back).container_id, container(&before).container_id);
    third.stop().await;
}

/// An HTTP server in a shell-less world: python is not everywhere, so the test listens itself, on the pod's address.
async fn answer(listener: tokio::net::TcpListener, status: &'static str) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    while let Ok((mut stream, _)) = listener.accept().await {
        let mut buffer = [0; 1024];
        let _ = stream.read(&mut buffer).await;
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        let _ = stream.write_all(answer.as_bytes()).await;
    }
}

#[tokio::test]
async fn readiness_is_asked_over_http_and_tcp() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start().await;
    let agent = agent(&cluster, dir.path());
    let mut http = shell("http", "exec sleep 1000");
    http["readinessProbe"] = json!({"httpGet": {"path": "/ok", "port": 8080}, "periodSeconds": 1});
    let mut tcp = shell("tcp", "exec sleep 1000");
    tcp["ports"] = json!([{"name": "sql", "containerPort": 5432}]);
    tcp["readinessProbe"] = json!({"tcpSocket": {"port": "sql"}, "periodSeconds": 1});
    tcp["startupProbe"] = json!({"tcpSocket": {"port": "sql"}, "periodSeconds": 1, "failureThreshold": 60});
    cluster.pod("probed", json!({"containers": [http, tcp]})).await;
    let pod = cluster.until("probed", "running", |p| phase(p) == "Running").await;
    assert_eq!(condition(&pod, "Ready"), "False");
    let ip = pod.status.as_ref().unwrap().pod_ip.clone().unwrap();
    let sql = tokio::net::TcpListener::bind(format!("{ip}:5432")).await.unwrap();
    let web = tokio::net::TcpListener::bind(format!("{ip}:8080")).await.unwrap();
    let poor = tokio::spawn(answer(web, "500 No"));
    let events: Api<Event> = Api::default_namespaced(cluster.client.clone());
    let unhealthy = async {
        loop {
            let all = events.list(&ListParams::default()).await.unwrap();
            let message = "Readiness probe failed: HTTP probe failed with statuscode: 500";
            if all.items.iter().any(|e| e.message.as_deref() == Some(message)) {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(process::LONG, unhealthy).await.expect("an event");
    poor.abort();
    let _ = poor.await;
    let web = tokio::net::TcpListener::bind(format!("{ip}:8080")).await.unwrap();
    let good = tokio::spawn(answer(web, "204 Yes"));
    cluster.until("probed", "ready", is_ready).await;
    good.abort();
    drop(sql);
    agent.stop().await;
}

#[tokio::test]
async fn hooks_run_around_a_container() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start().await;
    let agent = agent(&cluster, dir.path());
    let file = dir.path().join("hooks");
    let say =
        |what: &str| json!({"exec": {"command": ["sh", "-c", format!("echo {what} >> {}", file.display())]}});
    let mut main = shell("main", "trap 'exit 0' TERM; sleep 1000 & wait");
    main["lifecycle"] = json!({"postStart": say("begin"), "preStop": say("end")});
    cluster.pod("hooked", json!({"containers": [main]})).await;
    cluster.until("hooked", "ready", is_ready).await;
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "begin\n");
    cluster.delete("hooked").await;
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "begin\nend\n");
    agent.stop().await;
}

#[tokio::test]
async fn a_port_that_is_taken_is_said_in_the_status() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start().await;
    let agent = agent(&cluster, dir.path());
    // Listens on every address of the machine, the pod's too.
    let taken = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let mut main = shell("main", "exec sleep 1000");
    main["ports"] = json!([{"containerPort": port}]);
    cluster.pod("port", json!({"containers": [main]})).await;
    let pod = cluster.until("port", "waiting", |p| waits(p) == Some("PortUnavailable")).await;
    let waiting = container(&pod).state.as_ref().unwrap().waiting.clone().unwrap();
    assert!(waiting.message.unwrap().contains(&port.to_string()));
    agent.stop().await;
}

#[tokio::test]
async fn volumes_of_all_kinds_reach_the_process() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start().await;
    let agent = agent(&cluster, dir.path());
    let host = dir.path().join("host");
    let claimed = dir.path().join("claimed");
    let volume = json!({"metadata": {"name": "pv"}, "spec": {"capacity": {"storage": "1Gi"},
        "accessModes": ["ReadWriteOnce"], "hostPath": {"path": claimed, "type": "DirectoryOrCreate"},
        "claimRef": {"namespace": "default", "name": "pvc"}, "storageClassName": ""}});
    let claim = json!({"metadata": {"name": "pvc"}, "spec": {"accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}}, "volumeName": "pv", "storageClassName": ""}});
    use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
    let volumes: Api<PersistentVolume> = Api::all(cluster.client.clone());
    volumes.create(&PostParams::default(), &serde_json::from_value(volume).unwrap()).await.unwrap();
    let claims: Api<PersistentVolumeClaim> = Api::default_namespaced(cluster.client.clone());
    claims.create(&PostParams::default(), &serde_json::from_value(claim).unwrap()).await.unwrap();
    let bound = json!({"status": {"phase": "Bound"}});
    claims.patch_status("pvc", &PatchParams::default(), &Patch::Merge(&bound)).await.unwrap();

    let script = "cd /orchestra-all && cat down/name && echo && for d in empty host claim part; do echo $d > $d/out || exit 9; done
        echo bye > /orchestra-message; exit 3";
    let mut main = shell("main", script);
    main["terminationMessagePath"] = json!("/orchestra-message");
    main["volumeMounts"] = json!([
        {"name": "empty", "mountPath": "/orchestra-all/empty"},
        {"name": "host", "mountPath": "/orchestra-all/host"},
        {"name": "claim", "mountPath": "/orchestra-all/claim"},
        {"name": "claim", "mountPath": "/orchestra-all/part", "subPath": "deep/part"},
        {"name": "down", "mountPath": "/orchestra-all/down"},
    ]);
    let volumes = json!([
        {"name": "empty", "emptyDir": {}},
        {"name": "host", "hostPath": {"path": host, "type": "DirectoryOrCreate"}},
        {"name": "claim", "persistentVolumeClaim": {"claimName": "pvc"}},
        {"name": "down", "projected": {"sources": [
            {"downwardAPI": {"items": [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]}}]}},
    ]);
    let spec = json!({"restartPolicy": "Never", "containers": [main], "volumes": volumes});
    cluster.pod("full", spec).await;
    let pod = cluster.until("full", "over", |p| phase(p) == "Failed").await;
    let end = container(&pod).state.as_ref().unwrap().terminated.clone().unwrap();
    assert_eq!(
        (end.exit_code, end.message.as_deref()),
        (3, Some("bye\n")),
        "{:?}",
        agent.get("/containerLogs/default/full/main").await
    );
    assert_eq!(agent.get("/containerLogs/default/full/main").await.1, "full\n");
    for (file, want) in
        [("host/out", "host\n"), ("claimed/out", "claim\n"), ("claimed/deep/part/out", "part\n")]
    {
        assert_eq!(std::fs::read_to_string(dir.path().join(file)).unwrap(), want);
    }
    agent.stop().await;
}

#[tokio::test]
async fn a_forced_deletion_does_not_wait_for_the_grace() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start().await;
    let runtime = open(dir.path(), process::shim());
    let agent = cluster.agent(runtime.clone(), dir.path(), |b| b.stop_pods_on_shutdown(true));
    let file = dir.path().join("up");
    let script = format!("trap '' TERM; echo up > {}; while :; do sleep 1; done", file.display());
    let mut main = shell("main", &script);
    main["lifecycle"] = json!({"preStop": {"sleep": {"seconds": 500}}});
    cluster.pod_with_grace("stubborn", json!({"containers": [main]}), 1000).await;
    cluster.until("stubborn", "ready", is_ready).await;
    process::until_written(&file).await;
    let stubborn = kube::api::DeleteParams::default();
    cluster.pods.delete("stubborn", &stubborn).await.unwrap();
    cluster.pods.delete("stubborn", &stubborn.grace_period(0)).await.unwrap();
    let gone = async {
        while !runtime.list_containers().await.unwrap().is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(process::LONG, gone).await.expect("it is killed");
    agent.stop().await;
}

#[tokio::test]
async fn a_new_image_restarts_the_container() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start().await;
    let agent = agent(&cluster, dir.path());
    cluster.pod("image", json!({"containers": [shell("main", "exec sleep 1000")]})).await;
    cluster.until("image", "ready", is_ready).await;
    let image = json!({"spec": {"containers": [{"name": "main", "image": "host:2"}]}});
    cluster.pods.patch("image", &PatchParams::default(), &Patch::Strategic(&image)).await.unwrap();
    let pod = cluster.until("image", "restarted", |p| restarts(p) == 1 && is_ready(p)).await;
    assert_eq!(container(&pod).image, "host:2");
    agent.stop().await;
}
