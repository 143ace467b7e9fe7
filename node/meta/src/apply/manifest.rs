//! Manifests: in parts when they are large, then all at once.

use super::tag;
use super::tx::{Tx, refused};
use crate::codec::{corrupt, decode};
use crate::command::{ManifestBytes, PutManifest};
use crate::family::Family;
use crate::id::RepoId;
use crate::key;
use crate::limits;
use crate::outcome::{Outcome, Refusal};
use crate::placement::{Topology, ack_policy, durable};
use crate::query;
use crate::row::{ChildKind, ManifestRow, ReferrerRow, RepoRow, StagedRow};
use crate::view::ViewError;
use bytes::Bytes;
use portolan_oci::{Digest, RepoName};
use portolan_sabotage::Sabotage;

/// Stores one part where the manifest will look for it. Parts that never see their put are removed by a later large
/// push to the same repository.
pub(super) fn put_part(
    tx: &mut Tx<'_>,
    name: &RepoName,
    digest: &Digest,
    part: u16,
    bytes: &Bytes,
) -> Result<Outcome, ViewError> {
    if bytes.len() > limits::MANIFEST_PART_BYTES {
        return too_many("bytes in a part of a manifest", limits::MANIFEST_PART_BYTES);
    }
    if usize::from(part) >= limits::MANIFEST_PARTS {
        return too_many("parts of a manifest", limits::MANIFEST_PARTS);
    }
    let repo = tx.repo_or_new(name)?;
    if query::manifest_row(tx.view(), repo.id, digest)?.is_some() {
        return Ok(Outcome::Done);
    }
    sweep_staged(tx, repo.id)?;
    tx.put_raw(Family::Manifests, key::manifest_part(repo.id, digest, part), bytes.to_vec());
    let until_ms = tx.now_ms.saturating_add(limits::STAGED_MS);
    tx.put(Family::Manifests, key::manifest_staged(repo.id, digest), &StagedRow { until_ms });
    Ok(Outcome::Done)
}

/// Removes parts that waited too long for their put.
fn sweep_staged(tx: &mut Tx<'_>, repo: RepoId) -> Result<(), ViewError> {
    let prefix = key::manifests_staged(repo);
    for (key, value) in tx.view().scan(Family::Manifests, &prefix, None, limits::STAGED_SWEEP)? {
        let staged: StagedRow = decode(Family::Manifests, &key, &value)?;
        if staged.until_ms > tx.now_ms {
            continue;
        }
        let Some((digest, _)) = key::split_digest(&key[prefix.len()..]) else {
            return Err(corrupt(Family::Manifests, &key, "it ends in no digest"));
        };
        remove_parts(tx, repo, &digest)?;
        tx.delete(Family::Manifests, key.to_vec());
    }
    Ok(())
}

/// Removes a manifest's bytes.
pub(super) fn remove_parts(tx: &mut Tx<'_>, repo: RepoId, digest: &Digest) -> Result<(), ViewError> {
    let prefix = key::manifest_parts(repo, digest);
    for (key, _) in tx.view().scan(Family::Manifests, &prefix, None, limits::MANIFEST_PARTS)? {
        tx.delete(Family::Manifests, key.to_vec());
    }
    Ok(())
}

/// Puts a manifest with its edges, tags and referrer row. One that is there already keeps its row and its edges, and
/// only its tags move; what is required of it is checked all the same, since a 201 promises it anew.
pub(super) fn put(tx: &mut Tx<'_>, put: &PutManifest) -> Result<Outcome, ViewError> {
    if let Some(refusal) = over_limits(put) {
        return refused(refusal);
    }
    let repo = tx.repo_or_new(&put.repo)?;
    let unknown = unknown_children(tx, repo.id, put)?;
    if !unknown.is_empty() {
        return refused(Refusal::ChildrenUnknown(unknown));
    }
    // Sabotaged: no copy but the first is waited for.
    if let Some(refusal) =
        not_yet_durable(tx, &repo, put)?.filter(|_| !portolan_sabotage::is(Sabotage::AckBeforeCopies))
    {
        return refused(refusal);
    }
    if query::manifest_row(tx.view(), repo.id, &put.digest)?.is_none() {
        let Some(parts) = place_bytes(tx, repo.id, put)? else {
            return refused(Refusal::PartsMissing);
        };
        insert(tx, &repo, put, parts);
    }
    for tag in &put.tags {
        tag::point(tx, repo.id, tag, Some(&put.digest), &put.by)?;
    }
    Ok(Outcome::ManifestPut { repo: repo.id })
}

fn over_limits(put: &PutManifest) -> Option<Refusal> {
    let annotations: usize = put.annotations.iter().map(|(key, value)| key.len() + value.len()).sum();
    let facts = annotations + put.media_type.len() + put.artifact_type.as_ref().map_or(0, String::len);
    let size = usize::try_from(put.size).unwrap_or(usize::MAX);
    let manifest_bytes = usize::try_from(limits::MANIFEST_BYTES).unwrap_or(usize::MAX);
    let inline = match &put.bytes {
        ManifestBytes::Inline(bytes) => bytes.len(),
        ManifestBytes::Parts(_) => 0,
    };
    let checks = [
        (size, manifest_bytes, "bytes in a manifest"),
        (inline, limits::MANIFEST_INLINE_BYTES, "bytes inside a put"),
        (put.children.len(), limits::MANIFEST_CHILDREN, "children of a manifest"),
        (facts, limits::MANIFEST_FACT_BYTES, "bytes of annotations in a manifest"),
        (put.tags.len(), limits::TAGS_PER_PUT, "tags in a put"),
    ];
    let (_, limit, what) = checks.into_iter().find(|(count, limit, _)| count > limit)?;
    Some(Refusal::TooMany { what: what.to_owned(), limit })
}

