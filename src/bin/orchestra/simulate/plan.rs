//! What is to be run: from the command line, or from the manifest of an earlier run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use orchestra::lab::SimTime;
use orchestra::lab::experiment::{Experiment, Load};
use orchestra::lab::output::{Embedded, Input, Manifest, ManifestOptions};
use orchestra::lab::run::{Refusals, RunOptions};
use orchestra::lab::strategy;
use orchestra::lab::trace::{self, BadRows, LARGEST_FILE, Skipped, Source};
use orchestra::lab::workload::{GenerateSpec, Workload};
use orchestra::scheduler::{PluginRegistry, Scheduler};

use super::arguments::Simulate;
use super::files::text;
use crate::failure::Failure;

/// The largest description, configuration or manifest that is read, in bytes.
const LARGEST_SMALL_FILE: usize = 16 << 20;

/// All that is needed to run.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) experiment: Experiment,
    /// Without what it will come to.
    pub(super) manifest: Manifest,
    pub(super) skipped: u64,
    /// The files and digests that have to come out, if this repeats an earlier run.
    expected: Option<BTreeMap<String, String>>,
}

/// A file that the user named, in memory.
#[derive(Debug)]
struct Named {
    path: String,
    text: String,
}

impl Named {
    fn read(path: &Path, largest: usize) -> Result<Self, Failure> {
        Ok(Self { path: path.display().to_string(), text: text(path, largest)? })
    }

    fn source(&self) -> Source<'_> {
        Source { name: &self.path, text: &self.text }
    }

    fn embedded(&self) -> Embedded {
        Embedded { path: self.path.clone(), text: self.text.clone() }
    }
}

/// The files of a plan, in memory.
#[derive(Debug, Default)]
struct Files {
    nodes: Option<Named>,
    trace: Option<Named>,
    generate: Option<Named>,
    config: Option<Named>,
}

impl Plan {
    pub(super) fn of(arguments: &Simulate) -> Result<Self, Failure> {
        match &arguments.manifest {
            Some(path) => Self::repeated(arguments, path),
            None => Self::fresh(arguments),
        }
    }

    fn fresh(arguments: &Simulate) -> Result<Self, Failure> {
        let read = |path: &Option<PathBuf>, largest| {
            path.as_deref().map(|path| Named::read(path, largest)).transpose()
        };
        let files = Files {
            nodes: read(&arguments.nodes, LARGEST_FILE)?,
            trace: read(&arguments.trace, LARGEST_FILE)?,
            generate: read(&arguments.generate, LARGEST_SMALL_FILE)?,
            config: read(&arguments.config, LARGEST_SMALL_FILE)?,
        };
        let mut manifest = Manifest::new(ManifestOptions {
            grace: arguments.grace.to_string(),
            batch: arguments.batch.to_string(),
            all_refusals: arguments.all_refusals,
            skip_bad_rows: arguments.skip_bad_rows,
        });
        manifest.strategies.clone_from(&arguments.strategy);
        manifest.seeds.clone_from(&arguments.seeds.0);
        for (option, file) in [("nodes", &files.nodes), ("trace", &files.trace)] {
            let input = file.as_ref().map(|file| Input::of(&file.path, file.text.as_bytes()));
            manifest.inputs.extend(input.map(|input| (option.to_owned(), input)));
        }
        for (option, file) in [("generate", &files.generate), ("config", &files.config)] {
            manifest.embedded.extend(file.as_ref().map(|file| (option.to_owned(), file.embedded())));
        }
        manifest.command = command(&manifest);
        Self::assemble(manifest, &files, None)
    }

    fn repeated(arguments: &Simulate, path: &Path) -> Result<Self, Failure> {
        let text = text(path, LARGEST_SMALL_FILE)?;
        let mut manifest = Manifest::read(&text, &path.display().to_string())
            .map_err(|problem| Failure::of(problem.to_string()))?;
        let own = env!("CARGO_PKG_VERSION");
        if manifest.orchestra != own {
            return Err(Failure::of(format!(
                "{}: made by version {}, and this is {own}, which may decide otherwise",
                path.display(),
                manifest.orchestra
            )));
        }
        let input = |option: &str, moved: &Option<PathBuf>| -> Result<Option<Named>, Failure> {
            let Some(input) = manifest.inputs.get(option) else {
                return match moved {
                    Some(_) => {
                        Err(Failure::usage(format!("--{option}: the manifest speaks of no such file")))
                    }
                    None => Ok(None),
                };
            };
            let place = moved.clone().unwrap_or_else(|| PathBuf::from(&input.path));
            let mut file = Named::read(&place, LARGEST_FILE)?;
            input
                .check(&file.path, file.text.as_bytes())
                .map_err(|problem| Failure::of(problem.to_string()))?;
            // The results speak of it as they did then.
            file.path.clone_from(&input.path);
            Ok(Some(file))
        };
        let embedded = |option: &str| {
            let file = manifest.embedded.get(option);
            file.map(|file| Named { path: file.path.clone(), text: file.text.clone() })
        };
        let files = Files {
            nodes: input("nodes", &arguments.nodes)?,
            trace: input("trace", &arguments.trace)?,
            generate: embedded("generate"),
            config: embedded("config"),
        };
        let expected = std::mem::take(&mut manifest.outputs);
        Self::assemble(manifest, &files, Some(expected))
    }

