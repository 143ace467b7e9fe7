//! The history of a tag, as the registry tells it, is an order of the acknowledged writes that agrees with the time at which
//! they were made and with what clients read (P2). Writes of which nobody heard may be in it or not.
//!
//! A push of what the tag points to already is no move and leaves no trace. The registry remembers so many moves of a tag
//! and no more; of the older ones nothing is said.

#[cfg(test)]
mod tests;

use super::evidence::{Evidence, Invariant, Violation};
use super::tags::{Tag, tags};
use crate::history::{Call, Micros, Record};
use std::collections::{BTreeMap, BTreeSet};

/// How often a write is tried in a place. Only digests that are pushed more than once, and deletes, can be in several.
const MOST_TRIES: usize = 200_000;

/// See the module.
pub struct HistoryOrder;

impl Invariant for HistoryOrder {
    fn name(&self) -> &'static str {
        "history_order"
    }

    fn promise(&self) -> &'static str {
        "P2"
    }

    fn looks_at(&self, evidence: &Evidence) -> usize {
        evidence.after.tag_histories.values().map(Vec::len).sum()
    }

    fn check(&self, evidence: &Evidence) -> Vec<Violation> {
        let tags = tags(evidence);
        let nothing = Tag::default();
        let mut found = Vec::new();
        for ((repo, name), moves) in &evidence.after.tag_histories {
            let tag = tags.get(&(repo.as_str(), name.as_str())).unwrap_or(&nothing);
            let is_cut = evidence.bounds.tag_history > 0 && moves.len() >= evidence.bounds.tag_history;
            let is_fresh = !evidence.bounds.stale_repos.contains_key(repo);
            if let Some((what, records)) = Places::new(tag, moves, is_cut, is_fresh).judge() {
                let what = format!("the history of {repo}:{name} {what}");
                let violation = Violation::shown_by(self.name(), what, records);
                found.push(Violation { at: evidence.last_end(), ..violation });
            }
        }
        found
    }
}

/// Within which a move was made, by one of the writes that may have made it.
#[derive(Clone, Copy)]
struct Place<'a> {
    write: &'a Record,
    from: Micros,
    to: Micros,
}

/// What may stand at each place of a tag's history.
struct Places<'a> {
    moves: &'a [Option<String>],
    /// Of each move, the writes that may have made it.
    candidates: Vec<Vec<Place<'a>>>,
    /// Of each move, until when it certainly stood: the last beginning of a read that saw it.
    seen: Vec<Micros>,
    /// The writes that must be there.
    needed: Vec<&'a Record>,
    tries: usize,
    /// The farthest place that no write fitted.
    farthest: usize,
}

impl<'a> Places<'a> {
    fn new(tag: &Tag<'a>, moves: &'a [Option<String>], is_cut: bool, is_fresh: bool) -> Self {
        let mut times_told: BTreeMap<&str, usize> = BTreeMap::new();
        for digest in moves.iter().flatten() {
            *times_told.entry(digest).or_default() += 1;
        }
        let (mut candidates, mut seen) = (Vec::new(), Vec::new());
        for (at, one) in moves.iter().enumerate() {
            let before = at.checked_sub(1).and_then(|before| moves[before].as_deref());
            let (places, last_seen) = match one {
                Some(digest) => {
                    let is_only = times_told[digest.as_str()] == 1 && tag.pushes_of(digest).count() == 1;
                    pushes(tag, digest, is_only)
                }
                None => (removals(tag, before, at == 0), Micros(0)),
            };
            candidates.push(places);
            // A read that may be stale may have come long after the tag moved on.
            seen.push(if is_fresh { last_seen } else { Micros(0) });
        }
        // Of what was over before the oldest move that is told, a cut history says nothing.
        let told_from = candidates.first().into_iter().flatten().map(|place| place.to).max();
        let is_told = |write: &&Record| !is_cut || told_from.is_some_and(|told_from| told_from < write.start);
        let leaves_a_trace = |write: &&Record| match &write.call {
            Call::PutTag { digest, .. } => !times_told.contains_key(digest.as_str()),
            Call::DeleteTag { .. } => true,
            _ => false,
        };
        let writes = tag.pushes.iter().chain(&tag.deletes).copied().filter(|write| write.is_ok());
        let needed = writes.filter(is_told).filter(leaves_a_trace).collect();
        Self { moves, candidates, seen, needed, tries: 0, farthest: 0 }
    }

