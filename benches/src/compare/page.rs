//! The result as one page with bars, without any script.

use super::Row;
use std::fmt::Write;

const BAR: f64 = 420.0;
const ROW: usize = 22;
const COLOURS: [&str; 4] = ["#1f6feb", "#58a6ff", "#8b949e", "#d29922"];

/// Draws a page: one chart per scenario, one bar per target, whiskers from the slowest to the fastest repetition.
#[must_use]
pub fn draw(rows: &[Row]) -> String {
    let mut page = String::from(
        "<!doctype html><meta charset=\"utf-8\"><title>Portolan beside others</title>\n\
         <style>body{font:14px system-ui;max-width:900px;margin:2em auto}h2{font-size:15px;margin:1.2em 0 .2em}\
         text{font:12px system-ui}td,th{text-align:right;padding:0 .6em}td:first-child{text-align:left}</style>\n\
         <h1>Portolan beside others</h1><p>Bars: the middle repetition. Thin lines: the slowest and the fastest. \
         CPU is the server's, for all repetitions; memory is its peak.</p>\n",
    );
    let mut from = 0;
    while from < rows.len() {
        let scenario = rows[from].scenario.as_str();
        let until = from + rows[from..].iter().take_while(|row| row.scenario == scenario).count();
        chart(&mut page, &rows[from..until]);
        from = until;
    }
    page
}

fn chart(page: &mut String, rows: &[Row]) {
    let most =
        rows.iter().flat_map(|row| &row.rates).fold(0.0_f64, |most, rate| most.max(*rate)).max(f64::MIN_POSITIVE);
    let x = |rate: f64| 150.0 + rate / most * BAR;
    // Writing to a String cannot fail.
    let _ = writeln!(page, "<h2>{} ({})</h2>", rows[0].scenario, rows[0].unit);
    let _ = writeln!(page, "<svg width=\"860\" height=\"{}\">", rows.len() * ROW);
    for (number, row) in rows.iter().enumerate() {
        let (top, colour) = (number * ROW, COLOURS[number % COLOURS.len()]);
        let (low, high) =
            row.rates.iter().fold((f64::MAX, 0.0_f64), |(low, high), rate| (low.min(*rate), high.max(*rate)));
        let middle = top + ROW / 2;
        let _ = writeln!(
            page,
            "<text x=\"0\" y=\"{}\">{}</text>\
             <rect x=\"150\" y=\"{}\" width=\"{:.1}\" height=\"{}\" fill=\"{colour}\"/>\
             <line x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{middle}\" y2=\"{middle}\" stroke=\"#000\"/>\
             <text x=\"{:.1}\" y=\"{}\">{:.1} · p50 {:.1} ms · p99 {:.1} ms · CPU {:.1} s · {:.0} MiB{}</text>",
            middle + 4,
            row.target,
            top + 3,
            row.median() / most * BAR,
            ROW - 6,
            x(low),
            x(high),
            x(high) + 8.0,
            middle + 4,
            row.median(),
            middle_of(&row.p50_ms),
            middle_of(&row.p99_ms),
            row.cpu_seconds,
            row.peak_mib,
            if row.errors > 0 { format!(" · {} ERRORS", row.errors) } else { String::new() },
        );
    }
    let _ = writeln!(page, "</svg>");
}

fn middle_of(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len().saturating_sub(1) / 2).copied().unwrap_or_default()
}
