//! The table.

use std::time::Duration;

use crate::load::Outcome;

/// Prints a row as soon as it is known.
pub(crate) struct Report;

impl Report {
    pub(crate) fn new() -> Self {
        println!(
            "{:<48} {:>11} {:>9} {:>9} {:>14}",
            "operation", "per second", "p50 ms", "p99 ms", "server CPU ms"
        );
        Self
    }

    pub(crate) fn row(&mut self, what: &str, outcome: &Outcome) {
        let mut latencies = outcome.latencies.clone();
        latencies.sort_unstable();
        let count = latencies.len();
        let at = |share: usize| milliseconds(latencies[(count * share / 100).min(count - 1)]);
        let rate = count as f64 / outcome.took.as_secs_f64();
        let cpu =
            outcome.cpu.map_or("-".to_owned(), |cpu| format!("{:.4}", milliseconds(cpu) / count as f64));
        println!("{what:<48} {rate:>11.0} {:>9.2} {:>9.2} {cpu:>14}", at(50), at(99));
    }

    pub(crate) fn figure(&mut self, what: &str, value: f64) {
        println!("{what:<48} {value:>11.1}");
    }
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
