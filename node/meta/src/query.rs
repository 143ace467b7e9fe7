//! What can be asked of the state. Every function reads one view; none changes it. A limit bounds each list, and
//! `after` continues it behind the last entry of the page before.

use crate::codec::{corrupt, decode, read};
use crate::family::Family;
use crate::id::{FileId, NodeId, RepoId, StoreId};
use crate::key;
use crate::limits;
use crate::row::{
    BandwidthRow, BlobRow, BlobState, Child, ChildKind, ClusterRow, Location, LocationRow, ManifestRow, NodeRow,
    PinRow, ReclaimRow, ReferrerRow, RepoRow, StoreRow, TagEntry, TagHistoryRow, TagRow,
};
use crate::view::{View, ViewError};
use bytes::{Bytes, BytesMut};
use portolan_oci::{Digest, Reference, RepoName, Tag};
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;

/// A manifest with its bytes, exactly as they were put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Its digest.
    pub digest: Digest,
    /// Its facts.
    pub row: ManifestRow,
    /// Its bytes.
    pub bytes: Bytes,
    /// The tag it was found by, if by one.
    pub tag: Option<TagRow>,
}

/// A file of a store, as [`copies_in`] lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredCopy {
    /// Whose bytes it holds.
    pub digest: Digest,
    /// The file.
    pub file: FileId,
    /// The blob's generation when it was recorded.
    pub generation: u64,
}

/// The state's clock: the highest stamp applied, in milliseconds since the Unix epoch; 0 before the first.
///
/// # Errors
/// As all queries: what the view fails with, or [`ViewError::Corrupt`].
pub fn clock_ms(view: &dyn View) -> Result<u64, ViewError> {
    let Some(bytes) = view.get(Family::Sys, key::CLOCK)? else {
        return Ok(0);
    };
    let bytes: [u8; 8] =
        bytes.as_ref().try_into().map_err(|_| corrupt(Family::Sys, key::CLOCK, "a clock has eight bytes"))?;
    Ok(u64::from_be_bytes(bytes))
}

/// Which cluster this is; `None` before its first command.
///
/// # Errors
/// See [`clock_ms`].
pub fn cluster(view: &dyn View) -> Result<Option<ClusterRow>, ViewError> {
    read(view, Family::Sys, key::CLUSTER)
}

/// How fast bytes may move between regions.
///
/// # Errors
/// See [`clock_ms`].
pub fn bandwidth(view: &dyn View) -> Result<BandwidthRow, ViewError> {
    Ok(read(view, Family::Sys, key::BANDWIDTH)?.unwrap_or_default())
}

/// All nodes, by id.
///
/// # Errors
/// See [`clock_ms`].
pub fn nodes(view: &dyn View) -> Result<Vec<NodeRow>, ViewError> {
    list(view, Family::Nodes, &[], None, limits::NODES, |_, row| Some(row))
}

/// One node.
///
/// # Errors
/// See [`clock_ms`].
pub fn node(view: &dyn View, id: NodeId) -> Result<Option<NodeRow>, ViewError> {
    read(view, Family::Nodes, &key::node(id))
}

/// All stores, by id.
///
/// # Errors
/// See [`clock_ms`].
pub fn stores(view: &dyn View) -> Result<Vec<(StoreId, StoreRow)>, ViewError> {
    list(view, Family::Stores, &[], None, limits::NODES, |rest, row| Some((StoreId(key::split_number(rest)?.0), row)))
}

/// A repository, known from the first blob that was uploaded to it.
///
/// # Errors
/// See [`clock_ms`].
pub fn repo(view: &dyn View, name: &RepoName) -> Result<Option<RepoRow>, ViewError> {
    read(view, Family::Repos, &key::repo(name))
}

/// The name of a repository.
///
/// # Errors
/// See [`clock_ms`].
pub fn repo_name(view: &dyn View, id: RepoId) -> Result<Option<RepoName>, ViewError> {
    let name = view.get(Family::Repos, &key::repo_by_id(id))?;
    Ok(name.and_then(|name| std::str::from_utf8(&name).ok()?.parse().ok()))
}

