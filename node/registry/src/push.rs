//! Puts a manifest once its blobs are durable enough (design, sections 5 "Acks" and 8).

use crate::config::ms;
use crate::error::{PendingBlob, RegistryError};
use crate::propose::refused;
use crate::registry::Registry;
use bytes::Bytes;
use portolan_meta::command::{Command, ManifestBytes, PutManifest};
use portolan_meta::limits::{MANIFEST_BYTES, MANIFEST_FACT_BYTES, MANIFEST_INLINE_BYTES, MANIFEST_PART_BYTES};
use portolan_meta::outcome::{Outcome, Refusal};
use portolan_meta::placement::{Topology, ack_policy};
use portolan_meta::query;
use portolan_meta::row::{BlobState, Child, ChildKind, NodeState};
use portolan_meta::view::View;
use portolan_oci::manifest::{self, ParsedManifest};
use portolan_oci::{Digest, Reference, RepoName, Tag};
use portolan_replication::SettleError;
use portolan_sabotage::Sabotage;
use std::collections::{BTreeMap, BTreeSet};
use tokio::time::Instant;

/// A manifest as the client sends it.
#[derive(Clone, Debug)]
pub struct ManifestPush {
    /// The tag to move to it, or the digest it must have.
    pub reference: Reference,
    /// The declared media type.
    pub content_type: Option<String>,
    /// Its bytes; kept verbatim.
    pub bytes: Bytes,
    /// Further tags to move to it.
    pub tags: Vec<Tag>,
    /// Who pushes.
    pub by: String,
}

/// A manifest is put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PutAnswer {
    /// Its digest.
    pub digest: Digest,
    /// The manifest it is about.
    pub subject: Option<Digest>,
}

impl Registry {
    /// Puts a manifest and its tags, all or nothing. Returns once it is committed and everything below it is as
    /// durable as the repository's ack policy demands.
    ///
    /// # Errors
    /// `ManifestInvalid`, `ManifestTooLarge`, `DigestMismatch`, `ChildrenUnknown`, `TooMany`, `AckPending` (repeat
    /// the push), `NoQuorum`.
    pub async fn put_manifest(&self, repo: &RepoName, push: ManifestPush) -> Result<PutAnswer, RegistryError> {
        let limit = self.config.limits.manifest_bytes.min(MANIFEST_BYTES);
        if push.bytes.len() as u64 > limit {
            return Err(RegistryError::ManifestTooLarge { limit });
        }
        let parsed = manifest::parse(push.content_type.as_deref(), &push.bytes)?;
        let (digest, mut tags) = match push.reference {
            Reference::Tag(tag) => (Digest::sha256_of(&push.bytes), vec![tag]),
            Reference::Digest(digest) if Digest::of(digest.algorithm(), &push.bytes) == digest => (digest, Vec::new()),
            Reference::Digest(expected) => return Err(RegistryError::DigestMismatch { expected }),
        };
        tags.extend(push.tags);
        let answer = PutAnswer { digest, subject: parsed.subject.as_ref().map(|subject| subject.digest) };
        let deadline = Instant::now() + ms(self.config.uploads.ack_timeout_ms);
        let parts = self.put_parts(repo, digest, &push.bytes, deadline).await?;
        let command = facts(repo, digest, &push.bytes, parts, parsed, tags, push.by);
        let put = self.put_when_durable(command, &push.bytes, deadline);
        if portolan_sabotage::is(Sabotage::AckBeforeQuorum) {
            // Sabotaged: what takes longer than a moment is acknowledged as it stands.
            tokio::time::timeout(ms(300), put).await.unwrap_or(Ok(()))?;
        } else {
            put.await?;
        }
        Ok(answer)
    }

    /// Puts the bytes of a large manifest ahead of it. Returns how many parts there are; 0 means that the bytes fit
    /// into the command itself.
    async fn put_parts(
        &self,
        repo: &RepoName,
        digest: Digest,
        bytes: &Bytes,
        deadline: Instant,
    ) -> Result<u16, RegistryError> {
        if bytes.len() <= MANIFEST_INLINE_BYTES {
            return Ok(0);
        }
        let mut part = 0;
        for start in (0..bytes.len()).step_by(MANIFEST_PART_BYTES) {
            let end = bytes.len().min(start + MANIFEST_PART_BYTES);
            let command = Command::PutManifestPart { repo: repo.clone(), digest, part, bytes: bytes.slice(start..end) };
            match self.propose(command, self.commit_deadline().min(deadline)).await? {
                Outcome::Done => part += 1,
                Outcome::Refused(refusal) => return Err(refused(refusal)),
                _ => return Err(RegistryError::Outcome("PutManifestPart")),
            }
        }
        Ok(part)
    }

