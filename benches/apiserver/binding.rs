//! Pods bound each second through the API: the scheduler and the server are processes of their own, the store is the durable
//! one, everything goes over TLS.

use std::time::{Duration, Instant};

use http_body_util::BodyExt;
use hyper::Method;
use serde_json::{Value, json};

use crate::load::Load;
use crate::objects;
use crate::process::Server;
use crate::report::Report;
use crate::wire::{Connection, Wire};

const NODES: usize = 5_000;
const PODS: usize = 40_000;
/// How often is looked whether they are bound.
const LOOK: Duration = Duration::from_millis(20);

pub(crate) async fn measure(report: &mut Report, connections: usize, share: usize) {
    let (nodes, pods) = (NODES / share, PODS / share);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = Server::start(folder.path());
    let wire = Wire::of(&server.kubeconfig()).await;
    let mut connection = wire.connect().await;
    connection.prepare("default").await;
    let load = Load { wire: &wire, server: &server, connections };
    load.run(nodes, |at| (Method::POST, "/api/v1/nodes".into(), node(at))).await;
    load.run(nodes, |at| (Method::PUT, format!("/api/v1/nodes/node-{at:05}/status"), node(at))).await;
    load.run(pods, |at| (Method::POST, "/api/v1/namespaces/default/pods".into(), objects::pod(at))).await;

    let scheduler = Server::scheduler(&server.kubeconfig());
    // One pod is asked for each time, the first and the last in the queue: lists of all would be a part of what is measured.
    until_bound(&mut connection, 0).await;
    let (begin, before, server_before) = (Instant::now(), scheduler.cpu(), server.cpu());
    until_bound(&mut connection, pods - 1).await;
    while any_unbound(&mut connection).await {
        tokio::time::sleep(LOOK).await;
    }
    let took = begin.elapsed();
    let each = |cpu: Duration| cpu.as_secs_f64() * 1e6 / pods as f64;
    report.figure(
        &format!("pods bound each second, {nodes} nodes, {pods} pods"),
        pods as f64 / took.as_secs_f64(),
    );
    report.figure("the scheduler's CPU for each, µs", each(scheduler.cpu() - before));
    report.figure("the server's CPU for each, µs", each(server.cpu() - server_before));
    report.figure("the scheduler's memory, MiB", scheduler.resident_mib());
    scheduler.stop();
    server.stop();
}

/// Waits until a pod has a node.
async fn until_bound(connection: &mut Connection, at: usize) {
    let path = format!("/api/v1/namespaces/default/pods/{}", objects::pod_name(at));
    while get(connection, &path).await["spec"]["nodeName"].is_null() {
        tokio::time::sleep(LOOK).await;
    }
}

/// Whether there is a pod without a node.
async fn any_unbound(connection: &mut Connection) -> bool {
    let path = "/api/v1/namespaces/default/pods?limit=1&fieldSelector=spec.nodeName%3D";
    get(connection, path).await["items"].as_array().is_some_and(|items| !items.is_empty())
}

async fn get(connection: &mut Connection, path: &str) -> Value {
    let response = connection.send(Method::GET, path, Vec::new()).await;
    let body = response.into_body().collect().await.expect("a whole answer").to_bytes();
    serde_json::from_slice(&body).expect("an object")
}

fn node(at: usize) -> Vec<u8> {
    let node = json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": format!("node-{at:05}"), "labels": {
            "kubernetes.io/hostname": format!("node-{at:05}"), "topology.kubernetes.io/zone": format!("zone-{}", at % 3)}},
        "status": {
            "allocatable": {"cpu": "32", "memory": "128Gi", "pods": "110"},
            "capacity": {"cpu": "32", "memory": "128Gi", "pods": "110"},
        },
    });
    node.to_string().into_bytes()
}
