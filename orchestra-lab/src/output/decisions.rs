//! The file of decisions: one row each.

use std::io::{self, Write};

use crate::run::Decision;

/// Writes the rows of one run.
#[derive(Debug)]
pub struct DecisionsFile<W: Write> {
    rows: csv::Writer<W>,
    strategy: String,
    seed: String,
}

impl<W: Write> DecisionsFile<W> {
    /// The first line of the file.
    pub const HEADER: &'static str =
        "strategy,seed,time,namespace,pod,decision,node,queued,attempts,reason\n";

    /// Rows for a strategy and a seed.
    pub fn new(to: W, strategy: &str, seed: u64) -> Self {
        let rows = csv::WriterBuilder::new().has_headers(false).from_writer(to);
        Self { rows, strategy: strategy.to_owned(), seed: seed.to_string() }
    }

    /// One more row.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&mut self, decision: &Decision<'_>) -> io::Result<()> {
        let Decision { time, namespace, pod, verb, node, queued, attempts, reason } = *decision;
        let (time, queued, attempts) = (time.to_string(), queued.to_string(), attempts.to_string());
        let row = [
            &*self.strategy,
            &*self.seed,
            &*time,
            namespace,
            pod,
            verb.word(),
            node.unwrap_or_default(),
            &*queued,
            &*attempts,
            reason,
        ];
        self.rows.write_record(row).map_err(io::Error::other)
    }

    /// That was all.
    ///
    /// # Errors
    /// When the rest cannot be written.
    pub fn finish(mut self) -> io::Result<()> {
        self.rows.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SimTime;
    use crate::run::Verb;

    #[test]
    fn a_reason_with_a_comma_is_quoted() {
        let mut bytes = Vec::new();
        let mut file = DecisionsFile::new(&mut bytes, "default", 42);
        let decision = Decision {
            time: SimTime::from_micros(1_500_000),
            namespace: "default",
            pod: "p",
            verb: Verb::Refused,
            node: None,
            queued: SimTime::ZERO,
            attempts: 2,
            reason: "a, b",
        };
        file.write(&decision).unwrap();
        file.finish().unwrap();
        assert_eq!(String::from_utf8(bytes).unwrap(), "default,42,1.5,default,p,refused,,0,2,\"a, b\"\n");
        assert_eq!(DecisionsFile::<Vec<u8>>::HEADER.matches(',').count(), 9);
    }
}
