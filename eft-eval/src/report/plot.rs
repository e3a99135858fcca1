//! Plots of a metric, as SVG whose colours the page's style sheet sets.
use std::error::Error as StdError;

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::summary::MetricSummary;
use super::table::number;
use crate::stats::Interval;

type Result<T> = std::result::Result<T, Box<dyn StdError + Send + Sync>>;

/// Stand-ins for colours. The style sheet of the page replaces each of them by a colour of its light or dark scheme.
const TEXT: RGBColor = RGBColor(1, 1, 1);
const GRID: RGBColor = RGBColor(2, 2, 2);
const SWEEP: RGBColor = RGBColor(3, 3, 3);
const OTHER: RGBColor = RGBColor(4, 4, 4);

/// The size in units of the drawing. The page shows it larger where there is room.
const WIDTH: u32 = 380;

/// A run, as far as it is plotted.
pub(super) struct Point<'a> {
    pub(super) name: &'a str,
    /// The value of the setting that is varied, for a run of a sweep.
    pub(super) setting: Option<f64>,
    pub(super) metric: &'a MetricSummary,
}

/// Plots the runs of a sweep against their setting, with the other runs as horizontal lines; without a sweep, a line
/// for each run. Returns nothing if there are no numbers to plot.
pub(super) fn plot(points: &[Point<'_>]) -> Result<Option<String>> {
    let finite: Vec<_> = points.iter().filter(|point| point.metric.value.is_finite()).collect();
    let Some(first) = finite.first() else { return Ok(None) };
    let shape = first.metric;
    let ends = finite.iter().flat_map(|point| {
        let Interval { low, high } = interval(point);
        [low, high]
    });
    let (low, high) = ends.fold((f64::MAX, f64::MIN), |(low, high), end| (low.min(end), high.max(end)));
    let range = match shape.is_share {
        // A marker at 0 or 1 lies within the plot.
        true => (-0.04, 1.04),
        false => padded(low, high),
    };
    let mut svg = String::new();
    let swept = finite.iter().filter(|point| point.setting.is_some()).count();
    match swept >= 2 {
        true => sweep(&mut svg, &finite, range)?,
        false => rows(&mut svg, &finite, range)?,
    }
    Ok(Some(accessible(&svg, &shape.name)))
}

fn interval(point: &Point<'_>) -> Interval {
    point.metric.interval.unwrap_or(Interval { low: point.metric.value, high: point.metric.value })
}

/// A range with some room at both ends.
fn padded(low: f64, high: f64) -> (f64, f64) {
    let room = if high > low { 0.06 * (high - low) } else { 0.5 * low.abs().max(1e-3) };
    (low - room, high + room)
}

fn font(colour: RGBColor) -> TextStyle<'static> {
    ("sans-serif", 14).into_font().color(&colour)
}

fn sweep(svg: &mut String, points: &[&Point<'_>], range: (f64, f64)) -> Result<()> {
    let mut swept: Vec<_> = points.iter().filter_map(|point| Some((point.setting?, *point))).collect();
    swept.sort_by(|a, b| a.0.total_cmp(&b.0));
    let settings = swept.iter().map(|(setting, _)| *setting);
    let (from, to) = padded(settings.clone().fold(f64::MAX, f64::min), settings.fold(f64::MIN, f64::max));
    let shape = swept[0].1.metric;
    let root = SVGBackend::with_string(svg, (WIDTH, 280)).into_drawing_area();
    let mut chart = ChartBuilder::on(&root)
        .margin(8)
        .x_label_area_size(28)
        .y_label_area_size(52)
        .build_cartesian_2d(from..to, range.0..range.1)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID)
        .axis_style(GRID)
        .label_style(font(TEXT))
        .y_labels(6)
        .x_labels(6)
        .y_label_formatter(&|value| axis_number(shape, *value))
        .x_label_formatter(&|value| short(*value))
        .draw()?;
    let style = font(OTHER).pos(Pos::new(HPos::Left, VPos::Bottom));
    for point in points.iter().filter(|point| point.setting.is_none()) {
        let value = point.metric.value;
        chart.draw_series(DashedLineSeries::new(
            [(from, value), (to, value)],
            5,
            4,
            OTHER.stroke_width(2),
        ))?;
        chart.draw_series([Text::new(point.name.to_owned(), (from, value), style.clone())])?;
    }
    let line = swept.iter().map(|(setting, point)| (*setting, point.metric.value));
    chart.draw_series(LineSeries::new(line.clone(), SWEEP.stroke_width(2)))?;
    chart.draw_series(swept.iter().map(|(setting, point)| {
        let Interval { low, high } = interval(point);
        ErrorBar::new_vertical(*setting, low, point.metric.value, high, SWEEP.stroke_width(1), 8)
    }))?;
    chart.draw_series(line.map(|at| Circle::new(at, 4, SWEEP.filled())))?;
    root.present()?;
    Ok(())
}

fn rows(svg: &mut String, points: &[&Point<'_>], range: (f64, f64)) -> Result<()> {
    let shape = points[0].metric;
    let height = 48 + 44 * u32::try_from(points.len())?;
    let root = SVGBackend::with_string(svg, (WIDTH, height)).into_drawing_area();
    let below = -(points.len() as f64);
    let mut chart = ChartBuilder::on(&root)
        .margin(8)
        .x_label_area_size(28)
        .build_cartesian_2d(range.0..range.1, below..0.0)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID)
        .axis_style(GRID)
        .label_style(font(TEXT))
        .x_labels(6)
        .x_label_formatter(&|value| axis_number(shape, *value))
        .draw()?;
    let style = font(TEXT).pos(Pos::new(HPos::Left, VPos::Top));
    for (row, point) in points.iter().enumerate() {
        let (value, Interval { low, high }) = (point.metric.value, interval(point));
        let (top, at) = (-(row as f64) - 0.08, -(row as f64) - 0.72);
        let name = format!("{}  {}", point.name, number(point.metric, value));
        chart.draw_series([Text::new(name, (range.0, top), style.clone())])?;
        chart.draw_series(LineSeries::new([(low, at), (high, at)], SWEEP.stroke_width(3)))?;
        chart.draw_series([Circle::new((value, at), 5, SWEEP.filled())])?;
    }
    root.present()?;
    Ok(())
}

/// A number at an axis.
fn axis_number(metric: &MetricSummary, value: f64) -> String {
    match metric.is_share {
        true => format!("{:.0} %", 100.0 * value),
        false => short(value),
    }
}

/// A number without needless zeros.
fn short(value: f64) -> String {
    let text = format!("{value:.3}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".into() } else { text.replace('-', "−") }
}

/// The drawing with a description for those who cannot see it. Within a page, SVG needs no name space.
fn accessible(svg: &str, name: &str) -> String {
    let described = format!(
        "<svg role=\"img\" aria-label=\"Plot of the {name} of each run; the table has the numbers\" "
    );
    svg.replacen("<svg ", &described, 1).replacen(" xmlns=\"http://www.w3.org/2000/svg\"", "", 1)
}
