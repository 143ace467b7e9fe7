//! The stored shape: what every key looks like.
//!
//! ```text
//! family            key                                              value
//! sys               "meta.clock"                                     u64
//!                   "meta.cluster"                                   ClusterRow
//!                   "meta.bandwidth"                                 BandwidthRow
//! nodes             node:8                                           NodeRow
//! stores            store:8                                          StoreRow
//! repos             'n' name                                         RepoRow
//!                   'l' name            (it holds a manifest)        -
//!                   'i' repo:8                                       name
//!                   'p' prefix                                       PolicyRow
//! manifests         repo:8 'r' digest                                ManifestRow
//!                   repo:8 'b' digest part:2                         bytes
//!                   repo:8 's' digest   (parts wait for their put)   StagedRow
//! tags              repo:8 tag                                       TagRow
//! tags_by_manifest  repo:8 digest tag                                -
//! tag_history       repo:8 tag 0 ~revision:8    (newest first)       TagHistoryRow
//! referrers         repo:8 subject referrer                          ReferrerRow
//! blobs             digest                                           BlobRow
//! edges             'b'|'m' child repo:8 parent (blob, manifest)     -
//! pins              digest repo:8                                    PinRow
//! loc               digest store:8 file:16                           LocationRow
//! loc_by_store      store:8 digest file:16                           LocationRow
//! reclaim           store:8 file:16                                  ReclaimRow
//! dedupe            node:8                                           DedupeRow
//!                   node:8 incarnation:8 sequence:8                  Outcome
//! ```
//!
//! Numbers are big-endian, so that they sort. A digest is one byte for the algorithm (which fixes the length) and the
//! raw bytes. A name or tag comes last, or is closed by a zero byte, which sorts before every byte it may contain:
//! either way the keys sort as the names do. `sys` also holds what consensus keeps beside the state; its keys do not
//! begin with `meta.`.

use crate::id::{FileId, NodeId, RepoId, StoreId};
use crate::policy::Prefix;
use crate::row::ChildKind;
use portolan_oci::{Algorithm, Digest, RepoName, Tag};

/// The state's clock in `sys`.
pub const CLOCK: &[u8] = b"meta.clock";

/// The cluster's id and epoch in `sys`.
pub const CLUSTER: &[u8] = b"meta.cluster";

/// The limits of bandwidth between regions in `sys`.
pub const BANDWIDTH: &[u8] = b"meta.bandwidth";

const REPO_NAME: u8 = b'n';
const REPO_LISTED: u8 = b'l';
const REPO_ID: u8 = b'i';
const REPO_POLICY: u8 = b'p';
const MANIFEST_ROW: u8 = b'r';
const MANIFEST_BYTES: u8 = b'b';
const MANIFEST_STAGED: u8 = b's';

const SHA256: u8 = 1;
const SHA512: u8 = 2;

/// A key under construction.
struct Key(Vec<u8>);

impl Key {
    fn new() -> Self {
        Self(Vec::with_capacity(64))
    }

    fn byte(mut self, byte: u8) -> Self {
        self.0.push(byte);
        self
    }

    fn number(mut self, number: u64) -> Self {
        self.0.extend_from_slice(&number.to_be_bytes());
        self
    }

    fn text(mut self, text: &str) -> Self {
        self.0.extend_from_slice(text.as_bytes());
        self
    }

    fn digest(mut self, digest: &Digest) -> Self {
        self.0.push(match digest.algorithm() {
            Algorithm::Sha256 => SHA256,
            Algorithm::Sha512 => SHA512,
        });
        self.0.extend_from_slice(digest.raw());
        self
    }

    fn file(mut self, file: FileId) -> Self {
        self.0.extend_from_slice(&file.0.to_be_bytes());
        self
    }

    fn kind(self, kind: ChildKind) -> Self {
        self.byte(match kind {
            ChildKind::Blob => b'b',
            ChildKind::Manifest => b'm',
        })
    }
}

/// A node's row.
#[must_use]
pub fn node(id: NodeId) -> Vec<u8> {
    Key::new().number(id.0).0
}

/// A store's row.
#[must_use]
pub fn store(id: StoreId) -> Vec<u8> {
    Key::new().number(id.0).0
}

