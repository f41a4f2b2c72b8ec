//! Storms over the controllers of this repository.

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use orchestra::world::storm::{Recipe, Report, Storms};

/// As many as take about a minute of continuous integration.
const SOME: Range<u64> = 0..40;

/// The storms of these seeds on all processors; those that failed.
fn weather(seeds: Range<u64>, shrink: bool) -> Vec<Report> {
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
                    let report = storms.run(seed);
                    if !report.is_well() {
                        let report = if shrink { storms.shrink(report) } else { report };
                        eprintln!("{report}");
                        if shrink {
                            let deeds = report.deeds.iter().rev().take(120).rev();
                            deeds.chain(&report.stands).for_each(|line| eprintln!("    {line}"));
                        }
                        failures.lock().unwrap().push(report);
                    }
                }
            });
        }
    });
    failures.into_inner().unwrap()
}

fn seeds(failures: &[Report]) -> Vec<u64> {
    failures.iter().map(|report| report.seed).collect()
}

#[test]
fn storms_leave_every_promise_kept() {
    let failures = weather(SOME, false);
    assert!(failures.is_empty(), "{:?}", seeds(&failures));
}

#[test]
#[ignore = "hours: `cargo xtask storms` runs it in release, with the seeds that it is told"]
fn many_storms_leave_every_promise_kept() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let first = number("STORMS_FROM").unwrap_or(0);
    let count = number("STORMS").unwrap_or(10_000);
    let failures = weather(first..first.saturating_add(count), std::env::var_os("STORMS_SHRINK").is_some());
    assert!(failures.is_empty(), "{} of {count}: {:?}", failures.len(), seeds(&failures));
}

#[test]
fn a_storm_replays_byte_for_byte() {
    let storms = Storms::new(Recipe::default());
    for seed in 0..2 {
        let (first, second) = (storms.run(seed), storms.run(seed));
        let differ = first.deeds.iter().zip(&second.deeds).find(|(a, b)| a != b);
        assert_eq!(differ, None, "seed {seed}");
        assert_eq!((first.witness, first.writes), (second.witness, second.writes), "seed {seed}");
    }
}
