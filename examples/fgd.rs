//! Repeats the experiment of "Beware of Fragmentation" (ATC'23): which part of a cluster's devices six policies give away
//! before they get stuck, each with ten seeds, on the scheduling framework that also runs live.
//!
//! ```sh
//! cargo run --release --example fgd -- --nodes openb_node_list_gpu_node.csv --pods openb_pod_list_default.csv
//! ```
//! The trace is not part of this repository: `docs/fgd.md` says where it is and what came out. With `--json` one object
//! from policy to the percentages of the seeds 42 to 51; with `--curves` another, from policy and seed to the percentage at
//! every percent that had arrived.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use orchestra_lab::papers::atc23::{Contestant, Curve, SEEDS, Trace, Workload, run};
use orchestra_lab::policies::fgd::Typical;

type Failed = Box<dyn std::error::Error + Send + Sync>;

#[derive(Clone, Copy, PartialEq)]
enum Output {
    Table,
    Json,
    Curves,
}

struct Arguments {
    nodes: PathBuf,
    pods: PathBuf,
    output: Output,
    pause: usize,
}

fn arguments() -> Result<Arguments, Failed> {
    let (mut nodes, mut pods, mut output) = (None, None, Output::Table);
    let mut pause = 0;
    let mut given = std::env::args().skip(1);
    while let Some(flag) = given.next() {
        match flag.as_str() {
            "--nodes" => nodes = given.next().map(PathBuf::from),
            "--pods" => pods = given.next().map(PathBuf::from),
            "--json" => output = Output::Json,
            "--curves" => output = Output::Curves,
            "--pause" => pause = given.next().unwrap_or_default().parse()?,
            other => return Err(format!("{other}: not known; usage: fgd --nodes FILE --pods FILE [--json]").into()),
        }
    }
    Ok(Arguments { nodes: nodes.ok_or("--nodes FILE is missing")?, pods: pods.ok_or("--pods FILE is missing")?, output, pause })
}

fn main() -> Result<(), Failed> {
    let arguments = arguments()?;
    let read = |path: &PathBuf| std::fs::read_to_string(path).map_err(|problem| format!("{}: {problem}", path.display()));
    let trace = Trace::parse(&read(&arguments.nodes)?, &read(&arguments.pods)?)?;
    let typical = Typical::of(&trace.pods);
    let seeds: Vec<i64> = SEEDS.collect();
    let runs: Vec<_> = Contestant::ALL.iter().flat_map(|one| seeds.iter().map(move |seed| (*one, *seed))).collect();
    let curves = in_parallel(&runs, |(contestant, seed)| {
        let workload = Workload::seeded(&trace, *seed, arguments.pause);
        Ok(run(&trace, &workload, contestant.profile(&typical, *seed))?)
    })?;
    let of = |contestant: usize| &curves[contestant * seeds.len()..(contestant + 1) * seeds.len()];
    match arguments.output {
        Output::Table => table(&trace, &typical, &seeds, of),
        Output::Json => {
            let shares = |index| of(index).iter().map(|curve| curve.allocated).collect::<Vec<_>>();
            let all: BTreeMap<_, _> = Contestant::ALL.iter().enumerate().map(|(at, one)| (one.name(), shares(at))).collect();
            println!("{}", serde_json::to_string(&all)?);
        }
        Output::Curves => {
            let by_seed = |index| seeds.iter().zip(of(index)).map(|(seed, curve)| (*seed, &curve.by_arrived)).collect::<BTreeMap<_, _>>();
            let all: BTreeMap<_, _> = Contestant::ALL.iter().enumerate().map(|(at, one)| (one.name(), by_seed(at))).collect();
            println!("{}", serde_json::to_string(&all)?);
        }
    }
    Ok(())
}

fn table<'a>(trace: &Trace, typical: &Typical, seeds: &[i64], of: impl Fn(usize) -> &'a [Curve]) {
    println!(
        "{} nodes with {} devices, {} pods of which {} wishes are typical",
        trace.nodes.len(),
        trace.capacity() / 1000,
        trace.pods.len(),
        typical.len()
    );
    println!("Devices given away when 130 % had been asked for, in percent, by seed:");
    print!("{:14}", "");
    seeds.iter().for_each(|seed| print!("{seed:>7}"));
    println!("{:>8}", "mean");
    for (index, contestant) in Contestant::ALL.iter().enumerate() {
        let shares: Vec<_> = of(index).iter().map(|curve| curve.allocated).collect();
        print!("{:14}", contestant.name());
        shares.iter().for_each(|share| print!("{share:>7.2}"));
        println!("{:>8.2}", shares.iter().sum::<f64>() / shares.len() as f64);
    }
}

/// Runs all on as many threads as there are processors; the results are in the order of the runs whoever was first.
fn in_parallel<R: Sync, T: Send>(runs: &[R], one: impl Fn(&R) -> Result<T, Failed> + Sync) -> Result<Vec<T>, Failed> {
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some((index, run)) = Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|at| Some((at, runs.get(at)?))) {
                    let result = one(run);
                    done.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((index, result));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}
