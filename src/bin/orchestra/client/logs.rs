//! `orchestra logs POD`.

use clap::Args;
use futures::AsyncBufReadExt;
use futures::TryStreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::LogParams;

use super::{Target, request};
use crate::failure::Failure;

#[derive(Args, Debug)]
pub(crate) struct Logs {
    #[command(flatten)]
    target: Target,
    /// The pod, as NAME or pod/NAME.
    pod: String,
    /// The container, when the pod has several.
    #[arg(short, long)]
    container: Option<String>,
    /// Go on printing what comes.
    #[arg(short, long)]
    follow: bool,
    /// The log of the container's life before its last restart.
    #[arg(short, long)]
    previous: bool,
    /// Only so many of the last lines.
    #[arg(long, value_name = "LINES")]
    tail: Option<i64>,
    /// Each line with its time.
    #[arg(long)]
    timestamps: bool,
}

pub(crate) async fn run(arguments: &Logs) -> Result<(), Failure> {
    let connection = arguments.target.connect().await?;
    let name =
        arguments.pod.strip_prefix("pod/").or(arguments.pod.strip_prefix("pods/")).unwrap_or(&arguments.pod);
    let pods: Api<Pod> = Api::namespaced(connection.client, &connection.namespace);
    let wanted = LogParams {
        container: arguments.container.clone(),
        follow: arguments.follow,
        previous: arguments.previous,
        tail_lines: arguments.tail,
        timestamps: arguments.timestamps,
        ..LogParams::default()
    };
    let log = pods.log_stream(name, &wanted).await.map_err(|problem| request::explain(&problem))?;
    let mut lines = log.lines();
    while let Some(line) =
        lines.try_next().await.map_err(|problem| Failure::of(format!("the log broke off: {problem}")))?
    {
        println!("{line}");
    }
    Ok(())
}
