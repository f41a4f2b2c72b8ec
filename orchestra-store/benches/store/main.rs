//! What the stores reach, beside what the machine allows, in one interleaved run. Guards the figures in
//! `docs/store-performance.md`.
//!
//! `cargo bench -p orchestra-store --bench store --features etcd -- [--rounds N] [--only WORKLOAD] [--in FOLDER] [--markdown] [--quick]`
//!
//! Every round runs every workload on every side, one after the other, each on an empty store of its own on the
//! disk that holds `FOLDER`, or the build folder. In every four rounds each side comes first once. `--quick` shows only that everything runs and delivers what it should: its figures
//! mean nothing.

mod creates;
mod disturbed;
mod etcd;
mod fanout;
mod footprint;
mod machine;
mod ranges;
mod readers;
mod report;
mod scale;
mod side;
mod usage;

use std::path::PathBuf;
use std::time::Duration;

use report::{Figure, Report, Unit};
use scale::Scale;
use side::Side;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// What is asked for on the command line.
#[derive(Debug)]
struct Arguments {
    quick: bool,
    markdown: bool,
    rounds: Option<usize>,
    only: Option<String>,
    place: Option<PathBuf>,
}

impl Arguments {
    fn parse(mut given: impl Iterator<Item = String>) -> Result<Self> {
        let mut arguments = Self { quick: false, markdown: false, rounds: None, only: None, place: None };
        while let Some(argument) = given.next() {
            match argument.as_str() {
                "--quick" => arguments.quick = true,
                "--markdown" => arguments.markdown = true,
                "--rounds" => {
                    arguments.rounds = Some(given.next().ok_or("--rounds needs a number")?.parse()?)
                }
                "--only" => arguments.only = Some(given.next().ok_or("--only needs a workload's name")?),
                "--in" => arguments.place = Some(given.next().ok_or("--in needs a folder")?.into()),
                // What cargo passes to every bench.
                "--bench" => {}
                other => return Err(format!("unknown argument {other}").into()),
            }
        }
        Ok(arguments)
    }
}

/// One thing to measure. Its name is what `--only` selects.
#[derive(Clone, Copy, Debug)]
enum Workload {
    Creates { writers: usize, value: usize },
    Range,
    Fanout { watchers: usize, puts: usize },
    Readers,
    Footprint,
    Disturbed,
}

const WORKLOADS: &[Workload] = &[
    Workload::Creates { writers: 1, value: 256 },
    Workload::Creates { writers: 1, value: 1024 },
    Workload::Creates { writers: 32, value: 256 },
    Workload::Creates { writers: 32, value: 1024 },
    Workload::Creates { writers: 256, value: 256 },
    Workload::Creates { writers: 256, value: 1024 },
    Workload::Range,
    Workload::Fanout { watchers: 1, puts: 1 },
    Workload::Fanout { watchers: 1, puts: 64 },
    Workload::Fanout { watchers: 100, puts: 1 },
    Workload::Readers,
    Workload::Footprint,
    Workload::Disturbed,
];

impl Workload {
    fn name(self) -> String {
        match self {
            Self::Creates { writers, value } => format!("creates-{writers}-{value}"),
            Self::Range => "range".to_owned(),
            Self::Fanout { watchers, puts } => format!("fanout-{watchers}-{puts}"),
            Self::Readers => "readers".to_owned(),
            Self::Footprint => "footprint".to_owned(),
            Self::Disturbed => "disturbed".to_owned(),
        }
    }

    /// How many rounds of `rounds` it takes part in: the long ones are steady and need few.
    fn rounds(self, rounds: usize) -> usize {
        match self {
            Self::Footprint | Self::Disturbed => rounds.div_ceil(4),
            _ => rounds,
        }
    }

    async fn run(self, side: Side, scale: &Scale) -> Result<Vec<Figure>> {
        match self {
            Self::Creates { writers, value } => creates::figures(side, writers, value, scale).await,
            Self::Range => ranges::figures(side, scale).await,
            Self::Fanout { watchers, puts } => fanout::figures(side, watchers, puts, scale).await,
            Self::Readers => readers::figures(side, scale).await,
            Self::Footprint => footprint::figures(side, scale).await,
            Self::Disturbed => disturbed::figures(side, scale).await,
        }
    }
}

fn main() -> Result<()> {
    let mut given = std::env::args().skip(1).peekable();
    if given.next_if(|first| first == footprint::CHILD).is_some() {
        return footprint::child(given);
    }
    let arguments = Arguments::parse(given)?;
    if let Some(place) = arguments.place {
        side::measure_in(place);
    }
    let scale = if arguments.quick { Scale::quick() } else { Scale::full() };
    let rounds = arguments.rounds.unwrap_or(if arguments.quick { 1 } else { 12 });
    let wanted = |workload: &&Workload| {
        arguments.only.as_ref().is_none_or(|only| workload.name().contains(only.as_str()))
    };
    let runtime = tokio::runtime::Runtime::new()?;
    let mut report = Report::default();
    for round in 0..rounds {
        for workload in WORKLOADS.iter().filter(wanted).filter(|workload| round < workload.rounds(rounds)) {
            for side in Side::in_round(round) {
                let figures = runtime.block_on(workload.run(side, &scale))?;
                for figure in &figures {
                    eprintln!("{}/{rounds} {}", round + 1, figure.line(side));
                }
                report.add(side, figures);
                // What one side left to be written back is not the next one's burden.
                machine::settle(Duration::from_millis(if arguments.quick { 0 } else { 200 }))?;
            }
        }
    }
    if arguments.markdown {
        report.print_markdown()
    } else {
        report.print_text()
    }
    Ok(())
}