/// The names of the repositories that hold a manifest, in lexical order.
///
/// # Errors
/// See [`clock_ms`].
pub fn catalog(view: &dyn View, after: Option<&RepoName>, limit: usize) -> Result<Vec<RepoName>, ViewError> {
    let after = after.map(key::repo_listed);
    let rows = view.scan(Family::Repos, &key::repos_listed(), after.as_deref(), limit)?;
    rows.iter().map(|(key, _)| text(Family::Repos, key, 1)).collect()
}

/// Where a tag points.
///
/// # Errors
/// See [`clock_ms`].
pub fn tag(view: &dyn View, name: &RepoName, tag: &Tag) -> Result<Option<TagRow>, ViewError> {
    match repo(view, name)? {
        Some(repo) => read(view, Family::Tags, &key::tag(repo.id, tag)),
        None => Ok(None),
    }
}

/// A repository's tags in lexical order; `None` when it never held a manifest.
///
/// # Errors
/// See [`clock_ms`].
pub fn tags(
    view: &dyn View,
    name: &RepoName,
    after: Option<&Tag>,
    limit: usize,
) -> Result<Option<Vec<Tag>>, ViewError> {
    let Some(repo) = repo(view, name)?.filter(|repo| repo.ever_held) else {
        return Ok(None);
    };
    let prefix = key::tags(repo.id);
    let after = after.map(|tag| key::tag(repo.id, tag));
    let rows = view.scan(Family::Tags, &prefix, after.as_deref(), limit)?;
    let tags: Result<Vec<Tag>, ViewError> = rows.iter().map(|(key, _)| text(Family::Tags, key, prefix.len())).collect();
    tags.map(Some)
}

/// The tags that point at a manifest, with where they stand.
///
/// # Errors
/// See [`clock_ms`].
pub fn tags_of(view: &dyn View, repo: RepoId, digest: &Digest, limit: usize) -> Result<Vec<TagEntry>, ViewError> {
    let prefix = key::tags_of_manifest(repo, digest);
    let mut found = Vec::new();
    for (key, _) in view.scan(Family::TagsByManifest, &prefix, None, limit)? {
        let tag: Tag = text(Family::TagsByManifest, &key, prefix.len())?;
        let row = read(view, Family::Tags, &key::tag(repo, &tag))?
            .ok_or_else(|| corrupt(Family::TagsByManifest, &key, "the tag has no row"))?;
        found.push((tag, row));
    }
    Ok(found)
}

/// A tag's remembered moves with their revisions, newest first.
///
/// # Errors
/// See [`clock_ms`].
pub fn tag_history(
    view: &dyn View,
    name: &RepoName,
    tag: &Tag,
    limit: usize,
) -> Result<Vec<(u64, TagHistoryRow)>, ViewError> {
    match repo(view, name)? {
        Some(repo) => tag_moves(view, repo.id, tag, limit),
        None => Ok(Vec::new()),
    }
}

/// [`tag_history`] by the repository's id.
///
/// # Errors
/// See [`clock_ms`].
pub fn tag_moves(
    view: &dyn View,
    repo: RepoId,
    tag: &Tag,
    limit: usize,
) -> Result<Vec<(u64, TagHistoryRow)>, ViewError> {
    list(view, Family::TagHistory, &key::tag_moves(repo, tag), None, limit, |rest, row| {
        Some((!key::split_number(rest)?.0, row))
    })
}

/// A manifest's facts without its bytes.
///
/// # Errors
/// See [`clock_ms`].
pub fn manifest_row(view: &dyn View, repo: RepoId, digest: &Digest) -> Result<Option<ManifestRow>, ViewError> {
    read(view, Family::Manifests, &key::manifest(repo, digest))
}

/// A manifest by digest.
///
/// # Errors
/// See [`clock_ms`].
pub fn manifest(view: &dyn View, name: &RepoName, digest: &Digest) -> Result<Option<Manifest>, ViewError> {
    match repo(view, name)? {
        Some(repo) => whole_manifest(view, repo.id, *digest, None),
        None => Ok(None),
    }
}