    /// What is wrong with the history, and the calls that show it.
    fn judge(mut self) -> Option<(String, Vec<&'a Record>)> {
        if let Some(push) = self.needed.iter().find(|write| matches!(write.call, Call::PutTag { .. })) {
            let digest = push.call.digest().unwrap_or_default();
            return Some((format!("lacks the push of {digest}, which was acknowledged"), vec![push]));
        }
        if let Some(at) = self.candidates.iter().position(Vec::is_empty) {
            return Some((format!("tells of {}, which nobody made", self.name(at)), Vec::new()));
        }
        if self.place(0, Micros(0), &mut BTreeSet::new()) {
            return None;
        }
        if self.tries > MOST_TRIES {
            return Some(("was not judged: too many orders are possible".to_owned(), Vec::new()));
        }
        let at = self.farthest;
        if at == self.moves.len() {
            return Some(("lacks a delete that was acknowledged".to_owned(), self.needed));
        }
        let shown = self.candidates[at.saturating_sub(1)..=at].iter().flatten().map(|place| place.write).collect();
        let after = if at == 0 { String::new() } else { format!(" after {}", self.name(at - 1)) };
        Some((format!("tells of {}{after}, which no order of the calls allows", self.name(at)), shown))
    }

    fn name(&self, at: usize) -> String {
        self.moves[at].as_ref().map_or_else(|| "a removal".to_owned(), |digest| format!("the push of {digest}"))
    }

    /// Whether the moves from a place on can be made by writes that are not used yet, at moments not before one.
    fn place(&mut self, at: usize, moment: Micros, used: &mut BTreeSet<u64>) -> bool {
        let Some(candidates) = self.candidates.get(at).cloned() else {
            self.farthest = at;
            return self.needed.iter().all(|write| used.contains(&write.id));
        };
        self.farthest = self.farthest.max(at);
        for place in candidates {
            self.tries += 1;
            let made = moment.max(place.from);
            if self.tries > MOST_TRIES || made > place.to || !used.insert(place.write.id) {
                continue;
            }
            if self.place(at + 1, made.max(self.seen[at]), used) {
                return true;
            }
            used.remove(&place.write.id);
        }
        false
    }
}

/// The pushes that may have made a move, the most urgent first, and the last beginning of a read that saw it. The only push
/// of a digest was made before the first such read ended.
fn pushes<'a>(tag: &Tag<'a>, digest: &str, is_only: bool) -> (Vec<Place<'a>>, Micros) {
    let is_seen = |read: &&&Record| read.is_ok() && read.seen.digest.as_deref() == Some(digest) && is_only;
    let seen = || tag.reads.iter().filter(is_seen);
    let first_seen = seen().map(|read| read.end).min().unwrap_or(Micros(u64::MAX));
    let last_seen = seen().filter(|read| !read.is_marked()).map(|read| read.start).max().unwrap_or_default();
    let place = |write: &'a Record| Place { write, from: write.start, to: until(write).min(first_seen) };
    let mut places: Vec<Place> = tag.pushes_of(digest).map(place).collect();
    places.sort_by_key(|place| place.to);
    (places, last_seen)
}

/// What may have removed a tag that pointed to a digest before, or, for the oldest move told, to any.
fn removals<'a>(tag: &Tag<'a>, before: Option<&str>, is_first: bool) -> Vec<Place<'a>> {
    let fits = |delete: &&Record| match &delete.call {
        Call::DeleteManifest { digest, .. } => is_first || before == Some(digest.as_str()),
        _ => true,
    };
    let place = |write: &'a Record| Place { write, from: write.start, to: until(write) };
    let mut places: Vec<Place> = tag.deletes.iter().copied().filter(fits).map(place).collect();
    // An acknowledged delete of the tag must be somewhere; one of a manifest need not have met the tag there.
    places.sort_by_key(|place| (matches!(place.write.call, Call::DeleteManifest { .. }), place.to));
    places
}

/// When a write had certainly taken effect, if it ever did.
fn until(write: &Record) -> Micros {
    if write.is_ok() { write.end } else { Micros(u64::MAX) }
}
