//! What the program takes that people run: `orchestra up` with nodes whose containers are made up.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

use crate::plant::{Size, nodes_are_ready};
use crate::{steps, usage};

/// How long it is left alone after its start, so that everything that happens then has happened; and after the pods are Ready.
const PAUSE: Duration = Duration::from_secs(5);

/// The program while it runs; ended when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // A run that failed leaves nothing behind; after a good one there is nothing left to end.
        let _ended = self.0.kill();
        let _waited = self.0.wait();
    }
}

/// A row for the pods of one Deployment, from its creation until they are Ready, and one for what comes after.
pub(crate) async fn measure(program: &Path, folder: &Path, size: Size) {
    let mut running = start(program, folder, size.nodes);
    let process = running.0.id().to_string();
    let client = client(folder).await;
    nodes_are_ready(client.clone(), size.nodes).await;
    tokio::time::sleep(PAUSE).await;

    let (begin, before) = (Instant::now(), usage::cpu_of(&process));
    let row = |what: &str, took: Duration| {
        let each = (usage::cpu_of(&process) - before).as_secs_f64() * 1e3 / size.pods as f64;
        let (took, memory) = (took.as_secs_f64(), usage::resident_mib_of(&process));
        println!("{what:<58} {took:>9.2} s {each:>9.3} ms of CPU each {memory:>8.1} MiB");
    };
    steps::make(client, size.pods).await;
    row(&format!("{} pods of one Deployment, created to all Ready", size.pods), begin.elapsed());
    tokio::time::sleep(PAUSE).await;
    row("  and what comes after", begin.elapsed());

    let told = Command::new("kill").arg(&process).status().expect("kill runs");
    assert!(told.success());
    running.0.wait().expect("it ends");
}

fn start(program: &Path, folder: &Path, nodes: u16) -> Running {
    let mut command = Command::new(program);
    command.args([
        "up",
        "--runtime",
        "sim",
        "--listen",
        "127.0.0.1:0",
        "--nodes",
        &nodes.to_string(),
        "--data-dir",
    ]);
    let mut running =
        Running(command.arg(folder).stdout(Stdio::piped()).spawn().expect("the program starts"));
    let mut lines = BufReader::new(running.0.stdout.take().expect("a pipe")).lines();
    assert!(lines.any(|line| line.is_ok_and(|line| line.starts_with("ready"))), "it did not become ready");
    running
}

async fn client(folder: &Path) -> Client {
    let kubeconfig =
        Kubeconfig::read_from(folder.join("admin.kubeconfig")).expect("written before it is ready");
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
    Client::try_from(config.expect("a server")).expect("a client")
}
