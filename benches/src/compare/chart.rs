//! Draws charts as SVG without any script: grouped horizontal bars with their values and whiskers. Pure. Colours are
//! classes of the page's style sheet, so that light and dark need one drawing.

use super::outcome::{Bar, Better, Case, Chart};
use super::stats;
use super::target::{DOCKER_REGISTRY, NGINX, PORTOLAN_1, PORTOLAN_3};
use std::fmt::Write;

const WIDTH: f64 = 900.0;
/// Where bars begin; the names stand before.
const LEFT: f64 = 190.0;
/// How long the longest bar or whisker is; the values stand behind.
const LENGTH: f64 = 430.0;
const BAR: f64 = 16.0;
const STEP: f64 = 21.0;
const HEAD: f64 = 24.0;
const GAP: f64 = 10.0;
/// A machine whose cores are this busy may have set the pace.
const BUSY: f64 = 0.9;

/// The class of a target's colour; what is no server takes a colour by its place.
fn colour(name: &str, place: usize) -> String {
    match name {
        PORTOLAN_1 => "one".to_owned(),
        PORTOLAN_3 => "three".to_owned(),
        DOCKER_REGISTRY => "registry".to_owned(),
        super::push::WITH_SYNC => "synced".to_owned(),
        NGINX => "static".to_owned(),
        _ => format!("place{}", place % 3),
    }
}

/// One chart.
#[must_use]
pub fn bars(chart: &Chart) -> String {
    let all = chart.cases.iter().flat_map(|case| &case.bars);
    let most = all.flat_map(|bar| &bar.values).copied().chain(chart.goal).fold(f64::MIN_POSITIVE, f64::max);
    let alone = chart.cases.len() == 1;
    let height: f64 = chart.cases.iter().map(|case| case_height(case, alone)).sum::<f64>() + 4.0;
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {height:.0}\" role=\"img\" aria-label=\"{}, {}\">\n",
        escape(&chart.title),
        escape(chart.unit)
    );
    let _ = writeln!(svg, "<line class=\"axis\" x1=\"{LEFT}\" x2=\"{LEFT}\" y1=\"0\" y2=\"{height:.0}\"/>");
    if let Some(goal) = chart.goal {
        let x = LEFT + goal / most * LENGTH;
        let _ = writeln!(svg, "<line class=\"goal\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"0\" y2=\"{height:.0}\"/>");
    }
    let mut top = 0.0;
    for case in &chart.cases {
        draw_case(&mut svg, case, top, most, alone);
        top += case_height(case, alone);
    }
    svg + "</svg>\n"
}

fn case_height(case: &Case, alone: bool) -> f64 {
    case.bars.len() as f64 * STEP + if alone { GAP } else { HEAD + GAP }
}

fn draw_case(svg: &mut String, case: &Case, top: f64, most: f64, alone: bool) {
    let mut y = top + if alone { 4.0 } else { HEAD };
    if !alone {
        // Writing to a String cannot fail.
        let _ = writeln!(
            svg,
            "<text class=\"case\" x=\"{}\" y=\"{:.1}\">{}</text>",
            LEFT + 6.0,
            y - 7.0,
            escape(&case.name)
        );
    }
    for (place, bar) in case.bars.iter().enumerate() {
        draw_bar(svg, bar, y, most, &colour(&bar.name, place));
        y += STEP;
    }
}

fn draw_bar(svg: &mut String, bar: &Bar, y: f64, most: f64, colour: &str) {
    let x = |value: f64| LEFT + value / most * LENGTH;
    let (median, (low, high)) = (bar.median(), stats::range(&bar.values));
    let (middle, base) = (y + BAR / 2.0, y + BAR - 4.0);
    let _ = write!(
        svg,
        "<text class=\"name\" x=\"{:.1}\" y=\"{base:.1}\">{}</text><rect class=\"{colour}\" x=\"{LEFT}\" y=\"{y:.1}\" \
         width=\"{:.1}\" height=\"{BAR}\" rx=\"2\"><title>{}</title></rect>",
        LEFT - 8.0,
        escape(&bar.name),
        (x(median) - LEFT).max(1.0),
        escape(&bar.values.iter().map(|value| number(*value)).collect::<Vec<_>>().join(" · "))
    );
    if high > low {
        let (x1, x2, top, bottom) = (x(low), x(high), middle - 4.0, middle + 4.0);
        let _ = write!(
            svg,
            "<path class=\"whisker\" d=\"M{x1:.1} {middle:.1}H{x2:.1}M{x1:.1} {top:.1}V{bottom:.1}M{x2:.1} \
             {top:.1}V{bottom:.1}\"/>"
        );
    }
    let _ = writeln!(
        svg,
        "<text class=\"value\" x=\"{:.1}\" y=\"{base:.1}\">{}{}</text>",
        x(high.max(median)) + 8.0,
        if bar.values.is_empty() { "no result".to_owned() } else { number(median) },
        details(bar)
    );
}

