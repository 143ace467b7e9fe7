//! What calls mean for one tag, and when they took effect.

use crate::history::{Call, Micros, Outcome, Record};
use std::collections::{BTreeMap, BTreeSet};

/// One use of a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use<'a> {
    /// It points to a digest from now on.
    Put(&'a str),
    /// It is no more; whether the answer said that it was there before (of an unknown one it does not count).
    Remove { was_there: bool },
    /// It is no more if it pointed to this digest: the manifest was deleted.
    RemoveIf(&'a str),
    /// What it points to.
    Get(Option<&'a str>),
}

/// A use with the time within which it took effect.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span<'a> {
    pub(super) start: Micros,
    /// `None`: it may have taken effect at any moment after its start, or never.
    pub(super) end: Option<Micros>,
    pub(super) use_: Use<'a>,
    pub(super) record: &'a Record,
}

impl<'a> Span<'a> {
    fn new(record: &'a Record, use_: Use<'a>) -> Self {
        let end = (record.outcome() != Outcome::Unknown).then_some(record.end);
        Self { start: record.start, end, use_, record }
    }

    /// The same as nobody's news: a write that may have happened or not. `None` for what only read.
    pub(super) fn opened(mut self) -> Option<Self> {
        match self.use_ {
            Use::Get(_) | Use::Remove { was_there: false } => None,
            Use::Put(_) | Use::Remove { was_there: true } | Use::RemoveIf(_) => {
                self.end = None;
                Some(self)
            }
        }
    }
}

/// The uses of every tag, by repository and tag, in the order of the records.
pub(super) fn uses<'a>(records: &'a [Record]) -> BTreeMap<(&'a str, &'a str), Vec<Span<'a>>> {
    let mut tags: BTreeMap<(&str, &str), Vec<Span>> = BTreeMap::new();
    let mut tags_of: BTreeMap<(&str, &str), BTreeSet<&str>> = BTreeMap::new();
    for record in records {
        if let Some((key, use_)) = use_of(record) {
            tags.entry(key).or_default().push(Span::new(record, use_));
            if let Use::Put(digest) = use_ {
                tags_of.entry((key.0, digest)).or_default().insert(key.1);
            }
        }
    }
    for record in records {
        if let Call::DeleteManifest { repo, digest } = &record.call
            && record.outcome() != Outcome::Failed
        {
            for tag in tags_of.get(&(repo.as_str(), digest.as_str())).into_iter().flatten() {
                tags.entry((repo, tag)).or_default().push(Span::new(record, Use::RemoveIf(digest)));
            }
        }
    }
    tags
}

/// Which tag a call uses, and how; `None` when it says nothing of any.
fn use_of(record: &Record) -> Option<((&str, &str), Use<'_>)> {
    let outcome = record.outcome();
    match &record.call {
        Call::PutTag { repo, tag, digest } if outcome != Outcome::Failed => Some(((repo, tag), Use::Put(digest))),
        Call::DeleteTag { repo, tag } => {
            let was_there = match outcome {
                Outcome::Ok | Outcome::Unknown => true,
                Outcome::Failed if record.is_absent() => false,
                Outcome::Failed => return None,
            };
            Some(((repo, tag), Use::Remove { was_there }))
        }
        Call::GetTag { repo, tag } if !record.is_marked() => match (outcome, record.seen.digest.as_deref()) {
            (Outcome::Ok, Some(digest)) => Some(((repo, tag), Use::Get(Some(digest)))),
            _ if record.is_absent() => Some(((repo, tag), Use::Get(None))),
            _ => None,
        },
        _ => None,
    }
}

/// Gives unknown pushes the ends that reads prove, and leaves out those that can explain nothing: the only push of a digest
/// happened before the first read of it ended, and a push that nobody read matters only to a delete that found something.
pub(super) fn narrowed<'a>(spans: &[Span<'a>]) -> Vec<Span<'a>> {
    let mut puts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut first_read: BTreeMap<&str, Micros> = BTreeMap::new();
    let mut removed: BTreeSet<&str> = BTreeSet::new();
    let mut found_something = false;
    for span in spans {
        match (span.use_, span.end) {
            (Use::Put(digest), _) => *puts.entry(digest).or_default() += 1,
            (Use::Get(Some(digest)), Some(end)) => {
                first_read.entry(digest).and_modify(|first| *first = end.min(*first)).or_insert(end);
            }
            (Use::RemoveIf(digest), _) => {
                removed.insert(digest);
            }
            (Use::Remove { was_there: true }, Some(_)) => found_something = true,
            _ => {}
        }
    }
    let narrow = |span: &Span<'a>| match (span.use_, span.end) {
        (Use::Put(digest), None) => match first_read.get(digest) {
            Some(&first) if puts[digest] == 1 => Some(Span { end: Some(first), ..*span }),
            Some(_) => Some(*span),
            None if removed.contains(digest) => Some(*span),
            // Whatever it was, it only was there to be deleted: all such are alike.
            None => found_something.then_some(Span { use_: Use::Put(""), ..*span }),
        },
        _ => Some(*span),
    };
    spans.iter().filter_map(narrow).collect()
}
