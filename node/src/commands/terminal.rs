//! What is printed: tables, colours only where a person looks.

use super::top::words;
use crate::client::Report;
use crate::remarks::Remarks;
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use std::io::{self, IsTerminal, Write};

/// Whether colours are wanted: standard output is a terminal, and `NO_COLOR` is not set.
pub(crate) fn colours() -> bool {
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

/// A table with aligned columns and no lines.
pub(crate) fn table(heads: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(heads.iter().copied());
    table
}

/// Puts columns to the right, as numbers stand.
pub(crate) fn to_the_right(table: &mut Table, columns: impl IntoIterator<Item = usize>) {
    for column in columns {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

/// A table as a text, with its heads marked.
pub(crate) fn drawn(table: &Table) -> String {
    drawn_with(table, |_| false)
}

/// Likewise, with those of its rows marked, by their number, that need a look.
pub(crate) fn drawn_with(table: &Table, is_bad: impl Fn(usize) -> bool) -> String {
    let rows = table.trim_fmt();
    let mut lines = rows.lines();
    let mut text = paint(lines.next().unwrap_or_default(), Colour::Strong);
    for (row, line) in lines.enumerate() {
        text.push('\n');
        text.push_str(&if is_bad(row) { paint(line, Colour::Bad) } else { line.to_owned() });
    }
    text
}

/// Prints what a node told: its JSON, or a text for a person with the warnings below it.
///
/// # Errors
/// When standard output is closed.
pub(crate) fn tell<T>(report: &Report<T>, json: bool, text: impl FnOnce(&T) -> String) -> io::Result<()> {
    if json {
        return say(report.json.trim_end());
    }
    let warnings = warnings(&report.remarks);
    say(&if warnings.is_empty() { text(&report.told) } else { format!("{}\n\n{warnings}", text(&report.told)) })
}

/// What an answer warns of, a line each, with how old it is.
pub(crate) fn warnings(remarks: &Remarks) -> String {
    let age = remarks.stale_ms().map_or_else(String::new, |age| format!(" (confirmed {} ago)", words::age(age)));
    let mark = paint("warning:", Colour::Bad);
    let lines = remarks.warnings().into_iter().map(|warning| format!("{mark} {warning}{age}"));
    lines.collect::<Vec<_>>().join("\n")
}

/// Prints a line to standard output at once.
///
/// # Errors
/// When standard output is closed.
pub(crate) fn say(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

/// A text in a colour, where colours are wanted.
pub(crate) fn paint(text: &str, colour: Colour) -> String {
    if !colours() {
        return text.to_owned();
    }
    let code = match colour {
        Colour::Good => 32,
        Colour::Bad => 31,
        Colour::Quiet => 2,
        Colour::Strong => 1,
    };
    format!("\u{1b}[{code}m{text}\u{1b}[0m")
}

/// What a text means.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Colour {
    /// As it should be.
    Good,
    /// Needs a look.
    Bad,
    /// Beside the point.
    Quiet,
    /// The point.
    Strong,
}
