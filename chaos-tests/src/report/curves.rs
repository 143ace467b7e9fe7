//! The charts of the timeline. A curve is drawn in steps and pixels, and stretched to the width that there is.

use super::calls::Failure;
use super::figures::Report;
use super::lane::{Lane, REGIONS};
use super::series::{Latency, RegionSeries};
use super::words;
use maud::{Markup, html};
use std::fmt::Write;

/// What stays free above the highest point.
const HEAD: f64 = 4.0;

/// A scale from values to pixels from the top.
struct Scale {
    low: f64,
    high: f64,
    logarithmic: bool,
    height: f64,
}

impl Scale {
    /// From nothing to a round number that nothing exceeds.
    fn linear(most: f64, height: usize) -> Self {
        Self { low: 0.0, high: round_up(most), logarithmic: false, height: height as f64 }
    }

    /// From one power of ten to another.
    fn logarithmic(least: u64, most: u64, height: usize) -> Self {
        let low = (least.max(1) as f64).log10().floor();
        let high = (most.max(1) as f64).log10().ceil().max(low + 1.0);
        Self { low, high, logarithmic: true, height: height as f64 }
    }

    fn y(&self, value: f64) -> f64 {
        let value = if self.logarithmic { value.max(1.0).log10() } else { value };
        let part = (value - self.low) / (self.high - self.low);
        self.height - part.clamp(0.0, 1.0) * (self.height - HEAD)
    }

    /// Where lines go, with their words.
    fn ticks(&self) -> Vec<(f64, String)> {
        if self.logarithmic {
            let powers = (self.low as i32)..=(self.high as i32);
            return powers.map(|power| 10_f64.powi(power)).map(|micros| (self.y(micros), time(micros))).collect();
        }
        [0.0, 0.5, 1.0].map(|part| part * self.high).map(|value| (self.y(value), figure(value))).to_vec()
    }

    fn gutter(&self) -> Markup {
        html! {
            @for (y, label) in self.ticks() {
                // Within the drawing also at its edges.
                text x="100%" dx="-8" y=(format!("{:.1}", (y + 4.0).clamp(10.0, self.height - 1.0))) { (label) }
            }
        }
    }

    fn grid(&self) -> Markup {
        html! {
            @for (y, _) in self.ticks() {
                @let y = format!("{:.1}", y.min(self.height - 0.5));
                line class="grid" x1="0" x2="100%" y1=(y) y2=(y) {}
            }
        }
    }
}

/// The next of 1, 2, 4, 6, 8 and 10 times a power of ten, so that half of it is as round.
fn round_up(most: f64) -> f64 {
    let power = 10_f64.powf(most.max(1.0).log10().floor());
    [1.0, 2.0, 4.0, 6.0, 8.0]
        .into_iter()
        .map(|times| times * power)
        .find(|round| *round >= most)
        .unwrap_or(10.0 * power)
}

/// A rate: whole where it is large.
pub(super) fn figure(value: f64) -> String {
    if value >= 10.0 || value.fract().abs() < 1e-9 {
        words::count(value.round() as usize)
    } else {
        format!("{value:.1}")
    }
}

/// A power of ten of microseconds.
fn time(micros: f64) -> String {
    match micros {
        ..1e3 => format!("{micros} µs"),
        ..1e6 => format!("{} ms", micros / 1e3),
        _ => format!("{} s", micros / 1e6),
    }
}

/// Paths, in steps to the right and pixels down, stretched to the whole width.
fn stretched(report: &Report, height: usize, paths: &Markup) -> Markup {
    let steps = report.series.pulls.len();
    html! {
        svg width="100%" height=(height) viewBox=(format!("0 0 {steps} {height}")) preserveAspectRatio="none" { (paths) }
    }
}

/// A line through the middles of the steps, with gaps where nothing is.
fn line(points: impl Iterator<Item = Option<f64>>) -> String {
    let mut path = String::new();
    let mut drawing = false;
    for (step, y) in points.enumerate() {
        // Writing to a String cannot fail. The first point is drawn as one, for it may stand alone.
        let _ = match y {
            Some(y) if drawing => write!(path, "L{step}.5 {y:.1}"),
            Some(y) => write!(path, "M{step}.5 {y:.1}h0"),
            None => Ok(()),
        };
        drawing = y.is_some();
    }
    path
}

pub(super) fn throughput(report: &Report, title: &'static str, class: &str, counts: &[u32]) -> Lane {
    let height = 84;
    let rates = || counts.iter().map(|count| report.series.per_second(*count));
    let scale = Scale::linear(rates().fold(0.0, f64::max), height);
    let curve = line(rates().map(|rate| Some(scale.y(rate))));
    let area =
        format!("M0 {height}L{}L{} {height}Z", curve.trim_start_matches('M').replacen("h0", "", 1), counts.len());
    let paths = html! {
        path class=(format!("area {class}")) d=(area) {}
        path class=(format!("curve {class}")) d=(curve) {}
    };
    let plot = html! { (scale.grid()) (stretched(report, height, &paths)) };
    let unit = format!("acknowledged per second{}", steps(report));
    Lane { title, unit, legend: Vec::new(), height, gutter: scale.gutter(), plot }
}

