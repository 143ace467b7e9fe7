//! What is printed: tables, colours only where a person looks.

use comfy_table::{ContentArrangement, Table, presets};
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
