//! Holds the fast engine against the reference engine on made-up histories.
//!
//! `cargo run --release -p orchestra-scheduler --example engines -- [DECISIONS] [SEED]`
//!
//! Ends with code 1 and the smallest history found if they differ.

use std::process::ExitCode;

use orchestra_scheduler::synthetic::Campaign;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<u64>());
    let (decisions, seed) = match (arguments.next(), arguments.next()) {
        (Some(Err(_)), _) | (_, Some(Err(_))) => {
            eprintln!("usage: engines [DECISIONS] [SEED]");
            return ExitCode::from(2);
        }
        (decisions, seed) => {
            (decisions.and_then(Result::ok).unwrap_or(100_000), seed.and_then(Result::ok).unwrap_or(1))
        }
    };
    match Campaign::run(seed, decisions) {
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
