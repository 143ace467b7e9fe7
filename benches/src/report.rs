//! Figures and how they are shown.

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

/// One measured quantity over its repetitions.
#[derive(Debug, Serialize)]
pub struct Figure {
    /// What was measured.
    pub name: String,
    /// In which unit.
    pub unit: &'static str,
    /// Every repetition, in order.
    pub values: Vec<f64>,
}

/// All figures of a run.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// In the order of measuring.
    pub figures: Vec<Figure>,
}

impl Report {
    /// Adds a figure.
    pub fn add(&mut self, name: impl Into<String>, unit: &'static str, values: Vec<f64>) {
        self.figures.push(Figure { name: name.into(), unit, values });
    }

    /// Adds the ratio of two series, pair by pair: both were measured in turn in the same run.
    pub fn add_ratio(&mut self, name: impl Into<String>, ours: &[f64], theirs: &[f64]) {
        let ratios = ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs).collect();
        self.add(name, "ratio", ratios);
    }

    /// Prints the table.
    pub fn print(&self) {
        let mut table = Table::new();
        table.load_preset(presets::UTF8_HORIZONTAL_ONLY).set_header(["figure", "unit", "min", "median", "max", "runs"]);
        for figure in &self.figures {
            let mut sorted = figure.values.clone();
            sorted.sort_by(f64::total_cmp);
            let at = |index: usize| sorted.get(index).map_or_else(String::new, |value| format!("{value:.2}"));
            let last = sorted.len().saturating_sub(1);
            let row =
                [figure.name.clone(), figure.unit.to_owned(), at(0), at(last / 2), at(last), sorted.len().to_string()];
            table.add_row(row);
        }
        for column in 2..6 {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        #[expect(clippy::print_stdout, reason = "the table is what these programs are for")]
        {
            println!("{table}");
        }
    }
}
