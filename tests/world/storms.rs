//! Storms over the controllers of this repository.

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use orchestra::world::storm::{Recipe, Report, Storms};

/// As many as take about a minute of continuous integration.
const SOME: Range<u64> = 0..40;

/// What is done with every storm besides looking at its end.
#[derive(Clone, Copy, Debug, Default)]
struct Care {
    /// One that fails is shrunk.
    shrink: bool,
    /// Each is run a second time, and has to write the same.
    twice: bool,
}

/// The storms of these seeds on all processors; those that failed.
fn weather(seeds: Range<u64>, care: Care) -> Vec<u64> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let (next, failures) = (AtomicU64::new(seeds.start), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let storms = Storms::new(Recipe::default());
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    if seed % 100 == 0 {
                        eprintln!("storm {seed}");
                    }
                    if !is_well(&storms, seed, care) {
                        failures.lock().unwrap().push(seed);
                    }
                }
            });
        }
    });
    failures.into_inner().unwrap()
}

/// Whether the storm of a seed leaves every promise kept; what there is to say about one that does not, is said.
fn is_well(storms: &Storms, seed: u64, care: Care) -> bool {
    let report = storms.run(seed);
    if care.twice
        && let Some(difference) = difference(&report, &storms.run(seed))
    {
        eprintln!("seed {seed} does not replay: {difference}");
        return false;
    }
    if report.is_well() {
        return true;
    }
    if !care.shrink {
        eprintln!("{report}");
        return false;
    }
    let report = storms.shrink(report);
    eprintln!("{report}");
    let deeds = report.deeds.iter().rev().take(120).rev();
    deeds.chain(&report.stands).for_each(|line| eprintln!("    {line}"));
    false
}

/// Where two runs of a seed part.
fn difference(first: &Report, second: &Report) -> Option<String> {
    let mut deeds = first.deeds.iter().zip(&second.deeds);
    if let Some((one, other)) = deeds.find(|(one, other)| one != other) {
        return Some(format!("\n  {one}\n  {other}"));
    }
    let of = |report: &Report| (report.witness, report.writes, report.deeds.len());
    (of(first) != of(second)).then(|| format!("{:?} and {:?}", of(first), of(second)))
}

#[test]
fn storms_leave_every_promise_kept() {
    assert_eq!(weather(SOME, Care::default()), Vec::<u64>::new());
}

#[test]
#[ignore = "hours: `cargo xtask storms` runs it in release, with the seeds that it is told"]
fn many_storms_leave_every_promise_kept() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let is_wanted = |name: &str| std::env::var_os(name).is_some();
    let first = number("STORMS_FROM").unwrap_or(0);
    let count = number("STORMS").unwrap_or(10_000);
    let care = Care { shrink: is_wanted("STORMS_SHRINK"), twice: is_wanted("STORMS_TWICE") };
    let failures = weather(first..first.saturating_add(count), care);
    assert!(failures.is_empty(), "{} of {count}: {failures:?}", failures.len());
}

#[test]
fn a_storm_replays_byte_for_byte() {
    let storms = Storms::new(Recipe::default());
    for seed in 0..2 {
        assert_eq!(difference(&storms.run(seed), &storms.run(seed)), None, "seed {seed}");
    }
}
