//! What a run gives: charts of cases of bars, as the page draws them and as they go into the JSON.

use super::load::Sample;
use super::stats;
use serde::Serialize;

/// Everything about a run.
#[derive(Debug, Serialize)]
pub struct Outcome {
    /// What the page is called.
    pub title: &'static str,
    /// How to read it.
    pub introduction: &'static str,
    /// When it ended, in UTC.
    pub ended: String,
    /// The command that gives it again.
    pub command: String,
    /// The machine, as pairs of a word and what it is.
    pub machine: Vec<(String, String)>,
    /// Programs and their versions.
    pub versions: Vec<(String, String)>,
    /// What a reader has to know, in sentences.
    pub notes: Vec<String>,
    /// How long the parts took and what was left out.
    pub parts: Vec<Part>,
    /// What was measured.
    pub charts: Vec<Chart>,
}

/// A part of the run: on loopback, or over the emulated WAN.
#[derive(Debug, Serialize)]
pub struct Part {
    /// Its name.
    pub name: &'static str,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// How long it may take, in seconds.
    pub bound_seconds: f64,
    /// Why it, or something of it, was left out.
    pub skipped: Vec<String>,
}

/// Which way is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Better {
    /// Rates.
    Higher,
    /// Times.
    Lower,
}

/// Measurements in one unit that belong together.
#[derive(Debug, Serialize)]
pub struct Chart {
    /// The scenario's name, as `--only` takes it.
    pub scenario: &'static str,
    /// What is measured.
    pub title: String,
    /// In which unit.
    pub unit: &'static str,
    /// Which way is good.
    pub better: Better,
    /// How it is measured, in sentences.
    pub note: String,
    /// What is aimed at, in the same unit.
    pub goal: Option<f64>,
    /// The cases, in the order of measuring.
    pub cases: Vec<Case>,
    /// What went on during one repetition.
    pub plots: Vec<Plot>,
}

/// Something over time, drawn below the bars.
#[derive(Debug, Default, Serialize)]
pub struct Plot {
    /// What and when.
    pub title: String,
    /// What is on the horizontal axis, with its unit.
    pub across: &'static str,
    /// What is on the vertical axis, with its unit.
    pub up: &'static str,
    /// Moments that explain it, and what they are.
    pub marks: Vec<(f64, String)>,
    /// The lines.
    pub lines: Vec<Line>,
}

/// One line of a plot.
#[derive(Debug, Default, Serialize)]
pub struct Line {
    /// What it is.
    pub name: String,
    /// Whether its points are joined; else each stands for itself.
    pub joined: bool,
    /// The points.
    pub points: Vec<(f64, f64)>,
}

/// One load.
#[derive(Debug, Serialize)]
pub struct Case {
    /// Which.
    pub name: String,
    /// What each target did.
    pub bars: Vec<Bar>,
}

/// One target under one load, over the repetitions.
#[derive(Debug, Default, Serialize)]
pub struct Bar {
    /// The target.
    pub name: String,
    /// One value for each repetition.
    pub values: Vec<f64>,
    /// Latency that half of the requests do not exceed, in milliseconds, for each repetition.
    pub p50_ms: Vec<f64>,
    /// Latency that 99 of 100 requests do not exceed, in milliseconds, for each repetition.
    pub p99_ms: Vec<f64>,
    /// Requests that were answered, all repetitions together.
    pub requests: u64,
    /// Bytes that were moved, all repetitions together.
    pub bytes: u64,
    /// Requests that failed or gave wrong bytes, all repetitions together.
    pub errors: u64,
    /// What the first of them said.
    pub first_error: Option<String>,
    /// How long was measured, in seconds, all repetitions together.
    pub seconds: f64,
    /// The server's CPU seconds, all its processes and all repetitions together.
    pub cpu_seconds: f64,
    /// The load generator's CPU seconds meanwhile.
    pub client_cpu_seconds: f64,
    /// Those of the emulated WAN's router.
    pub router_cpu_seconds: f64,
    /// Those of everything else on the machine, the kernel's own included.
    pub other_cpu_seconds: f64,
    /// The seconds that all cores of the machine had together.
    pub core_seconds: f64,
    /// The peak memory of the server's largest process, in MiB.
    pub peak_mib: f64,
    /// What the server sent to the disk, in MiB, all repetitions together.
    pub written_mib: f64,
    /// Whether the load generator, rather than the server, had the larger part of a busy machine.
    pub client_bound: bool,
}

