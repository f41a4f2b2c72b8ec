//! `orchestra up`: a whole cluster in the foreground.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use jiff::SignedDuration;
use orchestra::cluster::Error;
use orchestra::runtime::backend::process::{ProcessOptions, ProcessRuntime, Program, Supervision};
use orchestra::runtime::backend::sim::SimRuntime;
use orchestra::store::snapshot::Schedule;
use orchestra::{Cluster, ClusterBuilder, Node};

use crate::at_rest::AtRest;
use crate::audit::Audit;
use crate::bounds::Bounds;
use crate::client::{self, Connection};
use crate::failure::Failure;
use crate::manifests::{self, Document};
use crate::signals::Signals;
use crate::store::{Access, StoreKind};
use crate::{data_dir, store, wait};

/// What `up` and `server` have in common.
#[derive(Args, Debug)]
pub(crate) struct Place {
    /// Where the cluster keeps its state [default: orchestra in the user's state directory].
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Where the API server listens; port 0 picks a free one.
    #[arg(long, default_value = "127.0.0.1:6443", value_name = "ADDR:PORT")]
    pub(crate) listen: SocketAddr,
    /// What keeps the objects: `durable`, on disk under the data directory; `memory`; or etcd, as
    /// etcd://HOST:PORT,HOST:PORT/PREFIX, with etcds:// for TLS.
    #[arg(long, default_value = "durable", value_name = "durable|memory|URL")]
    pub(crate) store: StoreKind,
    #[command(flatten)]
    pub(crate) access: Access,
    /// Save all objects again and again into `snapshots` in the data directory; for example 6h or 30m.
    #[arg(long, value_name = "DURATION", value_parser = period)]
    pub(crate) snapshot_every: Option<Duration>,
    /// How many of the saved snapshots are kept.
    #[arg(long, value_name = "NUMBER", default_value_t = 7, requires = "snapshot_every")]
    #[arg(value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) snapshot_keep: u16,
    #[command(flatten)]
    pub(crate) at_rest: AtRest,
    #[command(flatten)]
    pub(crate) bounds: Bounds,
    #[command(flatten)]
    pub(crate) audit: Audit,
}

/// A time between snapshots: a second at least.
fn period(text: &str) -> Result<Duration, String> {
    let period: SignedDuration = text.parse().map_err(|problem: jiff::Error| problem.to_string())?;
    let period = Duration::try_from(period).map_err(|_| "is below zero".to_owned())?;
    if period < Duration::from_secs(1) { Err("is shorter than a second".to_owned()) } else { Ok(period) }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum RuntimeKind {
    /// What this machine offers; processes, for now.
    Auto,
    /// Processes of this machine.
    Process,
    /// Pods that only seem to run.
    Sim,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum NetworkKind {
    /// What this machine offers; loopback addresses, for now.
    Auto,
    /// Loopback addresses.
    Local,
}

#[derive(Args, Debug)]
pub(crate) struct Up {
    #[command(flatten)]
    place: Place,
    /// Apply these manifests and wait until what they describe runs.
    #[arg(short = 'f', long = "filename", value_name = "FILE")]
    files: Vec<String>,
    /// How many nodes.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1000))]
    nodes: u16,
    /// What runs containers.
    #[arg(long, default_value = "auto")]
    runtime: RuntimeKind,
    /// How pods and services are reached.
    #[arg(long, default_value = "auto")]
    network: NetworkKind,
}

pub(crate) async fn run(arguments: Up) -> Result<(), Failure> {
    // Nothing is begun before it is clear that the files can be read.
    let documents = if arguments.files.is_empty() { Vec::new() } else { manifests::read(&arguments.files)? };
    let (NetworkKind::Auto | NetworkKind::Local) = arguments.network;
    let mut builder = open(&arguments.place).await?;
    for number in 1..=arguments.nodes {
        builder = builder.node(node(&format!("node-{number}"), arguments.runtime)?);
    }
    let mut signals = Signals::listen()?;
    let cluster = start(builder).await?;
    run_until_told(cluster, &mut signals, async |cluster| become_ready(cluster, &documents).await).await
}

/// Does `first`, then runs until told to stop or a part fails; stops the cluster in order in any case.
pub(crate) async fn run_until_told(
    cluster: Cluster,
    signals: &mut Signals,
    first: impl AsyncFnOnce(&Cluster) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let run = async {
        first(&cluster).await?;
        std::future::pending().await
    };
    let outcome = tokio::select! {
        outcome = run => outcome,
        problem = cluster.failed() => Err(Failure::of(client::chain(&problem))),
        () = signals.told_to_stop() => Ok(()),
    };
    let stopped = cluster.stop().await.map_err(|problem| Failure::of(problem.to_string()));
    outcome.and(stopped)
}

/// A builder with data directory, address and store.
pub(crate) async fn open(place: &Place) -> Result<ClusterBuilder, Failure> {
    place.at_rest.check()?;
    let path = place.data_dir.clone().unwrap_or_else(data_dir::default);
    let limits = place.bounds.limits();
    let mut builder = Cluster::builder().data_dir(&path).listen(place.listen);
    builder = builder.api_server(|server| server.limits(limits));
    if let Some((policy, log)) = place.audit.open()? {
        builder = builder.api_server(|server| server.audit(policy, log));
    }
    if let Some(every) = place.snapshot_every {
        builder = builder.snapshots(Schedule { every, keep: place.snapshot_keep.into() });
    }
    store::give(builder, &place.store, &place.access, &place.at_rest, &path).await
}

/// Starts the cluster, with every failure on one line.
pub(crate) async fn start(builder: ClusterBuilder) -> Result<Cluster, Failure> {
    builder.start().await.map_err(|problem: Error| Failure::of(client::chain(&problem)))
}

fn node(name: &str, runtime: RuntimeKind) -> Result<Node, Failure> {
    if runtime == RuntimeKind::Sim {
        return Ok(Node::named(name).runtime(SimRuntime::default()));
    }
    let own = std::env::current_exe()
        .map_err(|problem| Failure::of(format!("cannot find this program: {problem}")))?;
    Ok(Node::opened_by(name, move |dir| {
        let guestbook = Program::new(&own).with_args([orchestra::DEMO_VERB]);
        let shim = Supervision::Shim { program: own, args: vec![orchestra::SHIM_VERB.into()] };
        let options =
            ProcessOptions::new(dir).with_supervision(shim).with_image("orchestra/guestbook", guestbook);
        let runtime = ProcessRuntime::open(options).map_err(|problem| problem.to_string())?;
        Ok(Arc::new(runtime))
    }))
}

/// Applies the manifests, waits for what they describe, and prints the ready line.
async fn become_ready(cluster: &Cluster, documents: &[Document]) -> Result<(), Failure> {
    let connection =
        Connection { client: cluster.client(), namespace: "default".into(), namespace_given: false };
    wait::for_nodes(&connection.client).await?;
    if !documents.is_empty() {
        for line in client::apply::apply(&connection, documents).await? {
            eprintln!("{line}");
        }
    }
    let services = wait::for_documents(&connection.client, documents).await?;
    let mut line = String::from("ready");
    if let (Some(kubeconfig), Some(address)) = (cluster.kubeconfig(), cluster.address()) {
        line += &format!(" kubeconfig={} api=https://{address}", kubeconfig.display());
    }
    for service in services {
        line += &format!(" {service}");
    }
    println!("{line}");
    Ok(())
}
