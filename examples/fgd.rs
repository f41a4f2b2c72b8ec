//! Repeats the experiment of "Beware of Fragmentation" (ATC'23): which part of a cluster's devices six policies give away
//! before they get stuck, each with ten seeds, on the scheduling framework that also runs live.
//!
//! ```sh
//! cargo run --release --example fgd -- --nodes openb_node_list_gpu_node.csv --pods openb_pod_list_default.csv
//! ```
//! The trace is not part of this repository; `docs/fgd.md` says where it is and what came out. With `--json`: one object, from
//! policy to the percentages of the seeds 42 to 51. With `--curves`: from policy and seed to the percentage at every percent
//! that had arrived, as the authors publish it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use orchestra_lab::papers::atc23::{Contestant, Curve, SEEDS, Trace, Workload, run};
use orchestra_lab::policies::fgd::Typical;
use orchestra_lab::trace::Source;
use serde_json::json;

type Failed = Box<dyn std::error::Error + Send + Sync>;

const USAGE: &str = "usage: fgd --nodes FILE --pods FILE [--json | --curves]";

#[derive(Clone, Copy)]
enum Output {
    Table,
    Json,
    Curves,
}

fn main() -> Result<(), Failed> {
    let (mut nodes, mut pods, mut output) = (None, None, Output::Table);
    let mut given = std::env::args().skip(1);
    while let Some(flag) = given.next() {
        match flag.as_str() {
            "--nodes" => nodes = given.next().map(PathBuf::from),
            "--pods" => pods = given.next().map(PathBuf::from),
            "--json" => output = Output::Json,
            "--curves" => output = Output::Curves,
            other => return Err(format!("{other} is not known; {USAGE}").into()),
        }
    }
    let (Some(nodes), Some(pods)) = (nodes, pods) else { return Err(USAGE.into()) };
    let read = |path: &PathBuf| {
        std::fs::read_to_string(path).map_err(|problem| format!("{}: {problem}", path.display()))
    };
    let (node_text, pod_text) = (read(&nodes)?, read(&pods)?);
    let (node_name, pod_name) = (nodes.display().to_string(), pods.display().to_string());
    let trace = Trace::parse(
        Source { name: &node_name, text: &node_text },
        Source { name: &pod_name, text: &pod_text },
    )?;
    if trace.capacity() == 0 {
        return Err(format!("{node_name}: no node has a device").into());
    }
    let typical = Typical::of(&trace.pods);
    let seeds: Vec<i64> = SEEDS.collect();
    let pairs = |one: &Contestant| seeds.iter().map(|seed| (*one, *seed)).collect::<Vec<_>>();
    let runs: Vec<_> = Contestant::ALL.iter().flat_map(pairs).collect();
    let curves = in_parallel(&runs, |(contestant, seed)| {
        let workload = Workload::seeded(&trace, *seed);
        Ok(run(&trace, &workload, contestant.profile(&typical, *seed))?)
    })?;
    let results: Vec<_> = Contestant::ALL.iter().zip(curves.chunks(seeds.len())).collect();
    match output {
        Output::Table => table(&trace, &typical, &seeds, &results),
        Output::Json => {
            let shares =
                |curves: &[Curve]| json!(curves.iter().map(|curve| curve.allocated).collect::<Vec<_>>());
            let all = results.iter().map(|(one, curves)| (one.name().to_owned(), shares(curves)));
            println!("{}", serde_json::Value::Object(all.collect()));
        }
        Output::Curves => {
            let by_seed = |curves: &[Curve]| {
                let curves = curves.iter().map(|curve| &curve.by_arrived);
                json!(seeds.iter().zip(curves).collect::<BTreeMap<_, _>>())
            };
            let all = results.iter().map(|(one, curves)| (one.name().to_owned(), by_seed(curves)));
            println!("{}", serde_json::Value::Object(all.collect()));
        }
    }
    Ok(())
}

fn table(trace: &Trace, typical: &Typical, seeds: &[i64], results: &[(&Contestant, &[Curve])]) {
    println!(
        "{} nodes with {} devices; {} pods, {} kinds of them typical",
        trace.nodes.len(),
        trace.capacity() / 1000,
        trace.pods.len(),
        typical.len()
    );
    println!("Devices given away once 130 % had been asked for, in percent, by seed:\n");
    print!("{:14}", "");
    seeds.iter().for_each(|seed| print!("{seed:>7}"));
    println!("{:>8}", "mean");
    for (contestant, curves) in results {
        print!("{:14}", contestant.name());
        curves.iter().for_each(|curve| print!("{:>7.2}", curve.allocated));
        println!("{:>8.2}", curves.iter().map(|curve| curve.allocated).sum::<f64>() / curves.len() as f64);
    }
}

/// Runs all on as many threads as there are processors; the results are in the order of the runs, whoever was first.
fn in_parallel<R: Sync, T: Send>(
    runs: &[R],
    one: impl Fn(&R) -> Result<T, Failed> + Sync,
) -> Result<Vec<T>, Failed> {
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(run) = runs.get(index) else { break };
                    let result = one(run);
                    done.lock().unwrap_or_else(PoisonError::into_inner).push((index, result));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}
