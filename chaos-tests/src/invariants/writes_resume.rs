//! Writes go on (P6): while a majority of the voters is in touch, no stretch without an acknowledged write is longer than the
//! bound, whatever else is broken or mended meanwhile. Time in which a fault stops writes does not count. Where nobody tried
//! to write, nothing is judged.

use super::evidence::{Event, Evidence, Invariant, Violation};
use crate::history::{Micros, Outcome, Record};

/// How many of the calls that were not acknowledged a violation shows.
const SHOWN: usize = 5;

/// How many of the faults meanwhile it names.
const FAULTS: usize = 3;

/// See the module.
pub struct WritesResume;

/// From one acknowledged write to the next, or to the end of the run.
struct Stretch<'a> {
    from: Micros,
    to: Micros,
    next: Option<&'a Record>,
}

impl Invariant for WritesResume {
    fn name(&self) -> &'static str {
        "writes_resume"
    }

    fn promise(&self) -> &'static str {
        "P6"
    }

    fn looks_at(&self, evidence: &Evidence) -> usize {
        if evidence.bounds.writes_resume == 0 {
            return 0;
        }
        evidence.history.filter(|record| record.call.is_write() && record.is_ok()).count()
    }

    fn check(&self, evidence: &Evidence) -> Vec<Violation> {
        let bound = evidence.bounds.writes_resume;
        if bound == 0 {
            return Vec::new();
        }
        let mut writes: Vec<&Record> = evidence.history.filter(|record| record.call.is_write()).collect();
        writes.sort_by_key(|write| write.end);
        let Some(first) = writes.iter().map(|write| write.start).min() else { return Vec::new() };
        let stopped = Stopped::new(evidence);
        let (mut from, mut found) = (first, Vec::new());
        let acknowledged = writes.iter().copied().filter(|write| write.is_ok()).map(Some);
        for next in acknowledged.chain([None]) {
            let to = next.map_or_else(|| evidence.last_end(), |next| next.end);
            found.extend(self.judge(evidence, &writes, &stopped, &Stretch { from, to, next }));
            from = to;
        }
        found
    }
}

impl WritesResume {
    fn judge(
        &self,
        evidence: &Evidence,
        writes: &[&Record],
        stopped: &Stopped,
        stretch: &Stretch<'_>,
    ) -> Option<Violation> {
        let Stretch { from, to, next } = *stretch;
        let bound = evidence.bounds.writes_resume;
        let waited = (to.0 - from.0).saturating_sub(stopped.within(from, to));
        if waited <= bound {
            return None;
        }
        // One that began early enough to be answered in time, had it been possible at all, and that nothing stopped. A
        // refusal for a reason is an answer too.
        let is_inside = |write: &&Record| from < write.end && write.start < to;
        let is_tried =
            |write: &&Record| write.outcome() == Outcome::Unknown || next.is_some_and(|next| next.id == write.id);
        let is_free = |write: &&Record| stopped.within(write.start, write.end) < write.end.0 - write.start.0;
        let is_early = |write: &&Record| write.start.0 + bound / 2 <= to.0;
        let tried: Vec<&Record> = writes.iter().copied().filter(is_inside).filter(is_tried).collect();
        if !tried.iter().filter(|write| is_free(write)).any(is_early) {
            return None;
        }
        let resumed = match next {
            Some(_) => format!("the next was acknowledged after {} ms", waited / 1000),
            None => "none was acknowledged any more".to_owned(),
        };
        let faults = meanwhile(evidence, from, to);
        let what = format!("writes did not go on within {} ms {faults}: {resumed}", bound / 1000);
        let shown = tried.into_iter().filter(|write| !write.is_ok()).take(SHOWN).chain(next);
        Some(Violation { at: to, ..Violation::shown_by(self.name(), what, shown) })
    }
}

/// The faults of a stretch, in words.
fn meanwhile(evidence: &Evidence, from: Micros, to: Micros) -> String {
    let faults = evidence.events.iter().filter(|event| event.overlaps(from, to));
    let names: Vec<String> = faults.take(FAULTS).map(|event| format!("`{}`", event.fault)).collect();
    if names.is_empty() { "though nothing was broken".to_owned() } else { format!("beside {}", names.join(", ")) }
}

/// When faults stopped writes: from the beginning of each until it was mended, put together.
struct Stopped(Vec<(Micros, Micros)>);