/// A manifest by tag or digest.
///
/// # Errors
/// See [`clock_ms`].
pub fn resolve(view: &dyn View, name: &RepoName, reference: &Reference) -> Result<Option<Manifest>, ViewError> {
    let Some(repo) = repo(view, name)? else {
        return Ok(None);
    };
    match reference {
        Reference::Digest(digest) => whole_manifest(view, repo.id, *digest, None),
        Reference::Tag(tag) => match read::<TagRow>(view, Family::Tags, &key::tag(repo.id, tag))? {
            Some(row) => whole_manifest(view, repo.id, row.digest, Some(row)),
            None => Ok(None),
        },
    }
}

fn whole_manifest(
    view: &dyn View,
    repo: RepoId,
    digest: Digest,
    tag: Option<TagRow>,
) -> Result<Option<Manifest>, ViewError> {
    let Some(row) = manifest_row(view, repo, &digest)? else {
        return Ok(None);
    };
    let keys: Vec<Vec<u8>> = (0..row.parts).map(|part| key::manifest_part(repo, &digest, part)).collect();
    let parts = view.multi_get(Family::Manifests, &keys)?;
    let parts: Option<Vec<Bytes>> = parts.into_iter().collect();
    let whole = parts.map(|mut parts| match parts.len() {
        1 => parts.remove(0),
        _ => parts
            .iter()
            .fold(BytesMut::new(), |mut whole, part| {
                whole.extend_from_slice(part);
                whole
            })
            .freeze(),
    });
    match whole {
        Some(bytes) if bytes.len() as u64 == row.size => Ok(Some(Manifest { digest, row, bytes, tag })),
        _ => Err(corrupt(Family::Manifests, &key::manifest(repo, &digest), "its bytes are not whole")),
    }
}

/// A subject's referrers by digest, those of one artifact type when one is given. A subject that nobody put has them
/// too.
///
/// # Errors
/// See [`clock_ms`].
pub fn referrers(
    view: &dyn View,
    name: &RepoName,
    subject: &Digest,
    artifact_type: Option<&str>,
    after: Option<&Digest>,
    limit: usize,
) -> Result<Vec<(Digest, ReferrerRow)>, ViewError> {
    let Some(repo) = repo(view, name)? else {
        return Ok(Vec::new());
    };
    let prefix = key::referrers(repo.id, subject);
    let mut after = after.map(|after| key::referrer(repo.id, subject, after));
    let mut found = Vec::new();
    while found.len() < limit {
        let page: Vec<(Digest, ReferrerRow)> =
            list(view, Family::Referrers, &prefix, after.as_deref(), limit, |rest, row| {
                Some((key::split_digest(rest)?.0, row))
            })?;
        let last_page = page.len() < limit;
        after = page.last().map(|(digest, _)| key::referrer(repo.id, subject, digest));
        found.extend(
            page.into_iter()
                .filter(|(_, row)| artifact_type.is_none_or(|wanted| row.artifact_type.as_deref() == Some(wanted))),
        );
        if last_page {
            break;
        }
    }
    found.truncate(limit);
    Ok(found)
}

/// A blob, Live or condemned, whether or not any repository shows it.
///
/// # Errors
/// See [`clock_ms`].
pub fn blob(view: &dyn View, digest: &Digest) -> Result<Option<BlobRow>, ViewError> {
    read(view, Family::Blobs, &key::blob(digest))
}

/// A Live blob, if the repository shows it: through an edge or an unexpired pin there.
///
/// # Errors
/// See [`clock_ms`].
pub fn visible_blob(view: &dyn View, name: &RepoName, digest: &Digest) -> Result<Option<BlobRow>, ViewError> {
    match repo(view, name)? {
        Some(repo) => visible_blob_in(view, repo.id, digest),
        None => Ok(None),
    }
}

/// [`visible_blob`] by the repository's id.
///
/// # Errors
/// See [`clock_ms`].
pub fn visible_blob_in(view: &dyn View, repo: RepoId, digest: &Digest) -> Result<Option<BlobRow>, ViewError> {
    let Some(row) = blob(view, digest)?.filter(|row| row.state == BlobState::Live) else {
        return Ok(None);
    };
    let shown = !parents(view, ChildKind::Blob, digest, repo, 1)?.is_empty() || pinned(view, repo, digest)?;
    Ok(shown.then_some(row))
}

