//! Deletions.

use super::tx::{Tx, refused};
use super::{manifest, tag};
use crate::family::Family;
use crate::key;
use crate::limits;
use crate::outcome::{Outcome, Refusal};
use crate::query;
use crate::row::{ChildKind, ManifestRow, RepoRow};
use crate::view::ViewError;
use portolan_oci::{Digest, RepoName, Tag};

/// How many parents a refusal names.
const PARENTS_NAMED: usize = 16;

pub(super) fn tag(tx: &mut Tx<'_>, name: &RepoName, tag: &Tag, by: &str) -> Result<Outcome, ViewError> {
    let Some(repo) = query::repo(tx.view(), name)? else {
        return refused(Refusal::UnknownRepo);
    };
    if tx.view().get(Family::Tags, &key::tag(repo.id, tag))?.is_none() {
        return refused(Refusal::UnknownTag);
    }
    tag::point(tx, repo.id, tag, None, by)?;
    Ok(Outcome::Done)
}

/// Deletes a manifest: its tags, then its edges (each leaving a pin), its referrer row and its bytes. All in one apply,
/// unless it has more tags than [`limits::TAGS_PER_DELETE`]: then the tags go first, in steps.
pub(super) fn manifest(
    tx: &mut Tx<'_>,
    name: &RepoName,
    digest: &Digest,
    grace_ms: u64,
    by: &str,
) -> Result<Outcome, ViewError> {
    let Some(repo) = query::repo(tx.view(), name)? else {
        return refused(Refusal::UnknownRepo);
    };
    let Some(row) = query::manifest_row(tx.view(), repo.id, digest)? else {
        return refused(Refusal::UnknownManifest);
    };
    let indexes = query::parents(tx.view(), ChildKind::Manifest, digest, repo.id, PARENTS_NAMED)?;
    if !indexes.is_empty() {
        return refused(Refusal::ListedByIndex(indexes));
    }
    let tags = query::tags_of(tx.view(), repo.id, digest, limits::TAGS_PER_DELETE + 1)?;
    for (tag, _) in tags.iter().take(limits::TAGS_PER_DELETE) {
        tag::point(tx, repo.id, tag, None, by)?;
    }
    if tags.len() > limits::TAGS_PER_DELETE {
        return Ok(Outcome::MoreToDo);
    }
    remove(tx, name, &repo, digest, &row, grace_ms)?;
    Ok(Outcome::ManifestDeleted { tags: u32::try_from(tags.len()).unwrap_or(u32::MAX) })
}

fn remove(
    tx: &mut Tx<'_>,
    name: &RepoName,
    repo: &RepoRow,
    digest: &Digest,
    row: &ManifestRow,
    grace_ms: u64,
) -> Result<(), ViewError> {
    for child in &row.children {
        tx.delete(Family::Edges, key::edge(child.kind, &child.digest, repo.id, digest));
        // A child manifest stays by its own row; only blobs live by edges and pins.
        if child.kind == ChildKind::Blob {
            tx.pin(&child.digest, repo.id, grace_ms)?;
        }
    }
    if let Some(subject) = &row.subject {
        tx.delete(Family::Referrers, key::referrer(repo.id, subject, digest));
    }
    manifest::remove_parts(tx, repo.id, digest)?;
    tx.delete(Family::Manifests, key::manifest(repo.id, digest));
    if tx.view().scan(Family::Manifests, &key::manifests(repo.id), None, 1)?.is_empty() {
        tx.delete(Family::Repos, key::repo_listed(name));
    }
    Ok(())
}

/// Hides a blob in a repository. No file is touched: another repository may show it, and if none does, condemning it
/// is another decision.
pub(super) fn blob(tx: &mut Tx<'_>, name: &RepoName, digest: &Digest) -> Result<Outcome, ViewError> {
    let Some(repo) = query::repo(tx.view(), name)? else {
        return refused(Refusal::UnknownRepo);
    };
    let manifests = query::parents(tx.view(), ChildKind::Blob, digest, repo.id, PARENTS_NAMED)?;
    if !manifests.is_empty() {
        return refused(Refusal::ReferredTo(manifests));
    }
    if query::visible_blob_in(tx.view(), repo.id, digest)?.is_none() {
        return refused(Refusal::UnknownBlob);
    }
    tx.delete(Family::Pins, key::pin(digest, repo.id));
    tx.shown_elsewhere(digest);
    Ok(Outcome::Done)
}
