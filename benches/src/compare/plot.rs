//! Draws what went on over time as SVG without any script: lines and points on linear axes. Pure.

use super::chart::{escape, number};
use super::outcome::{Line, Plot};
use std::fmt::Write;

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 230.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 884.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 192.0;
/// Points of a line at most: more than a screen has columns say nothing more.
const MOST_POINTS: usize = 800;

/// One plot; nothing when it has no points.
#[must_use]
pub fn draw(plot: &Plot) -> String {
    let points = || plot.lines.iter().flat_map(|line| &line.points);
    if points().next().is_none() {
        return String::new();
    }
    let (least, most) =
        points().fold((0.0_f64, f64::MIN_POSITIVE), |(least, most), (x, _)| (least.min(*x), most.max(*x)));
    let highest = points().map(|(_, y)| *y).fold(f64::MIN_POSITIVE, f64::max);
    let (across, up) = (step(most - least), step(highest));
    let x = |value: f64| LEFT + (value - least) / (most - least) * (RIGHT - LEFT);
    let y = |value: f64| BOTTOM - value.max(0.0) / highest * (BOTTOM - TOP);
    let title = escape(&plot.title);
    let mut svg = format!(
        "<p class=\"note\">{title}</p>\n<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}\">\n\
         <text class=\"tick start\" x=\"4\" y=\"13\">{}</text><text class=\"tick end\" x=\"{RIGHT}\" y=\"{:.0}\">{}</text>\n",
        escape(plot.up),
        HEIGHT - 6.0,
        escape(plot.across)
    );
    for value in ticks(0.0, highest, up) {
        let _ = writeln!(
            svg,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{RIGHT}\" y1=\"{0:.1}\" y2=\"{0:.1}\"/>\
             <text class=\"tick end\" x=\"{1:.1}\" y=\"{2:.1}\">{3}</text>",
            y(value),
            LEFT - 8.0,
            y(value) + 4.0,
            number(value)
        );
    }
    for value in ticks(least, most, across) {
        let _ = writeln!(
            svg,
            "<text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            x(value),
            BOTTOM + 16.0,
            number(value)
        );
    }
    for (at, name) in &plot.marks {
        let _ = writeln!(
            svg,
            "<line class=\"mark\" x1=\"{0:.1}\" x2=\"{0:.1}\" y1=\"{1}\" y2=\"{BOTTOM}\"/>\
             <text class=\"tick start\" x=\"{2:.1}\" y=\"{3}\">{4}</text>",
            x(*at),
            TOP - 8.0,
            x(*at) + 4.0,
            TOP - 2.0,
            escape(name)
        );
    }
    for (place, line) in plot.lines.iter().enumerate() {
        draw_line(&mut svg, line, place, &x, &y);
    }
    svg + "</svg>\n" + &legend(plot)
}

fn draw_line(svg: &mut String, line: &Line, place: usize, x: &dyn Fn(f64) -> f64, y: &dyn Fn(f64) -> f64) {
    let class = format!("curve{}", place % 3);
    let points = thinned(&line.points);
    if line.joined {
        let path: Vec<String> = points.iter().map(|(at, value)| format!("{:.1} {:.1}", x(*at), y(*value))).collect();
        // Writing to a String cannot fail.
        let _ = writeln!(svg, "<path class=\"{class}\" d=\"M{}\"/>", path.join("L"));
    } else {
        for (at, value) in points {
            let _ = writeln!(svg, "<circle class=\"{class}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"1.6\"/>", x(at), y(value));
        }
    }
}

fn legend(plot: &Plot) -> String {
    let entry = |(place, line): (usize, &Line)| {
        format!("<span><i class=\"place{}\"></i>{}</span>", place % 3, escape(&line.name))
    };
    let entries: String = plot.lines.iter().enumerate().map(entry).collect();
    format!("<div class=\"legend\">{entries}</div>\n")
}

/// No more points than can be seen: of each stretch the highest, since that is what matters of a latency.
fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let stretch = points.len().div_ceil(MOST_POINTS).max(1);
    let highest = |part: &[(f64, f64)]| part.iter().copied().max_by(|a, b| a.1.total_cmp(&b.1));
    points.chunks(stretch).filter_map(highest).collect()
}

/// A round distance between ticks, so that there are three to seven of them.
fn step(span: f64) -> f64 {
    let rough = span / 5.0;
    let power = 10.0_f64.powf(rough.log10().floor());
    let times = [1.0, 2.0, 5.0, 10.0].into_iter().find(|times| times * power >= rough).unwrap_or(10.0);
    times * power
}

fn ticks(from: f64, to: f64, step: f64) -> impl Iterator<Item = f64> {
    let first = (from / step).ceil() as i64;
    (first..).map(move |at| at as f64 * step).take_while(move |value| *value <= to * 1.000_001)
}

#[cfg(test)]
mod tests {
    use super::{draw, step, thinned, ticks};
    use crate::compare::outcome::{Line, Plot};

    fn plot(points: &[(f64, f64)]) -> Plot {
        let line = |joined| Line { name: "a <line>".to_owned(), joined, points: points.to_vec() };
        let marks = vec![(1.0, "killed".to_owned())];
        let lines = vec![line(true), line(false)];
        Plot { title: "Over & over".to_owned(), across: "s", up: "MB/s", marks, lines }
    }

    #[test]
    fn ticks_are_round_and_few() {
        for (span, want) in [(1.0, 0.2), (7.0, 2.0), (60.0, 20.0), (118.0, 50.0), (0.05, 0.01)] {
            assert!((step(span) - want).abs() < want * 1e-9, "{span}: {}", step(span));
        }
        assert_eq!(ticks(-3.0, 4.0, 2.0).collect::<Vec<_>>(), [-2.0, 0.0, 2.0, 4.0]);
    }

    #[test]
    fn a_peak_survives_the_thinning() {
        let points: Vec<(f64, f64)> = (0..10_000).map(|at| (f64::from(at), f64::from(u8::from(at == 5_003)))).collect();
        let thin = thinned(&points);
        assert!(thin.len() <= 800);
        assert!(thin.contains(&(5_003.0, 1.0)));
    }

    #[test]
    fn lines_are_joined_and_points_are_not_and_nothing_is_drawn_of_nothing() {
        let svg = draw(&plot(&[(0.0, 0.0), (1.0, 50.0), (2.0, 100.0)]));
        assert_eq!((svg.matches("<path").count(), svg.matches("<circle").count()), (1, 3), "{svg}");
        assert!(svg.contains("M64.0 192.0L474.0 113.0L884.0 34.0"), "{svg}");
        assert!(svg.contains("killed") && svg.contains("Over &amp; over") && svg.contains("a &lt;line&gt;"), "{svg}");
        assert_eq!(draw(&plot(&[])), "");
    }
}
