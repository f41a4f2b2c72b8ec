//! Compares strategies: means over seeds, with the intervals they lie in.

use plotters::prelude::*;

use super::panel::{Area, FONT, PlotError, colour, sheet};
use crate::output::{Interval, StrategySummary};

/// One metric of all strategies.
struct Comparison {
    title: String,
    values: Vec<Interval>,
}

/// The metrics that tell strategies apart, one panel each.
pub(super) fn picture(strategies: &[StrategySummary], measured: &[String]) -> Result<String, PlotError> {
    // What is scarce is compared: devices where there are some.
    let scarce = measured.get(2).or(measured.first()).map_or("cpu", String::as_str);
    let of = |title: String, metric: &str| {
        let values = strategies.iter().filter_map(|one| one.metrics.get(metric).copied());
        Comparison { title, values: values.collect() }
    };
    let panels = [
        of(format!("most in use at a time: {scarce}, share"), &format!("{scarce}.peak")),
        of(format!("idle and of no use: {scarce}, share"), &format!("{scarce}.fragmentation")),
        of("wait for a node: mean, seconds".to_owned(), "queueingDelay.mean"),
        of("without a node at the end: pods".to_owned(), "pending"),
    ];
    let names: Vec<&str> = strategies.iter().map(|one| &*one.strategy).collect();
    sheet(panels.len(), |areas| {
        panels.iter().zip(areas).try_for_each(|(panel, area)| draw(panel, &names, area))
    })
}

fn draw(panel: &Comparison, names: &[&str], area: &Area<'_>) -> Result<(), PlotError> {
    let low = panel.values.iter().map(|value| value.low).fold(f64::INFINITY, f64::min);
    let high = panel.values.iter().map(|value| value.high).fold(f64::NEG_INFINITY, f64::max);
    let (low, high) = if low <= high { (low, high) } else { (0.0, 1.0) };
    let room = ((high - low) * 0.15).max(high.abs() * 0.02).max(1e-3);
    let last = names.len() as f64 - 0.5;
    let mut chart = ChartBuilder::on(area)
        .caption(format!("{}, with 95 % intervals over seeds", panel.title), (FONT, 18))
        .margin(8)
        .x_label_area_size(36)
        .y_label_area_size(72)
        .build_cartesian_2d(-0.5..last.max(0.5), (low - room)..(high + room))
        .map_err(PlotError::of)?;
    let name = |x: &f64| {
        let whole = x.round();
        let near = (x - whole).abs() < 1e-6 && whole >= 0.0;
        names.get(whole as usize).filter(|_| near).map(|name| (*name).to_owned()).unwrap_or_default()
    };
    let digits = if high - low < 0.5 { 4 } else { 1 };
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_labels(names.len().saturating_mul(2).saturating_add(1))
        .x_label_formatter(&name)
        .y_label_formatter(&|value| format!("{value:.digits$}"))
        .light_line_style(TRANSPARENT)
        .label_style((FONT, 13))
        .draw()
        .map_err(PlotError::of)?;
    let bars = panel.values.iter().enumerate().map(|(at, value)| {
        ErrorBar::new_vertical(
            at as f64,
            value.low,
            value.mean,
            value.high,
            colour(at).stroke_width(2).filled(),
            12,
        )
    });
    chart.draw_series(bars).map_err(PlotError::of).map(drop)
}
