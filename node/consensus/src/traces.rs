//! Which trace a log entry belongs to: known in memory only, for a while, and to spans only.
//!
//! openraft appends and applies in tasks of its own, many entries at a time. A proposal's place in its trace goes with
//! its entry into the leader's log, from there beside the entry to every follower, and is found again by the entry's
//! index when it is applied. It is never stored. Nothing is noted while nothing is traced.

use crate::types::{AppendRequest, Entry};
use openraft::EntryPayload;
use openraft::entry::RaftEntry;
use portolan_trace::TraceContext;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tracing::{Span, debug_span};

/// The newest entries of this node's log that belong to a trace.
pub(crate) struct EntryTraces(Newest<TraceContext>);

impl EntryTraces {
    /// `limit`: see [`crate::Config::traced_entries`].
    pub(crate) fn new(limit: usize) -> Self {
        Self(Newest::new(limit))
    }

    /// An entry is about to be appended here. Gives the span of that, if the entry belongs to a trace; it ends when it
    /// is dropped.
    pub(crate) fn append(&self, entry: &Entry) -> Option<Span> {
        let EntryPayload::Normal(request) = &entry.payload else { return None };
        let context = request.trace.as_ref()?;
        self.0.note(entry.index(), context.clone());
        let span = debug_span!(parent: None, "append", index = entry.index());
        context.adopt(&span);
        Some(span)
    }

    /// The spans of applying these entries in one batch; they end when they are dropped.
    pub(crate) fn apply(&self, entries: RangeInclusive<u64>) -> Vec<Span> {
        let span = |(index, context): (u64, TraceContext)| {
            let span = debug_span!(parent: None, "apply", index);
            context.adopt(&span);
            span
        };
        self.0.of(entries).into_iter().map(span).collect()
    }

    /// What goes beside the entries of an append to another node.
    pub(crate) fn beside(&self, request: &AppendRequest) -> Vec<(u64, TraceContext)> {
        match (request.entries.first(), request.entries.last()) {
            (Some(first), Some(last)) => self.0.of(first.index()..=last.index()),
            _ => Vec::new(),
        }
    }

    /// Entries from this index on are no more.
    pub(crate) fn forget_from(&self, index: u64) {
        self.0.forget_from(index);
    }
}

/// Puts what came beside the entries of an append back into them.
pub(crate) fn attach(request: &mut AppendRequest, traces: Vec<(u64, TraceContext)>) {
    if traces.is_empty() {
        return;
    }
    let mut traces: BTreeMap<_, _> = traces.into_iter().collect();
    for entry in &mut request.entries {
        let index = entry.index();
        if let EntryPayload::Normal(proposal) = &mut entry.payload {
            proposal.trace = traces.remove(&index);
        }
    }
}

/// So many values at the highest indices. Without any, looking costs no lock.
struct Newest<T> {
    limit: usize,
    count: AtomicUsize,
    known: Mutex<BTreeMap<u64, T>>,
}

impl<T: Clone> Newest<T> {
    fn new(limit: usize) -> Self {
        Self { limit, count: AtomicUsize::new(0), known: Mutex::new(BTreeMap::new()) }
    }

    fn note(&self, index: u64, value: T) {
        let mut known = self.lock();
        known.insert(index, value);
        while known.len() > self.limit {
            known.pop_first();
        }
        self.count.store(known.len(), Ordering::Relaxed);
    }

    fn of(&self, indices: RangeInclusive<u64>) -> Vec<(u64, T)> {
        if self.count.load(Ordering::Relaxed) == 0 {
            return Vec::new();
        }
        self.lock().range(indices).map(|(index, value)| (*index, value.clone())).collect()
    }

    fn forget_from(&self, index: u64) {
        if self.count.load(Ordering::Relaxed) > 0 {
            let mut known = self.lock();
            known.split_off(&index);
            self.count.store(known.len(), Ordering::Relaxed);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, T>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::Newest;

    #[test]
    fn only_the_newest_are_remembered_and_what_is_truncated_is_forgotten() {
        let newest = Newest::new(3);
        assert_eq!(newest.of(0..=u64::MAX), []);
        for index in [5, 7, 6, 9] {
            newest.note(index, index * 10);
        }
        assert_eq!(newest.of(0..=u64::MAX), [(6, 60), (7, 70), (9, 90)], "5 is the oldest");
        assert_eq!(newest.of(7..=8), [(7, 70)]);
        newest.note(7, 71);
        newest.forget_from(9);
        assert_eq!(newest.of(0..=u64::MAX), [(6, 60), (7, 71)]);
        newest.forget_from(0);
        assert_eq!(newest.of(0..=u64::MAX), []);
        let none = Newest::new(0);
        none.note(1, ());
        assert_eq!(none.of(0..=u64::MAX), [], "a limit of none remembers none");
    }
}
