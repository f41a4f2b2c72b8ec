//! The arguments of `orchestra simulate`.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;
use orchestra::lab::SimTime;

/// The most seeds in one list.
const MOST_SEEDS: usize = 10_000;

#[derive(Args, Debug)]
pub(crate) struct Simulate {
    /// Pods, and in the JSON form nodes and failures too: a CSV file like those of the openb traces, or JSON.
    #[arg(long, value_name = "FILE", required_unless_present_any = ["generate", "manifest"], conflicts_with = "generate")]
    pub(super) trace: Option<PathBuf>,
    /// Nodes: a CSV file like those of the openb traces, or JSON.
    #[arg(long, value_name = "FILE")]
    pub(super) nodes: Option<PathBuf>,
    /// A description in JSON of a workload to make up, anew for every seed.
    #[arg(long, value_name = "FILE")]
    pub(super) generate: Option<PathBuf>,
    /// Who decides; several, separated by commas, are compared.
    #[arg(long, value_name = "NAMES", value_delimiter = ',', default_value = "default")]
    pub(super) strategy: Vec<String>,
    /// Seeds such as `42,43` or `42..51`, both ends included; one run each.
    #[arg(long, value_name = "LIST", default_value = "42", value_parser = seeds)]
    pub(super) seeds: Seeds,
    /// The folder to make for the results.
    #[arg(long, value_name = "DIR")]
    pub(super) out: PathBuf,
    /// How many runs go on at once; as many as the machine has processors if nothing is said. Results do not depend on it.
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
    /// A KubeSchedulerConfiguration for the strategy `default`.
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Leave rows out that make no sense, and count them in the summary.
    #[arg(long)]
    pub(super) skip_bad_rows: bool,
    /// Write every refusal down, not only the first of each pod.
    #[arg(long)]
    pub(super) all_refusals: bool,
    /// Write down why this pod (a name, or namespace/name) went where it went: what each plugin said of each node, for every
    /// attempt, into `explanation-STRATEGY.csv`.
    #[arg(long, value_name = "POD")]
    pub(super) explain: Option<String>,
    /// How long an evicted pod takes to end.
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = time)]
    pub(super) grace: SimTime,
    /// The least time between two calls of a strategy that places pods in batches.
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = time)]
    pub(super) batch: SimTime,
    /// Repeat what the manifest of an earlier run says, and compare the results with its own. --nodes and --trace say where
    /// its files are now, if they were moved.
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["generate", "strategy", "seeds", "config", "skip_bad_rows", "all_refusals", "grace", "batch"]
    )]
    pub(super) manifest: Option<PathBuf>,
}

impl Simulate {
    pub(super) fn threads(&self) -> usize {
        let machine = || std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        self.threads.unwrap_or_else(machine).get()
    }
}

/// Seeds in the order they were named.
#[derive(Clone, Debug)]
pub(super) struct Seeds(pub(super) Vec<u64>);

fn seeds(text: &str) -> Result<Seeds, String> {
    let mut all = Vec::new();
    let number = |text: &str| {
        text.trim().parse::<u64>().map_err(|_| format!("{text:?} is not a whole number that is not negative"))
    };
    for part in text.split(',') {
        let (from, to) = match part.split_once("..") {
            Some((from, to)) => (number(from)?, number(to)?),
            None => (number(part)?, number(part)?),
        };
        if to < from {
            return Err(format!("{part:?} ends before it begins"));
        }
        if to - from >= (MOST_SEEDS - all.len()) as u64 {
            return Err(format!("more than {MOST_SEEDS} seeds"));
        }
        all.extend(from..=to);
    }
    let mut seen = BTreeSet::new();
    match all.iter().find(|seed| !seen.insert(**seed)) {
        Some(twice) => Err(format!("{twice} is there twice")),
        None => Ok(Seeds(all)),
    }
}

fn time(text: &str) -> Result<SimTime, String> {
    SimTime::parse(text).map_err(|problem| problem.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_seeds_name_numbers_and_ranges_with_both_ends() {
        assert_eq!(seeds("42,7").unwrap().0, [42, 7]);
        assert_eq!(seeds("42..45,1").unwrap().0, [42, 43, 44, 45, 1]);
        for (text, problem) in [
            ("", "not a whole number"),
            ("4,", "not a whole number"),
            ("-1", "not a whole number"),
            ("5..3", "ends before it begins"),
            ("1,1", "1 is there twice"),
            ("0..18446744073709551615", "more than 10000 seeds"),
            ("0..10000", "more than 10000 seeds"),
        ] {
            assert!(seeds(text).unwrap_err().contains(problem), "{text}");
        }
    }
}
