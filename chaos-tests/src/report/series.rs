//! What happened over time, in steps of equal length. A call counts in the step in which it ended.

use super::calls::{Failure, Kind, is_acknowledged};
use super::run::Run;
use crate::history::{Micros, Record};
use crate::invariants::Evidence;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// More steps than this are not told apart on a screen, and would make the page of a long run heavy.
const MOST_STEPS: u64 = 720;

/// Lengths of a step, in seconds.
const STEPS: [u64; 12] = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1_800, 3_600];

const SECOND: u64 = 1_000_000;

/// A run, step by step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// How long a step is.
    pub step: Micros,
    /// Until when there are steps: no call, fault or leader is later.
    pub span: Micros,
    /// Acknowledged pulls of each step.
    pub pulls: Vec<u32>,
    /// Acknowledged pushes of each step.
    pub pushes: Vec<u32>,
    /// Failed calls of each step, for each kind that there was.
    pub failures: BTreeMap<Failure, Vec<u32>>,
    /// Latencies as seen from each region, in the order of the nodes' regions.
    pub regions: Vec<RegionSeries>,
}

/// How long acknowledged calls of a region's clients took.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RegionSeries {
    pub region: String,
    pub pulls: Latency,
    pub writes: Latency,
}

/// Latencies of each step in microseconds; `None` where no call ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    pub p50: Vec<Option<u64>>,
    pub p99: Vec<Option<u64>>,
}

impl Series {
    /// Works out the series of a run.
    #[must_use]
    pub fn of(run: &Run, evidence: &Evidence) -> Self {
        let step = step(last(run, evidence));
        let steps = last(run, evidence).div_ceil(step).max(1) as usize;
        let mut series = Self { step: Micros(step), span: Micros(step * steps as u64), ..Self::default() };
        series.pulls = vec![0; steps];
        series.pushes = vec![0; steps];
        let mut regions = Vec::new();
        for node in &evidence.nodes {
            if !regions.contains(&node.region) {
                regions.push(node.region.clone());
            }
        }
        let mut taken: Vec<[Vec<Vec<u64>>; 2]> =
            regions.iter().map(|_| [vec![Vec::new(); steps], vec![Vec::new(); steps]]).collect();
        for record in &evidence.history.0 {
            let at = ((record.end.0 / step) as usize).min(steps - 1);
            if let Some(failure) = Failure::of(record) {
                series.failures.entry(failure).or_insert_with(|| vec![0; steps])[at] += 1;
            }
            if !is_acknowledged(record) {
                continue;
            }
            match Kind::of(&record.call) {
                Kind::Pull => series.pulls[at] += 1,
                Kind::Push => series.pushes[at] += 1,
                Kind::Delete => {}
                Kind::Listing => continue,
            }
            let place = regions.iter().position(|region| *region == record.region).unwrap_or_else(|| {
                regions.push(record.region.clone());
                taken.push([vec![Vec::new(); steps], vec![Vec::new(); steps]]);
                regions.len() - 1
            });
            taken[place][usize::from(record.call.is_write())][at].push(took(record));
        }
        series.regions = regions
            .into_iter()
            .zip(taken)
            .map(|(region, [pulls, writes])| RegionSeries { region, pulls: latency(pulls), writes: latency(writes) })
            .collect();
        series
    }

    /// Events of a step as a rate per second.
    #[must_use]
    pub fn per_second(&self, count: u32) -> f64 {
        f64::from(count) * SECOND as f64 / self.step.0 as f64
    }

    /// Where a moment lies between the beginning and the end, 0 to 1.
    #[must_use]
    pub fn place(&self, at: Micros) -> f64 {
        (at.0 as f64 / self.span.0.max(1) as f64).min(1.0)
    }

    /// The step of a moment.
    #[must_use]
    pub fn at(&self, moment: Micros) -> usize {
        ((moment.0 / self.step.0.max(1)) as usize).min(self.pulls.len().saturating_sub(1))
    }
}

/// The last moment of which anything is known.
fn last(run: &Run, evidence: &Evidence) -> u64 {
    let calls = evidence.history.0.iter().map(|record| record.end);
    let events = evidence.events.iter().map(|event| event.end.unwrap_or(event.begin));
    let seen = run.violations.iter().map(|violation| violation.at);
    let leaders = run.leaders.iter().map(|(at, _)| *at);
    calls.chain(events).chain(seen).chain(leaders).chain([run.length]).max().unwrap_or_default().0
}

/// The shortest step that gives no more steps than are told apart.
fn step(last: u64) -> u64 {
    let fits = |step: &&u64| last.div_ceil(**step * SECOND) <= MOST_STEPS;
    STEPS.iter().find(fits).map_or_else(|| last.div_ceil(MOST_STEPS), |step| step * SECOND)
}

fn took(record: &Record) -> u64 {
    record.end.0.saturating_sub(record.start.0)
}

fn latency(steps: Vec<Vec<u64>>) -> Latency {
    let mut latency = Latency::default();
    for mut step in steps {
        step.sort_unstable();
        latency.p50.push(percentile(&step, 50));
        latency.p99.push(percentile(&step, 99));
    }
    latency
}

/// The nearest rank.
fn percentile(sorted: &[u64], percent: usize) -> Option<u64> {
    sorted.get((sorted.len() * percent).div_ceil(100).saturating_sub(1)).copied()
}

#[cfg(test)]
mod tests {
    use super::{SECOND, percentile, step};

    #[test]
    fn steps_grow_with_the_run() {
        assert_eq!(
            [0, 120, 720, 721, 7_200, 86_400].map(|seconds| step(seconds * SECOND) / SECOND),
            [1, 1, 1, 2, 10, 120]
        );
        assert_eq!(step(3_600 * 1_000 * SECOND), 5_000 * SECOND);
    }

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let hundred: Vec<u64> = (1..=100).collect();
        assert_eq!((percentile(&hundred, 50), percentile(&hundred, 99)), (Some(50), Some(99)));
        assert_eq!((percentile(&[7], 50), percentile(&[7], 99), percentile(&[], 50)), (Some(7), Some(7), None));
        assert_eq!(percentile(&[1, 2, 3], 99), Some(3));
    }
}