/// What a point stands for, where it is not a second.
fn steps(report: &Report) -> String {
    let seconds = report.series.step.0 / 1_000_000;
    if seconds == 1 { String::new() } else { format!(", mean of {seconds} s") }
}

pub(super) fn latency(report: &Report, title: &'static str, of: impl Fn(&RegionSeries) -> &Latency) -> Lane {
    let height = 120;
    let regions = &report.series.regions;
    let values = || regions.iter().flat_map(|region| of(region).p50.iter().chain(&of(region).p99)).flatten().copied();
    let (Some(least), Some(most)) = (values().min(), values().max()) else {
        let plot = html! { text class="none" x="50%" y="16" { "none was acknowledged" } };
        return Lane { title, unit: String::new(), legend: Vec::new(), height: 24, gutter: html! {}, plot };
    };
    let scale = Scale::logarithmic(least, most, height);
    let curve = |values: &[Option<u64>]| line(values.iter().map(|value| value.map(|micros| scale.y(micros as f64))));
    let paths = html! {
        @for (place, region) in regions.iter().enumerate() {
            path class=(format!("curve thin region{}", place % REGIONS)) d=(curve(&of(region).p99)) {}
        }
        @for (place, region) in regions.iter().enumerate() {
            path class=(format!("curve region{}", place % REGIONS)) d=(curve(&of(region).p50)) {}
        }
    };
    let name =
        |(place, region): (usize, &RegionSeries)| (format!("region{}", place % REGIONS), words::clean(&region.region));
    let legend = regions.iter().enumerate().map(name).collect();
    let plot = html! { (scale.grid()) (stretched(report, height, &paths)) };
    Lane { title, unit: "p50, and p99 as a thin line".to_owned(), legend, height, gutter: scale.gutter(), plot }
}

pub(super) fn failures(report: &Report) -> Lane {
    let series = &report.series;
    let title = "Failures";
    if series.failures.is_empty() {
        let plot = html! { text class="none" x="50%" y="16" { "no call failed" } };
        return Lane { title, unit: String::new(), legend: Vec::new(), height: 24, gutter: html! {}, plot };
    }
    let height = 84;
    let all = |step: usize| series.failures.values().map(|counts| series.per_second(counts[step])).sum::<f64>();
    let scale = Scale::linear((0..series.pulls.len()).map(all).fold(0.0, f64::max), height);
    let mut below = vec![0.0; series.pulls.len()];
    let mut paths = Vec::new();
    let mut legend = Vec::new();
    // In the order of the kinds, so that a kind has the same place in every report.
    for (place, failure) in Failure::ALL.iter().enumerate() {
        let Some(counts) = series.failures.get(failure) else { continue };
        let mut path = String::new();
        for (step, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            let low = scale.y(below[step]);
            below[step] += series.per_second(*count);
            // Writing to a String cannot fail.
            let _ = write!(path, "M{step} {low:.1}h1V{:.1}h-1Z", scale.y(below[step]));
        }
        let class = format!("failure{place}");
        let total: u32 = counts.iter().sum();
        legend.push((class.clone(), format!("{} ({})", failure.name(), words::count(total as usize))));
        paths.push((class, path));
    }
    let paths = html! { @for (class, path) in &paths { path class=(class) d=(path) {} } };
    let plot = html! { (scale.grid()) (stretched(report, height, &paths)) };
    Lane { title, unit: format!("per second{}", steps(report)), legend, height, gutter: scale.gutter(), plot }
}

#[cfg(test)]
mod tests {
    use super::{Scale, figure, line, round_up, time};

    #[test]
    fn scales_end_at_round_numbers() {
        assert_eq!(
            [0.0, 1.0, 1.1, 7.0, 99.0, 130.0, 1_200.0].map(round_up),
            [1.0, 1.0, 2.0, 8.0, 100.0, 200.0, 2_000.0]
        );
        let scale = Scale::linear(130.0, 84);
        assert_eq!((scale.y(0.0), scale.y(200.0), scale.y(900.0)), (84.0, 4.0, 4.0));
        let labels = |scale: &Scale| scale.ticks().into_iter().map(|(_, label)| label).collect::<Vec<_>>();
        assert_eq!(labels(&scale), ["0", "100", "200"]);
        assert_eq!(labels(&Scale::logarithmic(2_300, 1_400_000, 120)), ["1 ms", "10 ms", "100 ms", "1 s", "10 s"]);
        assert_eq!(labels(&Scale::logarithmic(1_000, 1_000, 120)), ["1 ms", "10 ms"]);
        assert_eq!((figure(0.5), figure(12.4), time(10.0)), ("0.5".to_owned(), "12".to_owned(), "10 µs".to_owned()));
    }

    #[test]
    fn a_curve_has_gaps_where_nothing_is() {
        let path = line([Some(1.0), Some(2.0), None, Some(3.0)].into_iter());
        assert_eq!(path, "M0.5 1.0h0L1.5 2.0M3.5 3.0h0");
    }
}