/// A repository's row.
#[must_use]
pub fn repo(name: &RepoName) -> Vec<u8> {
    Key::new().byte(REPO_NAME).text(name.as_str()).0
}

/// The mark of a repository that holds a manifest.
#[must_use]
pub fn repo_listed(name: &RepoName) -> Vec<u8> {
    Key::new().byte(REPO_LISTED).text(name.as_str()).0
}

/// The prefix of all such marks.
#[must_use]
pub fn repos_listed() -> Vec<u8> {
    vec![REPO_LISTED]
}

/// A repository's name by its id.
#[must_use]
pub fn repo_by_id(id: RepoId) -> Vec<u8> {
    Key::new().byte(REPO_ID).number(id.0).0
}

/// A prefix's settings.
#[must_use]
pub fn policy(prefix: &Prefix) -> Vec<u8> {
    Key::new().byte(REPO_POLICY).text(prefix.as_str()).0
}

/// The prefix of all such settings.
#[must_use]
pub fn policies() -> Vec<u8> {
    vec![REPO_POLICY]
}

/// A manifest's row.
#[must_use]
pub fn manifest(repo: RepoId, digest: &Digest) -> Vec<u8> {
    Key::new().number(repo.0).byte(MANIFEST_ROW).digest(digest).0
}

/// The prefix of a repository's manifest rows.
#[must_use]
pub fn manifests(repo: RepoId) -> Vec<u8> {
    Key::new().number(repo.0).byte(MANIFEST_ROW).0
}

/// One part of a manifest's bytes.
#[must_use]
pub fn manifest_part(repo: RepoId, digest: &Digest, part: u16) -> Vec<u8> {
    let mut key = manifest_parts(repo, digest);
    key.extend_from_slice(&part.to_be_bytes());
    key
}

/// The prefix of a manifest's parts.
#[must_use]
pub fn manifest_parts(repo: RepoId, digest: &Digest) -> Vec<u8> {
    Key::new().number(repo.0).byte(MANIFEST_BYTES).digest(digest).0
}

/// The mark of parts that wait for their manifest.
#[must_use]
pub fn manifest_staged(repo: RepoId, digest: &Digest) -> Vec<u8> {
    Key::new().number(repo.0).byte(MANIFEST_STAGED).digest(digest).0
}

/// The prefix of a repository's such marks.
#[must_use]
pub fn manifests_staged(repo: RepoId) -> Vec<u8> {
    Key::new().number(repo.0).byte(MANIFEST_STAGED).0
}

/// A tag's row.
#[must_use]
pub fn tag(repo: RepoId, tag: &Tag) -> Vec<u8> {
    Key::new().number(repo.0).text(tag.as_str()).0
}

/// The prefix of a repository's tags.
#[must_use]
pub fn tags(repo: RepoId) -> Vec<u8> {
    Key::new().number(repo.0).0
}

/// One tag of a manifest.
#[must_use]
pub fn tag_of_manifest(repo: RepoId, digest: &Digest, tag: &Tag) -> Vec<u8> {
    Key::new().number(repo.0).digest(digest).text(tag.as_str()).0
}

/// The prefix of a manifest's tags.
#[must_use]
pub fn tags_of_manifest(repo: RepoId, digest: &Digest) -> Vec<u8> {
    Key::new().number(repo.0).digest(digest).0
}

/// One move of a tag.
#[must_use]
pub fn tag_move(repo: RepoId, tag: &Tag, revision: u64) -> Vec<u8> {
    let mut key = tag_moves(repo, tag);
    key.extend_from_slice(&(!revision).to_be_bytes());
    key
}

/// The prefix of a tag's moves, newest first.
#[must_use]
pub fn tag_moves(repo: RepoId, tag: &Tag) -> Vec<u8> {
    Key::new().number(repo.0).text(tag.as_str()).byte(0).0
}

/// One referrer of a subject.
#[must_use]
pub fn referrer(repo: RepoId, subject: &Digest, referrer: &Digest) -> Vec<u8> {
    Key::new().number(repo.0).digest(subject).digest(referrer).0
}

