//! `orchestra`: a whole cluster in one process, its parts alone, and the everyday verbs of a client.

mod at_rest;
mod audit;
mod bounds;
mod client;
mod data_dir;
mod demo;
mod encryption;
mod failure;
mod leader_elect;
mod manifests;
mod server;
mod signals;
mod simulate;
mod snapshot;
mod store;
mod up;
mod wait;

use std::ffi::OsString;
use std::io::IsTerminal;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use failure::Failure;
use tracing_subscriber::EnvFilter;

/// Objects are trees of many small pieces that one thread makes and another gives up, which the C library's allocator spends a
/// quarter of a cluster's time on. Libraries leave the choice to the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser, Debug)]
#[command(name = "orchestra", version, about = "Kubernetes in one process", disable_help_subcommand = true)]
struct Orchestra {
    /// What is logged on standard error: a level, or a filter such as `orchestra_net=debug`.
    #[arg(long, global = true, default_value = "warn", value_name = "FILTER")]
    log: String,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Run a whole cluster in the foreground.
    Up(up::Up),
    /// Run a control plane without nodes, all of it or parts.
    Server(server::Server),
    /// Make the cluster hold what files say.
    Apply(client::apply::Apply),
    /// Show objects.
    Get(client::get::Get),
    /// Remove objects.
    Delete(client::delete::Delete),
    /// Print what a container wrote.
    Logs(client::logs::Logs),
    /// Save a cluster's objects into a file, or make a cluster's data of one.
    Snapshot(snapshot::Snapshot),
    /// Show and change the keys that a cluster's data is encrypted with.
    Encryption(encryption::Encryption),
    /// Try scheduling strategies on a trace or a generated load, on virtual time.
    Simulate(Box<simulate::Simulate>),
}

fn main() -> ExitCode {
    // Two roles of this binary that people do not type: watching over one container, and being the demo application.
    // Both come before anything else is set up, because there is one such process for each container.
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    match arguments.split_first() {
        Some((verb, rest)) if verb == orchestra::SHIM_VERB => return orchestra::shim(rest),
        Some((verb, rest)) if verb == orchestra::DEMO_VERB => return demo::main(rest),
        _ => {}
    }
    let command = Orchestra::parse();
    orchestra::apiserver::tls::install();
    let outcome = start_logging(&command.log).and_then(|()| run(command.verb));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("orchestra: {failure}");
            failure.exit_code()
        }
    }
}

fn start_logging(filter: &str) -> Result<(), Failure> {
    let filter =
        EnvFilter::try_new(filter).map_err(|problem| Failure::usage(format!("--log {filter}: {problem}")))?;
    let colours = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(std::io::stderr).init();
    Ok(())
}

fn run(verb: Verb) -> Result<(), Failure> {
    let mut runtime = match verb {
        // A cluster uses what the machine has; a client waits for one answer at a time.
        Verb::Up(_) | Verb::Server(_) => tokio::runtime::Builder::new_multi_thread(),
        _ => tokio::runtime::Builder::new_current_thread(),
    };
    let runtime = runtime
        .enable_all()
        .build()
        .map_err(|problem| Failure::of(format!("cannot start threads: {problem}")))?;
    runtime.block_on(async {
        match verb {
            Verb::Up(arguments) => up::run(arguments).await,
            Verb::Server(arguments) => server::run(arguments).await,
            Verb::Apply(arguments) => client::apply::run(&arguments).await,
            Verb::Get(arguments) => client::get::run(&arguments).await,
            Verb::Delete(arguments) => client::delete::run(&arguments).await,
            Verb::Logs(arguments) => client::logs::run(&arguments).await,
            Verb::Snapshot(arguments) => snapshot::run(&arguments).await,
            Verb::Encryption(arguments) => encryption::run(&arguments).await,
            Verb::Simulate(arguments) => simulate::run(*arguments).await,
        }
    })
}
