//! `orchestra simulate`: strategies and seeds on a trace or a generated load, on virtual time.

mod arguments;
mod files;
mod plan;
mod progress;

use std::path::Path;

use orchestra::lab::experiment::ExperimentError;
use orchestra::lab::output::table;
use orchestra::lab::run::RunError;

pub(crate) use arguments::Simulate;

use self::plan::Plan;
use crate::client::chain;
use crate::failure::Failure;
use crate::signals::Signals;

/// Runs the simulations and puts the results into a folder; told to stop, it leaves nothing.
pub(crate) async fn run(arguments: Simulate) -> Result<(), Failure> {
    let plan = Plan::of(&arguments)?;
    // While files were read, a signal just ended the program: nothing had been written.
    let mut signals = Signals::listen()?;
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
    let bar = progress::Bar::new(plan.pods(), plan.experiment.runs());
    let recorded = plan
        .experiment
        .record(out, plan.manifest.clone(), plan.skipped, threads, &|progress| bar.show(progress));
    bar.clear();
    let recorded = recorded.map_err(|problem| match problem {
        ExperimentError::Run { source: RunError::Stopped, .. } => Failure::of("stopped; nothing was written"),
        problem => Failure::of(chain(&problem)),
    })?;
    print!("{}", table(&recorded.strategies));
    plan.compare(&recorded.manifest)
}
