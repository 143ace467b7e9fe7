//! What each kind of fault did to clients.
//!
//! A call belongs to a fault when it was under way at some moment of it; where faults overlap, it belongs to each. A gap
//! is the time between two acknowledged calls of the same sort that follow each other, of all clients or of those of one
//! region, and belongs to a fault when the two share a moment. (It begins with the first call, and ends with the last, where
//! none was acknowledged.) So a number may say too much of one fault; never too little.

use super::acks::{Acks, Gap};
use super::calls::{Failure, Kind};
use super::words;
use crate::history::{Micros, Record};
use crate::invariants::{Event, Evidence};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// What a kind of fault did, over all its times.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Impact {
    /// The kind of fault.
    pub kind: String,
    /// How often.
    pub times: usize,
    /// Pulls that were under way meanwhile.
    pub pulls: usize,
    pub failed_pulls: usize,
    /// Pushes that were under way meanwhile.
    pub pushes: usize,
    pub failed_pushes: usize,
    /// The longest time without an acknowledged pull.
    pub pull_gap: Gap,
    /// The longest time without an acknowledged write.
    pub write_gap: Gap,
    /// The longest time from a fault's end to the next acknowledged write.
    pub writes_back: Gap,
    /// Faults after which no write was acknowledged any more before the run ended.
    pub open: usize,
    /// The longest time without an acknowledged write of a region's clients, from the beginning of the fault on; for a region
    /// whose nodes were all stopped or cut off, and for all when no majority was left, from the end of the fault on.
    pub rto: Micros,
    /// Writes that were acknowledged before or during such a fault, and that no node had at the end; `None` when nobody
    /// looked.
    pub lost: Option<usize>,
}

impl Impact {
    /// How long after the ends of the faults writes came back.
    #[must_use]
    pub fn back_in_words(&self) -> String {
        let open = format!("{} × not before the end", self.open);
        match (self.times.saturating_sub(self.open), self.open) {
            (0, 0) => "–".to_owned(),
            (0, _) => open,
            (_, 0) => self.writes_back.in_words(),
            _ => format!("{}, {open}", self.writes_back.in_words()),
        }
    }

    /// The RTO; a bound where writes did not always come back before the run ended.
    #[must_use]
    pub fn rto_in_words(&self) -> String {
        let rto = words::duration(self.rto);
        match (self.times.saturating_sub(self.open), self.open) {
            (0, _) => "not seen".to_owned(),
            (_, 0) => rto,
            _ => format!("≥ {rto}"),
        }
    }

    /// How many writes were lost, when somebody looked.
    #[must_use]
    pub fn lost_in_words(&self) -> String {
        self.lost.map_or_else(|| "not looked at".to_owned(), words::count)
    }

    /// Adds what the same kind of fault did elsewhere.
    pub fn join(&mut self, other: &Self) {
        self.times += other.times;
        self.pulls += other.pulls;
        self.failed_pulls += other.failed_pulls;
        self.pushes += other.pushes;
        self.failed_pushes += other.failed_pushes;
        self.pull_gap.join(&other.pull_gap);
        self.write_gap.join(&other.write_gap);
        self.writes_back.join(&other.writes_back);
        self.open += other.open;
        self.rto = self.rto.max(other.rto);
        self.lost = match (self.lost, other.lost) {
            (Some(ours), Some(theirs)) => Some(ours + theirs),
            (known, None) | (None, known) => known,
        };
    }
}

/// What each kind of fault did, by name, and what happened when nothing was broken.
pub(super) fn of(evidence: &Evidence, span: Micros) -> (Vec<Impact>, Impact) {
    let pulls = Acks::of(evidence, span, |record| Kind::of(&record.call) == Kind::Pull);
    let writes = Acks::of(evidence, span, |record| record.call.is_write());
    let lost = lost(evidence);
    let mut kinds: BTreeMap<&str, Vec<&Event>> = BTreeMap::new();
    for event in &evidence.events {
        kinds.entry(&event.kind).or_default().push(event);
    }
    let mut impacts = Vec::new();
    let mut busy = Vec::new();
    for (kind, events) in kinds {
        let mut impact = Impact { kind: kind.to_owned(), ..Impact::default() };
        for event in &events {
            let window = window(event, span);
            let mut once = Impact { times: 1, ..Impact::default() };
            once.pull_gap = pulls.gap(&window);
            once.write_gap = writes.gap(&window);
            let back = event.end.and_then(|end| writes.all.next(end.0));
            match (event.end, back) {
                (Some(end), Some(_)) => once.writes_back = writes.back(end.0),
                _ => once.open = 1,
            }
            once.rto = rto(event, &writes, evidence);
            busy.push(window.start..back.unwrap_or(window.end).max(window.end));
            impact.join(&once);
        }
        count(&mut impact, evidence, &merged(events.iter().map(|event| window(event, span)).collect()));
        impact.lost = lost.as_ref().map(|lost| {
            let ends: Vec<u64> = events.iter().map(|event| event.end.map_or(u64::MAX, |end| end.0)).collect();
            lost.values().filter(|acked| ends.iter().any(|end| *end >= acked.0)).count()
        });
        impacts.push(impact);
    }
    (impacts, calm(evidence, &pulls, &writes, &merged(busy)))
}

