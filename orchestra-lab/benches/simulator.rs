//! How many pods a second of each strategy's simulations find a node, and how long a week takes. Guards the tables in
//! docs/simulation.md.
//!
//! `cargo bench -p orchestra-lab --bench simulator [-- NAME…]`
//!
//! A name is that of a strategy, or `week`. Each run has a cluster two thirds of whose devices are in use once it is full,
//! whatever its size; it is one thread, and is cut off after ten seconds. The week goes all the way to the files that
//! `orchestra simulate` leaves.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use orchestra_lab::experiment::{Experiment, Load};
use orchestra_lab::run::{Decision, RunError, RunOptions, Sink, Stop, Verb, run};
use orchestra_lab::strategy::{Context, Named, known};
use orchestra_lab::trace::Source;
use orchestra_lab::workload::{GenerateSpec, Workload, generate};
use orchestra_scheduler::Scheduler;

const SIZES: [usize; 3] = [1_213, 5_000, 100_000];
const PODS: usize = 50_000;
const LIMIT: Duration = Duration::from_secs(10);
const WEEK: f64 = 7.0 * 86_400.0;

fn main() {
    let asked: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let wanted = |name: &str| asked.is_empty() || asked.iter().any(|word| word == name);
    let strategies: Vec<Named> =
        known(Scheduler::default()).into_iter().filter(|strategy| wanted(strategy.name())).collect();
    if !strategies.is_empty() {
        rates(&strategies);
    }
    if wanted("week") {
        week();
    }
}

/// Prints what each strategy does on each size of cluster.
fn rates(strategies: &[Named]) {
    let mut rows: Vec<String> =
        strategies.iter().map(|strategy| format!("| `{}` |", strategy.name())).collect();
    for nodes in SIZES {
        let text = load(nodes, PODS, 50.0 * nodes as f64 / 1213.0, 50.0);
        let workload = made(&text);
        for (strategy, row) in strategies.iter().zip(&mut rows) {
            let (rate, memory) = rate(strategy, &workload);
            eprintln!("{} on {nodes} nodes: {rate:.0} pods/s, {memory} MiB", strategy.name());
            let _ = write!(row, " {} | {memory} |", grouped(rate));
        }
    }
    println!(
        "| strategy | 1,213 nodes, pods/s | MiB | 5,000 nodes, pods/s | MiB | 100,000 nodes, pods/s | MiB |"
    );
    println!("|---|---|---|---|---|---|---|");
    println!("{}\n", rows.join("\n"));
}

/// Pods bound a second from the first decision on, and the most memory meanwhile in MiB.
fn rate(strategy: &Named, workload: &Workload) -> (f64, u64) {
    forget_peak();
    let options = RunOptions::default();
    let mut watch = Watch { stop: options.stop.clone(), ..Watch::default() };
    let decider = strategy.decider(Context { workload, seed: 42 });
    match run(workload, &decider, &options, &mut watch) {
        Ok(_) | Err(RunError::Stopped) => {}
        Err(problem) => panic!("{}: {problem}", strategy.name()),
    }
    let took = watch.begin.map_or(Duration::MAX, |begin| begin.elapsed());
    (watch.bound as f64 / took.as_secs_f64(), peak_mib())
}

/// Counts pods, and stops a run that takes too long.
#[derive(Default)]
struct Watch {
    begin: Option<Instant>,
    bound: u64,
    stop: Stop,
}

impl Sink for Watch {
    fn decided(&mut self, decision: &Decision<'_>) -> std::io::Result<()> {
        let begin = *self.begin.get_or_insert_with(Instant::now);
        self.bound += u64::from(decision.verb == Verb::Bound);
        if begin.elapsed() > LIMIT {
            self.stop.stop();
        }
        Ok(())
    }
}

/// A million short pods on 5,000 nodes, within a week, with everything written.
fn week() {
    forget_peak();
    let pods = 1_000_000;
    let begin = Instant::now();
    let text = load(5_000, pods, pods as f64 / WEEK, 300.0);
    let experiment = Experiment {
        load: Load::Generated { spec: Arc::new(spec(&text)), nodes: Arc::default() },
        strategies: vec![Named::scheduler(Scheduler::default())],
        seeds: vec![42],
        options: RunOptions::default(),
    };
    let place = tempfile::tempdir().expect("a temporary folder");
    let out = place.path().join("out");
    let recorded = experiment.record(&out, experiment.manifest(), 0, 1, &|_| {}).expect("a run");
    let took = begin.elapsed().as_secs_f64();
    println!("| a week of 5,000 nodes | pods | bound | events | seconds | pods/s | MiB |");
    println!("|---|---|---|---|---|---|---|");
    for run in &recorded.runs {
        println!(
            "| `{}` | {} | {} | {} | {took:.1} | {} | {} |",
            run.strategy,
            grouped(pods as f64),
            grouped(run.bound as f64),
            grouped(run.events as f64),
            grouped(run.bound as f64 / took),
            peak_mib()
        );
    }
}

fn made(text: &str) -> Workload {
    generate(&spec(text), 42).expect("a workload")
}

fn spec(text: &str) -> GenerateSpec {
    GenerateSpec::read(Source { name: "load.json", text }).expect("a description")
}

/// Nodes with and without devices, and pods of seven classes that come at `rate` a second and run for `seconds` on average.
fn load(nodes: usize, pods: usize, rate: f64, seconds: f64) -> String {
    let groups = [("plain", 60, 32, 0), ("two", 25, 64, 2), ("eight", 15, 96, 8)].map(|(name, share, cpu, gpus)| {
        let count = nodes * share / 100;
        let gpu = if gpus > 0 { format!(r#", "alibabacloud.com/gpu-milli": "{gpus}000""#) } else { String::new() };
        let labels = if gpus > 0 { r#", "labels": {"alibabacloud.com/gpu-card-model": "T4"}"# } else { "" };
        let memory = cpu * 4;
        format!(
            r#"{{"name": "{name}", "count": {count}, "allocatable": {{"cpu": "{cpu}", "memory": "{memory}Gi"{gpu}}}{labels}}}"#
        )
    });
    let classes = [
        ("web", 4, "500m", "1Gi", 0),
        ("batch", 3, "2", "4Gi", 0),
        ("data", 1, "4", "32Gi", 0),
        ("quarter", 2, "4", "16Gi", 250),
        ("half", 2, "4", "16Gi", 500),
        ("whole", 3, "8", "32Gi", 1000),
        ("four", 1, "32", "128Gi", 4000),
    ]
    .map(|(name, weight, cpu, memory, gpu)| {
        let gpu = if gpu > 0 { format!(r#", "alibabacloud.com/gpu-milli": "{gpu}""#) } else { String::new() };
        format!(
            r#"{{"name": "{name}", "weight": {weight}, "requests": {{"cpu": "{cpu}", "memory": "{memory}"{gpu}}},
                "duration": {{"exponential": {{"mean": {seconds}}}}}}}"#
        )
    });
    format!(
        r#"{{"nodes": [{}], "pods": {{"count": {pods}, "arrival": {{"poisson": {rate}}}, "classes": [{}]}}}}"#,
        groups.join(", "),
        classes.join(", ")
    )
}

/// A number with commas between thousands.
fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// The kernel counts the most memory from here on.
fn forget_peak() {
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// The most memory this process had since then.
fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kib.unwrap_or(0) / 1024
}