/// What stands behind a bar's value.
fn details(bar: &Bar) -> String {
    let mut text = String::new();
    if !bar.p99_ms.is_empty() && bar.requests > bar.p99_ms.len() as u64 {
        let (p50, p99) = (stats::median(&bar.p50_ms), stats::median(&bar.p99_ms));
        let _ = write!(text, "<tspan class=\"more\" dx=\"8\">p50 {} · p99 {} ms</tspan>", number(p50), number(p99));
    }
    if bar.client_bound {
        text += "<tspan class=\"more\" dx=\"6\">◆<title>the load generator set the pace</title></tspan>";
    }
    if let Some(busy) = bar.busy().filter(|busy| *busy > BUSY) {
        let _ = write!(text, "<tspan class=\"more\" dx=\"6\">▲ {:.0} %", busy * 100.0);
        text += "<title>of all cores of the machine were busy: that may have set the pace</title></tspan>";
    }
    if bar.errors > 0 {
        let _ = write!(text, "<tspan class=\"wrong\" dx=\"8\">{} errors</tspan>", bar.errors);
    }
    text
}

/// A case of both Portolan and docker-registry: how many times better the first is.
pub struct Ratio {
    /// The chart's and the case's name.
    pub name: String,
    /// Above one when Portolan is better.
    pub times: f64,
}

/// Where both did the same in the same repetition.
#[must_use]
pub fn ratios(charts: &[Chart]) -> Vec<Ratio> {
    let mut found = Vec::new();
    for chart in charts {
        for case in &chart.cases {
            let (Some(ours), Some(theirs)) = (case.of(PORTOLAN_1), case.of(DOCKER_REGISTRY)) else { continue };
            let ratio = match chart.better {
                Better::Higher => stats::median_ratio(&ours.values, &theirs.values),
                Better::Lower => stats::median_ratio(&theirs.values, &ours.values),
            };
            let name =
                if chart.cases.len() == 1 { chart.title.clone() } else { format!("{}, {}", chart.title, case.name) };
            found.extend(ratio.filter(|times| times.is_finite() && *times > 0.0).map(|times| Ratio { name, times }));
        }
    }
    found
}

/// The ratios on a logarithmic scale around one.
#[must_use]
pub fn draw_ratios(ratios: &[Ratio]) -> String {
    const NAMES: f64 = 330.0;
    const SCALE: f64 = 440.0;
    let powers = || ratios.iter().map(|ratio| ratio.times.log2());
    let (lowest, highest) = (powers().fold(-1.0, f64::min).floor(), powers().fold(1.0, f64::max).ceil());
    let unit = SCALE / (highest - lowest);
    let centre = NAMES + 10.0 - lowest * unit;
    let height = ratios.len() as f64 * STEP + 26.0;
    let mut svg = format!("<svg viewBox=\"0 0 {WIDTH} {height:.0}\" role=\"img\" aria-label=\"ratios\">\n");
    // One label for each doubling has room while there are few.
    let step = ((highest - lowest) / 8.0).ceil().max(1.0);
    let mut power = (lowest / step).ceil() * step;
    while power <= highest {
        let (x, times) = (centre + power * unit, power.abs().exp2());
        let label = if power < 0.0 { format!("1/{times:.0}×") } else { format!("{times:.0}×") };
        let class = if power == 0.0 { "axis" } else { "grid" };
        let _ = writeln!(
            svg,
            "<line class=\"{class}\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"20\" y2=\"{height:.0}\"/>\
             <text class=\"tick\" x=\"{x:.1}\" y=\"13\">{label}</text>"
        );
        power += step;
    }
    for (place, ratio) in ratios.iter().enumerate() {
        let (y, end) = (24.0 + place as f64 * STEP, centre + ratio.times.log2() * unit);
        let (class, from) = if ratio.times >= 1.0 { ("better", centre) } else { ("worse", end) };
        let _ = writeln!(
            svg,
            "<text class=\"name\" x=\"{:.1}\" y=\"{:.1}\">{}</text><rect class=\"{class}\" x=\"{from:.1}\" y=\"{y:.1}\" \
             width=\"{:.1}\" height=\"{BAR}\" rx=\"2\"/><text class=\"value\" x=\"{:.1}\" y=\"{:.1}\">{}×</text>",
            NAMES - 8.0,
            y + BAR - 4.0,
            escape(&ratio.name),
            (end - centre).abs().max(1.0),
            NAMES + SCALE + 30.0,
            y + BAR - 4.0,
            number(ratio.times)
        );
    }
    svg + "</svg>\n"
}

