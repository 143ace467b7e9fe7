//! What an image is made of, and which images a blob belongs to.
//!
//! An image is more than its manifest: an index has manifests below it, and signatures, SBOMs and attestations refer to
//! any of them. What is replicated, waited for or lost is all of that together.

use crate::query;
use crate::row::ChildKind;
use crate::view::{View, ViewError};
use portolan_oci::{Digest, RepoName, Tag};
use std::collections::BTreeSet;

mod names;

pub use names::{ImageName, Images};

/// How many referrers of one manifest are read at once.
const PAGE: usize = 256;

/// How many tags that hang a manifest to another by their name are followed per manifest.
const NAMED_AFTER: usize = 64;

/// How much of a digest's hex part stands in such a tag, so that any algorithm's fits.
const NAMED_HEX: usize = 64;

/// Everything that belongs to an image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// The manifests, the image's own first.
    pub manifests: Vec<Digest>,
    /// The blobs below them, each once.
    pub blobs: Vec<Digest>,
}

/// What belongs to a manifest: the manifests below it, those that refer to any of these (by their subject, or by a tag
/// that is named after the digest, as clients of older registries do), and all their blobs. `None` when the repository
/// lacks the manifest; an error of its own, [`TooLarge`], when that is more than `limit` manifests and blobs.
///
/// # Errors
/// What the view fails with, or [`ViewError::Corrupt`].
pub fn contents(
    view: &dyn View,
    name: &RepoName,
    root: &Digest,
    limit: usize,
) -> Result<Result<Option<Contents>, TooLarge>, ViewError> {
    let Some(repo) = query::repo(view, name)? else { return Ok(Ok(None)) };
    if query::manifest_row(view, repo.id, root)?.is_none() {
        return Ok(Ok(None));
    }
    let mut found = Contents::default();
    let (mut seen, mut blobs) = (BTreeSet::from([*root]), BTreeSet::new());
    let mut waiting = vec![*root];
    while let Some(digest) = waiting.pop() {
        // A child that the repository lacks, or a referrer that was listed and is gone.
        let Some(row) = query::manifest_row(view, repo.id, &digest)? else { continue };
        found.manifests.push(digest);
        let mut next = referring(view, name, &digest)?;
        for child in row.children {
            match child.kind {
                ChildKind::Manifest => next.push(child.digest),
                ChildKind::Blob if blobs.insert(child.digest) => found.blobs.push(child.digest),
                ChildKind::Blob => {}
            }
        }
        waiting.extend(next.into_iter().filter(|digest| seen.insert(*digest)));
        if found.manifests.len() + waiting.len() + found.blobs.len() > limit {
            return Ok(Err(TooLarge { limit }));
        }
    }
    Ok(Ok(Some(found)))
}

/// More hangs together than may be looked at at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge {
    /// How many manifests and blobs may.
    pub limit: usize,
}

/// The manifests that refer to another.
fn referring(view: &dyn View, name: &RepoName, digest: &Digest) -> Result<Vec<Digest>, ViewError> {
    let mut found = Vec::new();
    let mut after = None;
    loop {
        let page = query::referrers(view, name, digest, None, after.as_ref(), PAGE)?;
        found.extend(page.iter().map(|(referrer, _)| *referrer));
        after = page.last().map(|(referrer, _)| *referrer);
        if page.len() < PAGE {
            break;
        }
    }
    found.extend(named_after(view, name, digest)?);
    Ok(found)
}

/// The manifests under `sha256-<hex>` (the fallback of the specification) and `sha256-<hex>.<kind>` (cosign's).
fn named_after(view: &dyn View, name: &RepoName, digest: &Digest) -> Result<Vec<Digest>, ViewError> {
    let hex = digest.hex();
    let stem = format!("{}-{}", digest.algorithm().name(), &hex[..hex.len().min(NAMED_HEX)]);
    let Ok(stem) = stem.parse::<Tag>() else { return Ok(Vec::new()) };
    let after = query::tags(view, name, Some(&stem), NAMED_AFTER)?.unwrap_or_default();
    let tags = after.into_iter().take_while(|tag| tag.as_str().starts_with(stem.as_str()));
    let mut found = Vec::new();
    for tag in std::iter::once(stem.clone()).chain(tags) {
        found.extend(query::tag(view, name, &tag)?.map(|row| row.digest));
    }
    Ok(found)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests;
