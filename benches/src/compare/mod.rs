//! One load, several servers: every scenario runs against each target in turn, repetition by repetition, so that what
//! the machine does meanwhile hits all of them alike. In reading order: [`target`] starts the servers, [`load`] runs a
//! closed loop against one of them, [`read`], [`push`] and [`listing`] are the scenarios, [`page`] draws the result.

pub mod listing;
pub mod load;
pub mod page;
pub mod push;
pub mod read;
pub mod target;

use crate::report::Report;
use indicatif::{ProgressBar, ProgressStyle};
use load::Sample;
use serde::Serialize;
use target::Target;

/// How much is run.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Repetitions of every measurement.
    pub repetitions: usize,
    /// How long one closed loop of reads lasts, in milliseconds.
    pub window_ms: u64,
    /// The largest blob, in MiB.
    pub largest_mib: u64,
    /// How many tags are listed.
    pub tags: usize,
    /// How many images of five layers are pushed.
    pub images: usize,
}

/// One scenario at one target, over its repetitions.
#[derive(Debug, Serialize)]
pub struct Row {
    /// What was done.
    pub scenario: String,
    /// By whom.
    pub target: &'static str,
    /// The unit of the rates.
    pub unit: &'static str,
    /// One rate per repetition.
    pub rates: Vec<f64>,
    /// Latency of the middle request, in milliseconds, per repetition.
    pub p50_ms: Vec<f64>,
    /// Latency that one request in a hundred exceeds, in milliseconds, per repetition.
    pub p99_ms: Vec<f64>,
    /// Requests that failed or gave wrong bytes, all repetitions together.
    pub errors: u64,
    /// The server's CPU seconds, all repetitions together.
    pub cpu_seconds: f64,
    /// The server's peak memory, in MiB.
    pub peak_mib: f64,
    /// What the server sent to the disk, in MiB.
    pub written_mib: f64,
}

impl Row {
    fn new(scenario: &str, target: &'static str, unit: &'static str) -> Self {
        Self {
            scenario: scenario.to_owned(),
            target,
            unit,
            rates: Vec::new(),
            p50_ms: Vec::new(),
            p99_ms: Vec::new(),
            errors: 0,
            cpu_seconds: 0.0,
            peak_mib: 0.0,
            written_mib: 0.0,
        }
    }

    fn add(&mut self, sample: &Sample) {
        self.rates.push(sample.rate(self.unit));
        self.p50_ms.push(sample.latency_ms(50));
        self.p99_ms.push(sample.latency_ms(99));
        self.errors += sample.errors;
        self.cpu_seconds += sample.cpu_seconds;
        self.peak_mib = self.peak_mib.max(sample.peak_mib);
        self.written_mib += sample.written_mib;
    }

    /// The rate of the middle repetition.
    #[must_use]
    pub fn median(&self) -> f64 {
        let mut sorted = self.rates.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len().saturating_sub(1) / 2).copied().unwrap_or_default()
    }
}

/// Collects rows, repetition by repetition, target by target.
pub struct Comparison {
    rows: Vec<Row>,
    bar: ProgressBar,
}

impl Comparison {
    /// Nothing measured yet; `steps` is for the progress bar.
    #[must_use]
    pub fn new(steps: u64) -> Self {
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {elapsed} {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        Self { rows: Vec::new(), bar: ProgressBar::new(steps).with_style(style) }
    }

    /// Says what is being measured.
    pub fn announce(&self, scenario: &str, target: &Target) {
        self.bar.set_message(format!("{scenario} · {}", target.name));
    }

    /// Takes one measurement.
    pub fn add(&mut self, scenario: &str, target: &Target, unit: &'static str, sample: &Sample) {
        self.bar.inc(1);
        let known = self.rows.iter().position(|row| row.scenario == scenario && row.target == target.name);
        let row = known.unwrap_or_else(|| {
            self.rows.push(Row::new(scenario, target.name, unit));
            self.rows.len() - 1
        });
        self.rows[row].add(sample);
    }

    /// All rows, in the order of measuring.
    #[must_use]
    pub fn finish(self) -> Vec<Row> {
        self.bar.finish_and_clear();
        self.rows
    }
}

/// The rows as a table of rates, with the ratio of Portolan to docker-registry where both did the same.
#[must_use]
pub fn summary(rows: &[Row]) -> Report {
    let mut report = Report::default();
    for row in rows {
        report.add(format!("{} · {}", row.scenario, row.target), row.unit, row.rates.clone());
        let theirs =
            rows.iter().find(|other| other.scenario == row.scenario && other.target == target::DOCKER_REGISTRY);
        if let Some(theirs) = theirs.filter(|_| row.target == target::PORTOLAN_1) {
            report.add_ratio(format!("{} · portolan / docker-registry", row.scenario), &row.rates, &theirs.rates);
        }
    }
    report
}