impl Stopped {
    fn new(evidence: &Evidence) -> Self {
        let stops = evidence.events.iter().filter(|event| event.stops_writes);
        let mut spans: Vec<_> =
            stops.map(|event: &Event| (event.begin, event.end.unwrap_or(Micros(u64::MAX)))).collect();
        spans.sort_unstable();
        let mut merged: Vec<(Micros, Micros)> = Vec::new();
        for (begin, end) in spans {
            match merged.last_mut() {
                Some(last) if begin <= last.1 => last.1 = last.1.max(end),
                _ => merged.push((begin, end)),
            }
        }
        Self(merged)
    }

    /// For how long between two moments, in microseconds.
    fn within(&self, from: Micros, to: Micros) -> u64 {
        let inside = |(begin, end): &(Micros, Micros)| end.0.min(to.0).saturating_sub(begin.0.max(from.0));
        self.0.iter().map(inside).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::super::hand::{Step, caught, event, evidence, get, passes, put};
    use super::{Evidence, WritesResume};

    /// A fault from 100 to 200 ms that stops writes; 50 ms are allowed beside it.
    fn faulty(steps: impl IntoIterator<Item = Step>) -> Evidence {
        let edges = [put("first").at(98, 99), get(None).at(999, 1_000)];
        let mut evidence = evidence(edges.into_iter().chain(steps));
        let mut cut = event("cut", 100, Some(200));
        cut.stops_writes = true;
        evidence.events.push(cut);
        evidence.bounds.writes_resume = 50_000;
        evidence
    }

    #[test]
    fn a_write_that_is_acknowledged_in_time_passes() {
        passes(&WritesResume, &faulty([put("a").status(503).at(201, 202), put("a").at(210, 248)]));
    }

    #[test]
    fn a_write_that_comes_too_late_is_caught() {
        let calls = [put("a").status(503).at(150, 151), put("a").status(503).at(201, 202), put("a").at(210, 260)];
        let what = "within 50 ms beside `cut`: the next was acknowledged after 61 ms";
        caught(&WritesResume, &faulty(calls), what, 3);
    }

    #[test]
    fn writes_that_never_resume_are_caught_and_few_are_shown() {
        let calls = (0..20).map(|number| put("a").lost().at(201 + number * 20, 202 + number * 20));
        caught(&WritesResume, &faulty(calls), "none was acknowledged any more", 5);
    }

    #[test]
    fn a_fault_that_leaves_a_majority_stops_nothing() {
        let calls = [put("a").status(503).at(101, 102), put("a").at(160, 161), put("a").at(201, 202)];
        let mut evidence = faulty(calls);
        passes(&WritesResume, &evidence);
        evidence.events[0].stops_writes = false;
        caught(&WritesResume, &evidence, "beside `cut`: the next was acknowledged after 62 ms", 2);
    }

    #[test]
    fn what_is_broken_and_mended_meanwhile_is_no_excuse() {
        let calls = [put("a").status(503).at(201, 202), put("a").status(503).at(230, 246), put("a").at(270, 271)];
        let mut evidence = faulty(calls);
        evidence.events.push(event("kill", 220, Some(225)));
        caught(&WritesResume, &evidence, "beside `cut`, `kill`: the next was acknowledged after 72 ms", 3);
        // One that stops writes takes its own time from the account.
        evidence.events[1].stops_writes = true;
        evidence.events[1].end = Some(crate::history::Micros(260_000));
        passes(&WritesResume, &evidence);
    }

    #[test]
    fn a_calm_registry_is_held_to_the_bound_too() {
        let mut evidence = faulty([put("a").status(503).at(110, 111), put("a").at(170, 171)]);
        evidence.events.clear();
        caught(&WritesResume, &evidence, "though nothing was broken", 2);
    }

    #[test]
    fn without_anyone_who_writes_and_without_a_bound_nothing_is_judged() {
        passes(&WritesResume, &faulty([]));
        // One that begins right before it is over shows nothing.
        passes(&WritesResume, &faulty([put("a").at(280, 300)]));
        // To be refused for a reason is to be answered.
        passes(&WritesResume, &faulty([put("a").status(404).at(201, 202)]));
        // So does one that was stopped all the time.
        passes(&WritesResume, &faulty([put("a").status(503).at(150, 160), put("a").at(280, 300)]));
        let mut free = faulty([put("a").status(503).at(201, 202), put("a").at(400, 401)]);
        free.bounds.writes_resume = 0;
        passes(&WritesResume, &free);
    }
}
