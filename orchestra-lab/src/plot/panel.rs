//! Draws panels of curves, one below the other.

use plotters::coord::Shift;
use plotters::coord::ranged1d::{AsRangedCoord, Ranged, ValueFormatter};
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

pub(super) const WIDTH: u32 = 960;
const HEIGHT: u32 = 320;
pub(super) const FONT: &str = "sans-serif";
/// Room for what is written at an axis.
const MARGIN: u32 = 56;
/// Room for the names of curves, beside the panel so that they cover none.
const LEGEND: u32 = 150;
/// From one name to the next.
const LINE: i32 = 18;

/// Colours, the first eight of which people with any sight can tell apart (Okabe and Ito).
const COLOURS: [RGBColor; 12] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(0, 0, 0),
    RGBColor(127, 127, 127),
    RGBColor(117, 73, 171),
    RGBColor(140, 86, 75),
    RGBColor(128, 128, 0),
    RGBColor(190, 20, 60),
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
    pub(super) scale: Scale,
    pub(super) label: fn(&f64) -> String,
}

/// How values are laid out along an axis; the vertical one is always linear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scale {
    Linear,
    /// From above 0.
    Logarithmic,
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
    sheet(rows, HEIGHT, |areas| panels.iter().zip(areas).try_for_each(|(panel, area)| panel.draw(area)))
}

/// A white sheet, cut into rows of one height that are drawn one by one.
pub(super) fn sheet(
    rows: usize,
    height: u32,
    draw: impl FnOnce(&[Area<'_>]) -> Result<(), PlotError>,
) -> Result<String, PlotError> {
    let mut svg = String::new();
    {
        let size = (WIDTH, height.saturating_mul(u32::try_from(rows).unwrap_or(u32::MAX)));
        let root = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        root.fill(&WHITE).map_err(PlotError::of)?;
        draw(&root.split_evenly((rows, 1)))?;
        root.present().map_err(PlotError::of)?;
    }
    Ok(svg)
}

impl Panel {
    fn draw(&self, area: &Area<'_>) -> Result<(), PlotError> {
        let (left, right) = area.split_horizontally(WIDTH - LEGEND);
        let range = self.x.from..self.x.to;
        match self.x.scale {
            Scale::Linear => self.plot(&left, range)?,
            Scale::Logarithmic => self.plot(&left, range.log_scale())?,
        }
        self.legend(&right)
    }

    fn plot<X>(&self, area: &Area<'_>, range: X) -> Result<(), PlotError>
    where
        X: AsRangedCoord<Value = f64>,
        X::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
    {
        let Self { title, x, y, curves } = self;
        let mut chart = ChartBuilder::on(area)
            .caption(title, (FONT, 18))
            .margin(8)
            .margin_right(24)
            .x_label_area_size(MARGIN)
            .y_label_area_size(MARGIN)
            .build_cartesian_2d(range, y.from..y.to)
            .map_err(PlotError::of)?;
        chart
            .configure_mesh()
            .x_desc(&x.title)
            .y_desc(&y.title)
            .x_labels(10)
            .y_labels(6)
            .x_label_formatter(&x.label)
            .y_label_formatter(&y.label)
            .light_line_style(TRANSPARENT)
            .label_style((FONT, 15))
            .draw()
            .map_err(PlotError::of)?;
        for (index, curve) in curves.iter().enumerate() {
            let style = colour(index).stroke_width(2);
            let line = LineSeries::new(curve.points.iter().copied(), style);
            chart.draw_series(line).map_err(PlotError::of)?;
        }
        Ok(())
    }

    fn legend(&self, area: &Area<'_>) -> Result<(), PlotError> {
        let mut height = LINE * 2;
        for (index, curve) in self.curves.iter().enumerate() {
            let line = [(0, height), (20, height)];
            area.draw(&PathElement::new(line, colour(index).stroke_width(3))).map_err(PlotError::of)?;
            let name = Text::new(curve.name.clone(), (26, height - 6), (FONT, 15).into_font());
            area.draw(&name).map_err(PlotError::of)?;
            height += LINE;
        }
        Ok(())
    }
}

/// A share in percent, with as many decimals as tell the ticks of such a span apart.
pub(super) fn percent(value: &f64, span: f64) -> String {
    let digits = match span {
        ..0.005 => 2,
        ..0.08 => 1,
        _ => 0,
    };
    format!("{:.digits$} %", value * 100.0)
}

/// A number without decimals that say nothing.
pub(super) fn plain(value: &f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
