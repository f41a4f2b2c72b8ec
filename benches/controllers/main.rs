//! What a whole cluster takes for its pods, from `apply` to Ready. Guards the figures in docs/controllers-performance.md.
//!
//! `cargo bench --bench controllers [-- [--pods N] [--nodes N] [--waiting N] [--apart] [--program PATH] [only STEP...]]`
//!
//! Everything runs in this process on real time: the API server over the durable store, every write synced before it is
//! answered; all controllers; the scheduler; and a node agent for each node, whose containers are simulated. Components
//! call the API server without a socket. With `--apart` each component has threads of its own, and the server answers on its
//! own, so that processor time can be told apart by the names of threads. STEP is one of `idle`, `deployment`,
//! `rollout`, `start` and `removal` (which need what `deployment` makes), `many`, `namespace`; all of them if none is named.
//! `floor`, after `deployment`, is what the same pods take in which nothing is decided; it has to be named.
//!
//! With `--program` the program there is measured instead, as `orchestra up` in a process of its own, with the pods of one Deployment.

mod count;
mod floor;
mod network;
mod objects;
mod plant;
mod program;
mod requests;
mod steps;
mod usage;

use std::str::FromStr;

use orchestra::apiserver::Limits;

use crate::plant::{Plant, Size};

/// The program's own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let size = Size {
        nodes: number(&arguments, "--nodes", 1_000),
        pods: number(&arguments, "--pods", 10_000),
        waiting: number(&arguments, "--waiting", Limits::default().waiting),
    };
    let apart = arguments.iter().any(|argument| argument == "--apart");
    let steps: Vec<&str> =
        arguments.iter().skip_while(|argument| *argument != "only").skip(1).map(String::as_str).collect();
    let runs = |step: &str| steps.is_empty() || steps.contains(&step);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let main = plant::runtime("main");
    if let Some(given) = arguments.iter().skip_while(|argument| *argument != "--program").nth(1) {
        return main.block_on(program::measure(given.as_ref(), folder.path(), size));
    }
    main.block_on(async {
        let mut plant = Plant::start(folder.path(), size, apart).await;
        if runs("idle") {
            steps::idle(&plant, "idle, nodes alone").await;
        }
        if runs("deployment") {
            steps::deployment(&plant).await;
        }
        if runs("idle") && runs("deployment") {
            steps::idle(&plant, "idle, with these pods").await;
        }
        if steps.contains(&"floor") {
            floor::floor(&plant, folder.path()).await;
        }
        if runs("rollout") {
            steps::rollout(&plant).await;
        }
        if runs("start") {
            steps::start_of_a_manager(&mut plant).await;
        }
        if runs("removal") {
            steps::removal(&plant).await;
        }
        if runs("many") {
            steps::many_deployments(&plant).await;
        }
        if runs("namespace") {
            steps::namespace(&plant).await;
        }
        plant.stop().await;
    });
    // Whatever still waits for something is not waited for.
    main.shutdown_background();
}

fn number<T: FromStr>(arguments: &[String], name: &str, default: T) -> T {
    let given = arguments.iter().position(|argument| argument == name).and_then(|at| arguments.get(at + 1));
    given.map_or(default, |text| text.parse().ok().expect("a number"))
}
