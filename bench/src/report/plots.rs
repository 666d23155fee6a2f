//! Plots as SVG, made to be put into a page: the text and the axes have the colour of the page's text,
//! the background is that of the page, and the legend is the page's own, beside the plot, because lines
//! that lie close together leave no room for labels in it.

use plotters::coord::ranged1d::{KeyPointHint, Ranged, ValueFormatter};
use plotters::prelude::*;

/// Stands for the colour of the page's text until the plot is in the page.
const INK: RGBColor = RGBColor(1, 2, 3);
const INK_IN_SVG: &str = "#010203";
const SIZE: (u32, u32) = (760, 440);

/// One line of a plot.
pub(super) struct Series {
    pub(super) name: String,
    pub(super) stroke: Stroke,
    /// Which of the [`colour`]s.
    pub(super) colour: usize,
    pub(super) points: Vec<(f64, f64)>,
}

/// How a line is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stroke {
    /// Thicker, and on top.
    Ours,
    Theirs,
    /// With dashes.
    Limit,
}

/// What the axes count.
pub(super) struct Axes {
    pub(super) x: &'static str,
    pub(super) y: &'static str,
    /// Where the x axis has ticks, and what they say.
    pub(super) ticks: Vec<(f64, String)>,
}

/// How many [`colour`]s there are.
pub(super) const COLOURS: usize = PALETTE.len();
/// Those of them that are for limits.
pub(super) const GREYS: [usize; 3] = [7, 12, 13];
/// Those that are for our own lines, if there are several.
pub(super) const REDS: [usize; 3] = [0, 14, 15];

/// Colours that can be told apart on white and on black.
const PALETTE: [(u8, u8, u8); 16] = [
    (214, 39, 40),
    (31, 119, 180),
    (44, 160, 44),
    (255, 127, 14),
    (148, 103, 189),
    (140, 86, 75),
    (227, 119, 194),
    (127, 127, 127),
    (170, 170, 20),
    (23, 190, 207),
    (90, 120, 230),
    (0, 140, 110),
    (90, 90, 90),
    (165, 165, 165),
    (244, 140, 120),
    (150, 20, 60),
];

/// The colour of a line, the first for ours.
pub(super) fn colour(index: usize) -> RGBColor {
    let (red, green, blue) = PALETTE[index % COLOURS];
    RGBColor(red, green, blue)
}

/// The same as CSS writes it.
pub(super) fn css(index: usize) -> String {
    let RGBColor(red, green, blue) = colour(index);
    format!("#{red:02x}{green:02x}{blue:02x}")
}

/// An axis in powers of ten (or any given ticks), with a logarithm inside.
struct Logarithmic {
    from: f64,
    to: f64,
    ticks: Vec<(f64, String)>,
}

impl Logarithmic {
    /// From the power of ten below to the one above, with ticks at 1, 2 and 5 if that is not too many.
    fn around(values: impl Iterator<Item = f64>) -> Self {
        let (least, most) =
            values.fold((f64::INFINITY, 0.0_f64), |(a, b), value| (a.min(value), b.max(value)));
        let steps: Vec<f64> = (least.log10().floor() as i32..=most.log10().ceil() as i32)
            .flat_map(|power| [1.0, 2.0, 5.0].map(|step| step * 10_f64.powi(power)))
            .collect();
        let from = steps.iter().copied().rfind(|&step| step <= least).unwrap_or(least);
        let to = steps.iter().copied().find(|&step| step >= most).unwrap_or(most);
        let to = if to > from { to } else { from * 2.0 };
        let decades = (to / from).log10();
        let kept = |step: f64| {
            let leading = step / 10_f64.powf(step.log10().floor() + 1e-9);
            decades < 3.0 || (leading - 1.0).abs() < 0.01
        };
        let ticks = steps.into_iter().filter(|&step| (from..=to * 1.0001).contains(&step) && kept(step));
        Self { from, to, ticks: ticks.map(|step| (step, si(step))).collect() }
    }

    fn with_ticks(ticks: Vec<(f64, String)>) -> Self {
        let from = ticks.first().map_or(1.0, |tick| tick.0);
        let to = ticks.last().map_or(10.0, |tick| tick.0);
        Self { from, to: if to > from { to } else { from * 2.0 }, ticks }
    }
}

impl Ranged for Logarithmic {
    type ValueType = f64;
    type FormatOption = plotters::coord::ranged1d::NoDefaultFormatting;

