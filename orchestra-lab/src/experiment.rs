//! Many runs: every strategy with every seed, on as many threads as there are, with results in an order of their own.

mod record;

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::output::{DecisionsFile, FolderError, RunSummary};
use crate::plot::PlotError;
use crate::run::{Decision, RunError, RunOptions, Sink, run};
use crate::strategy::{Context, Named};
use crate::trace::TraceError;
use crate::workload::{GenerateSpec, Workload, generate};

pub use record::Recorded;

/// What the runs live through.
#[derive(Clone, Debug)]
pub enum Load {
    /// The same in every run.
    Trace(Arc<Workload>),
    /// Made up anew for every seed.
    Generated {
        /// How.
        spec: Arc<GenerateSpec>,
        /// Nodes from elsewhere, before those of the description.
        nodes: Arc<Workload>,
    },
}

impl Load {
    /// The workload for one seed.
    fn workload(&self, seed: u64) -> Result<Arc<Workload>, TraceError> {
        match self {
            Self::Trace(workload) => Ok(workload.clone()),
            Self::Generated { spec, nodes } => {
                let mut workload = generate(spec, seed)?;
                let mut all = nodes.nodes.clone();
                for outage in &mut workload.outages {
                    outage.node += all.len();
                }
                all.append(&mut workload.nodes);
                workload.nodes = all;
                Ok(Arc::new(workload))
            }
        }
    }
}

/// Strategies, seeds, and what they are tried on.
#[derive(Clone, Debug)]
pub struct Experiment {
    /// What is lived through.
    pub load: Load,
    /// Who decides.
    pub strategies: Vec<Named>,
    /// Where chance comes from, one run each.
    pub seeds: Vec<u64>,
    /// How each is run.
    pub options: RunOptions,
}

/// Why an experiment did not come to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExperimentError {
    /// A run failed.
    #[error("strategy {strategy:?}, seed {seed}")]
    Run {
        /// Of which strategy.
        strategy: String,
        /// With which seed.
        seed: u64,
        /// Why.
        source: RunError,
    },
    /// A workload could not be made up.
    #[error(transparent)]
    Generate(#[from] TraceError),
    /// A file could not be written.
    #[error("{}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is no place for the results.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// A picture could not be drawn.
    #[error(transparent)]
    Plot(#[from] PlotError),
}

/// How far an experiment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Pods that have come, in all runs.
    pub pods: usize,
    /// Runs that are over.
    pub runs: usize,
}

/// Told how far an experiment is, from any thread.
pub type OnProgress<'a> = &'a (dyn Fn(Progress) + Sync);

impl Experiment {
    /// How many runs there are.
    #[must_use]
    pub fn runs(&self) -> usize {
        self.strategies.len().saturating_mul(self.seeds.len())
    }

    /// Runs everything and writes `decisions.csv` into `folder`.
    ///
    /// The answer and the file are the same for any number of threads.
    ///
    /// # Errors
    /// When a run fails or a file cannot be written; of several failures, the first in the order of strategies and seeds.
    pub fn run(
        &self,
        folder: &Path,
        threads: usize,
        progress: OnProgress<'_>,
    ) -> Result<Vec<RunSummary>, ExperimentError> {
        let jobs: Vec<(&Named, u64)> = self
            .strategies
            .iter()
            .flat_map(|strategy| self.seeds.iter().map(move |seed| (strategy, *seed)))
            .collect();
        let (next, pods, over) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
        let results: Vec<Mutex<Option<Result<RunSummary, ExperimentError>>>> =
            jobs.iter().map(|_| Mutex::default()).collect();
        let part = |at: usize| folder.join(format!("decisions.{at}.part"));
        let work = || {
            while let Some(((at, (strategy, seed)), place)) = {
                let at = next.fetch_add(1, Ordering::Relaxed);
                jobs.get(at).map(|job| (at, *job)).zip(results.get(at))
            } {
                let told = |more: usize| {
                    let pods = pods.fetch_add(more, Ordering::Relaxed) + more;
                    progress(Progress { pods, runs: over.load(Ordering::Relaxed) });
                };
                let result = self.one(strategy, seed, &part(at), &told);
                if result.is_err() {
                    // Nobody wants the rest any more; what is under way ends early.
                    next.store(jobs.len(), Ordering::Relaxed);
                    self.options.stop.stop();
                }
                over.fetch_add(1, Ordering::Relaxed);
                told(0);
                *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
            }
        };
        std::thread::scope(|scope| {
            let workers = threads.clamp(1, jobs.len().max(1));
            for _ in 1..workers {
                scope.spawn(work);
            }
            work();
        });
        let mut summaries = Vec::with_capacity(jobs.len());
        let mut stopped = None;
        for result in results {
            match result.into_inner().unwrap_or_else(PoisonError::into_inner) {
                Some(Ok(summary)) => summaries.push(summary),
                // Another run's failure is what made this one stop.
                Some(Err(error @ ExperimentError::Run { source: RunError::Stopped, .. })) => {
                    stopped = Some(error)
                }
                Some(Err(error)) => return Err(error),
                None => {}
            }
        }
        if let Some(stopped) = stopped {
            return Err(stopped);
        }
        self.join(folder, jobs.len(), part)?;
        Ok(summaries)
    }

    fn one(
        &self,
        strategy: &Named,
        seed: u64,
        part: &Path,
        told: &dyn Fn(usize),
    ) -> Result<RunSummary, ExperimentError> {
        let failed = |source| ExperimentError::Run { strategy: strategy.name().to_owned(), seed, source };
        let workload = self.load.workload(seed)?;
        let decider = strategy.decider(Context { workload: &workload, seed });
        let file =
            File::create(part).map_err(|source| ExperimentError::Write { path: part.to_owned(), source })?;
        let mut recorder =
            Recorder { file: DecisionsFile::new(BufWriter::new(file), strategy.name(), seed), told, pods: 0 };
        let outcome = run(&workload, &decider, &self.options, &mut recorder).map_err(failed)?;
        recorder.file.finish().map_err(|source| ExperimentError::Write { path: part.to_owned(), source })?;
        Ok(RunSummary::of(strategy.name(), seed, &workload, outcome))
    }

    /// Makes one file of the parts, in order.
    fn join(
        &self,
        folder: &Path,
        parts: usize,
        part: impl Fn(usize) -> PathBuf,
    ) -> Result<(), ExperimentError> {
        let path = folder.join("decisions.csv");
        let failed = |source| ExperimentError::Write { path: path.clone(), source };
        let mut whole = BufWriter::new(File::create(&path).map_err(failed)?);
        whole.write_all(DecisionsFile::<Vec<u8>>::HEADER.as_bytes()).map_err(failed)?;
        for at in 0..parts {
            let part = part(at);
            let mut rows = BufReader::new(File::open(&part).map_err(failed)?);
            io::copy(&mut rows, &mut whole).map_err(failed)?;
            std::fs::remove_file(&part).map_err(failed)?;
        }
        whole.flush().map_err(failed)
    }
}

/// Writes decisions down and tells how far a run is.
struct Recorder<'a> {
    file: DecisionsFile<BufWriter<File>>,
    told: &'a dyn Fn(usize),
    pods: usize,
}

impl Sink for Recorder<'_> {
    fn decided(&mut self, decision: &Decision<'_>) -> io::Result<()> {
        self.file.write(decision)
    }

    fn progress(&mut self, pods: usize) {
        (self.told)(pods.saturating_sub(self.pods));
        self.pods = pods;
    }
}