fn window(event: &Event, span: Micros) -> Range<u64> {
    event.begin.0..event.end.unwrap_or(span).0.max(event.begin.0)
}

/// Windows that do not overlap, in order.
fn merged(mut windows: Vec<Range<u64>>) -> Vec<Range<u64>> {
    windows.sort_by_key(|window| window.start);
    let mut merged: Vec<Range<u64>> = Vec::new();
    for window in windows {
        match merged.last_mut() {
            Some(last) if window.start <= last.end => last.end = last.end.max(window.end),
            _ => merged.push(window),
        }
    }
    merged
}

/// Whether a call was under way at some moment of the windows.
fn touches(windows: &[Range<u64>], record: &Record) -> bool {
    let first = windows.partition_point(|window| window.end < record.start.0);
    windows.get(first).is_some_and(|window| window.start <= record.end.0)
}

fn tally(impact: &mut Impact, record: &Record) {
    let failed = usize::from(Failure::of(record).is_some());
    match Kind::of(&record.call) {
        Kind::Pull => (impact.pulls, impact.failed_pulls) = (impact.pulls + 1, impact.failed_pulls + failed),
        Kind::Push => (impact.pushes, impact.failed_pushes) = (impact.pushes + 1, impact.failed_pushes + failed),
        Kind::Delete | Kind::Listing => {}
    }
}

fn count(impact: &mut Impact, evidence: &Evidence, windows: &[Range<u64>]) {
    evidence.history.filter(|record| touches(windows, record)).for_each(|record| tally(impact, record));
}

/// The time between faults: what is seen then is the load's doing.
fn calm(evidence: &Evidence, pulls: &Acks, writes: &Acks, busy: &[Range<u64>]) -> Impact {
    let mut calm = Impact { kind: "no fault".to_owned(), ..Impact::default() };
    evidence.history.filter(|record| !touches(busy, record)).for_each(|record| tally(&mut calm, record));
    let mut start = 0;
    for window in busy.iter().cloned().chain(std::iter::once(pulls.span..pulls.span)) {
        let between = start..window.start.max(start);
        for (gap, acks) in [(&mut calm.pull_gap, pulls), (&mut calm.write_gap, writes)] {
            gap.join(&acks.measure(|ends| ends.gap_within(&between)));
        }
        start = window.end;
    }
    calm
}

fn rto(event: &Event, writes: &Acks, evidence: &Evidence) -> Micros {
    let window = window(event, Micros(writes.span));
    let shut_out = |region: &str| {
        let mut nodes = evidence.nodes.iter().enumerate().filter(|(_, node)| node.region == region).peekable();
        nodes.peek().is_some() && nodes.all(|(node, _)| event.nodes.contains(&node) || event.minority.contains(&node))
    };
    let took = writes.regions.iter().map(|(region, ends)| {
        if event.stops_writes || shut_out(region) {
            ends.next(window.end).unwrap_or(writes.span).saturating_sub(window.end)
        } else {
            ends.gap_since(&window)
        }
    });
    Micros(took.max().unwrap_or(0))
}

/// What was pushed and acknowledged, and was at no node in the end, with the moment of its first acknowledgement.
pub(super) fn lost(evidence: &Evidence) -> Option<BTreeMap<(String, String), Micros>> {
    let pulls = &evidence.after.pulls;
    if pulls.is_empty() {
        return None;
    }
    let key = |repo: &str, digest: &str| (repo.to_owned(), digest.to_owned());
    let mut gone: BTreeSet<_> = pulls.iter().map(|pull| key(&pull.repo, &pull.digest)).collect();
    for pull in pulls.iter().filter(|pull| pull.right) {
        gone.remove(&key(&pull.repo, &pull.digest));
    }
    let mut lost = BTreeMap::new();
    for record in evidence.history.filter(|record| Kind::of(&record.call) == Kind::Push && record.is_ok()) {
        if let (Some(repo), Some(digest)) = (record.call.repo(), record.call.digest()) {
            let key = key(repo, digest);
            if gone.contains(&key) {
                lost.entry(key).or_insert(record.end);
            }
        }
    }
    Some(lost)
}
