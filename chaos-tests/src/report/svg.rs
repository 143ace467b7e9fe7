//! The timeline: charts, leaders, faults and violations over one time axis, one above the other, so that cause and effect
//! line up.
//!
//! Widths are percentages and heights pixels, so that it fills a screen of any width and its words keep their size.

use super::lane::{Lane, kind_class, percent, region_class};
use super::{curves, figures::MOST_SECTIONS, figures::Report, words};
use crate::history::Micros;
use maud::{Markup, PreEscaped, html};
use serde_json::json;

/// More marks than this would hide each other.
const MOST_MARKS: usize = 200;

/// How wide a plot is on a desk and on a phone, in pixels, and how wide a letter: what is too narrow for its words goes
/// without.
const DESK: f64 = 850.0;
const PHONE: f64 = 250.0;
const LETTER: f64 = 6.4;

/// The height of a lane of bands.
const BAND: usize = 22;

/// Draws the timeline.
#[must_use]
pub(super) fn timeline(report: &Report) -> Markup {
    let lanes = [
        curves::throughput(report, "Pulls", "pulls", &report.series.pulls),
        curves::throughput(report, "Pushes", "pushes", &report.series.pushes),
        curves::latency(report, "Latency of pulls", |region| &region.pulls),
        curves::latency(report, "Latency of writes", |region| &region.writes),
        curves::failures(report),
    ];
    html! {
        div id="timeline" class="timeline" {
            p id="readout" class="readout" { "Point at a moment to read it." }
            div class="charts" {
                div class="over" {
                    svg class="shades" { (shades(report)) }
                    div id="cursor" class="cursor" hidden="hidden" {}
                }
                @for lane in lanes { (lane.draw()) }
                (leaders(report).draw())
                @if !report.events.is_empty() { (faults(report).draw()) }
                @if !report.held { (violations(report).draw()) }
                div class="row" { svg class="gutter" height="20" {} svg class="plot" height="20" { (clock(report)) } }
            }
            script type="application/json" id="steps" { (PreEscaped(steps(report))) }
        }
    }
}

/// When each tick of the time axis is, and where.
fn ticks(report: &Report) -> Vec<(Micros, f64)> {
    const APART: [u64; 15] = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 14_400];
    let span = report.series.span.0;
    let apart = APART.iter().map(|seconds| seconds * 1_000_000).find(|apart| span / apart <= 8).unwrap_or(span / 8);
    (0..=span / apart).map(|tick| Micros(tick * apart)).map(|at| (at, report.series.place(at))).collect()
}

fn clock(report: &Report) -> Markup {
    html! {
        @for (place, (at, x)) in ticks(report).into_iter().enumerate() {
            @let side = if x == 0.0 { "start" } else if x > 0.97 { "end" } else { "middle" };
            text class=(format!("tick {side}{}", if place % 2 == 1 { " odd" } else { "" })) x=(percent(x)) y="14" {
                (words::clock(at))
            }
        }
    }
}

/// What goes through all lanes.
fn shades(report: &Report) -> Markup {
    html! {
        @for event in &report.events {
            @let (x, width) = extent(report, event.begin, event.end);
            rect class=(kind_class(report, &event.kind)) x=(percent(x)) width=(percent(width)) y="0" height="100%" {}
        }
        @for (_, x) in ticks(report) {
            line class="grid" x1=(percent(x)) x2=(percent(x)) y1="0" y2="100%" {}
        }
        @for violation in report.run.violations.iter().take(MOST_MARKS) {
            @let x = percent(report.series.place(violation.at));
            line class="violation" x1=(x) x2=(x) y1="0" y2="100%" {}
        }
    }
}

/// Where something begins, and how wide it is.
fn extent(report: &Report, begin: Micros, end: Option<Micros>) -> (f64, f64) {
    let x = report.series.place(begin);
    let end = end.map_or(1.0, |end| report.series.place(end));
    (x, (end - x).max(0.0))
}

/// A band with its words inside, where it has room for them.
fn band(class: &str, (x, width): (f64, f64), lane: usize, label: &str, hover: &str) -> Markup {
    let needed = label.chars().count() as f64 * LETTER + 10.0;
    let y = lane * BAND + 3;
    html! {
        g {
            title { (words::clean(hover)) }
            rect class=(format!("band {class}")) x=(percent(x)) width=(percent(width)) y=(y) height=(BAND - 6) rx="3" {}
            @if needed <= width * DESK {
                text class=(if needed <= width * PHONE { "inside" } else { "inside desk" }) x=(percent(x)) dx="5" y=(y + 12) {
                    (words::clean(label))
                }
            }
        }
    }
}