    fn assemble(
        manifest: Manifest,
        files: &Files,
        expected: Option<BTreeMap<String, String>>,
    ) -> Result<Self, Failure> {
        let options = &manifest.options;
        let seconds = |option: &str, text: &str| {
            SimTime::parse(text).map_err(|problem| Failure::of(format!("{option} {text:?}: {problem}")))
        };
        let mut run = RunOptions::default();
        (run.grace, run.batch) = (seconds("grace", &options.grace)?, seconds("batch", &options.batch)?);
        run.refusals = if options.all_refusals { Refusals::All } else { Refusals::First };
        let bad = if options.skip_bad_rows { BadRows::Skip } else { BadRows::Stop };
        let strategies = strategies(&manifest.strategies, scheduler(files.config.as_ref())?)?;
        let (load, skipped) = load(files, bad)?;
        for problem in &skipped.first {
            eprintln!("orchestra: left out: {problem}");
        }
        let experiment = Experiment { load, strategies, seeds: manifest.seeds.clone(), options: run };
        Ok(Self { experiment, manifest, skipped: skipped.count, expected })
    }

    /// How many pods come in each run.
    pub(super) fn pods(&self) -> usize {
        match &self.experiment.load {
            Load::Trace(workload) => workload.pods.len(),
            Load::Generated { spec, .. } => spec.pods(),
        }
    }

    /// Holds what came out to what came out the first time.
    pub(super) fn compare(&self, manifest: &Manifest) -> Result<(), Failure> {
        let Some(expected) = &self.expected else { return Ok(()) };
        match expected.iter().find(|(name, digest)| manifest.outputs.get(*name) != Some(digest)) {
            Some((name, _)) => Err(Failure::of(format!("{name} is not as the manifest says"))),
            None => {
                println!("the same as before: {} files", expected.len());
                Ok(())
            }
        }
    }
}

/// The scheduler that `default` stands for.
fn scheduler(config: Option<&Named>) -> Result<Scheduler, Failure> {
    let Some(file) = config else { return Ok(Scheduler::default()) };
    Scheduler::from_config(&file.text, &file.path, &PluginRegistry::default())
        .map_err(|problem| Failure::of(problem.to_string()))
}

fn strategies(names: &[String], scheduler: Scheduler) -> Result<Vec<strategy::Named>, Failure> {
    let known = strategy::known(scheduler);
    let mut all: Vec<strategy::Named> = Vec::new();
    for name in names {
        let Some(found) = known.iter().find(|known| known.name() == name) else {
            let known: Vec<_> = known.iter().map(strategy::Named::name).collect();
            return Err(Failure::usage(format!(
                "--strategy {name}: unknown; known are {}",
                known.join(", ")
            )));
        };
        if all.iter().any(|other| other.name() == name) {
            return Err(Failure::usage(format!("--strategy {name}: is there twice")));
        }
        all.push(found.clone());
    }
    Ok(all)
}

fn load(files: &Files, bad: BadRows) -> Result<(Load, Skipped), Failure> {
    let failed = |problem: trace::TraceError| Failure::of(problem.to_string());
    let nodes = files.nodes.as_ref().map(Named::source);
    if let Some(file) = &files.generate {
        let spec = Arc::new(GenerateSpec::read(file.source()).map_err(failed)?);
        let nodes = nodes.map(|nodes| trace::read_cluster(nodes, bad)).transpose().map_err(failed)?;
        let nodes = nodes.unwrap_or_default();
        spec.check_beside(&nodes.workload.nodes).map_err(failed)?;
        if nodes.workload.nodes.is_empty() && spec.nodes() == 0 {
            return Err(Failure::usage("--generate: there are no nodes in it, and no --nodes"));
        }
        return Ok((Load::Generated { spec, nodes: Arc::new(nodes.workload) }, nodes.skipped));
    }
    let Some(trace) = &files.trace else {
        return Err(Failure::usage("--trace or --generate says what comes"));
    };
    let read = trace::read(nodes, trace.source(), bad).map_err(failed)?;
    if read.workload.nodes.is_empty() {
        return Err(Failure::usage("--nodes: there are no nodes; only a trace in JSON brings its own"));
    }
    Ok((Load::Trace(Arc::<Workload>::new(read.workload)), read.skipped))
}

/// The command that does the same, but for `--out`.
fn command(manifest: &Manifest) -> Vec<String> {
    let mut words = vec!["orchestra".to_owned(), "simulate".to_owned()];
    let paths = manifest.inputs.iter().map(|(option, input)| (option, &input.path));
    let more = manifest.embedded.iter().map(|(option, file)| (option, &file.path));
    for (option, path) in paths.chain(more) {
        words.extend([format!("--{option}"), path.clone()]);
    }
    let seeds: Vec<_> = manifest.seeds.iter().map(u64::to_string).collect();
    words.extend(["--strategy".to_owned(), manifest.strategies.join(",")]);
    words.extend(["--seeds".to_owned(), seeds.join(",")]);
    let options = &manifest.options;
    words.extend(["--grace".to_owned(), options.grace.clone(), "--batch".to_owned(), options.batch.clone()]);
    let flags = [(options.all_refusals, "--all-refusals"), (options.skip_bad_rows, "--skip-bad-rows")];
    words.extend(flags.into_iter().filter(|(set, _)| *set).map(|(_, flag)| flag.to_owned()));
    words
}