/// Repositories that show a blob, in the order in which they were made: at most `limit`.
///
/// # Errors
/// See [`clock_ms`].
pub fn repos_showing(view: &dyn View, digest: &Digest, limit: usize) -> Result<Vec<RepoName>, ViewError> {
    let mut shown = Vec::new();
    let mut after = None;
    while shown.len() < limit {
        let prefixes = [(Family::Edges, key::edges(ChildKind::Blob, digest)), (Family::Pins, key::pins(digest))];
        let mut next = None;
        for (family, prefix) in prefixes {
            next = [next, repo_after(view, family, &prefix, after)?].into_iter().flatten().min();
        }
        let Some(id) = next else { break };
        after = Some(id);
        if let Some(name) = repo_name(view, id)?
            && visible_blob_in(view, id, digest)?.is_some()
        {
            shown.push(name);
        }
    }
    Ok(shown)
}

/// The first repository after another one in rows whose key goes on with a repository.
pub(crate) fn repo_after(
    view: &dyn View,
    family: Family,
    prefix: &[u8],
    after: Option<RepoId>,
) -> Result<Option<RepoId>, ViewError> {
    Ok(repos_after(view, family, prefix, after, 1)?.first().copied())
}

/// The repositories after another one in so many rows whose key goes on with a repository: one for each row.
pub(crate) fn repos_after(
    view: &dyn View,
    family: Family,
    prefix: &[u8],
    after: Option<RepoId>,
    limit: usize,
) -> Result<Vec<RepoId>, ViewError> {
    // No key goes on behind its repository with so high a byte.
    let last = after.map(|RepoId(id)| [prefix, &id.to_be_bytes(), &[u8::MAX]].concat());
    let rows = view.scan(family, prefix, last.as_deref(), limit)?;
    let repo = |key: &[u8]| match key::split_number(&key[prefix.len()..]) {
        Some((id, _)) => Ok(RepoId(id)),
        None => Err(corrupt(family, key, "it names no repository")),
    };
    rows.iter().map(|(key, _)| repo(key)).collect()
}

/// Whether an unexpired pin of the repository keeps the blob.
///
/// # Errors
/// See [`clock_ms`].
pub fn pinned(view: &dyn View, repo: RepoId, digest: &Digest) -> Result<bool, ViewError> {
    let pin: Option<PinRow> = read(view, Family::Pins, &key::pin(digest, repo))?;
    Ok(match pin {
        Some(pin) => pin.until_ms > clock_ms(view)?,
        None => false,
    })
}

/// The manifests of a repository that name a child.
///
/// # Errors
/// See [`clock_ms`].
pub fn parents(
    view: &dyn View,
    kind: ChildKind,
    child: &Digest,
    repo: RepoId,
    limit: usize,
) -> Result<Vec<Digest>, ViewError> {
    let prefix = key::edges_in(kind, child, repo);
    let rows = view.scan(Family::Edges, &prefix, None, limit)?;
    rows.iter()
        .map(|(key, _)| match key::split_digest(&key[prefix.len()..]) {
            Some((parent, _)) => Ok(parent),
            None => Err(corrupt(Family::Edges, key, "it ends in no digest")),
        })
        .collect()
}

/// Every copy of a blob, by store.
///
/// # Errors
/// See [`clock_ms`].
pub fn locations(view: &dyn View, digest: &Digest) -> Result<Vec<Location>, ViewError> {
    list(view, Family::Loc, &key::locations(digest), None, limits::NODES, |rest, row: LocationRow| {
        let (store, rest) = key::split_number(rest)?;
        let (file, _) = key::split_file(rest)?;
        Some(Location { store: StoreId(store), file, generation: row.generation })
    })
}

/// A store's copy of a blob.
///
/// # Errors
/// See [`clock_ms`].
pub fn copy_in(view: &dyn View, digest: &Digest, store: StoreId) -> Result<Option<FileId>, ViewError> {
    let files = list(view, Family::Loc, &key::locations_in(digest, store), None, 1, |rest, _: LocationRow| {
        Some(key::split_file(rest)?.0)
    })?;
    Ok(files.first().copied())
}

