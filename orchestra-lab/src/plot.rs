//! Results as pictures in SVG, the same for the same results: no fonts are measured and nothing is drawn at random.

mod compare;
mod curve;
mod panel;

use crate::output::{RunSummary, StrategySummary};

pub use panel::PlotError;

/// A picture and the name of its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// The name of the file.
    pub name: &'static str,
    /// The picture in SVG.
    pub svg: String,
}

/// The pictures of an experiment: use and fragmentation over time, the distribution of delays, and strategies compared.
///
/// # Errors
/// When a picture cannot be drawn.
pub fn draw(runs: &[RunSummary], strategies: &[StrategySummary]) -> Result<Vec<Picture>, PlotError> {
    let names: Vec<&str> = strategies.iter().map(|one| &*one.strategy).collect();
    let measured = runs.first().map(|run| run.measured.as_slice()).unwrap_or_default();
    let over_time = |what: fn(&str) -> String, pick: curve::Pick| {
        let panels = measured
            .iter()
            .enumerate()
            .map(|(at, resource)| curve::over_time(&names, runs, &what(resource), at, pick));
        panel::picture(&panels.collect::<Vec<_>>())
    };
    Ok(vec![
        Picture { name: "comparison.svg", svg: compare::picture(strategies, measured)? },
        Picture {
            name: "fragmentation.svg",
            svg: over_time(
                |resource| format!("{resource}: share of what is idle that typical pods cannot use"),
                |sample| &sample.fragmented,
            )?,
        },
        Picture { name: "queueing-delay.svg", svg: panel::picture(&[curve::delays(&names, runs)])? },
        Picture {
            name: "utilisation.svg",
            svg: over_time(|resource| format!("{resource}: share in use"), |sample| &sample.used)?,
        },
    ])
}

#[cfg(test)]
mod tests;
