//! What a client does with upload sessions of this node (design, sections 6 and 7 point 1).
//!
//! Whatever writes runs as a task of the registry rather than inside the request: a request whose client goes away is
//! dropped at any await, and neither the bytes that arrived nor the outcome of an announcement may be lost with it.

use crate::disk::{blocking, outcome};
use crate::error::RegistryError;
use crate::pour::{Chunk, Poured, UploadBody, check};
use crate::propose::refused;
use crate::registry::Registry;
use crate::session::{Session, SessionNote, Slot, Turn, UploadId, UploadProgress};
use crate::sessions::Place;
use futures::FutureExt;
use futures::future::BoxFuture;
use portolan_meta::command::Command;
use portolan_meta::id::NodeId;
use portolan_meta::outcome::{Outcome, Refusal};
use portolan_meta::policies;
use portolan_meta::query;
use portolan_meta::row::{NodeRow, NodeState, Role};
use portolan_oci::{Algorithm, Digest, RepoName};
use portolan_replication::PeerHealth;
use portolan_store::{Part, StoreError, StoredFile};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tracing::{Instrument, debug_span};
use ulid::Ulid;

/// How long a question for a session's length waits for a writer to end by itself: a client that asks has usually lost
/// the connection it wrote over, and the writer only has to take what arrived and to notice. Then it is ended, even if
/// bytes still come: the answer says where to go on, and must not be overtaken by what an earlier request still brings
/// (the same rule as in the IETF's draft on resumable uploads).
const STATUS_PATIENCE: Duration = Duration::from_secs(1);
/// How long it waits for a writer that was told to end: as long as a slow disk's sync may take.
const SYNC_PATIENCE: Duration = Duration::from_secs(30);

/// What a mount led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mounted {
    /// The blob is visible in the repository.
    Yes,
    /// It is not to be had from there; a fresh session awaits its bytes.
    No(UploadProgress),
}

impl Registry {
    /// Begins a session, where the repository's bytes may be stored.
    ///
    /// # Errors
    /// `TooManySessions`, `StorageFull`, `Unplaceable`.
    pub async fn upload_start(self: &Arc<Self>, repo: &RepoName) -> Result<UploadProgress, RegistryError> {
        if let Some(nodes) = self.stores_elsewhere(repo)? {
            return self.begin_at(repo, &nodes).await;
        }
        self.begin_here(self.fresh_id(), repo).await
    }

    /// Begins a session of this node under that name, which nobody else has. Asked again, it is the same session: whoever
    /// asked may not have got the answer.
    pub(crate) async fn begin_here(
        self: &Arc<Self>,
        id: UploadId,
        repo: &RepoName,
    ) -> Result<UploadProgress, RegistryError> {
        if let Some(begun) = self.sessions.get(id, repo) {
            return Ok(begun.progress());
        }
        let place = self.sessions.reserve()?;
        let (me, repo) = (Arc::clone(self), repo.clone());
        self.owned(async move {
            match me.begin(place, id, repo.clone()).await {
                Ok(session) => Ok(session.progress()),
                // The first of two that ask at once has claimed the folder.
                Err(error) => match (me.sessions.get(id, &repo), error) {
                    (Some(begun), _) => Ok(begun.progress()),
                    (None, RegistryError::Store(error)) if matches!(*error, StoreError::Busy { .. }) => {
                        Err(RegistryError::Busy("beginnings of the upload session"))
                    }
                    (None, error) => Err(error),
                },
            }
        })
        .await
    }

    fn fresh_id(&self) -> UploadId {
        UploadId { node: self.node, session: Ulid::new() }
    }

