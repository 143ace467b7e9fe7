//! The result as one page: no script, nothing loaded from elsewhere, light and dark. Pure.

use super::chart::{self, escape, number};
use super::outcome::{Bar, Better, Chart, Outcome};
use super::plot;
use std::fmt::Write;

const STYLE: &str = include_str!("page.css");

const LEGEND: [(&str, &str); 5] = [
    ("one", "Portolan, 1 node"),
    ("three", "Portolan, 3 nodes (all on this machine)"),
    ("registry", "docker-registry, file system"),
    ("synced", "docker-registry, then a sync of the disk"),
    ("static", "nginx, the same bytes as static files"),
];

/// Draws the page.
#[must_use]
pub fn draw(outcome: &Outcome) -> String {
    let title = escape(outcome.title);
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{title}</title>\n\
         <style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n\
         <p class=\"soft\">{}</p>\n<p>{}</p>\n",
        escape(&outcome.ended),
        escape(outcome.introduction)
    );
    // Writing to a String cannot fail.
    let _ = writeln!(page, "<div class=\"facts\">");
    for (word, value) in outcome.machine.iter().chain(&outcome.versions) {
        let _ = writeln!(page, "<div><span>{}</span><span>{}</span></div>", escape(word), escape(value));
    }
    for part in &outcome.parts {
        let (took, bound) = (minutes(part.seconds), minutes(part.bound_seconds));
        let _ = writeln!(page, "<div><span>{}</span><span>{took} of at most {bound}</span></div>", part.name);
    }
    let _ = writeln!(page, "</div>\n<pre>{}</pre>", escape(&outcome.command));
    list(&mut page, "What to know", &outcome.notes);
    let skipped: Vec<String> = outcome.parts.iter().flat_map(|part| part.skipped.iter().cloned()).collect();
    list(&mut page, "Left out", &skipped);
    let (far, near): (Vec<_>, Vec<_>) = outcome.charts.iter().partition(|chart| chart.scenario.starts_with("wan-"));
    let ratios = chart::ratios(&outcome.charts);
    if !ratios.is_empty() {
        let _ = writeln!(
            page,
            "<h2>At a glance</h2>\n<section><header><h3>Portolan with one node : docker-registry</h3>\
             <span class=\"unit\">to the right: Portolan is better</span></header>\n{}</section>",
            chart::draw_ratios(&ratios)
        );
    }
    if !near.is_empty() {
        let _ = writeln!(page, "<h2>On one machine</h2>\n<div class=\"legend\">");
        for (class, name) in LEGEND {
            let _ = writeln!(page, "<span><i class=\"{class}\"></i>{name}</span>");
        }
        let _ = writeln!(page, "</div>");
        near.iter().for_each(|chart| section(&mut page, chart));
    }
    if !far.is_empty() {
        let _ = writeln!(page, "<h2>Across regions, over an emulated WAN</h2>");
        far.iter().for_each(|chart| section(&mut page, chart));
    }
    page + "</main>\n</body>\n</html>\n"
}

fn list(page: &mut String, title: &str, sentences: &[String]) {
    if !sentences.is_empty() {
        let items: String = sentences.iter().map(|sentence| format!("<li>{}</li>\n", escape(sentence))).collect();
        let _ = writeln!(page, "<p><b>{title}</b></p>\n<ul>\n{items}</ul>");
    }
}

fn minutes(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    format!("{}:{:02} min", whole / 60, whole % 60)
}

fn section(page: &mut String, chart: &Chart) {
    let better = match chart.better {
        Better::Higher => "more is better",
        Better::Lower => "less is better",
    };
    let word = if chart.better == Better::Higher { "least" } else { "most" };
    let goal = chart.goal.map(|goal| format!("; goal: at {word} {}", number(goal))).unwrap_or_default();
    let _ = writeln!(
        page,
        "<section id=\"{}\"><header><h3>{}</h3><span class=\"unit\">{}, {better}{goal}</span></header>\n\
         <p class=\"note\">{}</p>\n{}{}{}</section>",
        chart.scenario,
        escape(&chart.title),
        escape(chart.unit),
        escape(&chart.note),
        chart::bars(chart),
        chart.plots.iter().map(plot::draw).collect::<String>(),
        table(chart)
    );
}

