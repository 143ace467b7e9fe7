//! The summary of a run for a terminal.

use super::figures::Report;
use super::words;
use anstyle::{AnsiColor, Style};
use comfy_table::{CellAlignment, Table, presets};
use std::fmt::Write;

/// More violations than this would push the verdict out of sight; the page has them.
const MOST_VIOLATIONS: usize = 5;

const GOOD: Style = AnsiColor::Green.on_default().bold();
const BAD: Style = AnsiColor::Red.on_default().bold();
const SOFT: Style = Style::new().dimmed();

/// Prints the summary: with colours on a terminal, and as the environment asks for (`NO_COLOR`, `CLICOLOR_FORCE`).
pub fn print(report: &Report) {
    anstream::print!("{}", summary(report));
}

/// The summary with its colours; give it to `anstream`, which takes them away where they do not belong.
#[must_use]
pub fn summary(report: &Report) -> String {
    let (run, counts) = (&report.run, &report.counts);
    let mut text = format!("\n{}\n", painted(if report.held { GOOD } else { BAD }, &report.verdict()));
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "{}, seed {}, {}: {} ({} failed pulls, {} failed pushes), {}\n",
        words::clean(&run.scenario),
        run.seed,
        words::duration(run.length),
        words::many(counts.calls, "call", "calls"),
        words::count(counts.failed_pulls),
        words::count(counts.failed_pushes),
        words::many(report.events.len(), "fault", "faults"),
    );
    if !report.impacts.is_empty() {
        let _ = writeln!(text, "{}\n", impacts(report));
    }
    if !report.verdicts().is_empty() {
        let _ = writeln!(text, "{}\n", verdicts(report));
    }
    for violation in report.run.violations.iter().take(MOST_VIOLATIONS) {
        let what =
            words::clean(&format!("{} at {}: {}", violation.invariant, words::moment(violation.at), violation.what));
        let _ = writeln!(text, "{}", painted(BAD, &what));
        for record in &violation.records {
            let line = format!(
                "  {} to {}  client {} at {}: {}: {}",
                words::moment(record.start),
                words::moment(record.end),
                record.client,
                report.node(record.node),
                super::calls::asked(&record.call),
                super::calls::answered(record)
            );
            let _ = writeln!(text, "{}", words::clean(&line));
        }
    }
    if report.run.violations.len() > MOST_VIOLATIONS {
        let _ = writeln!(text, "and {} more", words::count(report.run.violations.len() - MOST_VIOLATIONS));
    }
    let _ = writeln!(text, "{} {}", painted(SOFT, "replay:"), words::clean(&run.command));
    text
}

fn painted(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

fn impacts(report: &Report) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header([
        "fault",
        "times",
        "failed pulls",
        "failed pushes",
        "gap, pulls",
        "gap, writes",
        "writes back",
        "lost",
    ]);
    for impact in &report.impacts {
        let row = [
            impact.kind.clone(),
            words::count(impact.times),
            words::count(impact.failed_pulls),
            words::count(impact.failed_pushes),
            impact.pull_gap.in_words(),
            impact.write_gap.in_words(),
            impact.back_in_words(),
            impact.lost_in_words(),
        ];
        table.add_row(row.map(|cell| words::clean(&cell)));
    }
    let calm = &report.calm;
    table.add_row([
        calm.kind.clone(),
        String::new(),
        words::count(calm.failed_pulls),
        words::count(calm.failed_pushes),
        calm.pull_gap.in_words(),
        calm.write_gap.in_words(),
    ]);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let lost = |line: usize| report.impacts.get(line).is_some_and(|impact| impact.lost.is_some_and(|lost| lost > 0));
    lines(&table, |line| if line == 0 { Some(SOFT) } else { lost(line - 1).then_some(BAD) })
}

fn verdicts(report: &Report) -> String {
    let verdicts = report.verdicts();
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(["invariant", "promise", "verdict", "calls judged"]);
    for (judged, times) in &verdicts {
        let verdict = match times {
            // What looked at nothing has shown nothing.
            0 if judged.calls == 0 => "nothing to judge".to_owned(),
            0 => "held".to_owned(),
            times => format!("broken {times} ×"),
        };
        let row = [judged.invariant.clone(), judged.promise.clone(), verdict, words::count(judged.calls)];
        table.add_row(row.map(|cell| words::clean(&cell)));
    }
    if let Some(column) = table.column_mut(3) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let broken = |line: usize| verdicts.get(line).is_some_and(|(_, times)| *times > 0);
    lines(&table, |line| if line == 0 { Some(SOFT) } else { broken(line - 1).then_some(BAD) })
}

/// A table whose lines are coloured. Colours go around whole lines, so that they do not count as width; a line is a row, as
/// no cell has a line break.
fn lines(table: &Table, style: impl Fn(usize) -> Option<Style>) -> String {
    let text = table.to_string();
    let lines = text.lines().enumerate().map(|(place, line)| {
        let line = line.trim_end();
        style(place).map_or_else(|| line.to_owned(), |style| painted(style, line))
    });
    lines.collect::<Vec<_>>().join("\n")
}