/// Three digits that count, and a comma for each thousand.
#[must_use]
pub fn number(value: f64) -> String {
    let size = value.abs();
    let decimals = match size {
        _ if size >= 99.95 || size == 0.0 => 0,
        _ if size >= 9.995 => 1,
        _ if size >= 0.995 => 2,
        _ => 3,
    };
    let text = format!("{value:.decimals$}");
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let mut grouped = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && digit.is_ascii_digit() && (whole.len() - at).is_multiple_of(3) && !grouped.ends_with('-') {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped + rest
}

/// Text as HTML and SVG take it.
#[must_use]
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::{bars, draw_ratios, escape, number, ratios};
    use crate::compare::outcome::{Better, Chart};
    use crate::compare::target::{DOCKER_REGISTRY, PORTOLAN_1};

    fn chart(better: Better, ours: &[f64], theirs: &[f64]) -> Chart {
        let mut chart = Chart::new("x", "Reads <of> \"things\"".to_owned(), ("1/s", better), String::new());
        chart.bar("a & b", PORTOLAN_1).values = ours.to_vec();
        chart.bar("a & b", DOCKER_REGISTRY).values = theirs.to_vec();
        chart
    }

    #[test]
    fn numbers_have_three_digits_that_count() {
        for (value, want) in [
            (0.0, "0"),
            (0.123_4, "0.123"),
            (1.0, "1.00"),
            (12.345, "12.3"),
            (99.96, "100"),
            (1_234.5, "1,234"),
            (1_234_567.0, "1,234,567"),
            (-1_234.0, "-1,234"),
            (-123.0, "-123"),
        ] {
            assert_eq!(number(value), want, "{value}");
        }
    }

    #[test]
    fn the_longest_bar_fills_the_chart_and_whiskers_reach_from_least_to_most() {
        let svg = bars(&chart(Better::Higher, &[10.0, 20.0, 40.0], &[5.0]));
        assert!(svg.contains("width=\"215.0\""), "the median of 20 is half of 430: {svg}");
        assert!(svg.contains("M297.5 ") && svg.contains("H620.0"), "from 10 to 40: {svg}");
        assert_eq!(svg.matches("class=\"whisker\"").count(), 1, "one value has no whisker");
        assert!(svg.contains("width=\"53.8\""), "5 of 40: {svg}");
    }

    #[test]
    fn names_are_escaped() {
        let mut chart = chart(Better::Higher, &[1.0], &[1.0]);
        chart.bar("<second>", PORTOLAN_1).values = vec![1.0];
        let svg = bars(&chart);
        assert!(svg.contains("a &amp; b") && svg.contains("&lt;second&gt;"), "{svg}");
        assert!(!svg.contains("<second>") && svg.contains(&escape(&chart.title)), "{svg}");
    }

    #[test]
    fn a_case_without_a_result_says_so_and_errors_are_red() {
        let mut chart = chart(Better::Higher, &[], &[2.0]);
        chart.bar("a & b", PORTOLAN_1).errors = 3;
        let svg = bars(&chart);
        assert!(svg.contains("no result") && svg.contains("class=\"wrong\" dx=\"8\">3 errors"), "{svg}");
    }

    #[test]
    fn a_ratio_above_one_is_better_whichever_way_is_good() {
        let higher = ratios(&[chart(Better::Higher, &[8.0, 4.0], &[4.0, 1.0])]);
        assert_eq!(higher[0].times, 2.0, "pairs first, then their middle");
        let lower = ratios(&[chart(Better::Lower, &[4.0], &[2.0])]);
        assert_eq!(lower[0].times, 0.5);
        let svg = draw_ratios(&lower);
        assert!(svg.contains("class=\"worse\"") && svg.contains("0.500×"), "{svg}");
        assert!(ratios(&[chart(Better::Higher, &[], &[2.0])]).is_empty());
    }
}
