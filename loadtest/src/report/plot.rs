//! Plots as SVG: a run second by second, how times are distributed, and ratios of two servers with their spread.

use super::Second;
use crate::times::Point;
use plotters::coord::Shift;
use plotters::prelude::*;
use std::fmt::Display;
use std::io;
use std::ops::Range;
use std::path::Path;

const SIZE: (u32, u32) = (820, 300);
/// Of each of the plots that stand above each other.
const ROW_HEIGHT: u32 = 190;
/// Of each ratio's row.
const RATIO_HEIGHT: u32 = 34;
const COLOURS: [RGBColor; 4] =
    [RGBColor(31, 91, 163), RGBColor(214, 96, 32), RGBColor(46, 125, 80), RGBColor(120, 70, 150)];
const GREY: RGBColor = RGBColor(150, 150, 150);

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// A line of a plot.
pub(super) struct Line {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
}

/// A ratio of two servers over all rounds.
pub(crate) struct Ratio {
    pub(crate) name: String,
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) greatest: f64,
}

/// A run second by second: rate and players, latency, and what the server spent.
pub(super) fn seconds(path: &Path, seconds: &[Second]) -> io::Result<()> {
    let line = |name: &str, value: &dyn Fn(&Second) -> Option<f64>| Line {
        name: name.into(),
        points: seconds.iter().filter_map(|s| Some((s.at_s, value(s)?))).collect(),
    };
    let rows = [
        ("Mbit/s to all players", vec![line("received", &|s| Some(s.mbit_per_s))]),
        (
            "players and streams",
            vec![line("playing", &|s| Some(s.playing as f64)), line("live", &|s| Some(s.live as f64))],
        ),
        ("latency, ms", vec![line("p50", &|s| s.latency_p50_ms), line("p99", &|s| s.latency_p99_ms)]),
        ("server's CPU, % of a core", vec![line("CPU", &|s| s.server_cpu_percent)]),
        ("server's resident memory, MiB", vec![line("RSS", &|s| Some(super::mib(s.server_rss_bytes?)))]),
    ];
    let rows: Vec<_> =
        rows.into_iter().filter(|(_, lines)| lines.iter().any(|line| !line.points.is_empty())).collect();
    let end = seconds.last().map_or(1.0, |s| s.at_s);
    let area = SVGBackend::new(path, (SIZE.0, ROW_HEIGHT * rows.len().max(1) as u32)).into_drawing_area();
    area.fill(&WHITE).map_err(failed)?;
    for ((title, lines), area) in rows.iter().zip(area.split_evenly((rows.len().max(1), 1))) {
        lines_in(&area, title, "seconds", 0.0..end, &|x| format!("{x:.0}"), lines)?;
    }
    area.present().map_err(failed)
}

/// How times are distributed: the nearer to 100 %, the more room.
pub(super) fn curves(path: &Path, title: &str, curves: &[(String, Vec<Point>)]) -> io::Result<()> {
    // Each nine is as wide as the one before it; where the greatest is reached, there is no more to be told.
    let nines = |percentile: f64| -(1.0 - (percentile / 100.0).min(0.999_999)).log10();
    let told = |curve: &[Point]| {
        let greatest = curve.last().map_or(0.0, |p| p.ms);
        let end = curve.iter().position(|p| p.ms >= greatest).map_or(0, |i| i + 1);
        curve.iter().take(end).map(|p| (nines(p.percentile), p.ms)).collect()
    };
    let lines: Vec<Line> =
        curves.iter().map(|(name, curve)| Line { name: name.clone(), points: told(curve) }).collect();
    let end = lines.iter().flat_map(|l| &l.points).fold(1.0, |end: f64, (x, _)| end.max(*x));
    let area = SVGBackend::new(path, SIZE).into_drawing_area();
    area.fill(&WHITE).map_err(failed)?;
    let label = |x: &f64| format!("{}", (100.0 - 100.0 * 10f64.powf(-x)).clamp(0.0, 99.9999));
    lines_in(&area, title, "percentile", 0.0..end, &|x| short(&label(x)), &lines)?;
    area.present().map_err(failed)
}