    /// Proposes, and while blobs are not durable enough waits for them and proposes again: only the apply judges.
    async fn put_when_durable(&self, put: PutManifest, bytes: &Bytes, deadline: Instant) -> Result<(), RegistryError> {
        let repo = put.repo.clone();
        loop {
            let command = Command::PutManifest(Box::new(put.clone()));
            let pending = match self.propose(command, self.commit_deadline().min(deadline)).await? {
                Outcome::ManifestPut { .. } => return Ok(()),
                Outcome::Refused(Refusal::NotYetDurable(pending)) => pending,
                // Another push of the same manifest has consumed them, and a delete has taken it away since. Both may
                // happen again, until the deadline.
                Outcome::Refused(Refusal::PartsMissing) if bytes.len() > MANIFEST_INLINE_BYTES => {
                    self.put_parts(&repo, put.digest, bytes, deadline).await?;
                    continue;
                }
                Outcome::Refused(refusal) => return Err(refused(refusal)),
                _ => return Err(RegistryError::Outcome("PutManifest")),
            };
            match self.floors.replication.settle(&repo, &pending, deadline).await {
                Ok(()) if Instant::now() < deadline => {}
                Ok(()) => return Err(RegistryError::AckPending(self.durability(&repo, &pending)?)),
                Err(SettleError::Pending(pending)) => {
                    return Err(RegistryError::AckPending(self.durability(&repo, &pending)?));
                }
                Err(SettleError::Stopped) => return Err(RegistryError::Stopping),
                Err(SettleError::View(error)) => return Err(RegistryError::View(error)),
            }
        }
    }

    /// Where the blobs that keep a push of this node waiting are durable, and where they have to be. Copies count here as
    /// they do for the apply, so that nobody looks at two copies and wonders what is missing.
    fn durability(&self, repo: &RepoName, pending: &[Digest]) -> Result<Vec<PendingBlob>, RegistryError> {
        self.local().read(|view| {
            let topology = Topology::read(view)?;
            let policy = topology.policies().of(repo);
            let needed = ack_policy(&topology, &policy, self.node);
            pending
                .iter()
                .map(|digest| {
                    let mut durable_in = durable_nodes(view, &topology, digest)?;
                    durable_in.retain(|region, _| policy.regions.want(region));
                    Ok(PendingBlob { digest: *digest, durable_in, needed })
                })
                .collect()
        })
    }
}

/// The nodes of each region on which a blob is durable, by name.
fn durable_nodes(
    view: &dyn View,
    topology: &Topology,
    digest: &Digest,
) -> Result<BTreeMap<String, Vec<String>>, RegistryError> {
    let mut regions: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let Some(row) = query::blob(view, digest)?.filter(|row| row.state == BlobState::Live) else { return Ok(regions) };
    for copy in query::locations(view, digest)? {
        let owner = topology.owner(copy.store).filter(|_| copy.generation == row.generation);
        if let Some(owner) = owner.filter(|owner| matches!(owner.state, NodeState::Up | NodeState::Draining)) {
            regions.entry(owner.region.clone()).or_default().push(owner.name.clone());
        }
    }
    for names in regions.values_mut() {
        names.sort();
        names.dedup();
    }
    Ok(regions)
}

/// The parsed facts that the state machine works on; it never parses a manifest itself. Annotations that would make the
/// log entry too long stay in the manifest's bytes, where a list of referrers finds them.
fn facts(
    repo: &RepoName,
    digest: Digest,
    bytes: &Bytes,
    parts: u16,
    parsed: ParsedManifest,
    tags: Vec<Tag>,
    by: String,
) -> PutManifest {
    let mut seen = BTreeSet::new();
    let blobs = parsed.blobs.into_iter().map(|blob| (blob, ChildKind::Blob));
    let manifests = parsed.manifests.into_iter().map(|child| (child, ChildKind::Manifest));
    let children = blobs
        .chain(manifests)
        .filter(|(child, _)| seen.insert(child.digest))
        .map(|(child, kind)| Child { digest: child.digest, size: child.size, kind })
        .collect();
    let mut unique = BTreeSet::new();
    let names = parsed.media_type.len() + parsed.artifact_type.as_ref().map_or(0, String::len);
    let annotations =
        if names + length(&parsed.annotations) <= MANIFEST_FACT_BYTES { parsed.annotations } else { BTreeMap::new() };
    PutManifest {
        repo: repo.clone(),
        digest,
        media_type: parsed.media_type,
        size: bytes.len() as u64,
        bytes: if parts == 0 { ManifestBytes::Inline(bytes.clone()) } else { ManifestBytes::Parts(parts) },
        children,
        subject: parsed.subject.map(|subject| subject.digest),
        artifact_type: parsed.artifact_type,
        annotations,
        tags: tags.into_iter().filter(|tag| unique.insert(tag.clone())).collect(),
        by,
    }
}

/// How long annotations are together, in bytes.
pub(crate) fn length(annotations: &BTreeMap<String, String>) -> usize {
    annotations.iter().map(|(key, value)| key.len() + value.len()).sum()
}
