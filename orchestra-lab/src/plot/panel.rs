//! Draws panels of curves, one below the other.

use plotters::coord::Shift;
use plotters::prelude::*;

/// Why a picture cannot be drawn.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a picture cannot be drawn: {0}")]
pub struct PlotError(String);

impl PlotError {
    pub(super) fn of(problem: impl std::fmt::Display) -> Self {
        Self(problem.to_string())
    }
}

pub(super) const WIDTH: u32 = 900;
const HEIGHT: u32 = 320;
pub(super) const FONT: &str = "sans-serif";
/// Room for what is written at an axis.
const MARGIN: u32 = 52;

/// Colours that people with any sight can tell apart (Okabe and Ito).
const COLOURS: [RGBColor; 8] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(0, 0, 0),
    RGBColor(127, 127, 127),
];

pub(super) fn colour(index: usize) -> RGBColor {
    COLOURS.get(index % COLOURS.len()).copied().unwrap_or(BLACK)
}

/// One axis.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    pub(super) title: String,
    pub(super) from: f64,
    pub(super) to: f64,
    pub(super) label: fn(&f64) -> String,
}

/// One curve.
#[derive(Clone, Debug)]
pub(super) struct Curve {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
}

/// Curves with the same axes.
#[derive(Clone, Debug)]
pub(super) struct Panel {
    pub(super) title: String,
    pub(super) x: Axis,
    pub(super) y: Axis,
    pub(super) curves: Vec<Curve>,
}

pub(super) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Panels, one below the other, as one picture.
pub(super) fn picture(panels: &[Panel]) -> Result<String, PlotError> {
    let rows = panels.len().max(1);
    sheet(rows, |areas| panels.iter().zip(areas).try_for_each(|(panel, area)| curves(panel, area)))
}

/// A white sheet, cut into rows that are drawn one by one.
pub(super) fn sheet(
    rows: usize,
    draw: impl FnOnce(&[Area<'_>]) -> Result<(), PlotError>,
) -> Result<String, PlotError> {
    let mut svg = String::new();
    {
        let size = (WIDTH, HEIGHT.saturating_mul(u32::try_from(rows).unwrap_or(u32::MAX)));
        let root = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        root.fill(&WHITE).map_err(PlotError::of)?;
        draw(&root.split_evenly((rows, 1)))?;
        root.present().map_err(PlotError::of)?;
    }
    Ok(svg)
}

fn curves(panel: &Panel, area: &Area<'_>) -> Result<(), PlotError> {
    let Panel { title, x, y, curves } = panel;
    let mut chart = ChartBuilder::on(area)
        .caption(title, (FONT, 18))
        .margin(8)
        .x_label_area_size(MARGIN)
        .y_label_area_size(MARGIN)
        .build_cartesian_2d(x.from..x.to, y.from..y.to)
        .map_err(PlotError::of)?;
    chart
        .configure_mesh()
        .x_desc(&x.title)
        .y_desc(&y.title)
        .x_label_formatter(&x.label)
        .y_label_formatter(&y.label)
        .light_line_style(TRANSPARENT)
        .label_style((FONT, 13))
        .draw()
        .map_err(PlotError::of)?;
    for (index, curve) in curves.iter().enumerate() {
        let colour = colour(index);
        chart
            .draw_series(LineSeries::new(curve.points.iter().copied(), colour.stroke_width(2)))
            .map_err(PlotError::of)?
            .label(&curve.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .background_style(WHITE.mix(0.8))
        .border_style(RGBColor(200, 200, 200))
        .label_font((FONT, 13))
        .draw()
        .map_err(PlotError::of)
}
