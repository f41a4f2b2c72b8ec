//! Why one pod went where it went: a table with a row for each node, and columns for what each plugin said.
//!
//! Rows are written as they are made, one node at a time, so a cluster of 100,000 nodes is no trouble.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use orchestra_scheduler::engine::{Explain, Explanation, FilterSaid, NodeExplanation};
use orchestra_scheduler::view::PodView;

/// Writes explanations of all decisions on one pod in one run.
///
/// The first columns are `strategy`, `seed`, `attempt`, `pod`, `node`, `reached`, `chosen` and `total`; then one for each filter, with
/// `passed`, `skipped` or why not; then three for each scorer, its points as it gave them, normalised and weighted.
#[derive(Debug)]
pub struct ExplanationFile {
    pod: String,
    strategy: String,
    seed: String,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    rows: csv::Writer<BufWriter<File>>,
    attempts: u64,
    failed: Option<csv::Error>,
}

impl ExplanationFile {
    /// A file about the pod of this name, or of this namespace and name with a slash between.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn create(path: &Path, pod: &str, strategy: &str, seed: u64) -> io::Result<Arc<Self>> {
        let rows =
            csv::WriterBuilder::new().has_headers(false).from_writer(BufWriter::new(File::create(path)?));
        Ok(Arc::new(Self {
            pod: pod.to_owned(),
            strategy: strategy.to_owned(),
            seed: seed.to_string(),
            state: Mutex::new(State { rows, attempts: 0, failed: None }),
        }))
    }

    /// Puts what is not written yet into the file.
    ///
    /// # Errors
    /// When that, or something before, could not be written.
    pub fn finish(&self) -> io::Result<()> {
        let mut state = self.state();
        match state.failed.take() {
            Some(error) => Err(io::Error::other(error)),
            None => state.rows.flush(),
        }
    }

    /// Makes one file of those of several runs, which have the same columns; none if nothing was explained in any.
    ///
    /// # Errors
    /// When files cannot be read or written.
    pub fn join(parts: &[PathBuf], whole: &Path) -> io::Result<()> {
        let mut out = None;
        for part in parts {
            let (mut rows, mut header) = (BufReader::new(File::open(part)?), Vec::new());
            if rows.read_until(b'\n', &mut header)? > 0 {
                let out = match &mut out {
                    Some(out) => out,
                    None => {
                        let mut first = BufWriter::new(File::create(whole)?);
                        first.write_all(&header)?;
                        out.insert(first)
                    }
                };
                io::copy(&mut rows, out)?;
            }
            std::fs::remove_file(part)?;
        }
        out.map_or(Ok(()), |mut out| out.flush())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // What a panic left half-written is an error of the file, not of the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn header(explanation: &Explanation<'_>) -> Vec<String> {
        let fixed = ["strategy", "seed", "attempt", "pod", "node", "reached", "chosen", "total"];
        let filters = explanation.filters().map(str::to_owned);
        let scorers = explanation.scorers().flat_map(|scorer| {
            [
                format!("{} raw", scorer.plugin),
                format!("{} normalised", scorer.plugin),
                format!("{} x{}", scorer.plugin, scorer.weight),
            ]
        });
        fixed.map(str::to_owned).into_iter().chain(filters).chain(scorers).collect()
    }

    fn row(&self, explanation: &Explanation<'_>, node: &NodeExplanation<'_>, attempt: u64) -> Vec<String> {
        let mut row = vec![
            self.strategy.clone(),
            self.seed.clone(),
            attempt.to_string(),
            explanation.pod().key.to_string(),
            node.node.name().to_string(),
            node.reached.word().to_owned(),
            if node.chosen { "yes" } else { "no" }.to_owned(),
            node.total.map(|total| total.to_string()).unwrap_or_default(),
        ];
        let said = |said: &FilterSaid| match said {
            FilterSaid::Passed => "passed".to_owned(),
            FilterSaid::Skipped => "skipped".to_owned(),
            other => other.reasons().unwrap_or_default(),
        };
        match node.filters.is_empty() {
            true => row.extend(explanation.filters().map(|_| String::new())),
            false => row.extend(node.filters.iter().map(|filter| said(&filter.said))),
        }
        for scorer in explanation.scorers() {
            match node.scores.iter().find(|score| score.plugin == scorer.plugin) {
                Some(score) => {
                    row.extend([score.raw.0, score.normalised.0, score.weighted()].map(|one| one.to_string()))
                }
                None => row.extend([(); 3].map(|()| String::new())),
            }
        }
        row
    }
}

