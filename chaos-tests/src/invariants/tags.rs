//! The calls about each tag, for the invariants that look at tags.

use super::evidence::Evidence;
use super::facts::may_undo;
use crate::history::{Call, Micros, Outcome, Record};
use std::collections::{BTreeMap, BTreeSet};

/// The calls about one tag, each in the order in which they ended.
#[derive(Default)]
pub(super) struct Tag<'a> {
    /// Acknowledged pushes and those of which nobody heard.
    pub(super) pushes: Vec<&'a Record>,
    /// What may have removed it: deletes of the tag, and of the manifests that were pushed under it.
    pub(super) deletes: Vec<&'a Record>,
    /// Reads that gave a manifest or 404, marked ones included.
    pub(super) reads: Vec<&'a Record>,
}

/// All tags of a history, by repository and tag.
pub(super) fn tags(evidence: &Evidence) -> BTreeMap<(&str, &str), Tag<'_>> {
    let mut tags: BTreeMap<(&str, &str), Tag> = BTreeMap::new();
    let mut of_repos: BTreeMap<&str, Vec<&Record>> = BTreeMap::new();
    for record in &evidence.history.0 {
        let may_have_happened = record.outcome() != Outcome::Failed;
        match &record.call {
            Call::PutTag { repo, tag, .. } if may_have_happened => {
                tags.entry((repo, tag)).or_default().pushes.push(record);
            }
            Call::DeleteTag { repo, tag } if may_have_happened => {
                tags.entry((repo, tag)).or_default().deletes.push(record);
            }
            Call::DeleteManifest { repo, .. } if may_have_happened => of_repos.entry(repo).or_default().push(record),
            Call::GetTag { repo, tag } if record.is_ok() || record.is_absent() => {
                tags.entry((repo, tag)).or_default().reads.push(record);
            }
            _ => {}
        }
    }
    for ((repo, _), tag) in &mut tags {
        let digests: BTreeSet<Option<&str>> = tag.pushes.iter().map(|push| push.call.digest()).collect();
        let of_repo = of_repos.get(repo).into_iter().flatten().copied();
        tag.deletes.extend(of_repo.filter(|delete| digests.contains(&delete.call.digest())));
        tag.deletes.sort_by_key(|delete| delete.end);
    }
    tags
}

impl<'a> Tag<'a> {
    /// The push because of which the tag certainly points somewhere at every moment between two. It looks for the last one
    /// first, which the fewest deletes follow.
    pub(super) fn present(&self, from: Micros, to: Micros) -> Option<&'a Record> {
        let is_undone =
            |push: &Record| self.deletes.iter().rev().any(|delete| delete.start <= to && may_undo(delete, push));
        let is_certain = |push: &&Record| push.is_ok() && push.end < from && !is_undone(push);
        self.pushes.iter().rev().copied().find(is_certain)
    }

    /// The pushes of one digest.
    pub(super) fn pushes_of<'b>(&'b self, digest: &'b str) -> impl Iterator<Item = &'a Record> + 'b {
        self.pushes.iter().copied().filter(move |push| push.call.digest() == Some(digest))
    }
}
