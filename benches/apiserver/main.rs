//! What the API server takes for each operation, as a client sees it. Guards the figures in docs/apiserver-performance.md.
//!
//! `cargo bench --bench apiserver [-- [binding | floor | reads | writes] [--quick] [--server PATH]]`
//!
//! The server is a process of its own, `orchestra server --components apiserver` with the durable store: every write is
//! synced before it is answered. The load comes from this process over TLS, each connection one client that sends its next
//! request when it has the answer to the last. CPU is what the server's process used, read from /proc. The last rows call
//! the server in this process, without a socket. `binding` measures instead how fast a scheduler binds pods through it, `reads`
//! lists and watches alone, `writes` what each write of a pod's life takes, `floor` what requests take that nothing is done about.
//! `--server` measures another build of the program, for a comparison.

mod binding;
mod bound;
mod floor;
mod lines;
mod load;
mod objects;
mod process;
mod report;
mod watchers;
mod wire;
mod within;
mod writes;

use std::time::Duration;

use hyper::Method;

use crate::load::Load;
use crate::process::Server;
use crate::report::Report;
use crate::wire::Wire;

/// The program's own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Clients that write and read at the same time.
const CONNECTIONS: usize = 32;
const PODS: usize = 10_000;
const POD_PATH: &str = "/api/v1/namespaces/default/pods";
/// Of pods that are a little shorter in a list than those Kubernetes was measured with.
const SMALL: &str = "small";
const CONFIG_MAPS: usize = 26_000;
const GETS: usize = 40_000;
const LISTS: usize = 40;
const PAGE: usize = 500;
const WATCHERS: usize = 100;
const EVENTS: usize = 1_000;

fn main() {
    // Of the load, too: what it spends the server does not have.
    orchestra::apiserver::tls::install();
    let quick = std::env::args().any(|argument| argument == "--quick");
    let share = if quick { 20 } else { 1 };
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    let only = |part: &str| std::env::args().any(|argument| argument == part);
    if let Some(folder) = std::env::args_os().skip_while(|argument| argument != floor::SERVE).nth(1) {
        return runtime.block_on(floor::serve(folder.as_ref()));
    }
    if only("floor") {
        let (requests, lists) = (GETS / share, (LISTS / share).max(2));
        let amount = floor::Amount { requests, lists, watchers: WATCHERS, events: (EVENTS / share).max(50) };
        return runtime.block_on(floor::measure(&mut Report::new(), CONNECTIONS, amount));
    }
    if only("binding") {
        return runtime.block_on(binding::measure(&mut Report::new(), CONNECTIONS, share));
    }
    if only("writes") {
        return runtime.block_on(measure_writes(share));
    }
    if only("reads") {
        let mut report = runtime.block_on(measure_reads(share));
        return bound::measure(&mut report, WATCHERS, share);
    }
    runtime.block_on(measure(share));
}

async fn measure_writes(share: usize) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = Server::start(folder.path());
    let wire = Wire::of(&server.kubeconfig()).await;
    wire.connect().await.prepare("default").await;
    let load = Load { wire: &wire, server: &server, connections: CONNECTIONS };
    writes::measure(&mut Report::new(), &load, PODS / share).await;
    server.stop();
}

async fn measure(share: usize) {
    let (pods, maps, gets) = (PODS / share, CONFIG_MAPS / share, GETS / share);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = Server::start(folder.path());
    let mut report = Report::new();
    report.figure("ready after start, ms", server.ready_after().as_secs_f64() * 1000.0);
    // Idle means: everything that happens after a start has happened.
    tokio::time::sleep(Duration::from_secs(10) / share as u32).await;
    report.figure("idle memory, MiB", server.resident_mib());

    let wire = prepared(&server).await;
    let writes = Load { wire: &wire, server: &server, connections: CONNECTIONS };
    let path = "/api/v1/namespaces/default/configmaps";
    report.row(
        "create ConfigMap",
        &writes.run(maps, |at| (Method::POST, path.into(), objects::config_map(at))).await,
    );
    report.row("create Pod", &writes.run(pods, |at| (Method::POST, POD_PATH.into(), objects::pod(at))).await);
    let one = |at| (Method::GET, format!("{POD_PATH}/{}", objects::pod_name(at % pods)), Vec::new());
    report.row("get Pod", &writes.run(gets, one).await);

    lists(&mut report, &wire, &server, POD_PATH, share).await;
    // Now that the server's cache holds them, too: it reads a resource when somebody first lists or watches it.
    let reads = Load { wire: &wire, server: &server, connections: 1 };
    reads.run(2, |_| (Method::GET, path.into(), Vec::new())).await;
    report.figure(&format!("memory with {pods} pods and {maps} ConfigMaps, MiB"), server.resident_mib());
    watches(&mut report, &wire, &server, share).await;
    server.stop();

    within::measure(&mut report, pods).await;
}

/// Lists and watches alone, and what the machine would let pass between two programs that do nothing else.
async fn measure_reads(share: usize) -> Report {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = Server::start(folder.path());
    let mut report = Report::new();
    let wire = prepared(&server).await;
    let writes = Load { wire: &wire, server: &server, connections: CONNECTIONS };
    writes.run(PODS / share, |at| (Method::POST, POD_PATH.into(), objects::pod(at))).await;
    lists(&mut report, &wire, &server, POD_PATH, share).await;
    wire.connect().await.prepare(SMALL).await;
    let path = format!("/api/v1/namespaces/{SMALL}/pods");
    writes.run(PODS / share, |at| (Method::POST, path.clone(), objects::small_pod(at))).await;
    lists(&mut report, &wire, &server, &path, share).await;
    watches(&mut report, &wire, &server, share).await;
    server.stop();
    report
}

async fn prepared(server: &Server) -> Wire {
    let wire = Wire::of(&server.kubeconfig()).await;
    let mut first = wire.connect().await;
    for namespace in ["default", watchers::NAMESPACE] {
        first.prepare(namespace).await;
    }
    wire
}

async fn lists(report: &mut Report, wire: &Wire, server: &Server, path: &str, share: usize) {
    let reads = Load { wire, server, connections: 1 };
    let (lists, pods) = ((LISTS / share).max(2), PODS / share);
    let whole = reads.run(lists, |_| (Method::GET, path.into(), Vec::new())).await;
    report.row(&format!("list {pods} pods, {:.1} MB", whole.bytes as f64 / lists as f64 / 1e6), &whole);
    report.row(&format!("the same in pages of {PAGE}"), &reads.paged(lists, path, PAGE).await);
}

async fn watches(report: &mut Report, wire: &Wire, server: &Server, share: usize) {
    let events = (EVENTS / share).max(50);
    for (what, resource, object) in watchers::KINDS {
        let before = watchers::revision(wire, resource).await;
        let watched = watchers::run(wire, server, resource, object, WATCHERS, events).await;
        report.row(&format!("{WATCHERS} watchers, {what}: deliveries"), &watched);
        let caught_up = watchers::catch_up(wire, server, resource, &before, WATCHERS, events).await;
        report.row("the same events, asked for when they are there", &caught_up);
    }
}
