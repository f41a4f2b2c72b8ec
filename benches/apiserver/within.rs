//! The same server in this process: no socket, no TLS, the memory store. What remains is the API machinery and kube's client.

use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use kube::Api;
use kube::api::{ListParams, ObjectMeta, PostParams};
use orchestra::Cluster;

use crate::load::Outcome;
use crate::report::Report;
use crate::{CONNECTIONS, objects};

pub(crate) async fn measure(report: &mut Report, pods: usize) {
    let cluster = Cluster::builder().without_nodes().without_controllers().without_scheduler().start().await;
    let cluster = cluster.expect("a cluster");
    // The controllers would make it.
    let account = ServiceAccount {
        metadata: ObjectMeta { name: Some("default".into()), ..Default::default() },
        ..Default::default()
    };
    let accounts: Api<ServiceAccount> = Api::default_namespaced(cluster.client());
    accounts.create(&PostParams::default(), &account).await.expect("created");
    let api: Api<Pod> = Api::default_namespaced(cluster.client());
    let objects: Vec<Pod> =
        (0..pods).map(|number| serde_json::from_slice(&objects::pod(number)).expect("a pod")).collect();
    let create = |number: usize| {
        let (api, pod) = (api.clone(), objects[number].clone());
        async move { drop(api.create(&PostParams::default(), &pod).await.expect("created")) }
    };
    report.row("in process: create Pod", &each(pods, create).await);
    let get = |number: usize| {
        let api = api.clone();
        async move { drop(api.get(&objects::pod_name(number)).await.expect("found")) }
    };
    report.row("in process: get Pod", &each(pods, get).await);
    let list = |_| {
        let api = api.clone();
        async move { drop(api.list(&ListParams::default()).await.expect("a list")) }
    };
    report.row(&format!("in process: list {pods} pods, parsed"), &one_by_one(10, list).await);
    cluster.stop().await.expect("stopped");
}

async fn each<F: Future<Output = ()>>(count: usize, call: impl Fn(usize) -> F) -> Outcome {
    run(count, CONNECTIONS, call).await
}

async fn one_by_one<F: Future<Output = ()>>(count: usize, call: impl Fn(usize) -> F) -> Outcome {
    run(count, 1, call).await
}

async fn run<F: Future<Output = ()>>(count: usize, at_once: usize, call: impl Fn(usize) -> F) -> Outcome {
    let begin = Instant::now();
    let timed = |number| {
        let call = call(number);
        async move {
            let begin = Instant::now();
            call.await;
            begin.elapsed()
        }
    };
    let latencies: Vec<Duration> =
        stream::iter((0..count).map(timed)).buffer_unordered(at_once).collect().await;
    Outcome { took: begin.elapsed(), latencies, cpu: None, bytes: 0 }
}