fn leaders(report: &Report) -> Lane {
    let mut reigns: Vec<(Micros, Micros, Option<usize>)> = Vec::new();
    for (place, (at, leader)) in report.run.leaders.iter().enumerate() {
        let until = report.run.leaders.get(place + 1).map_or(report.series.span, |(next, _)| *next);
        match reigns.last_mut() {
            Some(last) if last.2 == *leader => last.1 = until,
            _ => reigns.push((*at, until, *leader)),
        }
    }
    let plot = html! {
        @for (at, until, leader) in &reigns {
            @let extent = extent(report, *at, Some(*until));
            @let when = format!("from {} to {}", words::moment(*at), words::moment(*until));
            @match leader {
                Some(node) => {
                    @let name = report.node(*node);
                    (band(&region_class(report, *node), extent, 0, &name, &format!("{name} leads {when}")))
                }
                None => (band("nobody", extent, 0, "nobody", &format!("nobody leads {when}"))),
            }
        }
    };
    let changes = reigns.iter().filter(|(_, _, leader)| leader.is_some()).count().saturating_sub(1);
    let unit = format!("{}, coloured by region", words::many(changes, "change", "changes"));
    let gutter = html! { text x="100%" dx="-8" y="15" { "leader" } };
    Lane { title: "Who leads", unit, legend: Vec::new(), height: BAND, gutter, plot }
}

fn faults(report: &Report) -> Lane {
    let kinds: Vec<&str> = report.impacts.iter().map(|impact| impact.kind.as_str()).collect();
    let gutter = html! {
        @for (lane, kind) in kinds.iter().enumerate() {
            text x="100%" dx="-8" y=(lane * BAND + 15) { (words::clean(kind)) }
        }
    };
    let plot = html! {
        @for event in &report.events {
            @let lane = kinds.iter().position(|kind| *kind == event.kind).unwrap_or_default();
            @let target = event.fault.strip_prefix(&event.kind).unwrap_or(&event.fault).trim();
            @let label = if target.is_empty() { &event.fault } else { target };
            @let until = event.end.map_or("the end".to_owned(), words::moment);
            @let hover = format!("{} from {} to {until}", event.fault, words::moment(event.begin));
            (band(&kind_class(report, &event.kind), extent(report, event.begin, event.end), lane, label, &hover))
        }
    };
    let unit = words::many(report.events.len(), "fault", "faults");
    Lane { title: "Faults", unit, legend: Vec::new(), height: kinds.len() * BAND, gutter, plot }
}

fn violations(report: &Report) -> Lane {
    let gutter = html! { text x="100%" dx="-8" y="15" { "violated" } };
    let plot = html! {
        @for (place, violation) in report.run.violations.iter().take(MOST_MARKS).enumerate() {
            @let hover = format!("{}: {} (at {})", violation.invariant, violation.what, words::moment(violation.at));
            @let mark = html! {
                title { (words::clean(&hover)) }
                svg class="mark" x=(percent(report.series.place(violation.at))) y="11" { path d="M0-8 8 0 0 8-8 0Z" {} }
            };
            @if place < MOST_SECTIONS {
                a href=(format!("#violation-{}", place + 1)) { (mark) }
            } @else {
                g { (mark) }
            }
        }
    };
    let unit = "each mark leads to its section".to_owned();
    Lane { title: "Violations", unit, legend: Vec::new(), height: BAND, gutter, plot }
}

/// Every step in words, as JSON that may stand in a page.
fn steps(report: &Report) -> String {
    let series = &report.series;
    let words: Vec<String> = (0..series.pulls.len()).map(|step| step_in_words(report, step)).collect();
    let text = json!(words).to_string();
    // A page must not read what stands in it as tags, nor an XML reader as entities.
    text.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}

fn step_in_words(report: &Report, step: usize) -> String {
    let series = &report.series;
    let (from, until) = (Micros(step as u64 * series.step.0), Micros((step as u64 + 1) * series.step.0));
    let rate = |count: u32| curves::figure(series.per_second(count));
    let mut parts = vec![
        words::clock(from),
        format!("{} pulls/s", rate(series.pulls[step])),
        format!("{} pushes/s", rate(series.pushes[step])),
    ];
    for region in &series.regions {
        if let (Some(p50), Some(p99)) = (region.pulls.p50[step], region.pulls.p99[step]) {
            let times = [p50, p99].map(|micros| words::duration(Micros(micros)));
            parts.push(format!("{}: pulls {} / {}", region.region, times[0], times[1]));
        }
    }
    for (failure, counts) in series.failures.iter().filter(|(_, counts)| counts[step] > 0) {
        parts.push(format!("{} × {}", counts[step], failure.name()));
    }
    if let Some((_, leader)) = report.run.leaders.iter().rev().find(|(at, _)| *at < until) {
        parts.push(leader.map_or_else(|| "nobody leads".to_owned(), |node| format!("{} leads", report.node(node))));
    }
    let broken = report.events.iter().filter(|event| event.begin < until && event.end.is_none_or(|end| end > from));
    parts.extend(broken.map(|event| event.fault.clone()));
    words::clean(&parts.join(" · "))
}
