//! The file of the state over time: one row for each sample.

use std::io::{self, Write};

use super::RunSummary;

/// Writes the samples of all runs, in their order.
///
/// # Errors
/// When they cannot be written.
pub fn write_timeline(runs: &[RunSummary], to: impl Write) -> io::Result<()> {
    let mut rows = csv::Writer::from_writer(to);
    let Some(first) = runs.first() else { return rows.flush() };
    let mut header: Vec<String> =
        ["strategy", "seed", "time", "waiting", "running", "nodes"].map(str::to_owned).to_vec();
    header.extend(first.measured.iter().map(|name| format!("{name}_used")));
    header.extend(first.measured.iter().map(|name| format!("{name}_fragmented")));
    rows.write_record(&header)?;
    for run in runs {
        let seed = run.seed.to_string();
        for sample in &run.samples {
            let shares = sample.used.iter().chain(&sample.fragmented).map(|share| format!("{share:.6}"));
            let numbers = [sample.waiting, sample.running, sample.nodes].map(|number| number.to_string());
            let start = [run.strategy.clone(), seed.clone(), sample.time.to_string()];
            rows.write_record(start.into_iter().chain(numbers).chain(shares))?;
        }
    }
    rows.flush()
}
