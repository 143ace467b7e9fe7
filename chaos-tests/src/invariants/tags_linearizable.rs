//! Every tag is one register (P2): there is one order of all its writes, deletes and reads that agrees with the time at
//! which they were made and with what they answered. Reads that are marked stale, and those of repositories that allow
//! bounded staleness, are judged elsewhere. A run begins with no tags.
//!
//! Deleting a manifest removes the tags that point to it: of each tag that ever may have pointed there, it is a use that
//! removes it if it does so now.

mod search;
#[cfg(test)]
mod tests;
mod uses;

use super::evidence::{Evidence, Invariant, Violation};
use crate::fewest::fewest;
use crate::history::{Micros, Record};
use search::{Verdict, search};
use uses::{Span, Use, narrowed, uses};

/// How often a history is searched while it is made shorter.
const MOST_CHECKS: usize = 3_000;

/// See the module.
pub struct TagsLinearizable;

impl Invariant for TagsLinearizable {
    fn name(&self) -> &'static str {
        "tags_linearizable"
    }

    fn promise(&self) -> &'static str {
        "P2"
    }

    fn check(&self, evidence: &Evidence) -> Vec<Violation> {
        uses(&evidence.history.0)
            .into_iter()
            .filter(|((repo, _), _)| !evidence.bounds.stale_repos.contains_key(*repo))
            .filter_map(|((repo, tag), spans)| self.judge(repo, tag, &spans))
            .collect()
    }
}

impl TagsLinearizable {
    fn judge(&self, repo: &str, tag: &str, spans: &[Span]) -> Option<Violation> {
        let (what, records) = match verdict(spans) {
            Verdict::Fits => return None,
            Verdict::Unsure => {
                (format!("{repo}:{tag} was not judged: too many orders of its uses are possible"), Vec::new())
            }
            Verdict::Contradicts => {
                let records = shortest(spans);
                (format!("no order of the writes to {repo}:{tag} explains what was answered"), records)
            }
        };
        let at = records.iter().map(|record| record.end).max().unwrap_or_default();
        Some(Violation { invariant: self.name().to_owned(), what, records, at })
    }
}

fn verdict(spans: &[Span]) -> Verdict {
    search(&narrowed(spans))
}

/// The fewest calls that contradict each other.
fn shortest(spans: &[Span]) -> Vec<Record> {
    let spans = first_contradiction(spans);
    let (reads, writes): (Vec<Span>, Vec<Span>) = spans.into_iter().partition(|span| span.opened().is_none());
    // An order of everything orders every part of the reads, so that any of them may go.
    let reads = fewest(reads, MOST_CHECKS, |reads| is_contradiction(&writes, reads));
    // A write may go if it does not matter whether, and when, it happened. One that was read is needed to understand.
    let kept = fewest((0..writes.len()).collect(), MOST_CHECKS, |kept| {
        let mut left = Vec::new();
        for (at, write) in writes.iter().enumerate() {
            if kept.binary_search(&at).is_ok() {
                left.push(*write);
            } else if is_read(write, &reads) {
                return false;
            } else {
                left.extend(write.opened());
            }
        }
        is_contradiction(&left, &reads)
    });
    let mut records: Vec<Record> =
        kept.iter().map(|&at| &writes[at]).chain(&reads).map(|span| span.record.clone()).collect();
    records.sort_by_key(|record| (record.start, record.end));
    records
}

fn is_contradiction(writes: &[Span], reads: &[Span]) -> bool {
    let together: Vec<Span> = writes.iter().chain(reads).copied().collect();
    verdict(&together) == Verdict::Contradicts
}

fn is_read(write: &Span, reads: &[Span]) -> bool {
    reads.iter().any(|read| matches!((write.use_, read.use_), (Use::Put(put), Use::Get(Some(got))) if put == got))
}

/// What was known at the earliest moment at which it contradicts itself.
fn first_contradiction<'a>(spans: &[Span<'a>]) -> Vec<Span<'a>> {
    let mut ends: Vec<Micros> = spans.iter().filter_map(|span| span.end).collect();
    ends.sort_unstable();
    let first = ends.partition_point(|&end| verdict(&known_at(spans, end)) != Verdict::Contradicts);
    ends.get(first).map_or_else(|| spans.to_vec(), |&end| known_at(spans, end))
}

/// The calls that had begun by a moment; the answers that had not come yet are unknown.
fn known_at<'a>(spans: &[Span<'a>], moment: Micros) -> Vec<Span<'a>> {
    let known = |span: &Span<'a>| match span.end {
        _ if span.start > moment => None,
        Some(end) if end > moment => span.opened(),
        _ => Some(*span),
    };
    spans.iter().filter_map(known).collect()
}