    /// Where a repository's bytes may be stored, nodes that are well first and the nearest of them before all, when they
    /// must not be stored here: not even those of an upload that is under way.
    fn stores_elsewhere(&self, repo: &RepoName) -> Result<Option<Vec<NodeId>>, RegistryError> {
        let view = self.local();
        let regions = view.read(|view| policies::effective(view, repo))?.regions;
        let own = view.read(|view| query::node(view, self.node))?;
        if regions.allow(own.as_ref().map_or("", |node| node.region.as_str())) {
            return Ok(None);
        }
        let takes =
            |node: &NodeRow| node.role == Role::Full && node.state == NodeState::Up && regions.allow(&node.region);
        let rtt = |node: NodeId| self.floors.peers.health(node).and_then(|health| health.rtt).unwrap_or(Duration::MAX);
        let nodes = view.read(query::nodes)?.into_iter();
        let mut nodes: Vec<NodeId> = nodes.filter(takes).map(|node| node.id).collect();
        nodes.sort_by_key(|node| (self.floors.replication.health(*node) != PeerHealth::Well, rtt(*node)));
        Ok(Some(nodes))
    }

    /// Makes the session that a place was reserved for.
    async fn begin(&self, place: Place, id: UploadId, repo: RepoName) -> Result<Arc<Session>, RegistryError> {
        let note = serde_json::to_vec(&SessionNote { repo: repo.clone() }).unwrap_or_default();
        let parts = self.parts();
        let name = id.session.to_string();
        let part = blocking(move || parts.create(&name, Algorithm::Sha256, &note)).await?;
        Ok(place.fill(Session::new(id, repo, at_rest(part), 0, Instant::now())))
    }

    /// [`Self::upload_status`] of a session of this node.
    pub(crate) async fn status_here(&self, repo: &RepoName, id: UploadId) -> Result<UploadProgress, RegistryError> {
        let session = self.session(repo, id)?;
        session.touch();
        let writer = session.writer();
        let slot = match tokio::time::timeout(STATUS_PATIENCE, session.wait_turn()).await {
            Ok(slot) => slot,
            Err(_) => {
                writer.cancel();
                let ended = tokio::time::timeout(SYNC_PATIENCE, session.wait_turn()).await;
                ended.map_err(|_| RegistryError::Busy("writes to the upload session"))?
            }
        };
        match &*slot {
            Slot::Gone => Err(unknown(id)),
            Slot::Open(_) | Slot::Closed | Slot::Sealed(_) => Ok(session.progress()),
        }
    }

    /// [`Self::upload_append`] to a session of this node.
    pub(crate) async fn append_here(
        self: &Arc<Self>,
        repo: &RepoName,
        id: UploadId,
        chunk: Chunk,
        body: UploadBody,
    ) -> Result<UploadProgress, RegistryError> {
        let session = self.session(repo, id)?;
        let me = Arc::clone(self);
        self.owned(async move {
            let mut turn = session.take_over().await?;
            let part = me.append(&session, &mut turn, chunk, body).await?;
            *turn.slot = at_rest(part);
            Ok(session.progress())
        })
        .await
    }

    /// [`Self::upload_finish`] of a session of this node; of one that is gone, `UploadUnknown` whatever the repository
    /// shows.
    pub(crate) async fn finish_here(
        self: &Arc<Self>,
        repo: &RepoName,
        id: UploadId,
        digest: Digest,
        chunk: Chunk,
        body: UploadBody,
    ) -> Result<(), RegistryError> {
        let session = self.session(repo, id)?;
        let me = Arc::clone(self);
        self.owned(async move { me.finish(&session, digest, chunk, body).await }).await
    }

    /// A whole blob in one request. Nothing is left behind when it fails, unless its outcome is unknown.
    ///
    /// # Errors
    /// As [`Self::upload_start`] and [`Self::upload_finish`].
    pub async fn upload_whole(
        self: &Arc<Self>,
        repo: &RepoName,
        digest: Digest,
        chunk: Chunk,
        body: UploadBody,
    ) -> Result<(), RegistryError> {
        if let Some(nodes) = self.stores_elsewhere(repo)? {
            return self.owned(Arc::clone(self).whole_elsewhere(repo.clone(), nodes, digest, chunk, body)).await;
        }
        let place = self.sessions.reserve()?;
        let (me, repo, id) = (Arc::clone(self), repo.clone(), self.fresh_id());
        self.owned(async move {
            let session = me.begin(place, id, repo).await?;
            let result = me.finish(&session, digest, chunk, body).await;
            if result.is_err() {
                me.forget_unless_announced(&session).await;
            }
            result
        })
        .await
    }

