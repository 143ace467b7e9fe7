//! What was certainly committed, by what clients saw. Whatever they cannot know excuses.

use super::evidence::{Evidence, FinalPull};
use crate::history::{Call, Micros, Outcome, Record};
use std::collections::{BTreeMap, BTreeSet};

/// A repository and a digest in it.
type Key<'a> = (&'a str, &'a str);

/// The acknowledged pushes of a history, and what may have undone them.
pub(super) struct Facts<'a> {
    evidence: &'a Evidence,
    manifests: BTreeMap<Key<'a>, Vec<&'a Record>>,
    blobs: BTreeMap<Key<'a>, Vec<&'a Record>>,
    deletes: BTreeMap<Key<'a>, Vec<&'a Record>>,
    /// The manifests that name a blob.
    named_by: BTreeMap<&'a str, Vec<&'a str>>,
}

impl<'a> Facts<'a> {
    pub(super) fn new(evidence: &'a Evidence) -> Self {
        let mut facts = Self {
            evidence,
            manifests: BTreeMap::new(),
            blobs: BTreeMap::new(),
            deletes: BTreeMap::new(),
            named_by: BTreeMap::new(),
        };
        for record in &evidence.history.0 {
            let (into, repo, digest) = match &record.call {
                Call::PutTag { repo, digest, .. } | Call::PutManifest { repo, digest } if record.is_ok() => {
                    (&mut facts.manifests, repo, digest)
                }
                Call::PutBlob { repo, digest, .. } if record.is_ok() => (&mut facts.blobs, repo, digest),
                Call::DeleteManifest { repo, digest } if record.outcome() != Outcome::Failed => {
                    (&mut facts.deletes, repo, digest)
                }
                _ => continue,
            };
            into.entry((repo.as_str(), digest.as_str())).or_default().push(record);
        }
        for (manifest, names) in &evidence.contents {
            for name in names {
                facts.named_by.entry(name).or_default().push(manifest);
            }
        }
        facts
    }

    /// The push because of which a manifest is certainly there at every moment between two; with none, it may be absent.
    pub(super) fn manifest(&self, key: Key, from: Micros, to: Micros) -> Option<&'a Record> {
        let deletes = self.deletes.get(&key).map_or(&[][..], Vec::as_slice);
        let is_undone = |push: &Record| deletes.iter().any(|delete| may_undo(delete, push) && delete.start <= to);
        let pushes = self.manifests.get(&key)?;
        pushes.iter().copied().find(|push| push.end < from && !is_undone(push))
    }

    /// The push because of which a blob is certainly visible at every moment between two: that of a manifest which names
    /// it, or its own within the time for which a blob stays that none names.
    pub(super) fn blob(&self, (repo, digest): Key, from: Micros, to: Micros) -> Option<&'a Record> {
        let naming = self.named_by.get(digest).into_iter().flatten();
        let named = naming.filter_map(|manifest| self.manifest((repo, manifest), from, to)).next();
        let kept = self.evidence.bounds.unnamed_kept;
        named.or_else(|| {
            let mut uploads = self.blobs.get(&(repo, digest))?.iter().copied();
            uploads.find(|upload| upload.end < from && to.0 < upload.end.0.saturating_add(kept))
        })
    }

    /// The manifests that are still there when everything is over, with the push of each.
    pub(super) fn remaining(&self) -> impl Iterator<Item = (Key<'a>, &'a Record)> {
        let end = Micros(u64::MAX);
        self.manifests.keys().filter_map(move |&key| Some((key, self.manifest(key, end, end)?)))
    }

    /// The uploads that are still there when everything is over, because no manifest has to name them yet: with the last
    /// one of each blob.
    pub(super) fn uploads(&self) -> impl Iterator<Item = (Key<'a>, &'a Record)> {
        let (end, kept) = (self.evidence.last_end(), self.evidence.bounds.unnamed_kept);
        let last = |uploads: &Vec<&'a Record>| uploads.iter().copied().max_by_key(|upload| upload.end);
        let all = self.blobs.iter().filter_map(move |(key, uploads)| Some((*key, last(uploads)?)));
        all.filter(move |(_, upload)| end.0 < upload.end.0.saturating_add(kept) && kept > 0)
    }

    /// All manifests that were ever acknowledged, by repository and digest.
    pub(super) fn manifests(&self) -> impl Iterator<Item = Key<'a>> {
        self.manifests.keys().copied()
    }

    /// The blobs that a manifest names. The manifests that an index names are pushed, and judged, themselves.
    pub(super) fn blobs_of(&self, (repo, manifest): Key<'a>) -> impl Iterator<Item = Key<'a>> {
        let names = self.evidence.contents.get(manifest).into_iter().flatten();
        let is_blob = |name: &&String| !self.evidence.contents.contains_key(*name);
        names.filter(is_blob).map(move |name| (repo, name.as_str()))
    }
}

impl Evidence {
    /// What was acknowledged and is still there for sure: every manifest, every blob that one names, and every upload that
    /// stays for a while without, by repository and digest.
    #[must_use]
    pub fn acknowledged(&self) -> BTreeSet<(String, String)> {
        let facts = Facts::new(self);
        let keys = facts.remaining().flat_map(|(key, _)| std::iter::once(key).chain(facts.blobs_of(key)));
        keys.chain(facts.uploads().map(|(key, _)| key))
            .map(|(repo, digest)| (repo.to_owned(), digest.to_owned()))
            .collect()
    }
}

/// Whether a delete may take effect after a push: unless it was over before the push began.
pub(super) fn may_undo(delete: &Record, push: &Record) -> bool {
    delete.outcome() == Outcome::Unknown || (delete.is_ok() && push.start <= delete.end)
}

/// The final pulls, by what was pulled and where.
pub(super) struct Pulls<'a> {
    evidence: &'a Evidence,
    by_key: BTreeMap<(&'a str, &'a str, usize), &'a FinalPull>,
}

impl<'a> Pulls<'a> {
    /// `None` when nothing was pulled, so that there is nothing to judge.
    pub(super) fn new(evidence: &'a Evidence) -> Option<Self> {
        let pulls = &evidence.after.pulls;
        let by_key = pulls.iter().map(|pull| ((pull.repo.as_str(), pull.digest.as_str(), pull.node), pull)).collect();
        (!pulls.is_empty()).then_some(Self { evidence, by_key })
    }

    /// What is wrong with the pulls of a digest, node by node and in words; `None` when all nodes gave it whole and right.
    pub(super) fn wrong(&self, (repo, digest): Key) -> Option<String> {
        let mut found = BTreeSet::new();
        for node in (0..self.evidence.nodes.len()).filter(|node| !self.evidence.after.gone.contains(node)) {
            let name = self.evidence.name(node);
            match self.by_key.get(&(repo, digest, node)) {
                Some(FinalPull { status: Some(200), right: true, .. }) => {}
                Some(FinalPull { status: Some(200), .. }) => drop(found.insert(format!("{name} gives other bytes"))),
                Some(FinalPull { status: Some(status), .. }) => drop(found.insert(format!("{name} answers {status}"))),
                Some(FinalPull { status: None, .. }) => drop(found.insert(format!("{name} does not answer"))),
                None => drop(found.insert(format!("{name} was not asked"))),
            }
        }
        (!found.is_empty()).then(|| found.into_iter().collect::<Vec<_>>().join(", "))
    }
}
