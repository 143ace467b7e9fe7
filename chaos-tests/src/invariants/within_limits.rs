//! Memory, disk and open files of every node stay within what the scenario allows (P10).

use super::evidence::{Evidence, Invariant, Sample, Violation};
use crate::history::{Call, Micros};
use std::collections::BTreeMap;

/// See the module.
pub struct WithinLimits;

impl Invariant for WithinLimits {
    fn name(&self) -> &'static str {
        "within_limits"
    }

    fn promise(&self) -> &'static str {
        "P10"
    }

    fn looks_at(&self, evidence: &Evidence) -> usize {
        evidence.samples.len()
    }

    fn check(&self, evidence: &Evidence) -> Vec<Violation> {
        let bounds = &evidence.bounds;
        let mut found = Vec::new();
        if bounds.resident_bytes > 0 {
            found.extend(
                self.judge(evidence, "bytes of memory", |sample| (sample.resident_bytes, bounds.resident_bytes)),
            );
        }
        if bounds.open_files > 0 {
            found.extend(self.judge(evidence, "open files", |sample| (sample.open_files, bounds.open_files)));
        }
        if bounds.disk_factor > 0.0 {
            let pushed = Pushed::new(evidence);
            let allowed = |at| scaled(pushed.until(at), bounds.disk_factor).saturating_add(bounds.disk_slack_bytes);
            found.extend(self.judge(evidence, "bytes of disk", |sample| (sample.disk_bytes, allowed(sample.at))));
        }
        found
    }
}

impl WithinLimits {
    /// For each node that went over, its worst sample; and each that has none, since it was not judged.
    fn judge(&self, evidence: &Evidence, unit: &str, of: impl Fn(&Sample) -> (u64, u64)) -> Vec<Violation> {
        let one = |node: usize| {
            let name = evidence.name(node);
            let mut samples = evidence.samples.iter().filter(|sample| sample.node == node).peekable();
            let (what, at) = if samples.peek().is_none() {
                (format!("{name} was not looked at, so that nobody knows its {unit}"), evidence.last_end())
            } else {
                let over = |sample: &&Sample| of(sample).0.saturating_sub(of(sample).1);
                let worst = samples.filter(|sample| over(sample) > 0).max_by_key(over)?;
                let (had, allowed) = of(worst);
                (format!("{name} had {had} {unit}, of at most {allowed}"), worst.at)
            };
            Some(Violation { at, ..Violation::shown_by(self.name(), what, []) })
        };
        let is_there = |node: &usize| !evidence.after.gone.contains(node);
        (0..evidence.nodes.len()).filter(is_there).filter_map(one).collect()
    }
}

/// How many bytes were on their way into the registry, by time.
struct Pushed(Vec<(Micros, u64)>);

impl Pushed {
    fn new(evidence: &Evidence) -> Self {
        let mut first: BTreeMap<&str, (Micros, u64)> = BTreeMap::new();
        for record in &evidence.history.0 {
            if let Call::PutBlob { digest, size, .. } = &record.call {
                let known = first.entry(digest).or_insert((record.start, *size));
                known.0 = known.0.min(record.start);
            }
        }
        let mut pushes: Vec<(Micros, u64)> = first.into_values().collect();
        pushes.sort_unstable();
        let mut sum = 0;
        for push in &mut pushes {
            sum += push.1;
            push.1 = sum;
        }
        Self(pushes)
    }

    fn until(&self, at: Micros) -> u64 {
        let count = self.0.partition_point(|(start, _)| *start <= at);
        count.checked_sub(1).map_or(0, |last| self.0[last].1)
    }
}

/// A bound on disk space need not be exact to the byte.
fn scaled(bytes: u64, factor: f64) -> u64 {
    (bytes as f64 * factor) as u64
}

#[cfg(test)]
mod tests {
    use super::super::hand::{caught, evidence, passes, put_blob};
    use super::{Evidence, Sample, WithinLimits};
    use crate::history::Micros;

    /// A blob of 1,000 bytes is pushed at 10 ms; all nodes are looked at twice, and node 1 has this at 20 ms.
    fn sampled(resident_bytes: u64, disk_bytes: u64, open_files: u64) -> Evidence {
        let mut evidence = evidence([put_blob("b", 1_000).at(10, 15)]);
        for (node, at) in [(0, 5), (1, 5), (2, 5), (0, 20), (2, 20)] {
            let at = Micros(at * 1000);
            evidence.samples.push(Sample { at, node, resident_bytes: 1, disk_bytes: 1, open_files: 1 });
        }
        evidence.samples.push(Sample { at: Micros(20_000), node: 1, resident_bytes, disk_bytes, open_files });
        evidence.bounds.resident_bytes = 100;
        evidence.bounds.disk_factor = 1.5;
        evidence.bounds.disk_slack_bytes = 10;
        evidence.bounds.open_files = 20;
        evidence
    }

    #[test]
    fn what_is_exactly_allowed_passes() {
        passes(&WithinLimits, &sampled(100, 1_510, 20));
    }

    #[test]
    fn too_much_memory_disk_and_files_are_caught() {
        caught(&WithinLimits, &sampled(101, 1, 1), "b-1 had 101 bytes of memory, of at most 100", 0);
        caught(&WithinLimits, &sampled(1, 1_511, 1), "b-1 had 1511 bytes of disk, of at most 1510", 0);
        caught(&WithinLimits, &sampled(1, 1, 21), "b-1 had 21 open files, of at most 20", 0);
    }

    #[test]
    fn disk_counts_against_what_was_pushed_by_then() {
        let mut evidence = sampled(1, 1, 1);
        evidence.samples[0].disk_bytes = 11;
        caught(&WithinLimits, &evidence, "a-1 had 11 bytes of disk, of at most 10", 0);
    }

    #[test]
    fn a_node_without_samples_is_caught() {
        let mut evidence = sampled(1, 1, 1);
        evidence.bounds = super::super::evidence::Bounds { resident_bytes: 100, ..Default::default() };
        evidence.samples.retain(|sample| sample.node != 2);
        caught(&WithinLimits, &evidence, "c-1 was not looked at", 0);
    }

    #[test]
    fn what_has_no_bound_is_not_judged() {
        let mut evidence = sampled(u64::MAX, u64::MAX, u64::MAX);
        evidence.bounds = Default::default();
        passes(&WithinLimits, &evidence);
    }
}