    fn map(&self, value: &f64, (low, high): (i32, i32)) -> i32 {
        let part = (value / self.from).ln() / (self.to / self.from).ln();
        low + (part * f64::from(high - low)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _hint: Hint) -> Vec<f64> {
        self.ticks.iter().map(|tick| tick.0).collect()
    }

    fn range(&self) -> std::ops::Range<f64> {
        self.from..self.to
    }
}

impl ValueFormatter<f64> for Logarithmic {
    fn format_ext(&self, value: &f64) -> String {
        let same = |tick: &&(f64, String)| (tick.0 / value - 1.0).abs() < 1e-6;
        self.ticks.iter().find(same).map_or_else(String::new, |tick| tick.1.clone())
    }
}

/// A number as axes have it: `500`, `20k`, `5M`.
pub(super) fn si(value: f64) -> String {
    let (scaled, unit) = match value {
        value if value >= 1e9 => (value / 1e9, "G"),
        value if value >= 1e6 => (value / 1e6, "M"),
        value if value >= 1e3 => (value / 1e3, "k"),
        value => (value, ""),
    };
    let rounded = (scaled * 1000.0).round() / 1000.0;
    format!("{rounded}{unit}")
}

/// Lines with a point at each value, both axes logarithmic. Nothing if there is nothing to draw.
pub(super) fn lines(series: &[Series], axes: Axes) -> Option<String> {
    let points = || series.iter().flat_map(|series| &series.points);
    points().next()?;
    let y = Logarithmic::around(points().map(|point| point.1));
    let mut svg = String::new();
    draw(&mut svg, series, axes, y).expect("a string has room for a plot");
    for index in 0..COLOURS {
        let RGBColor(red, green, blue) = dashed(index);
        let stands = format!("stroke=\"#{red:02X}{green:02X}{blue:02X}\"");
        svg = svg.replace(&stands, &format!("stroke=\"{}\" stroke-dasharray=\"7 5\"", css(index)));
    }
    Some(svg.replace(INK_IN_SVG, "currentColor"))
}

/// Stands for that colour with dashes until the plot is in the page: drawn one by one, dashes would be most
/// of the page.
fn dashed(index: usize) -> RGBColor {
    RGBColor(1, 2, 16 + index as u8)
}

fn draw(
    svg: &mut String,
    series: &[Series],
    axes: Axes,
    y: Logarithmic,
) -> Result<(), Box<dyn std::error::Error>> {
    let root = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    let (x_ticks, y_ticks) = (axes.ticks.len(), y.ticks.len());
    let mut chart = ChartBuilder::on(&root)
        .margin(12)
        .margin_right(28)
        .x_label_area_size(44)
        .y_label_area_size(64)
        .build_cartesian_2d(Logarithmic::with_ticks(axes.ticks), y)?;
    let text = ("sans-serif", 14).into_font().color(&INK);
    chart
        .configure_mesh()
        .x_desc(axes.x)
        .y_desc(axes.y)
        .x_labels(x_ticks)
        .y_labels(y_ticks)
        .max_light_lines(0)
        .bold_line_style(INK.mix(0.15))
        .axis_style(INK.mix(0.6))
        .label_style(text.clone())
        .axis_desc_style(text)
        .draw()?;
    // Ours last, so that they lie on top.
    let (ours, others): (Vec<&Series>, Vec<&Series>) =
        series.iter().partition(|series| series.stroke == Stroke::Ours);
    for series in others.into_iter().chain(ours) {
        let colour = colour(series.colour);
        let points = series.points.iter().copied();
        if series.stroke == Stroke::Limit {
            chart.draw_series(LineSeries::new(points, dashed(series.colour).stroke_width(2)))?;
            continue;
        }
        let width = if series.stroke == Stroke::Ours { 4 } else { 2 };
        chart.draw_series(LineSeries::new(points, colour.stroke_width(width)))?;
        // Curves have many points, which would hide each other.
        if series.points.len() <= 12 {
            let size = if series.stroke == Stroke::Ours { 5 } else { 3 };
            let points = series.points.iter().map(|&point| Circle::new(point, size, colour.filled()));
            chart.draw_series(points)?;
        }
    }
    root.present()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_axes_have_them() {
        assert_eq!(si(0.5), "0.5");
        assert_eq!(si(500.0), "500");
        assert_eq!(si(20_000.0), "20k");
        assert_eq!(si(5e6), "5M");
    }

    #[test]
    fn an_axis_reaches_around_its_values() {
        let axis = Logarithmic::around([3.0, 70.0].into_iter());
        assert_eq!((axis.from, axis.to), (2.0, 100.0));
        assert_eq!(
            axis.key_points(plotters::coord::ranged1d::BoldPoints(9)),
            [2.0, 5.0, 10.0, 20.0, 50.0, 100.0]
        );
    }

    #[test]
    fn a_plot_takes_the_colour_of_the_page() {
        let plot = |stroke| {
            let points = vec![(1.0, 2.0), (10.0, 30.0)];
            let series = Series { name: "a".into(), stroke, colour: 0, points };
            let ticks = vec![(1.0, "1".into()), (10.0, "10".into())];
            lines(&[series], Axes { x: "x", y: "y", ticks }).expect("there are points")
        };
        let ours = plot(Stroke::Ours);
        assert!(ours.contains("currentColor") && !ours.contains(INK_IN_SVG));
        assert!(ours.contains("#D62728") && !ours.contains("dasharray"));
        assert!(plot(Stroke::Limit).contains("stroke=\"#d62728\" stroke-dasharray"));
        assert!(lines(&[], Axes { x: "x", y: "y", ticks: vec![] }).is_none());
    }
}
