//! Takes away tags, manifests and blobs (design, section 7, points 1 and 2). Every decision is the apply's; the answer
//! waits until the other nodes have applied it too, so that no live node still serves what was deleted.

use crate::config::ms;
use crate::error::RegistryError;
use crate::propose::refused;
use crate::registry::Registry;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use portolan_meta::command::Command;
use portolan_meta::id::NodeId;
use portolan_meta::outcome::{Outcome, Refusal};
use portolan_meta::query;
use portolan_meta::row::NodeState;
use portolan_oci::{Digest, Reference, RepoName, Tag};
use portolan_sabotage::Sabotage;
use std::time::Duration;
use tokio::time::Instant;

/// How often a node is asked again whether it has applied a delete.
const FENCE_PAUSE: Duration = Duration::from_millis(20);

/// Something is deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deleted {
    /// Names of the nodes that did not say in time that they applied it; they may serve it by digest a little longer.
    pub silent: Vec<String>,
}

impl Registry {
    /// Deletes a manifest by digest with its tags, or a tag alone.
    ///
    /// # Errors
    /// `RepoUnknown`, `ManifestUnknown`, `ListedByIndex`, `NoQuorum`.
    pub async fn delete_manifest(
        &self,
        repo: &RepoName,
        reference: &Reference,
        by: &str,
    ) -> Result<Deleted, RegistryError> {
        match reference {
            Reference::Tag(tag) => self.delete_tag(repo, tag, by).await,
            Reference::Digest(digest) => self.delete_manifest_by_digest(repo, *digest, by).await,
        }
    }

    async fn delete_tag(&self, repo: &RepoName, tag: &Tag, by: &str) -> Result<Deleted, RegistryError> {
        let command = Command::DeleteTag { repo: repo.clone(), tag: tag.clone(), by: by.to_owned() };
        match self.propose(command, self.commit_deadline()).await? {
            Outcome::Done => self.fence().await,
            Outcome::Refused(Refusal::UnknownTag) => Err(RegistryError::tag_unknown(repo, tag)),
            Outcome::Refused(Refusal::UnknownRepo) => Err(RegistryError::RepoUnknown(repo.clone())),
            Outcome::Refused(refusal) => Err(refused(refusal)),
            _ => Err(RegistryError::Outcome("DeleteTag")),
        }
    }

    async fn delete_manifest_by_digest(
        &self,
        repo: &RepoName,
        digest: Digest,
        by: &str,
    ) -> Result<Deleted, RegistryError> {
        let deadline = self.commit_deadline();
        loop {
            let grace_ms = self.config.deletes.grace_ms;
            let command = Command::DeleteManifest { repo: repo.clone(), digest, grace_ms, by: by.to_owned() };
            match self.propose(command, deadline).await? {
                Outcome::MoreToDo => {}
                Outcome::ManifestDeleted { .. } | Outcome::Done => return self.fence().await,
                Outcome::Refused(Refusal::UnknownManifest) => {
                    return Err(RegistryError::manifest_unknown(repo, Reference::Digest(digest)));
                }
                Outcome::Refused(Refusal::UnknownRepo) => return Err(RegistryError::RepoUnknown(repo.clone())),
                Outcome::Refused(refusal) => return Err(refused(refusal)),
                _ => return Err(RegistryError::Outcome("DeleteManifest")),
            }
        }
    }

    /// Hides a blob in a repository; its bytes stay as long as anything else needs them.
    ///
    /// # Errors
    /// `BlobUnknown`, `ReferredTo`, `NoQuorum`.
    pub async fn delete_blob(&self, repo: &RepoName, digest: &Digest) -> Result<Deleted, RegistryError> {
        let command = Command::DeleteBlob { repo: repo.clone(), digest: *digest };
        match self.propose(command, self.commit_deadline()).await? {
            Outcome::Done => self.fence().await,
            Outcome::Refused(Refusal::UnknownBlob | Refusal::UnknownRepo) => {
                Err(RegistryError::blob_unknown(repo, *digest))
            }
            Outcome::Refused(refusal) => Err(refused(refusal)),
            _ => Err(RegistryError::Outcome("DeleteBlob")),
        }
    }

    /// Waits until every other node that is up has applied what this node has applied now, and names those that did
    /// not say so within `deletes.fence_timeout_ms`.
    pub(crate) async fn fence(&self) -> Result<Deleted, RegistryError> {
        // Sabotaged: nobody is waited for.
        if portolan_sabotage::is(Sabotage::DeleteWithoutFence) {
            return Ok(Deleted::default());
        }
        let index = *self.floors.consensus.applied().borrow();
        let deadline = Instant::now() + ms(self.config.deletes.fence_timeout_ms);
        let nodes = self.local().read(query::nodes)?;
        let mut waiting: FuturesUnordered<_> = nodes
            .into_iter()
            .filter(|node| node.id != self.node && matches!(node.state, NodeState::Up | NodeState::Draining))
            .map(|node| async move { (self.applied_by(node.id, index, deadline).await, node.name) })
            .collect();
        let mut silent = Vec::new();
        while let Some((applied, name)) = waiting.next().await {
            if !applied {
                silent.push(name);
            }
        }
        silent.sort();
        if !silent.is_empty() {
            tracing::warn!(?silent, index, "nodes did not confirm a change in time");
        }
        Ok(Deleted { silent })
    }

    async fn applied_by(&self, node: NodeId, index: u64, deadline: Instant) -> bool {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            if let Ok(pong) = self.floors.peers.ping(node, left).await
                && pong.applied >= index
            {
                return true;
            }
            tokio::time::sleep(FENCE_PAUSE.min(left)).await;
        }
    }
}