/// The children that the repository does not show, each once, in the manifest's order.
fn unknown_children(tx: &Tx<'_>, repo: RepoId, put: &PutManifest) -> Result<Vec<Digest>, ViewError> {
    let mut unknown = Vec::new();
    for child in &put.children {
        let shown = match child.kind {
            ChildKind::Blob => query::visible_blob_in(tx.view(), repo, &child.digest)?.is_some(),
            ChildKind::Manifest => tx.view().get(Family::Manifests, &key::manifest(repo, &child.digest))?.is_some(),
        };
        if !shown && !unknown.contains(&child.digest) {
            unknown.push(child.digest);
        }
    }
    Ok(unknown)
}

/// Checks the ack policy over everything below the manifest. Child manifests were checked at their own put, but nodes
/// may have gone since, and a 201 for the index speaks for all of it.
fn not_yet_durable(tx: &Tx<'_>, repo: &RepoRow, put: &PutManifest) -> Result<Option<Refusal>, ViewError> {
    let Some(blobs) = query::blobs_below(tx.view(), repo.id, &put.children)? else {
        let what = "manifests and blobs below a manifest".to_owned();
        return Ok(Some(Refusal::TooMany { what, limit: limits::ACK_CLOSURE }));
    };
    let topology = Topology::read(tx.view())?;
    let policy = topology.policies().of(&put.repo);
    let ack = ack_policy(&topology, &policy, tx.proposer);
    let mut missing = Vec::new();
    for blob in blobs {
        if missing.len() < limits::REFUSAL_DIGESTS && !durable(tx.view(), &topology, &blob, &policy.regions, ack)? {
            missing.push(blob);
        }
    }
    Ok((!missing.is_empty()).then_some(Refusal::NotYetDurable(missing)))
}

/// Sees to it that the bytes are in their rows: how many, or `None` when they are not whole.
fn place_bytes(tx: &mut Tx<'_>, repo: RepoId, put: &PutManifest) -> Result<Option<u16>, ViewError> {
    let (parts, length) = match &put.bytes {
        ManifestBytes::Inline(bytes) => {
            // Whoever staged it in parts before must not leave a tail behind.
            remove_parts(tx, repo, &put.digest)?;
            tx.put_raw(Family::Manifests, key::manifest_part(repo, &put.digest, 0), bytes.to_vec());
            (1, bytes.len())
        }
        ManifestBytes::Parts(parts) => {
            let prefix = key::manifest_parts(repo, &put.digest);
            let staged = tx.view().scan(Family::Manifests, &prefix, None, limits::MANIFEST_PARTS)?;
            if staged.len() != usize::from(*parts) {
                return Ok(None);
            }
            (*parts, staged.iter().map(|(_, bytes)| bytes.len()).sum())
        }
    };
    tx.delete(Family::Manifests, key::manifest_staged(repo, &put.digest));
    Ok((length as u64 == put.size).then_some(parts))
}

fn insert(tx: &mut Tx<'_>, repo: &RepoRow, put: &PutManifest, parts: u16) {
    let row = ManifestRow {
        media_type: put.media_type.clone(),
        size: put.size,
        parts,
        children: put.children.clone(),
        subject: put.subject,
        artifact_type: put.artifact_type.clone(),
        annotations: put.annotations.clone(),
        at_ms: tx.now_ms,
    };
    tx.put(Family::Manifests, key::manifest(repo.id, &put.digest), &row);
    // Sabotaged: the edges of what is pushed under a tag are forgotten.
    let forgotten = portolan_sabotage::is(Sabotage::ForgetEdges) && !put.tags.is_empty();
    for child in put.children.iter().filter(|_| !forgotten) {
        tx.put_raw(Family::Edges, key::edge(child.kind, &child.digest, repo.id, &put.digest), Vec::new());
        if child.kind == ChildKind::Blob {
            tx.shown_elsewhere(&child.digest);
        }
    }
    if let Some(subject) = &put.subject {
        let row = ReferrerRow {
            media_type: put.media_type.clone(),
            size: put.size,
            artifact_type: put.artifact_type.clone(),
            annotations: put.annotations.clone(),
        };
        tx.put(Family::Referrers, key::referrer(repo.id, subject, &put.digest), &row);
    }
    tx.put_raw(Family::Repos, key::repo_listed(&put.repo), Vec::new());
    if !repo.ever_held {
        tx.put(Family::Repos, key::repo(&put.repo), &RepoRow { ever_held: true, ..repo.clone() });
    }
}

fn too_many(what: &str, limit: usize) -> Result<Outcome, ViewError> {
    refused(Refusal::TooMany { what: what.to_owned(), limit })
}
