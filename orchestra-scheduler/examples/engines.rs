//! Holds the fast engine against the reference engine on made-up histories.
//!
//! `cargo run --release -p orchestra-scheduler --example engines -- [DECISIONS | SECONDSs] [SEED]`
//!
//! Ends after so many decisions, or so many seconds (`180s`). With code 1 and the smallest history found if they differ.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use orchestra_scheduler::synthetic::{Campaign, Difference};

/// Decisions between two looks at the clock.
const AT_ONCE: u64 = 200;

/// When it is enough.
#[derive(Clone, Copy)]
enum Limit {
    Decisions(u64),
    Time(Duration),
}

impl Limit {
    fn read(text: &str) -> Option<Self> {
        match text.strip_suffix('s') {
            Some(seconds) => Some(Self::Time(Duration::from_secs(seconds.parse().ok()?))),
            None => text.parse().ok().map(Self::Decisions),
        }
    }
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let limit = arguments.next().map_or(Some(Limit::Decisions(100_000)), |text| Limit::read(&text));
    let seed = arguments.next().map_or(Some(1), |text| text.parse().ok());
    let (Some(limit), Some(seed)) = (limit, seed) else {
        eprintln!("usage: engines [DECISIONS | SECONDSs] [SEED]");
        return ExitCode::from(2);
    };
    let outcome = match limit {
        Limit::Decisions(decisions) => Campaign::run(seed, decisions),
        Limit::Time(time) => run_for(seed, time),
    };
    match outcome {
        Ok(campaign) => {
            println!("no difference: {campaign:?}");
            ExitCode::SUCCESS
        }
        Err(difference) => {
            println!("{difference}");
            ExitCode::FAILURE
        }
    }
}

/// Campaigns from `seed` on until time is over.
fn run_for(seed: u64, time: Duration) -> Result<Campaign, Box<Difference>> {
    let (begun, mut all) = (Instant::now(), Campaign::default());
    while begun.elapsed() < time {
        let one = Campaign::run(seed.wrapping_add(all.histories), AT_ONCE)?;
        all.histories += one.histories;
        all.decisions += one.decisions;
        all.indexed += one.indexed;
        all.placed += one.placed;
        all.preempted += one.preempted;
        all.translated += one.translated;
    }
    Ok(all)
}