impl Explain for ExplanationFile {
    fn wants(&self, pod: &PodView) -> bool {
        match self.pod.split_once('/') {
            Some((namespace, name)) => *pod.key.namespace == *namespace && *pod.key.name == *name,
            None => *pod.key.name == *self.pod,
        }
    }

    fn explained(&self, explanation: &Explanation<'_>) {
        let mut state = self.state();
        state.attempts += 1;
        let attempt = state.attempts;
        let mut write = || {
            if attempt == 1 {
                state.rows.write_record(Self::header(explanation))?;
            }
            explanation
                .nodes()
                .try_for_each(|node| state.rows.write_record(self.row(explanation, &node, attempt)))
        };
        if let Err(error) = write() {
            state.failed.get_or_insert(error);
        }
    }
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::run::{Decider, RunOptions, run};
    use crate::trace::{BadRows, Source, read};

    #[test]
    fn each_attempt_at_the_pod_is_a_table_with_a_row_for_each_node() {
        let text = r#"{
          "nodes": [{"name": "small", "allocatable": {"cpu": "1", "memory": "8Gi"}},
                    {"name": "large", "allocatable": {"cpu": "8", "memory": "8Gi"}},
                    {"name": "larger", "allocatable": {"cpu": "16", "memory": "8Gi"}}],
          "pods": [{"name": "other", "at": 0, "requests": {"cpu": "1"}},
                   {"name": "web", "at": 1, "requests": {"cpu": "2"}}]
        }"#;
        let workload = read(None, Source { name: "trace.json", text }, BadRows::Stop).unwrap().workload;
        let folder = tempfile::tempdir().unwrap();
        let parts = [0, 1].map(|at| folder.path().join(format!("{at}.part")));
        for part in &parts {
            let file = ExplanationFile::create(part, "web", "default", 42).unwrap();
            let decider = Decider::Scheduler(Box::default()).explained_to(file.clone());
            run(&workload, &decider, &RunOptions::default(), &mut ()).unwrap();
            file.finish().unwrap();
        }
        let whole = folder.path().join("explanation.csv");
        ExplanationFile::join(&parts, &whole).unwrap();
        let mut rows = csv::Reader::from_path(&whole).unwrap();
        let header: Vec<_> = rows.headers().unwrap().iter().map(str::to_owned).collect();
        let column = |name: &str| header.iter().position(|one| one == name).unwrap();
        let rows: Vec<_> = rows.records().map(Result::unwrap).collect();
        assert_eq!(rows.len(), 6, "three nodes in two runs");
        let said = |row: &csv::StringRecord, name: &str| row[column(name)].to_owned();
        assert_eq!(said(&rows[0], "NodeResourcesFit"), "Insufficient cpu");
        assert_eq!((said(&rows[0], "reached"), said(&rows[0], "total")), ("filter".into(), String::new()));
        assert_eq!(
            (said(&rows[1], "NodeResourcesFit"), said(&rows[1], "reached")),
            ("passed".into(), "scored".into())
        );
        assert_eq!(said(&rows[1], "TaintToleration x3"), "300");
        assert_eq!(rows.iter().filter(|row| said(row, "chosen") == "yes").count(), 2);
        assert!(!parts[0].exists());
    }

    #[test]
    fn nothing_explained_leaves_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let (part, whole) = (folder.path().join("0.part"), folder.path().join("explanation.csv"));
        ExplanationFile::create(&part, "nobody", "default", 42).unwrap().finish().unwrap();
        ExplanationFile::join(&[part], &whole).unwrap();
        assert!(!whole.exists());
    }
}
