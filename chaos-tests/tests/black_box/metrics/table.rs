//! `deploy/METRICS.md`: the one table of all metrics.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// One row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Metric {
    /// `counter`, `gauge` or `histogram`.
    pub(crate) kind: String,
    /// The labels of every one of its series, `le` aside.
    pub(crate) labels: BTreeSet<String>,
    /// What its values count, unless it is plain things.
    pub(crate) unit: Option<String>,
    /// What it means: its `HELP`.
    pub(crate) meaning: String,
}

/// All of them, by name.
pub(crate) type Table = BTreeMap<String, Metric>;

/// A file of `deploy/`.
pub(crate) fn deploy(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(name)
}

/// Reads the table; panics with the line that is wrong.
pub(crate) fn read() -> Table {
    let text = std::fs::read_to_string(deploy("METRICS.md")).expect("deploy/METRICS.md");
    let from_the_head = text.lines().skip_while(|line| !line.starts_with("| Name "));
    let rows: Vec<&str> = from_the_head.take_while(|line| line.starts_with('|')).skip(2).collect();
    let mut table = Table::new();
    for row in &rows {
        assert_eq!(row.chars().count(), rows[0].chars().count(), "the table is not aligned: {row}");
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [name, kind, labels, unit, meaning] = cells[..] else { panic!("five cells expected: {row}") };
        let metric = Metric {
            kind: kind.to_owned(),
            labels: labels.split_whitespace().filter_map(quoted).collect(),
            unit: (unit != "–").then(|| unit.to_owned()),
            meaning: meaning.to_owned(),
        };
        let name = quoted(name).unwrap_or_else(|| panic!("a name in backquotes expected: {row}"));
        assert_eq!(table.insert(name, metric), None, "named twice: {row}");
    }
    table
}

fn quoted(text: &str) -> Option<String> {
    text.strip_prefix('`')?.strip_suffix('`').map(str::to_owned)
}
