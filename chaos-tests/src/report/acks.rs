//! When calls were acknowledged, and the time without any.

use super::calls::is_acknowledged;
use super::words;
use crate::history::{Micros, Record};
use crate::invariants::Evidence;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::Range;

/// A time without something.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// For the clients of all regions together: none of them had it.
    pub anywhere: Micros,
    /// For the clients of the region where it was longest.
    pub worst: Micros,
    /// That region.
    pub region: String,
}

impl Gap {
    /// That of all clients together, and in brackets that of the worst region where it is longer.
    #[must_use]
    pub fn in_words(&self) -> String {
        let (anywhere, worst) = (words::duration(self.anywhere), words::duration(self.worst));
        if self.region.is_empty() || anywhere == worst {
            anywhere
        } else {
            format!("{anywhere} ({} {worst})", self.region)
        }
    }

    /// The longer of both, in each respect.
    pub(super) fn join(&mut self, other: &Self) {
        self.anywhere = self.anywhere.max(other.anywhere);
        if other.worst > self.worst {
            (self.worst, self.region) = (other.worst, other.region.clone());
        }
    }
}

/// When calls of some clients were acknowledged, in order, and between which moments they asked at all: what comes before and
/// after is no gap.
#[derive(Default)]
pub(super) struct Ends {
    acked: Vec<u64>,
    load: Range<u64>,
}

impl Ends {
    fn add(&mut self, record: &Record) {
        let first = self.load.end == 0;
        self.load.start = if first { record.start.0 } else { self.load.start.min(record.start.0) };
        self.load.end = self.load.end.max(record.end.0);
        if is_acknowledged(record) {
            self.acked.push(record.end.0);
        }
    }

    /// The first acknowledgement that is not before a moment.
    pub(super) fn next(&self, after: u64) -> Option<u64> {
        self.acked.get(self.acked.partition_point(|end| *end < after)).copied()
    }

    /// How long the longest time without any is that shares a moment with the window.
    pub(super) fn gap(&self, window: &Range<u64>) -> u64 {
        let before = self.acked.partition_point(|end| *end <= window.start).checked_sub(1);
        self.longest(before.map_or(self.load.start, |before| self.acked[before]), window)
    }

    /// The same, but of what lies before the window nothing counts.
    pub(super) fn gap_since(&self, window: &Range<u64>) -> u64 {
        self.longest(window.start.max(self.load.start), window)
    }

    fn longest(&self, mut start: u64, window: &Range<u64>) -> u64 {
        let mut longest = 0;
        for at in self.acked.partition_point(|end| *end <= window.start)..=self.acked.len() {
            if start > window.end {
                break;
            }
            let end = self.acked.get(at).copied().unwrap_or(self.load.end);
            if end > window.start {
                longest = longest.max(end.saturating_sub(start));
            }
            start = end;
        }
        longest
    }

    /// How long the longest time without any is, of what lies between two moments.
    pub(super) fn gap_within(&self, between: &Range<u64>) -> u64 {
        let between = between.start.max(self.load.start)..between.end.min(self.load.end);
        let place = |at| self.acked.partition_point(|end| *end < at);
        let inside = self.acked.get(place(between.start)..place(between.end)).unwrap_or_default();
        let starts = [between.start].into_iter().chain(inside.iter().copied());
        let ends = inside.iter().copied().chain([between.end]);
        starts.zip(ends).map(|(start, end)| end.saturating_sub(start)).max().unwrap_or(0)
    }
}

/// The same for all clients, and for those of each region.
pub(super) struct Acks {
    pub(super) all: Ends,
    pub(super) regions: BTreeMap<String, Ends>,
    pub(super) span: u64,
}

impl Acks {
    pub(super) fn of(evidence: &Evidence, span: Micros, test: impl Fn(&Record) -> bool) -> Self {
        let mut acks = Self { all: Ends::default(), regions: BTreeMap::new(), span: span.0 };
        for record in evidence.history.filter(test) {
            acks.all.add(record);
            match acks.regions.get_mut(&record.region) {
                Some(ends) => ends.add(record),
                None => acks.regions.entry(record.region.clone()).or_default().add(record),
            }
        }
        acks.regions.values_mut().chain([&mut acks.all]).for_each(|ends| ends.acked.sort_unstable());
        acks
    }

    /// A measure of all clients, and of the region where it is greatest.
    pub(super) fn measure(&self, measure: impl Fn(&Ends) -> u64) -> Gap {
        let mut gap = Gap { anywhere: Micros(measure(&self.all)), ..Gap::default() };
        for (region, ends) in &self.regions {
            let worst = Micros(measure(ends));
            if worst > gap.worst {
                (gap.worst, gap.region) = (worst, region.clone());
            }
        }
        gap
    }

    pub(super) fn gap(&self, window: &Range<u64>) -> Gap {
        self.measure(|ends| ends.gap(window))
    }

    /// How long after a moment the next one came; until the end of the run where none did.
    pub(super) fn back(&self, after: u64) -> Gap {
        self.measure(|ends| ends.next(after).unwrap_or(self.span).saturating_sub(after))
    }
}
