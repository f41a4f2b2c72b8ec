//! Figures of many rounds, and how they are shown.

use std::collections::BTreeMap;

use crate::side::Side;

/// What a figure counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    PerSecond,
    Microseconds,
    Milliseconds,
    Seconds,
    BytesPerKey,
    Mebibytes,
    Percent,
    Count,
}

impl Unit {
    fn show(self, value: f64) -> String {
        match self {
            Self::PerSecond if value >= 1e6 => format!("{:.2} M/s", value / 1e6),
            Self::PerSecond => format!("{value:.0}/s"),
            Self::Microseconds => format!("{value:.1} µs"),
            Self::Milliseconds if value < 10.0 => format!("{value:.2} ms"),
            Self::Milliseconds => format!("{value:.0} ms"),
            Self::Seconds => format!("{value:.2} s"),
            Self::BytesPerKey => format!("{value:.0} B"),
            Self::Mebibytes => format!("{value:.0} MiB"),
            Self::Percent => format!("{value:.0} %"),
            Self::Count => format!("{value:.0}"),
        }
    }

    /// How many times better `ours` is than `theirs`.
    fn advantage(self, ours: f64, theirs: f64) -> f64 {
        match self {
            Self::PerSecond | Self::Percent => ours / theirs,
            Self::Microseconds
            | Self::Milliseconds
            | Self::Seconds
            | Self::BytesPerKey
            | Self::Mebibytes
            | Self::Count => theirs / ours,
        }
    }
}

/// One measured value.
#[derive(Clone, Debug)]
pub(crate) struct Figure {
    pub(crate) what: String,
    pub(crate) unit: Unit,
    pub(crate) value: f64,
}

impl Figure {
    pub(crate) fn new(what: impl Into<String>, unit: Unit, value: f64) -> Self {
        Self { what: what.into(), unit, value }
    }

    pub(crate) fn line(&self, side: Side) -> String {
        format!("{side:<8} {:<64} {:>12}", self.what, self.unit.show(self.value))
    }
}

/// All rounds.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// In the order in which they first came.
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    what: String,
    unit: Unit,
    values: BTreeMap<Side, Vec<f64>>,
}

impl Report {
    pub(crate) fn add(&mut self, side: Side, figures: Vec<Figure>) {
        for Figure { what, unit, value } in figures {
            let place = self.rows.iter().position(|row| row.what == what).unwrap_or_else(|| {
                self.rows.push(Row { what, unit, values: BTreeMap::new() });
                self.rows.len() - 1
            });
            self.rows[place].values.entry(side).or_default().push(value);
        }
    }

    pub(crate) fn print_text(&self) {
        for row in &self.rows {
            println!("{}", row.what);
            for (side, values) in &row.values {
                println!("    {side:<8} {}", row.spread(values));
            }
        }
    }

    /// One table: each cell the median, with the best and the worst of the rounds behind it.
    pub(crate) fn print_markdown(&self) {
        let sides: Vec<Side> = Side::all().collect();
        let names: Vec<String> = sides.iter().map(ToString::to_string).collect();
        let rivals: Vec<Side> = sides.iter().copied().filter(|side| side.is_rival()).collect();
        let ratios: Vec<String> = rivals.iter().map(|rival| format!("durable : {rival}")).collect();
        println!("| | {} | {} |", names.join(" | "), ratios.join(" | "));
        println!("|---|{}", "---|".repeat(sides.len() + rivals.len()));
        for row in &self.rows {
            let cell = |side: &Side| row.values.get(side).map_or(String::new(), |values| row.spread(values));
            let cells: Vec<String> = sides.iter().map(cell).collect();
            let ratio =
                |rival: &Side| row.advantage(*rival).map_or(String::new(), |times| format!("{times:.2}"));
            let ratios: Vec<String> = rivals.iter().map(ratio).collect();
            println!("| {} | {} | {} |", row.what, cells.join(" | "), ratios.join(" | "));
        }
    }
}

impl Row {
    fn spread(&self, values: &[f64]) -> String {
        let [min, median, max] = [0.0, 0.5, 1.0].map(|share| quantile(values, share));
        let show = |value| self.unit.show(value);
        if values.len() == 1 {
            show(median)
        } else {
            format!("{} ({} – {})", show(median), show(min), show(max))
        }
    }

    /// The median of the rounds' ratios, for the rounds share the machine's mood.
    fn advantage(&self, rival: Side) -> Option<f64> {
        let (ours, theirs) = (self.values.get(&Side::Durable)?, self.values.get(&rival)?);
        let ratios: Vec<f64> =
            ours.iter().zip(theirs).map(|(&ours, &theirs)| self.unit.advantage(ours, theirs)).collect();
        Some(quantile(&ratios, 0.5))
    }
}

/// The value below which `share` of all lie.
pub(crate) fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = (share * (sorted.len().saturating_sub(1)) as f64).round() as usize;
    sorted.get(place).copied().unwrap_or(f64::NAN)
}
