//! What lists must show when they are not marked: tags, referrers, and the catalog.

use super::super::evidence::Evidence;
use super::super::facts::Facts;
use super::super::tags::Tag;
use crate::history::{Call, Micros, Record};
use std::collections::BTreeMap;

/// What is needed to judge lists.
pub(super) struct Lists<'a> {
    evidence: &'a Evidence,
    facts: Facts<'a>,
    tags: &'a BTreeMap<(&'a str, &'a str), Tag<'a>>,
    /// The manifests that refer to one.
    referrers: BTreeMap<&'a str, Vec<&'a str>>,
}

impl<'a> Lists<'a> {
    pub(super) fn new(evidence: &'a Evidence, tags: &'a BTreeMap<(&'a str, &'a str), Tag<'a>>) -> Self {
        let mut referrers: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (manifest, subject) in &evidence.subjects {
            referrers.entry(subject).or_default().push(manifest);
        }
        Self { evidence, facts: Facts::new(evidence), tags, referrers }
    }

    /// What is wrong with an unmarked list, and the call that it contradicts. Those of repositories with a bound, and the
    /// catalog where one holds for it, are not judged.
    pub(super) fn wrong(&self, read: &Record) -> Option<(String, &'a Record)> {
        if self.evidence.bounds.stale_repos.contains_key(read.call.repo().unwrap_or_default()) {
            return None;
        }
        let node = self.evidence.name(read.node);
        let (what, call) = match &read.call {
            Call::ListTags { repo, last } => self.tags(read, repo, last.as_deref()),
            Call::Referrers { repo, subject } => self.referrers(read, repo, subject),
            Call::Catalog { last } => self.catalog(read, last.as_deref()),
            _ => None,
        }?;
        Some((format!("{node} {what} without a mark"), call))
    }

    fn tags(&self, read: &Record, repo: &str, last: Option<&str>) -> Option<(String, &'a Record)> {
        let of_repo = self.tags.range((repo, "")..).take_while(|((of, _), _)| *of == repo);
        let mut of_repo = of_repo.map(|(&(_, name), tag)| (name, tag));
        of_repo.find_map(|(name, tag)| {
            if is_listed(read, name) {
                let delete = gone(tag, read.start)?;
                return Some((format!("lists {repo}:{name}, which was deleted,"), delete));
            }
            let push = tag.present(read.start, read.end).filter(|_| is_told(read, last, name))?;
            Some((format!("does not list {repo}:{name}, which was pushed,"), push))
        })
    }

    fn referrers(&self, read: &Record, repo: &str, subject: &str) -> Option<(String, &'a Record)> {
        let mut referrers =
            self.referrers.get(subject)?.iter().filter(|name| !read.seen.more && !is_listed(read, name));
        referrers.find_map(|name| {
            let push = self.facts.manifest((repo, name), read.start, read.end)?;
            Some((format!("does not list {name} as a referrer of {subject} in {repo}, which was pushed,"), push))
        })
    }

    /// A repository is listed while it holds a manifest.
    fn catalog(&self, read: &Record, last: Option<&str>) -> Option<(String, &'a Record)> {
        let mut missing =
            self.facts.manifests().filter(|(repo, _)| !is_listed(read, repo) && is_told(read, last, repo));
        missing.find_map(|key| {
            let push = self.facts.manifest(key, read.start, read.end)?;
            Some((format!("does not list the repository {}, which was pushed to,", key.0), push))
        })
    }
}

fn is_listed(read: &Record, name: &str) -> bool {
    read.seen.names.iter().any(|listed| listed == name)
}

/// Whether a page tells of a name: it is after the one asked for, and not behind the page's own last if others follow.
fn is_told(read: &Record, last: Option<&str>, name: &str) -> bool {
    let is_before_end = !read.seen.more || read.seen.names.last().is_some_and(|end| name <= end.as_str());
    is_before_end && last.is_none_or(|last| last < name)
}

/// The delete of a tag that was over before a moment, and certainly came after every push of it.
fn gone<'a>(tag: &Tag<'a>, before: Micros) -> Option<&'a Record> {
    let is_delete = |record: &&Record| matches!(record.call, Call::DeleteTag { .. }) && record.is_ok();
    let deletes = tag.deletes.iter().copied().filter(is_delete).filter(|delete| delete.end < before);
    let delete = deletes.max_by_key(|delete| delete.start)?;
    tag.pushes.iter().all(|push| push.is_ok() && push.end < delete.start).then_some(delete)
}
