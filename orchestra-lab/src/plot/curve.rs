//! Turns runs into curves: means over seeds.

use super::panel::{Axis, Curve, Panel, Scale, percent, plain};
use crate::output::RunSummary;
use crate::run::Sample;

/// What of a sample is drawn.
pub(super) type Pick = fn(&Sample) -> &Vec<f64>;

/// Points of a curve over time.
const POINTS: usize = 300;
/// The shortest wait that is told from none, in seconds.
const SHORTEST: f64 = 0.1;

/// A share over time, one curve for each strategy.
pub(super) fn over_time(
    names: &[&str],
    runs: &[RunSummary],
    title: &str,
    resource: usize,
    pick: Pick,
) -> Panel {
    let end = runs.iter().map(|run| run.end).fold(0.0, f64::max);
    let (unit, seconds) = unit(end);
    let curves = names.iter().map(|name| {
        let own: Vec<_> = runs.iter().filter(|run| run.strategy == **name).collect();
        let points = (0..=POINTS).map(|point| {
            let time = end * point as f64 / POINTS as f64;
            let values = own.iter().map(|run| at(run, time, resource, pick));
            (time / seconds, values.sum::<f64>() / own.len().max(1) as f64)
        });
        Curve { name: (*name).to_owned(), points: points.collect() }
    });
    Panel {
        title: title.to_owned(),
        x: Axis {
            title: format!("time in {unit}"),
            from: 0.0,
            to: (end / seconds).max(1e-6),
            scale: Scale::Linear,
            label: plain,
        },
        y: share("share"),
        curves: curves.collect(),
    }
}

/// What held at a time; after its end a run stays as it was.
fn at(run: &RunSummary, time: f64, resource: usize, pick: Pick) -> f64 {
    let after = run.samples.partition_point(|sample| sample.time.as_secs_f64() <= time);
    let sample = run.samples.get(after.saturating_sub(1));
    sample.and_then(|sample| pick(sample).get(resource)).copied().unwrap_or(0.0)
}

/// The share of pods that waited no longer than so many seconds.
pub(super) fn delays(names: &[&str], runs: &[RunSummary]) -> Panel {
    let curves: Vec<Curve> = names
        .iter()
        .map(|name| {
            let own: Vec<_> =
                runs.iter().filter(|run| run.strategy == **name && !run.distribution.is_empty()).collect();
            let count = own.first().map_or(0, |run| run.distribution.len());
            let points = (0..count).map(|point| {
                let quantiles = own.iter().filter_map(|run| run.distribution.get(point));
                let mean = quantiles.map(|delay| delay.as_secs_f64()).sum::<f64>() / own.len().max(1) as f64;
                (mean.max(SHORTEST), point as f64 / count.saturating_sub(1).max(1) as f64)
            });
            Curve { name: (*name).to_owned(), points: points.collect() }
        })
        .collect();
    let delays = curves.iter().flat_map(|curve| &curve.points).map(|(delay, _)| *delay);
    let longest = delays.fold(10.0, f64::max);
    Panel {
        title: "share of pods that waited no longer for a node".to_owned(),
        x: Axis {
            title: "wait in seconds".to_owned(),
            // A little less, so that the tick is on the axis in spite of rounding.
            from: SHORTEST * 0.999,
            to: longest * 1.1,
            scale: Scale::Logarithmic,
            label: wait,
        },
        y: share("share of pods"),
        curves,
    }
}

fn share(title: &str) -> Axis {
    Axis {
        title: title.to_owned(),
        from: 0.0,
        to: 1.0,
        scale: Scale::Linear,
        label: |value| percent(value, 1.0),
    }
}

/// The unit of time that suits a span of seconds, and how long it is.
fn unit(seconds: f64) -> (&'static str, f64) {
    match seconds {
        ..=300.0 => ("seconds", 1.0),
        ..=18_000.0 => ("minutes", 60.0),
        ..=432_000.0 => ("hours", 3600.0),
        _ => ("days", 86_400.0),
    }
}

/// A wait; those that are too short to be told apart are at the left end.
fn wait(seconds: &f64) -> String {
    if *seconds < SHORTEST * 1.01 { "none".to_owned() } else { plain(seconds) }
}