impl Bar {
    /// Nothing measured yet.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// Takes what one repetition gave.
    pub fn add(&mut self, value: f64, sample: &Sample, cores: usize) {
        let latencies: Vec<f64> = sample.latencies_ms().collect();
        if !latencies.is_empty() {
            self.values.push(value);
            self.p50_ms.push(stats::percentile(&latencies, 50));
            self.p99_ms.push(stats::percentile(&latencies, 99));
        } else if sample.bytes > 0 {
            self.values.push(value);
        }
        self.requests += latencies.len() as u64;
        self.bytes += sample.bytes;
        self.errors += sample.errors;
        self.first_error = self.first_error.take().or_else(|| sample.first_error.clone());
        self.seconds += sample.seconds;
        self.cpu_seconds += sample.usage.cpu_seconds;
        self.client_cpu_seconds += sample.client_cpu_seconds;
        self.peak_mib = self.peak_mib.max(sample.usage.peak_mib);
        self.written_mib += sample.usage.written_mib;
        self.core_seconds += sample.seconds * cores as f64;
        self.client_bound = is_client_bound(self.core_seconds, self.cpu_seconds, self.client_cpu_seconds);
    }

    /// The share of the machine's cores that was used, as far as it was counted.
    #[must_use]
    pub fn busy(&self) -> Option<f64> {
        let used = self.cpu_seconds + self.client_cpu_seconds + self.router_cpu_seconds + self.other_cpu_seconds;
        (self.core_seconds > 0.0).then(|| used / self.core_seconds)
    }

    /// The middle repetition.
    #[must_use]
    pub fn median(&self) -> f64 {
        stats::median(&self.values)
    }
}

/// Whether a load generator that shares its cores with the server was what set the pace: the machine had little idle
/// time, and most of the work was the load generator's.
fn is_client_bound(core_seconds: f64, server: f64, client: f64) -> bool {
    const BUSY: f64 = 0.8;
    server + client > BUSY * core_seconds && client > server
}

impl Chart {
    /// A chart with nothing on it.
    #[must_use]
    pub fn new(scenario: &'static str, title: String, (unit, better): (&'static str, Better), note: String) -> Self {
        Self { scenario, title, unit, better, note, goal: None, cases: Vec::new(), plots: Vec::new() }
    }

    /// The bar of a case and a target, made when it is not there.
    pub fn bar(&mut self, case: &str, target: &str) -> &mut Bar {
        let at = self.cases.iter().position(|known| known.name == case).unwrap_or_else(|| {
            self.cases.push(Case { name: case.to_owned(), bars: Vec::new() });
            self.cases.len() - 1
        });
        self.cases[at].bar(target)
    }
}

impl Case {
    fn bar(&mut self, target: &str) -> &mut Bar {
        let at = self.bars.iter().position(|known| known.name == target).unwrap_or_else(|| {
            self.bars.push(Bar::new(target));
            self.bars.len() - 1
        });
        &mut self.bars[at]
    }

    /// A target's bar.
    #[must_use]
    pub fn of(&self, target: &str) -> Option<&Bar> {
        self.bars.iter().find(|bar| bar.name == target)
    }
}

#[cfg(test)]
mod tests {
    use super::{Bar, Better, Chart, is_client_bound};
    use crate::compare::load::Sample;

    #[test]
    fn a_busy_load_generator_on_a_busy_machine_is_told() {
        for (server, client, want) in [(0.5, 1.4, true), (1.4, 0.5, false), (0.1, 0.9, false), (1.0, 0.9, false)] {
            assert_eq!(is_client_bound(2.0, server, client), want, "server {server}, client {client}");
        }
    }

    #[test]
    fn bars_are_found_again_and_keep_the_order_of_measuring() {
        let mut chart = Chart::new("x", String::new(), ("1/s", Better::Higher), String::new());
        for target in ["a", "b", "b", "a"] {
            chart.bar("first", target).requests += 1;
        }
        chart.bar("second", "b").requests += 1;
        let counts: Vec<_> = chart.cases[0].bars.iter().map(|bar| (bar.name.as_str(), bar.requests)).collect();
        assert_eq!(counts, [("a", 2), ("b", 2)]);
        assert_eq!(chart.cases.len(), 2);
        assert!(chart.cases[1].of("a").is_none());
    }

    #[test]
    fn a_repetition_in_which_everything_failed_counts_its_errors_and_has_no_rate() {
        let mut bar = Bar::new("a");
        bar.add(0.0, &Sample { errors: 3, first_error: Some("gone".to_owned()), ..Sample::default() }, 2);
        assert_eq!((bar.values.len(), bar.errors, bar.first_error.as_deref()), (0, 3, Some("gone")));
    }
}
