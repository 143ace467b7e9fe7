//! The report as one page: nothing is loaded from elsewhere, light and dark, also for a phone. Every tag is closed, so that
//! it is XML as well.

use super::figures::{JSON, MOST_SECTIONS, Report};
use super::{spacetime, svg, tables, words};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use std::time::{Duration, UNIX_EPOCH};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// Draws the page.
#[must_use]
pub fn draw(report: &Report) -> String {
    let run = &report.run;
    let title = words::clean(&format!("{}, seed {}", run.scenario, run.seed));
    let verdict = report.verdict();
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                // Closed by hand: the template leaves void tags open, as HTML allows and XML does not.
                (PreEscaped("<meta charset=\"utf-8\"/>"))
                (PreEscaped("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>"))
                title { (verdict) ": " (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                main {
                    header class=(if report.held { "verdict held" } else { "verdict broken" }) {
                        h1 { (verdict) }
                        p { (title) }
                    }
                    (facts(report))
                    p class="soft" { "Run it again:" }
                    pre { (words::clean(&run.command)) }
                    h2 { "What happened" }
                    (svg::timeline(report))
                    h2 { "What each kind of fault did" }
                    (tables::impacts(report))
                    h2 { "What was judged" }
                    (tables::verdicts(report))
                    (violations(report))
                    footer class="soft" {
                        "The same figures for programs: " a href=(JSON) { (JSON) } "."
                    }
                }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    }
    .into_string()
}

fn facts(report: &Report) -> Markup {
    let (run, counts) = (&report.run, &report.counts);
    let failed = |failed, all| {
        format!("{}, failed: {} ({})", words::count(all), words::count(failed), words::share(failed, all))
    };
    let lost = match report.lost {
        None => "not looked at".to_owned(),
        Some(0) => "none".to_owned(),
        Some(lost) => words::many(lost, "acknowledged write", "acknowledged writes"),
    };
    let mut regions: Vec<&str> = report.nodes.iter().map(|node| node.region.as_str()).collect();
    regions.dedup();
    let nodes = format!(
        "{}: {} in {}",
        run.topology,
        words::many(report.nodes.len(), "node", "nodes"),
        if regions.is_empty() { "no region".to_owned() } else { regions.join(", ") }
    );
    let began = UNIX_EPOCH + Duration::from_secs(run.began_unix.min(LAST_YEAR));
    let facts = [
        ("scenario", run.scenario.clone()),
        ("seed", run.seed.to_string()),
        ("length", words::duration(run.length)),
        ("faults", words::many(report.events.len(), "fault", "faults")),
        ("calls", words::count(counts.calls)),
        ("lost", lost),
        ("pulls", failed(counts.failed_pulls, counts.pulls)),
        ("pushes", failed(counts.failed_pushes, counts.pushes)),
        ("topology", nodes),
        ("began", humantime::format_rfc3339_seconds(began).to_string().replace('T', " ").replace('Z', " UTC")),
        ("version", run.version.clone()),
    ];
    html! {
        div class="facts" {
            @for (name, value) in facts {
                div { span { (name) } span { (words::clean(&value)) } }
            }
        }
    }
}

/// The end of the year 9999, the last that dates are written for.
const LAST_YEAR: u64 = 253_402_300_799;

fn violations(report: &Report) -> Markup {
    let all = &report.run.violations;
    html! {
        @if !all.is_empty() {
            h2 { "What was broken" }
        }
        @for (place, violation) in all.iter().take(MOST_SECTIONS).enumerate() {
            section id=(format!("violation-{}", place + 1)) class="violation" {
                h3 {
                    (place + 1) ". " (words::clean(&violation.invariant)) " "
                    span class="unit" { "seen at " (words::moment(violation.at)) }
                }
                p { (words::clean(&violation.what)) }
                (spacetime::draw(report, &violation.records))
                (tables::calls(report, &violation.records))
            }
        }
        @if all.len() > MOST_SECTIONS {
            p { "The other " (words::count(all.len() - MOST_SECTIONS)) " are in the figures beside this page." }
        }
    }
}