/// The prefix of a subject's referrers.
#[must_use]
pub fn referrers(repo: RepoId, subject: &Digest) -> Vec<u8> {
    Key::new().number(repo.0).digest(subject).0
}

/// A blob's row.
#[must_use]
pub fn blob(digest: &Digest) -> Vec<u8> {
    Key::new().digest(digest).0
}

/// The edge from a child to the manifest that names it.
#[must_use]
pub fn edge(kind: ChildKind, child: &Digest, repo: RepoId, parent: &Digest) -> Vec<u8> {
    Key::new().kind(kind).digest(child).number(repo.0).digest(parent).0
}

/// The prefix of a child's edges, by repository.
#[must_use]
pub fn edges(kind: ChildKind, child: &Digest) -> Vec<u8> {
    Key::new().kind(kind).digest(child).0
}

/// The prefix of a child's edges in one repository.
#[must_use]
pub fn edges_in(kind: ChildKind, child: &Digest, repo: RepoId) -> Vec<u8> {
    Key::new().kind(kind).digest(child).number(repo.0).0
}

/// A blob's pin in a repository.
#[must_use]
pub fn pin(digest: &Digest, repo: RepoId) -> Vec<u8> {
    Key::new().digest(digest).number(repo.0).0
}

/// The prefix of a blob's pins, by repository.
#[must_use]
pub fn pins(digest: &Digest) -> Vec<u8> {
    Key::new().digest(digest).0
}

/// One copy of a blob.
#[must_use]
pub fn location(digest: &Digest, store: StoreId, file: FileId) -> Vec<u8> {
    Key::new().digest(digest).number(store.0).file(file).0
}

/// The prefix of a blob's copies in one store.
#[must_use]
pub fn locations_in(digest: &Digest, store: StoreId) -> Vec<u8> {
    Key::new().digest(digest).number(store.0).0
}

/// The prefix of all copies of a blob.
#[must_use]
pub fn locations(digest: &Digest) -> Vec<u8> {
    Key::new().digest(digest).0
}

/// One copy, by store.
#[must_use]
pub fn location_by_store(store: StoreId, digest: &Digest, file: FileId) -> Vec<u8> {
    Key::new().number(store.0).digest(digest).file(file).0
}

/// The prefix of a store's copies.
#[must_use]
pub fn locations_by_store(store: StoreId) -> Vec<u8> {
    Key::new().number(store.0).0
}

/// A file that is to be unlinked.
#[must_use]
pub fn reclaim(store: StoreId, file: FileId) -> Vec<u8> {
    Key::new().number(store.0).file(file).0
}

/// The prefix of a store's files that are to be unlinked.
#[must_use]
pub fn reclaims(store: StoreId) -> Vec<u8> {
    Key::new().number(store.0).0
}

/// A node's dedupe window; also the prefix of its outcomes.
#[must_use]
pub fn dedupe_window(node: NodeId) -> Vec<u8> {
    Key::new().number(node.0).0
}

/// A remembered outcome.
#[must_use]
pub fn dedupe_outcome(node: NodeId, incarnation: u64, sequence: u64) -> Vec<u8> {
    Key::new().number(node.0).number(incarnation).number(sequence).0
}

/// Splits a digest off the front of a key's rest.
#[must_use]
pub fn split_digest(rest: &[u8]) -> Option<(Digest, &[u8])> {
    let (&algorithm, rest) = rest.split_first()?;
    let (algorithm, length) = match algorithm {
        SHA256 => (Algorithm::Sha256, 32),
        SHA512 => (Algorithm::Sha512, 64),
        _ => return None,
    };
    let (raw, rest) = rest.split_at_checked(length)?;
    Some((Digest::from_raw(algorithm, raw)?, rest))
}

/// Splits a number off the front of a key's rest.
#[must_use]
pub fn split_number(rest: &[u8]) -> Option<(u64, &[u8])> {
    let (number, rest) = rest.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*number), rest))
}

/// Splits a file id off the front of a key's rest.
#[must_use]
pub fn split_file(rest: &[u8]) -> Option<(FileId, &[u8])> {
    let (file, rest) = rest.split_first_chunk::<16>()?;
    Some((FileId(u128::from_be_bytes(*file)), rest))
}