/// Ratios: a bar from the least to the greatest, a mark at the median, a line at 1.
pub(super) fn ratios(path: &Path, title: &str, ratios: &[Ratio]) -> io::Result<()> {
    let greatest = ratios.iter().fold(1.2, |most: f64, r| most.max(r.greatest)).min(20.0);
    let count = ratios.len().max(1);
    let area = SVGBackend::new(path, (SIZE.0, 90 + RATIO_HEIGHT * count as u32)).into_drawing_area();
    area.fill(&WHITE).map_err(failed)?;
    let mut chart = ChartBuilder::on(&area)
        .caption(title, ("sans-serif", 16))
        .margin(8)
        .x_label_area_size(36)
        .y_label_area_size(210)
        .build_cartesian_2d(0.0..greatest, -0.5..count as f64 - 0.5)
        .map_err(failed)?;
    let name = |y: &f64| {
        let row = y.round();
        let of_row =
            ((y - row).abs() < 0.01).then(|| ratios.get(count - 1 - row.max(0.0) as usize)).flatten();
        of_row.map(|r| r.name.clone()).unwrap_or_default()
    };
    chart
        .configure_mesh()
        .disable_y_mesh()
        .y_labels(2 * count + 1)
        .y_label_formatter(&name)
        .x_desc("ratio")
        .max_light_lines(0)
        .draw()
        .map_err(failed)?;
    let one = [(1.0, -0.5), (1.0, count as f64 - 0.5)];
    chart.draw_series([PathElement::new(one.to_vec(), GREY.stroke_width(1))]).map_err(failed)?;
    for (i, ratio) in ratios.iter().enumerate() {
        let y = (count - 1 - i) as f64;
        let colour = if ratio.median <= 1.0 { COLOURS[2] } else { COLOURS[1] };
        let (from, to) = (ratio.least.min(greatest), ratio.greatest.min(greatest));
        let spread = PathElement::new(vec![(from, y), (to, y)], colour.stroke_width(6));
        let median = Circle::new((ratio.median.min(greatest), y), 6, colour.filled());
        chart.draw_series([spread]).map_err(failed)?;
        chart.draw_series([median]).map_err(failed)?;
    }
    area.present().map_err(failed)
}

fn lines_in(
    area: &Area<'_>,
    title: &str,
    x_name: &str,
    x: Range<f64>,
    x_label: &dyn Fn(&f64) -> String,
    lines: &[Line],
) -> io::Result<()> {
    let top = lines.iter().flat_map(|l| &l.points).fold(0.0, |top: f64, (_, y)| top.max(*y)) * 1.1;
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 15))
        .margin(8)
        .x_label_area_size(34)
        .y_label_area_size(64)
        .build_cartesian_2d(x, 0.0..top.max(1e-3))
        .map_err(failed)?;
    chart
        .configure_mesh()
        .x_desc(x_name)
        .x_label_formatter(&x_label)
        .y_label_formatter(&|y| short(&format!("{y:.3}")))
        .max_light_lines(0)
        .draw()
        .map_err(failed)?;
    for (line, colour) in lines.iter().zip(COLOURS.iter().cycle()) {
        let colour = *colour;
        let drawn = chart.draw_series(LineSeries::new(line.points.iter().copied(), colour.stroke_width(2)));
        let drawn = drawn.map_err(failed)?;
        if lines.len() > 1 {
            let sign = move |(x, y)| PathElement::new(vec![(x, y), (x + 16, y)], colour.stroke_width(2));
            drawn.label(line.name.as_str()).legend(sign);
        }
    }
    if lines.len() > 1 {
        let legend = chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .border_style(GREY)
            .background_style(WHITE.mix(0.8))
            .draw();
        legend.map_err(failed)?;
    }
    Ok(())
}

/// A number without the zeros at its end.
fn short(number: &str) -> String {
    if number.contains('.') {
        number.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        number.to_owned()
    }
}

fn failed(error: impl Display) -> io::Error {
    io::Error::other(format!("a plot cannot be drawn: {error}"))
}
