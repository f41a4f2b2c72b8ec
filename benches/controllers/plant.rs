//! The cluster that is measured, put together by hand so that its parts can be stopped, started and told apart.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Node;
use kube::api::ListParams;
use kube::{Api, Client};
use orchestra::Cluster;
use orchestra::apiserver::{ApiServer, Limits, User};
use orchestra::controllers::Controllers;
use orchestra::runtime::agent::NodeAgent;
use orchestra::runtime::backend::sim::SimRuntime;
use orchestra::scheduler::Scheduler;
use orchestra::store::DurableStore;
use tokio::runtime::{Handle, Runtime};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::count::Counted;
use crate::network::Numbers;
use crate::usage;

/// How much there is of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) nodes: u16,
    pub(crate) pods: usize,
    /// How many requests may wait for a place in the server.
    pub(crate) waiting: usize,
}

pub(crate) struct Plant {
    pub(crate) size: Size,
    pub(crate) store: Counted,
    cluster: Cluster,
    manager: Option<(CancellationToken, JoinHandle<()>)>,
    shutdown: CancellationToken,
    threads: Threads,
}

/// Where components run: all together, or each on threads of its own.
struct Threads {
    apart: Option<[Runtime; 4]>,
}

#[derive(Clone, Copy)]
enum Part {
    Server,
    Controllers,
    Scheduler,
    Nodes,
}

/// As many threads as there are processors, of this name.
pub(crate) fn runtime(name: &str) -> Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_all().thread_name(name).build().expect("threads")
}

impl Threads {
    fn handle(&self, part: Part) -> Handle {
        self.apart.as_ref().map_or_else(Handle::current, |apart| apart[part as usize].handle().clone())
    }

    /// A client for `user`, which is answered on the server's threads.
    fn client(&self, server: &ApiServer, user: User) -> Client {
        if self.apart.is_none() {
            return server.client_as(user, "default");
        }
        let (server, threads) = (server.clone(), self.handle(Part::Server));
        let service = tower::service_fn(move |mut request: http::Request<kube::client::Body>| {
            request.extensions_mut().insert(user.clone());
            let answered = threads.spawn(server.clone().oneshot(request));
            async move { answered.await.expect("the server does not panic") }
        });
        Client::new(service, "default")
    }
}

impl Plant {
    pub(crate) async fn start(folder: &Path, size: Size, apart: bool) -> Self {
        let names = ["apiserver", "controllers", "scheduler", "nodes"];
        let threads = Threads { apart: apart.then(|| names.map(runtime)) };
        let store = Counted::new(DurableStore::open(folder.join("store")).expect("a store"));
        let mut limits = Limits::default();
        limits.waiting = size.waiting;
        let builder = Cluster::builder()
            .store(store.clone())
            .data_dir(folder)
            .without_nodes()
            .without_controllers()
            .without_scheduler()
            // Taken away by the controllers, as in any cluster that has some.
            .api_server(|server| server.taint_new_nodes(true).limits(limits));
        let started = threads.handle(Part::Server).spawn(builder.start()).await.expect("no panic");
        let cluster = started.expect("a cluster");
        let shutdown = CancellationToken::new();
        let mut plant = Self { size, store, cluster, manager: None, shutdown, threads };
        plant.start_manager();
        let (client, ends) = (plant.component(User::admin()), plant.shutdown.clone());
        plant.threads.handle(Part::Scheduler).spawn(async move {
            Scheduler::default().run(client, ends).await.expect("the scheduler works");
        });
        let before = (Instant::now(), usage::cpu(), usage::resident_mib());
        for number in 0..size.nodes {
            plant.start_node(number);
        }
        nodes_are_ready(plant.client(), size.nodes).await;
        println!(
            "{:<58} {:>9.2} s {:>9.1} ms of CPU each {:>8.1} KiB each",
            format!("{} nodes from start to Ready", size.nodes),
            before.0.elapsed().as_secs_f64(),
            (usage::cpu() - before.1).as_secs_f64() * 1e3 / f64::from(size.nodes),
            (usage::resident_mib() - before.2) * 1024.0 / f64::from(size.nodes),
        );
        plant
    }

    pub(crate) fn client(&self) -> Client {
        self.cluster.client()
    }

    fn component(&self, user: User) -> Client {
        self.threads.client(self.cluster.api_server(), user)
    }

    pub(crate) fn start_manager(&mut self) {
        let (client, ends) = (self.component(User::admin()), self.shutdown.child_token());
        let shutdown = ends.clone();
        let task = self.threads.handle(Part::Controllers).spawn(async move {
            Controllers::all().run(client, shutdown).await.expect("controllers work");
        });
        self.manager = Some((ends, task));
    }

    pub(crate) async fn stop_manager(&mut self) {
        if let Some((ends, task)) = self.manager.take() {
            ends.cancel();
            task.await.expect("controllers end");
        }
    }

    fn start_node(&self, number: u16) {
        let name = format!("node-{number:04}");
        let (client, network) = (self.component(User::node(&name)), Arc::new(Numbers::of(number)));
        let ends = self.shutdown.clone();
        self.threads.handle(Part::Nodes).spawn(async move {
            let agent = NodeAgent::builder(client, Arc::new(SimRuntime::default()), network.clone())
                .address(network.node())
                .name(name)
                .capacity("cpu", "32")
                .capacity("memory", "128Gi")
                .capacity("ephemeral-storage", "100Gi")
                .build()
                .expect("an agent");
            agent.run(ends).await.expect("an agent works");
        });
    }

    pub(crate) async fn stop(mut self) {
        self.stop_manager().await;
        self.shutdown.cancel();
        self.cluster.stop().await.expect("stopped");
        if let Some(apart) = self.threads.apart.take() {
            apart.into_iter().for_each(Runtime::shutdown_background);
        }
    }
}

/// Waits until there are as many nodes, all of them Ready.
pub(crate) async fn nodes_are_ready(client: Client, count: u16) {
    let nodes: Api<Node> = Api::all(client);
    loop {
        let listed = nodes.list(&ListParams::default()).await.expect("a list").items;
        if listed.len() == usize::from(count) && listed.iter().all(is_open) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Ready, and without the taint that new nodes have.
fn is_open(node: &Node) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    let ready = conditions.into_iter().flatten().any(|one| one.type_ == "Ready" && one.status == "True");
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_ref());
    ready && taints.is_none_or(Vec::is_empty)
}
