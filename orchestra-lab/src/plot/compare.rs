//! Compares strategies: means over seeds, with the intervals they lie in.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::panel::{Area, FONT, PlotError, colour, percent, plain, sheet};
use crate::output::{Interval, StrategySummary};

/// What is not for strategies in a panel: its title and its axis.
const AROUND: u32 = 92;
/// For each strategy.
const ROW: u32 = 26;

/// One metric of all strategies.
struct Comparison {
    title: String,
    unit: Unit,
    values: Vec<Interval>,
}

/// What a metric is measured in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unit {
    /// From 0 to 1, written in percent.
    Share,
    Seconds,
    Pods,
}

/// The metrics that tell strategies apart, one panel each.
pub(super) fn picture(strategies: &[StrategySummary], measured: &[String]) -> Result<String, PlotError> {
    // What is scarce is compared: devices where there are some.
    let scarce = measured.get(2).or(measured.first()).map_or("cpu", String::as_str);
    let of = |title: String, unit: Unit, metric: &str| {
        let values = strategies.iter().filter_map(|one| one.metrics.get(metric).copied());
        Comparison { title, unit, values: values.collect() }
    };
    let panels = [
        of(format!("{scarce} in use, at most"), Unit::Share, &format!("{scarce}.peak")),
        of(
            format!("idle {scarce} of no use to typical pods"),
            Unit::Share,
            &format!("{scarce}.fragmentation"),
        ),
        of("mean wait for a node".to_owned(), Unit::Seconds, "queueingDelay.mean"),
        of("pods without a node at the end".to_owned(), Unit::Pods, "pending"),
    ];
    let names: Vec<&str> = strategies.iter().map(|one| &*one.strategy).collect();
    let seeds = strategies.iter().map(|one| one.runs).max().unwrap_or(0);
    let over = match seeds {
        0 | 1 => "one seed".to_owned(),
        seeds => format!("mean over {seeds} seeds, 95 % confidence interval"),
    };
    let rows = u32::try_from(names.len().max(1)).unwrap_or(u32::MAX);
    sheet(panels.len(), AROUND.saturating_add(ROW.saturating_mul(rows)), |areas| {
        panels.iter().zip(areas).try_for_each(|(panel, area)| draw(panel, &names, &over, area))
    })
}

/// What the axis of values spans: all of them with some room, and nothing that cannot be.
fn span(values: &[Interval], unit: Unit) -> (f64, f64) {
    let low = values.iter().map(|value| value.low).fold(f64::INFINITY, f64::min);
    let high = values.iter().map(|value| value.high).fold(f64::NEG_INFINITY, f64::max);
    let most = if unit == Unit::Share { 1.0 } else { f64::INFINITY };
    if low > high || high <= 0.0 {
        return (0.0, 1.0);
    }
    let room = ((high - low) * 0.1).max(high * 0.02);
    ((low - room).max(0.0), (high + room).min(most))
}

fn draw(panel: &Comparison, names: &[&str], over: &str, area: &Area<'_>) -> Result<(), PlotError> {
    let (low, high) = span(&panel.values, panel.unit);
    let rows = names.len().max(1) as f64;
    // The first at the top.
    let row = |at: usize| rows - 1.0 - at as f64;
    let mut chart = ChartBuilder::on(area)
        .caption(format!("{} ({over})", panel.title), (FONT, 18))
        .margin(8)
        .margin_right(28)
        .x_label_area_size(44)
        .y_label_area_size(120)
        .build_cartesian_2d(low..high, -0.5..rows - 0.5)
        .map_err(PlotError::of)?;
    let unit = panel.unit;
    let value = |value: &f64| match unit {
        Unit::Share => percent(value, high - low),
        Unit::Seconds | Unit::Pods => plain(value),
    };
    chart
        .configure_mesh()
        .disable_y_mesh()
        .disable_y_axis()
        .x_labels(8)
        .x_label_formatter(&value)
        .x_desc(match unit {
            Unit::Share => "share",
            Unit::Seconds => "seconds",
            Unit::Pods => "pods",
        })
        .light_line_style(TRANSPARENT)
        .label_style((FONT, 15))
        .draw()
        .map_err(PlotError::of)?;
    let beside = Pos::new(HPos::Right, VPos::Center);
    let style = TextStyle::from((FONT, 15).into_font()).pos(beside);
    let labels = names.iter().enumerate().map(|(at, name)| {
        EmptyElement::at((low, row(at))) + Text::new((*name).to_owned(), (-12, 0), style.clone())
    });
    chart.draw_series(labels).map_err(PlotError::of)?;
    let bars = panel.values.iter().enumerate().map(|(at, value)| {
        let (from, to) = (value.low.max(low), value.high.min(high));
        ErrorBar::new_horizontal(row(at), from, value.mean, to, colour(at).stroke_width(2).filled(), 12)
    });
    chart.draw_series(bars).map_err(PlotError::of).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sure(value: f64) -> Interval {
        Interval { mean: value, low: value, high: value }
    }

    #[test]
    fn an_axis_spans_what_can_be() {
        assert_eq!(span(&[], Unit::Share), (0.0, 1.0));
        assert_eq!(span(&[sure(0.0), sure(0.0)], Unit::Pods), (0.0, 1.0));
        assert_eq!(span(&[sure(0.99), sure(1.0)], Unit::Share).1, 1.0);
        let wide = Interval { mean: 1.0, low: -3.0, high: 5.0 };
        assert_eq!(span(&[wide], Unit::Seconds), (0.0, 5.8));
    }
}
