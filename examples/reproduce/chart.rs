//! Plots as SVG, whose colours the page's style sheet sets.
use anyhow::{Result, anyhow};
use eft_eval::stats::Interval;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// Stand-ins for colours. The style sheet of the page replaces each by a colour of its light or dark scheme.
const TEXT: RGBColor = RGBColor(1, 1, 1);
const GRID: RGBColor = RGBColor(2, 2, 2);
const LINES: [RGBColor; 3] = [RGBColor(3, 3, 3), RGBColor(4, 4, 4), RGBColor(5, 5, 5)];

/// Numbers with intervals along an axis, and levels to compare them with.
pub(crate) struct Line {
    name: String,
    points: Vec<(f64, f64, Interval)>,
    levels: Vec<(String, f64)>,
}

impl Line {
    pub(crate) fn new(name: &str) -> Self {
        Self { name: name.into(), points: Vec::new(), levels: Vec::new() }
    }

    pub(crate) fn point(&mut self, x: f64, y: f64, interval: Interval) {
        self.points.push((x, y, interval));
    }

    /// Adds a number that does not vary along the axis.
    pub(crate) fn level(&mut self, name: &str, y: f64) {
        self.levels.push((name.into(), y));
    }
}

/// Up to three lines.
pub(crate) struct Chart {
    x: &'static str,
    y: &'static str,
    shares: bool,
    lines: Vec<Line>,
}

impl Chart {
    /// A chart of shares between 0 and 1.
    pub(crate) fn shares(x: &'static str, y: &'static str, lines: impl Into<Vec<Line>>) -> Self {
        Self { x, y, shares: true, lines: lines.into() }
    }

    pub(crate) fn numbers(x: &'static str, y: &'static str, lines: impl Into<Vec<Line>>) -> Self {
        Self { x, y, shares: false, lines: lines.into() }
    }

    /// What the axes show.
    pub(crate) fn caption(&self) -> String {
        format!("{} against {}, with 95 % intervals", self.y, self.x)
    }

    /// Draws the chart.
    pub(crate) fn svg(&self) -> Result<String> {
        let mut svg = String::new();
        self.draw(&mut svg).map_err(|error| anyhow!("cannot draw `{}`: {error}", self.caption()))?;
        // Within a page, SVG needs no name space, and readers who cannot see it need a description.
        let described =
            format!("<svg role=\"img\" aria-label=\"{}; the table has the numbers\" ", self.caption());
        Ok(svg.replacen("<svg ", &described, 1).replacen(" xmlns=\"http://www.w3.org/2000/svg\"", "", 1))
    }

    fn draw(&self, svg: &mut String) -> Result<(), Box<dyn std::error::Error>> {
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let (from, to) = padded(points().map(|point| point.0));
        let (low, high) = match self.shares {
            true => (-0.04, 1.04),
            false => padded(points().flat_map(|(_, _, interval)| [interval.low, interval.high])),
        };
        let label = ("sans-serif", 13).into_font();
        let root = SVGBackend::with_string(svg, (380, 300)).into_drawing_area();
        let mut chart = ChartBuilder::on(&root)
            .margin(8)
            .x_label_area_size(40)
            .y_label_area_size(48)
            .build_cartesian_2d(from..to, low..high)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID)
            .axis_style(GRID)
            .label_style(label.clone().color(&TEXT))
            .x_labels(8)
            .y_labels(6)
            .x_desc(self.x)
            .x_label_formatter(&|value| short(*value))
            .y_label_formatter(&|value| match self.shares {
                true => format!("{:.0} %", 100.0 * value),
                false => short(*value),
            })
            .draw()?;
        for (line, colour) in self.lines.iter().zip(LINES) {
            let style = label.clone().color(&TEXT).pos(Pos::new(HPos::Left, VPos::Bottom));
            for (name, y) in &line.levels {
                let ends = [(from, *y), (to, *y)];
                chart.draw_series(DashedLineSeries::new(ends, 5, 4, GRID.stroke_width(2)))?;
                chart.draw_series([Text::new(name.clone(), (from, *y), style.clone())])?;
            }
            let at = line.points.iter().map(|(x, y, _)| (*x, *y));
            let drawn = chart.draw_series(LineSeries::new(at.clone(), colour.stroke_width(2)))?;
            drawn
                .label(&line.name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 14, y)], colour.stroke_width(2)));
            chart.draw_series(line.points.iter().map(|(x, y, Interval { low, high })| {
                ErrorBar::new_vertical(*x, *low, *y, *high, colour.stroke_width(1), 7)
            }))?;
            chart.draw_series(at.map(|point| Circle::new(point, 3, colour.filled())))?;
        }
        if self.lines.len() > 1 {
            let labels = chart.configure_series_labels();
            { labels }.label_font(label.color(&TEXT)).position(SeriesLabelPosition::MiddleRight).draw()?;
        }
        root.present()?;
        Ok(())
    }
}

/// The range of numbers, with some room at both ends.
fn padded(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) = values.fold((f64::MAX, f64::MIN), |(low, high), x| (low.min(x), high.max(x)));
    let room = if high > low { 0.06 * (high - low) } else { 0.5 };
    (low - room, high + room)
}

/// A number without needless zeros.
fn short(value: f64) -> String {
    let text = format!("{value:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".into() } else { text.replace('-', "−") }
}