/// What a store holds, by digest; `after` is the last digest and file of the page before.
///
/// # Errors
/// See [`clock_ms`].
pub fn copies_in(
    view: &dyn View,
    store: StoreId,
    after: Option<(&Digest, FileId)>,
    limit: usize,
) -> Result<Vec<StoredCopy>, ViewError> {
    let after = after.map(|(digest, file)| key::location_by_store(store, digest, file));
    let prefix = key::locations_by_store(store);
    list(view, Family::LocByStore, &prefix, after.as_deref(), limit, |rest, row: LocationRow| {
        let (digest, rest) = key::split_digest(rest)?;
        Some(StoredCopy { digest, file: key::split_file(rest)?.0, generation: row.generation })
    })
}

/// Whether a file was given up and is still to be unlinked.
///
/// # Errors
/// See [`clock_ms`].
pub fn is_given_up(view: &dyn View, store: StoreId, file: FileId) -> Result<bool, ViewError> {
    Ok(view.get(Family::Reclaim, &key::reclaim(store, file))?.is_some())
}

/// The files a store's owner is to unlink, with whose bytes they hold.
///
/// # Errors
/// See [`clock_ms`].
pub fn reclaims(
    view: &dyn View,
    store: StoreId,
    after: Option<FileId>,
    limit: usize,
) -> Result<Vec<(FileId, Digest)>, ViewError> {
    let after = after.map(|file| key::reclaim(store, file));
    list(view, Family::Reclaim, &key::reclaims(store), after.as_deref(), limit, |rest, row: ReclaimRow| {
        Some((key::split_file(rest)?.0, row.digest))
    })
}

/// Blobs by digest, condemned ones too: for scans that replan everything.
///
/// # Errors
/// See [`clock_ms`].
pub fn blobs_after(view: &dyn View, after: Option<&Digest>, limit: usize) -> Result<Vec<(Digest, BlobRow)>, ViewError> {
    let after = after.map(key::blob);
    list(view, Family::Blobs, &[], after.as_deref(), limit, |rest, row| Some((key::split_digest(rest)?.0, row)))
}

/// Every blob below a manifest with these children, through child manifests of the same repository, each once;
/// `None` when more than [`limits::ACK_CLOSURE`] manifests and blobs hang there. A child manifest that the
/// repository lacks contributes nothing.
///
/// # Errors
/// See [`clock_ms`].
pub fn blobs_below(view: &dyn View, repo: RepoId, children: &[Child]) -> Result<Option<Vec<Digest>>, ViewError> {
    let mut blobs = Vec::new();
    let mut seen: BTreeSet<(bool, Digest)> = BTreeSet::new();
    let mut waiting: Vec<Vec<Child>> = vec![children.to_vec()];
    while let Some(children) = waiting.pop() {
        for child in children {
            let is_blob = child.kind == ChildKind::Blob;
            if !seen.insert((is_blob, child.digest)) {
                continue;
            }
            if seen.len() > limits::ACK_CLOSURE {
                return Ok(None);
            }
            if is_blob {
                blobs.push(child.digest);
            } else if let Some(row) = manifest_row(view, repo, &child.digest)? {
                waiting.push(row.children);
            }
        }
    }
    Ok(Some(blobs))
}

/// Scans a prefix and makes an entry of what follows the prefix in the key, and of the row.
fn list<T, R: DeserializeOwned>(
    view: &dyn View,
    family: Family,
    prefix: &[u8],
    after: Option<&[u8]>,
    limit: usize,
    entry: impl Fn(&[u8], R) -> Option<T>,
) -> Result<Vec<T>, ViewError> {
    let rows = view.scan(family, prefix, after, limit)?;
    rows.iter()
        .map(|(key, value)| {
            let row = decode(family, key, value)?;
            entry(&key[prefix.len()..], row).ok_or_else(|| corrupt(family, key, "the key has another shape"))
        })
        .collect()
}

/// A name or tag at the end of a key.
fn text<T: std::str::FromStr>(family: Family, key: &[u8], skip: usize) -> Result<T, ViewError> {
    std::str::from_utf8(&key[skip..])
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| corrupt(family, key, "it ends in no valid name"))
}