/// What the servers used. Charts whose bars come from another chart's loops have none.
fn table(chart: &Chart) -> String {
    let measured = |bar: &&Bar| bar.seconds > 0.0 || bar.errors > 0;
    if !chart.cases.iter().flat_map(|case| &case.bars).any(|bar| measured(&bar)) {
        return String::new();
    }
    let mut table = String::from(
        "<details><summary>CPU, memory, disk, errors</summary>\n<table><tr><th>load</th><th>server</th>\
         <th>server CPU</th><th>per request</th><th>per GiB</th><th>client CPU</th><th>router CPU</th>\
         <th>other CPU</th><th>machine busy</th><th>peak memory</th>\
         <th>written</th><th>requests</th><th>errors</th></tr>\n",
    );
    for case in &chart.cases {
        for bar in case.bars.iter().filter(measured) {
            let per = |count: f64, scale: f64, unit: &str| {
                if count > 0.0 {
                    format!("{} {unit}", number(bar.cpu_seconds / count * scale))
                } else {
                    "–".to_owned()
                }
            };
            let gib = bar.bytes as f64 / 1_073_741_824.0;
            let _ = writeln!(
                table,
                "<tr><td>{}</td><td>{}</td><td>{:.2} s</td><td>{}</td><td>{}</td><td>{:.2} s</td><td>{:.2} s</td>\
                 <td>{:.2} s</td><td>{}</td><td>{} MiB</td><td>{} MiB</td><td>{}</td>{}</tr>",
                escape(&case.name),
                escape(&bar.name),
                bar.cpu_seconds,
                per(bar.requests as f64, 1_000.0, "ms"),
                if gib > 0.01 { per(gib, 1.0, "s") } else { "–".to_owned() },
                bar.client_cpu_seconds,
                bar.router_cpu_seconds,
                bar.other_cpu_seconds,
                bar.busy().map_or_else(|| "–".to_owned(), |busy| format!("{:.0} %", busy * 100.0)),
                number(bar.peak_mib.round()),
                number(bar.written_mib),
                number(bar.requests as f64),
                errors(bar)
            );
        }
    }
    table + "</table></details>\n"
}

fn errors(bar: &Bar) -> String {
    match &bar.first_error {
        Some(first) => format!("<td class=\"wrong\" title=\"{0}\">{1}: {0}</td>", escape(first), bar.errors),
        None => format!("<td>{}</td>", bar.errors),
    }
}

#[cfg(test)]
mod tests {
    use super::{Better, Chart, Outcome, draw};
    use crate::compare::outcome::Part;
    use crate::compare::target::{DOCKER_REGISTRY, PORTOLAN_1};

    fn outcome() -> Outcome {
        let chart = |scenario, title: &str| {
            let mut chart = Chart::new(scenario, title.to_owned(), ("1/s", Better::Higher), "a note".to_owned());
            for (target, value) in [(PORTOLAN_1, 3_000.0), (DOCKER_REGISTRY, 1_500.0)] {
                let bar = chart.bar("a case", target);
                (bar.values, bar.seconds, bar.cpu_seconds, bar.requests) = (vec![value], 1.0, 0.5, 100);
            }
            chart
        };
        let mut charts = vec![chart("manifests", "Reads"), chart("wan-commit", "Commits")];
        let bar = charts[0].bar("a case", DOCKER_REGISTRY);
        (bar.errors, bar.first_error) = (2, Some("<500>".to_owned()));
        let part = Part { name: "loopback", seconds: 61.0, bound_seconds: 900.0, skipped: vec!["x & y".to_owned()] };
        Outcome {
            title: "A <title>",
            introduction: "How to read it.",
            ended: "today".to_owned(),
            command: "benches/compare --only tags".to_owned(),
            machine: vec![("CPU".to_owned(), "two <cores>".to_owned())],
            versions: vec![("nginx".to_owned(), "1".to_owned())],
            notes: vec!["docker-registry syncs no folder".to_owned()],
            parts: vec![part],
            charts,
        }
    }

    #[test]
    fn the_page_has_every_chart_the_machine_the_command_and_what_was_left_out() {
        let page = draw(&outcome());
        for part in [
            "<h3>Reads</h3>",
            "<h3>Commits</h3>",
            "3,000",
            "two &lt;cores&gt;",
            "benches/compare --only tags",
            "x &amp; y",
            "docker-registry syncs no folder",
            "1:01 min of at most 15:00 min",
            "5.00 ms",
            "2: &lt;500&gt;",
            "2.00×",
        ] {
            assert!(page.contains(part), "{part} is missing in {page}");
        }
        assert!(page.find("Across regions") > page.find("On one machine"));
    }

    #[test]
    fn the_page_loads_nothing_runs_nothing_and_closes_what_it_opens() {
        let page = draw(&outcome());
        for word in ["<script", "http://", "https://", "url(", "@import"] {
            assert!(!page.contains(word), "{word}");
        }
        for tag in ["section", "svg", "table", "div", "ul", "text", "details", "style", "main"] {
            let (opened, closed) =
                (page.matches(&format!("<{tag}")).count(), page.matches(&format!("</{tag}>")).count());
            assert_eq!(opened, closed, "{tag}");
        }
        assert!(page.contains("prefers-color-scheme: dark"));
    }
}
