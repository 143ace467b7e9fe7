//! Which images a blob belongs to.

use crate::codec::corrupt;
use crate::family::Family;
use crate::id::RepoId;
use crate::key;
use crate::query;
use crate::row::ChildKind;
use crate::view::{View, ViewError};
use portolan_oci::{Digest, Reference, RepoName};
use std::collections::BTreeSet;

/// An image's name: where it is, and what it is called there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ImageName {
    /// The repository.
    pub repo: RepoName,
    /// A tag; the digest of a manifest that has none.
    pub reference: Reference,
}

impl std::fmt::Display for ImageName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mark = match self.reference {
            Reference::Tag(_) => ':',
            Reference::Digest(_) => '@',
        };
        write!(f, "{}{mark}{}", self.repo, self.reference)
    }
}

/// Finds the images that blobs belong to, and stops before that gets too dear. It looks at each manifest once: the blobs
/// of one image cost little more than one of them.
#[derive(Debug)]
pub struct Images {
    found: BTreeSet<(RepoId, Digest)>,
    steps: usize,
    is_cut: bool,
}

impl Images {
    /// Takes no more than `steps` steps for all blobs together: each manifest that is looked at is one, and each row that
    /// is read on the way.
    #[must_use]
    pub fn new(steps: usize) -> Self {
        Self { found: BTreeSet::new(), steps, is_cut: false }
    }

    /// The images that a blob belongs to and that were not found through another one before, in the order of their
    /// names: through its manifests, the indexes above, and what a manifest refers to. At most `limit` manifests are
    /// looked at, and as many tags of each.
    ///
    /// # Errors
    /// What the view fails with, or [`ViewError::Corrupt`].
    pub fn of(&mut self, view: &dyn View, blob: &Digest, limit: usize) -> Result<BTreeSet<ImageName>, ViewError> {
        let mut names = BTreeSet::new();
        let mut waiting = self.above(view, ChildKind::Blob, blob, None, limit)?;
        waiting.retain(|above| self.found.insert(*above));
        let mut looked = 0;
        while let Some((repo, manifest)) = waiting.pop() {
            if looked == limit || self.is_spent() {
                self.is_cut = true;
                break;
            }
            looked += 1;
            self.steps -= 1;
            let Some(name) = query::repo_name(view, repo)? else { continue };
            let mut tags = query::tags_of(view, repo, &manifest, limit.saturating_add(1))?;
            self.count(&mut tags, limit);
            let mut higher = self.above(view, ChildKind::Manifest, &manifest, Some(repo), limit)?;
            let subject = query::manifest_row(view, repo, &manifest)?.and_then(|row| row.subject);
            if let Some(subject) = subject
                && query::manifest_row(view, repo, &subject)?.is_some()
            {
                higher.push((repo, subject));
            }
            if tags.is_empty() && higher.is_empty() {
                names.insert(ImageName { repo: name.clone(), reference: Reference::Digest(manifest) });
            }
            let name = |(tag, _)| ImageName { repo: name.clone(), reference: Reference::Tag(tag) };
            names.extend(tags.into_iter().map(name));
            waiting.extend(higher.into_iter().filter(|above| self.found.insert(*above)));
        }
        Ok(names)
    }

    /// Whether there may be images that were not found because there was too much to look at.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// Whether all steps are taken: nothing more will be found.
    #[must_use]
    pub fn is_spent(&self) -> bool {
        self.steps == 0
    }

    /// How many steps are left.
    #[must_use]
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// Takes a step for each row, and cuts off those beyond the limit.
    fn count<T>(&mut self, rows: &mut Vec<T>, limit: usize) {
        self.is_cut |= rows.len() > limit;
        rows.truncate(limit);
        self.steps = self.steps.saturating_sub(rows.len());
    }

    /// The manifests that name a child, with their repositories: everywhere, or in one.
    fn above(
        &mut self,
        view: &dyn View,
        kind: ChildKind,
        child: &Digest,
        repo: Option<RepoId>,
        limit: usize,
    ) -> Result<Vec<(RepoId, Digest)>, ViewError> {
        let everywhere = key::edges(kind, child);
        let prefix = repo.map_or_else(|| everywhere.clone(), |repo| key::edges_in(kind, child, repo));
        let mut rows = view.scan(Family::Edges, &prefix, None, limit.saturating_add(1))?;
        self.count(&mut rows, limit);
        let entry = |key: &[u8]| {
            let (repo, rest) = key::split_number(&key[everywhere.len()..])?;
            Some((RepoId(repo), key::split_digest(rest)?.0))
        };
        rows.iter()
            .map(|(key, _)| entry(key).ok_or_else(|| corrupt(Family::Edges, key, "the key has another shape")))
            .collect()
    }
}
