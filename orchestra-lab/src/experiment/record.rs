//! From an experiment to its folder of results.

use std::path::Path;

use super::{Experiment, ExperimentError, OnProgress};
use crate::output::{
    Manifest, ManifestOptions, OutFolder, RunSummary, StrategySummary, Summary, digest_of_file, summaries,
    write_timeline,
};
use crate::plot;
use crate::run::Refusals;

/// What an experiment came to, in numbers; all of it is in the folder.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// Each strategy over its seeds.
    pub strategies: Vec<StrategySummary>,
    /// Each run.
    pub runs: Vec<RunSummary>,
    /// The manifest, with the digests of what was written.
    pub manifest: Manifest,
}

impl Experiment {
    /// A manifest that says how this is run; what it is run on is still to be added.
    #[must_use]
    pub fn manifest(&self) -> Manifest {
        let mut manifest = Manifest::new(ManifestOptions {
            grace: self.options.grace.to_string(),
            batch: self.options.batch.to_string(),
            all_refusals: self.options.refusals == Refusals::All,
            skip_bad_rows: false,
        });
        manifest.strategies = self.strategies.iter().map(|strategy| strategy.name().to_owned()).collect();
        manifest.seeds.clone_from(&self.seeds);
        manifest
    }

    /// Runs everything and leaves the folder `out` with decisions, timeline, summary, pictures and the manifest, as
    /// `orchestra simulate` does. The folder appears when all of it is written; `skipped_rows` of the input go into the
    /// summary.
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use orchestra_lab::experiment::{Experiment, Load};
    /// use orchestra_lab::output::table;
    /// use orchestra_lab::run::RunOptions;
    /// use orchestra_lab::strategy::known;
    /// use orchestra_lab::trace::{BadRows, Source, read};
    /// use orchestra_scheduler::Scheduler;
    ///
    /// let text = r#"{"nodes": [{"name": "n", "allocatable": {"cpu": "4"}}],
    ///     "pods": [{"name": "a", "at": 0, "duration": 60, "requests": {"cpu": "3"}}]}"#;
    /// let load = read(None, Source { name: "trace.json", text }, BadRows::Stop)?.workload;
    /// let experiment = Experiment {
    ///     load: Load::Trace(Arc::new(load)),
    ///     strategies: known(Scheduler::default()),
    ///     seeds: vec![42, 43],
    ///     options: RunOptions::default(),
    /// };
    /// let place = tempfile::tempdir()?;
    /// let recorded = experiment.record(&place.path().join("out"), experiment.manifest(), 0, 2, &|_| {})?;
    /// assert!(table(&recorded.strategies).contains("bestfit"));
    /// assert!(place.path().join("out/comparison.svg").exists());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// When something is at the place of the folder, a run fails, or a file cannot be written; then there is no folder.
    pub fn record(
        &self,
        out: &Path,
        manifest: Manifest,
        skipped_rows: u64,
        threads: usize,
        progress: OnProgress<'_>,
    ) -> Result<Recorded, ExperimentError> {
        let folder = OutFolder::begin(out)?;
        let runs = self.run(folder.path(), threads, progress)?;
        let strategies = summaries(&runs);
        let mut recorded = Recorded { strategies, runs, manifest };
        recorded.write(&folder, skipped_rows)?;
        folder.finish()?;
        Ok(recorded)
    }
}

impl Recorded {
    /// Writes everything but the decisions, which are there already; the manifest last, because it has the digests of the
    /// rest.
    fn write(&mut self, folder: &OutFolder, skipped_rows: u64) -> Result<(), ExperimentError> {
        let mut timeline = Vec::new();
        let at = |name: &str| folder.path().join(name);
        write_timeline(&self.runs, &mut timeline)
            .map_err(|source| ExperimentError::Write { path: at("timeline.csv"), source })?;
        let summary = Summary { skipped_rows, strategies: self.strategies.clone(), runs: self.runs.clone() };
        let mut files = vec![
            ("timeline.csv".to_owned(), timeline),
            ("summary.json".to_owned(), summary.to_json().into_bytes()),
        ];
        let pictures = plot::draw(&self.runs, &self.strategies)?;
        files.extend(pictures.into_iter().map(|picture| (picture.name.to_owned(), picture.svg.into_bytes())));
        let mut names = vec!["decisions.csv".to_owned()];
        for (name, bytes) in files {
            folder.write(&name, &bytes)?;
            names.push(name);
        }
        for name in names {
            let path = at(&name);
            let digest = digest_of_file(&path).map_err(|source| ExperimentError::Write { path, source })?;
            self.manifest.outputs.insert(name, digest);
        }
        Ok(folder.write("manifest.json", self.manifest.to_json().as_bytes())?)
    }
}
