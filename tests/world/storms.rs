//! Storms over the controllers of this repository.

use std::time::Instant;

use orchestra::world::storm::{Recipe, Storms};

/// As many as fit into a minute of continuous integration.
#[test]
fn storms_leave_every_promise_kept() {
    let storms = Storms::new(Recipe::default());
    let seeds = std::env::var("STORMS").ok().and_then(|text| {
        let (from, to) = text.split_once("..")?;
        Some(from.parse().ok()?..to.parse().ok()?)
    });
    let shrinks = std::env::var("STORMS_SHRINK").is_ok();
    let mut failed = Vec::new();
    for seed in seeds.unwrap_or(0..20) {
        let begun = Instant::now();
        let mut report = storms.run(seed);
        if !report.is_well() {
            failed.push(seed);
            if shrinks {
                report = storms.shrink(report);
                let deeds = report.deeds.iter().rev().take(120).rev();
                deeds.chain(&report.stands).for_each(|line| eprintln!("    {line}"));
            }
        }
        eprintln!("{:?} {:?} {report}", begun.elapsed(), report.took);
    }
    assert!(failed.is_empty(), "{failed:?}");
}

#[test]
fn a_storm_replays_byte_for_byte() {
    let storms = Storms::new(Recipe::default());
    for seed in 0..3 {
        let (first, second) = (storms.run(seed), storms.run(seed));
        if first.deeds != second.deeds {
            let at = first.deeds.iter().zip(&second.deeds).position(|(a, b)| a != b);
            panic!("{at:?}: {:?} {:?}", at.map(|at| &first.deeds[at]), at.map(|at| &second.deeds[at]));
        }
        assert_eq!((first.witness, first.writes), (second.witness, second.writes), "seed {seed}");
    }
}
