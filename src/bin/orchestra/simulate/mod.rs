//! `orchestra simulate`: strategies and seeds on a trace or a generated load, on virtual time.

mod arguments;
mod files;
mod plan;
mod progress;

use std::path::Path;

use orchestra::lab::experiment::ExperimentError;
use orchestra::lab::output::{
    Manifest, OutFolder, RunSummary, StrategySummary, Summary, digest_of_file, summaries, write_timeline,
};
use orchestra::lab::plot;
use orchestra::lab::run::RunError;

pub(crate) use arguments::Simulate;

use self::plan::Plan;
use crate::client::chain;
use crate::failure::Failure;
use crate::signals::Signals;

/// Runs the simulations and puts the results into a folder; told to stop, it leaves nothing.
pub(crate) async fn run(arguments: Simulate) -> Result<(), Failure> {
    let mut signals = Signals::listen()?;
    let plan = Plan::of(&arguments)?;
    let stop = plan.experiment.options.stop.clone();
    let mut work = tokio::task::spawn_blocking(move || simulate(&plan, &arguments.out, arguments.threads()));
    let ended = tokio::select! {
        ended = &mut work => ended,
        () = signals.told_to_stop() => {
            stop.stop();
            work.await
        }
    };
    ended.map_err(|problem| Failure::of(format!("the simulation broke off: {problem}")))?
}

fn simulate(plan: &Plan, out: &Path, threads: usize) -> Result<(), Failure> {
    let folder = OutFolder::begin(out).map_err(|problem| Failure::of(chain(&problem)))?;
    let bar = progress::Bar::new(plan.pods(), plan.experiment.runs());
    let runs = plan.experiment.run(folder.path(), threads, &|progress| bar.show(progress));
    bar.clear();
    let runs = runs.map_err(|problem| match problem {
        ExperimentError::Run { source: RunError::Stopped, .. } => Failure::of("stopped; nothing was written"),
        problem => Failure::of(chain(&problem)),
    })?;
    let strategies = summaries(&runs);
    let manifest = write(plan, &folder, &runs, &strategies)?;
    folder.finish().map_err(|problem| Failure::of(chain(&problem)))?;
    print(&strategies);
    plan.compare(&manifest)
}

/// Writes everything but the decisions, which are there already; the manifest last, because it has the digests of the rest.
fn write(
    plan: &Plan,
    folder: &OutFolder,
    runs: &[RunSummary],
    strategies: &[StrategySummary],
) -> Result<Manifest, Failure> {
    let failed = |problem: &dyn std::error::Error| Failure::of(chain(problem));
    let mut names = vec!["decisions.csv".to_owned()];
    let mut timeline = Vec::new();
    write_timeline(runs, &mut timeline).map_err(|problem| failed(&problem))?;
    let summary =
        Summary { skipped_rows: plan.skipped, strategies: strategies.to_vec(), runs: runs.to_vec() };
    let mut files = vec![
        ("timeline.csv".to_owned(), timeline),
        ("summary.json".to_owned(), summary.to_json().into_bytes()),
    ];
    let pictures = plot::draw(runs, strategies).map_err(|problem| failed(&problem))?;
    files.extend(pictures.into_iter().map(|picture| (picture.name.to_owned(), picture.svg.into_bytes())));
    for (name, bytes) in files {
        folder.write(&name, &bytes).map_err(|problem| failed(&problem))?;
        names.push(name);
    }
    let mut manifest = plan.manifest.clone();
    for name in names {
        let digest = digest_of_file(&folder.path().join(&name)).map_err(|problem| failed(&problem))?;
        manifest.outputs.insert(name, digest);
    }
    folder.write("manifest.json", manifest.to_json().as_bytes()).map_err(|problem| failed(&problem))?;
    Ok(manifest)
}

/// One line for each strategy, means over its seeds.
fn print(strategies: &[StrategySummary]) {
    let width = strategies.iter().map(|one| one.strategy.len()).max().unwrap_or(0).max("STRATEGY".len());
    println!("{:width$}  SEEDS      BOUND    PENDING  DELAY(MEAN)  DELAY(P99)  PEAK USE", "STRATEGY");
    for one in strategies {
        let mean = |name: &str| one.metrics.get(name).map_or(0.0, |metric| metric.mean);
        let peaks = one.metrics.iter().filter_map(|(name, metric)| {
            Some(format!("{} {:.1}%", name.strip_suffix(".peak")?, metric.mean * 100.0))
        });
        println!(
            "{:width$}  {:>5}  {:>9.1}  {:>9.1}  {:>10.1}s  {:>9.1}s  {}",
            one.strategy,
            one.runs,
            mean("bound"),
            mean("pending"),
            mean("queueingDelay.mean"),
            mean("queueingDelay.p99"),
            peaks.collect::<Vec<_>>().join(", ")
        );
    }
}
