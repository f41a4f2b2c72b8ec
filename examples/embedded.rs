//! A whole cluster inside a program: no sockets, no root, no files but temporary ones, nothing left behind.
//!
//! `cargo run --example embedded`

use std::error::Error;

use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use kube::api::PostParams;
use kube::runtime::wait::{await_condition, conditions};
use orchestra::Cluster;
use serde_json::json;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let cluster = Cluster::builder().start().await?;

    let deployments: Api<Deployment> = Api::default_namespaced(cluster.client());
    let sleeper: Deployment = serde_json::from_value(json!({
        "metadata": { "name": "sleeper" },
        "spec": {
            "replicas": 2,
            "selector": { "matchLabels": { "app": "sleeper" } },
            "template": {
                "metadata": { "labels": { "app": "sleeper" } },
                "spec": { "containers": [{ "name": "sleep", "image": "host", "command": ["sleep", "3600"] }] },
            },
        },
    }))?;
    deployments.create(&PostParams::default(), &sleeper).await?;

    let available = conditions::is_deployment_completed();
    let sleeper = await_condition(deployments, "sleeper", available).await?;
    let replicas = sleeper.and_then(|sleeper| sleeper.status?.available_replicas).unwrap_or_default();
    println!("deployment sleeper is Available with {replicas} replicas");

    cluster.stop().await?;
    Ok(())
}