    /// [`Self::upload_whole`] at one of some other nodes, which is told to drop what a failure left there. A finish may
    /// begin anew at another owner, hence the box.
    fn whole_elsewhere(
        self: Arc<Self>,
        repo: RepoName,
        nodes: Vec<NodeId>,
        digest: Digest,
        chunk: Chunk,
        body: UploadBody,
    ) -> BoxFuture<'static, Result<(), RegistryError>> {
        async move {
            let id = self.begin_at(&repo, &nodes).await?.id;
            let result = self.upload_finish(&repo, id, digest, chunk, body).await;
            match &result {
                // Its outcome is unknown, or the owner cannot be told: the sweep there decides.
                Ok(()) | Err(RegistryError::NoQuorum | RegistryError::Stopping | RegistryError::OwnerAway(_)) => {}
                Err(_) => match self.upload_cancel(&repo, id).await {
                    Ok(()) | Err(RegistryError::UploadUnknown(_)) => {}
                    Err(error) => {
                        tracing::warn!(session = %id, %error, "a failed upload stays at its owner for a while");
                    }
                },
            }
            result
        }
        .boxed()
    }

    /// [`Self::upload_cancel`] of a session of this node.
    pub(crate) async fn cancel_here(self: &Arc<Self>, repo: &RepoName, id: UploadId) -> Result<(), RegistryError> {
        let session = self.session(repo, id)?;
        let me = Arc::clone(self);
        self.owned(async move {
            let turn = session.take_over().await?;
            if matches!(*turn.slot, Slot::Gone) {
                return Err(unknown(session.id));
            }
            drop(turn);
            me.forget_unless_announced(&session).await;
            Ok(())
        })
        .await
    }

    /// Makes a blob visible here that one of other repositories shows: the first that does. Whether the caller may pull
    /// from there was asked above.
    ///
    /// # Errors
    /// `NoQuorum`; as [`Self::upload_start`] when the blob is not to be had.
    pub async fn mount(
        self: &Arc<Self>,
        repo: &RepoName,
        from: &[RepoName],
        digest: &Digest,
    ) -> Result<Mounted, RegistryError> {
        let pin_ms = self.config.uploads.pin_ms;
        for from in from {
            let command = Command::MountBlob { repo: repo.clone(), from: from.clone(), digest: *digest, pin_ms };
            match self.propose(command, self.commit_deadline()).await? {
                Outcome::Done => return Ok(Mounted::Yes),
                Outcome::Refused(Refusal::UnknownBlob | Refusal::UnknownRepo) => {}
                Outcome::Refused(refusal) => return Err(refused(refusal)),
                _ => return Err(RegistryError::Outcome("MountBlob")),
            }
        }
        Ok(Mounted::No(self.upload_start(repo).await?))
    }

    /// Repositories that show a blob as this node knows it, for a mount that does not say where from: at most
    /// `limits.mount_sources`.
    ///
    /// # Errors
    /// The state could not be read.
    pub fn mount_sources(&self, digest: &Digest) -> Result<Vec<RepoName>, RegistryError> {
        let limit = self.config.limits.mount_sources;
        Ok(self.local().read(|view| query::repos_showing(view, digest, limit))?)
    }

    /// Runs as a task of the registry, which shutdown awaits.
    async fn owned<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, RegistryError>> + Send + 'static,
    ) -> Result<T, RegistryError> {
        if self.stop.is_cancelled() {
            return Err(RegistryError::Stopping);
        }
        outcome(self.tasks.spawn(work.in_current_span())).await?
    }

    fn session(&self, repo: &RepoName, id: UploadId) -> Result<Arc<Session>, RegistryError> {
        self.sessions.get(id, repo).ok_or_else(|| unknown(id))
    }

    /// The session's part with the body appended. On an error the slot says where the bytes are.
    async fn append(
        &self,
        session: &Session,
        turn: &mut Turn,
        chunk: Chunk,
        body: UploadBody,
    ) -> Result<Part, RegistryError> {
        let part = match std::mem::replace(&mut *turn.slot, Slot::Closed) {
            Slot::Open(part) => *part,
            Slot::Closed => self.reopen(session).await?,
            sealed @ Slot::Sealed(_) => {
                *turn.slot = sealed;
                return Err(unknown(session.id));
            }
            Slot::Gone => {
                *turn.slot = Slot::Gone;
                return Err(unknown(session.id));
            }
        };
        if let Err(error) = check(chunk, part.len()) {
            *turn.slot = at_rest(part);
            return Err(error);
        }
        match self.pour(session, turn, part, chunk, body).await {
            Ok(Poured { part, end: Ok(()) }) => Ok(part),
            Ok(Poured { part, end: Err(error) }) => {
                *turn.slot = at_rest(part);
                Err(error)
            }
            Err(RegistryError::StorageFull) => {
                // A full disk gets its room back at once; the client would not resume here anyway.
                *turn.slot = Slot::Gone;
                self.sessions.remove(session.id);
                self.remove_part(session).await?;
                Err(RegistryError::StorageFull)
            }
            Err(error) => Err(error),
        }
    }

    /// Opens the part of a session that nobody wrote to meanwhile: since its last chunk, a restart, or a failed writer.
    async fn reopen(&self, session: &Session) -> Result<Part, RegistryError> {
        let parts = self.parts();
        let name = session.part_id();
        parts.wait_free(&name).await;
        let part = blocking(move || parts.open(&name)).await.map_err(|error| match error {
            RegistryError::Store(error) if matches!(*error, StoreError::NotFound { .. }) => unknown(session.id),
            other => other,
        })?;
        session.set_length(part.len());
        Ok(part)
    }

    async fn finish(
        &self,
        session: &Session,
        digest: Digest,
        chunk: Chunk,
        body: UploadBody,
    ) -> Result<(), RegistryError> {
        let mut turn = session.take_over().await?;
        let stored = match &*turn.slot {
            Slot::Gone => return Err(unknown(session.id)),
            Slot::Sealed(stored) if stored.digest != digest => {
                return Err(RegistryError::DigestMismatch { expected: digest });
            }
            Slot::Sealed(stored) => {
                let stored = *stored;
                self.check_kept(session, &mut turn, &stored).await?;
                stored
            }
            Slot::Open(_) | Slot::Closed => {
                let part = self.append(session, &mut turn, chunk, body).await?;
                self.seal(session, &mut turn, part, digest).await?
            }
        };
        *turn.slot = Slot::Sealed(stored);
        match self.announce(&session.repo, &stored).await {
            Err(error @ (RegistryError::NoQuorum | RegistryError::Stopping)) => {
                session.touch();
                Err(error)
            }
            definite => {
                *turn.slot = Slot::Gone;
                self.sessions.remove(session.id);
                definite
            }
        }
    }

    /// Whether a sealed file may be announced again. Its earlier announcement may have counted, and the copy been given up
    /// and unlinked since: then nothing would refuse to record a file that is no more, and the bytes must come again.
    async fn check_kept(&self, session: &Session, turn: &mut Turn, stored: &StoredFile) -> Result<(), RegistryError> {
        if self.is_kept(stored).await? {
            return Ok(());
        }
        *turn.slot = Slot::Gone;
        self.sessions.remove(session.id);
        Err(unknown(session.id))
    }

    /// Whether a stored file is still on the disk.
    pub(crate) async fn is_kept(&self, stored: &StoredFile) -> Result<bool, RegistryError> {
        let blobs = Arc::clone(&self.floors.blobs);
        let StoredFile { digest, file, .. } = *stored;
        Ok(blocking(move || blobs.files_of(&digest)).await?.contains(&file))
    }

    async fn seal(
        &self,
        session: &Session,
        turn: &mut Turn,
        part: Part,
        digest: Digest,
    ) -> Result<StoredFile, RegistryError> {
        let span = debug_span!("store", %digest, size = part.len());
        match part.seal_async(digest).instrument(span).await {
            Ok(stored) => Ok(stored),
            Err(failure) => {
                if let Some(part) = failure.part {
                    *turn.slot = at_rest(part);
                }
                match failure.error {
                    StoreError::DigestMismatch { expected, .. } => Err(RegistryError::DigestMismatch { expected }),
                    StoreError::Full { .. } => {
                        *turn.slot = Slot::Gone;
                        self.sessions.remove(session.id);
                        self.remove_part(session).await?;
                        Err(RegistryError::StorageFull)
                    }
                    other => Err(RegistryError::from(other)),
                }
            }
        }
    }

    /// Commits a stored file as a blob of a repository. The file is unlinked when it certainly does not count, and
    /// never while that is unknown.
    pub(crate) async fn announce(&self, repo: &RepoName, stored: &StoredFile) -> Result<(), RegistryError> {
        let command = Command::CommitBlob {
            repo: repo.clone(),
            digest: stored.digest,
            size: stored.size,
            store: self.node.into(),
            file: stored.file,
            pin_ms: self.config.uploads.pin_ms,
            sums: Some(stored.sums),
        };
        match self.propose(command, self.commit_deadline()).await? {
            Outcome::BlobCommitted { file, .. } => {
                if file != stored.file {
                    self.unlink(stored).await;
                }
                Ok(())
            }
            // A forgotten outcome says nothing about the file.
            Outcome::Refused(refusal @ (Refusal::Settled { .. } | Refusal::OldIncarnation { .. })) => {
                tracing::error!(%refusal, digest = %stored.digest, "an upload's announcement has no known outcome");
                Err(RegistryError::NoQuorum)
            }
            // This start of the node is not announced yet; the file waits for it.
            Outcome::Refused(Refusal::ForeignStore) => Err(RegistryError::NoQuorum),
            // The blob was condemned meanwhile, and this file with it, or a policy has barred this region: the bytes must
            // come again, to another node perhaps.
            Outcome::Refused(Refusal::FileGivenUp | Refusal::Barred { .. }) => {
                self.unlink(stored).await;
                Err(RegistryError::UploadUnknown(format!("of {}", stored.digest)))
            }
            Outcome::Refused(Refusal::OtherSize { recorded }) => {
                self.unlink(stored).await;
                Err(RegistryError::SizeMismatch { expected: recorded, found: stored.size })
            }
            Outcome::Refused(refusal) => {
                self.unlink(stored).await;
                Err(refused(refusal))
            }
            _ => Err(RegistryError::Outcome("CommitBlob")),
        }
    }

    async fn unlink(&self, stored: &StoredFile) {
        let blobs = Arc::clone(&self.floors.blobs);
        let StoredFile { digest, file, .. } = *stored;
        if let Err(error) = blocking(move || blobs.remove(&digest, file)).await {
            tracing::error!(%digest, %error, "a file that does not count cannot be unlinked");
        }
    }

    /// Drops a session with its bytes; one whose announcement has no known outcome stays for the sweep.
    async fn forget_unless_announced(&self, session: &Session) {
        let mut slot = session.wait_turn().await;
        if matches!(*slot, Slot::Sealed(_)) {
            return;
        }
        *slot = Slot::Gone;
        self.sessions.remove(session.id);
        if let Err(error) = self.remove_part(session).await {
            tracing::error!(session = %session.id, %error, "a dropped upload cannot be removed");
        }
    }
}

/// Where a part waits for the next request. What its last sync left whole is closed: a session may lie idle for a day,
/// and thousands of them must not hold as many open files. One without bytes was perhaps never synced, and is made
/// durable with its first chunk or by the sweep; opened again before, it would count as durable already.
fn at_rest(part: Part) -> Slot {
    if !part.is_empty() && part.synced_len() == part.len() { Slot::Closed } else { Slot::Open(Box::new(part)) }
}

fn unknown(id: UploadId) -> RegistryError {
    RegistryError::UploadUnknown(id.to_string())
}
