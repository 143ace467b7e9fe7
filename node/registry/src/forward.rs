//! Upload sessions as clients see them: any node takes their requests, the node that began a session answers them
//! (design, section 6).

use crate::config::ms;
use crate::error::{BodyError, RegistryError};
use crate::pour::{Chunk, UploadBody};
use crate::registry::Registry;
use crate::replay::Replay;
use crate::session::{UploadId, UploadProgress};
use futures::StreamExt;
use portolan_meta::id::NodeId;
use portolan_oci::{Digest, RepoName};
use portolan_peer::{
    BrokenOff, Forwarded, PeerError, UploadAction, UploadCall, UploadFault, UploadReply, UploadSending,
};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use tracing::{Instrument, debug_span};
use ulid::Ulid;

/// How often an owner that cannot be reached is tried again.
const PAUSE: Duration = Duration::from_millis(200);
/// The least that an attempt to reach it gets.
const ATTEMPT: Duration = Duration::from_millis(500);
/// The most that one of several nodes gets to begin a session: a new connection over the longest link, several times.
const BEGIN_ATTEMPT: Duration = Duration::from_secs(2);

impl Registry {
    /// How many bytes a session has. Whoever asks is about to go on from there: a writer that has not ended by itself
    /// within a second is ended, even while its bytes still come, and what it has is on the disk before the answer. Else
    /// an earlier request could still add to what was told.
    ///
    /// # Errors
    /// `UploadUnknown`, `OwnerAway`; `Busy` when the disk does not come to an end with what arrived.
    pub async fn upload_status(&self, repo: &RepoName, id: UploadId) -> Result<UploadProgress, RegistryError> {
        if id.node == self.node {
            return self.status_here(repo, id).await;
        }
        self.forward(repo, id, UploadAction::Status, &Replay::none(), &mut None).await
    }

    /// Appends a chunk. When it fails half way, the session keeps the bytes that arrived.
    ///
    /// # Errors
    /// `UploadUnknown`, `OutOfOrder`, `SizeMismatch`, `BlobTooLarge`, `Body`, `Idle`, `Superseded`, `OwnerAway`;
    /// `StorageFull` ends the session.
    pub async fn upload_append(
        self: &Arc<Self>,
        repo: &RepoName,
        id: UploadId,
        chunk: Chunk,
        body: UploadBody,
    ) -> Result<UploadProgress, RegistryError> {
        if id.node == self.node {
            return self.append_here(repo, id, chunk, body).await;
        }
        let body = Replay::new(body, self.config.uploads.replay_bytes);
        self.forward(repo, id, UploadAction::Append(chunk), &body, &mut None).await
    }

    /// Appends what comes and makes the session a blob that the repository shows. After `NoQuorum` the session keeps
    /// everything: the same call may be repeated, with an empty body. For a session that is gone or away it succeeds if
    /// the repository shows the blob: an earlier answer may have been lost.
    ///
    /// # Errors
    /// As [`Self::upload_append`], and `DigestMismatch` (the session stays usable), `NoQuorum`, `NotConfirmed`.
    pub async fn upload_finish(
        self: &Arc<Self>,
        repo: &RepoName,
        id: UploadId,
        digest: Digest,
        chunk: Chunk,
        body: UploadBody,
    ) -> Result<(), RegistryError> {
        if id.node == self.node {
            let result = self.finish_here(repo, id, digest, chunk, body).await;
            return self.unless_shown(repo, digest, result).await;
        }
        let body = Replay::new(body, self.config.uploads.replay_bytes);
        let mut begun = None;
        let action = UploadAction::Finish { digest, chunk };
        let result = self.forward(repo, id, action, &body, &mut begun).await.map(|_| ());
        match self.unless_shown(repo, digest, result).await {
            // The owner died between making the file a blob and committing it, and knows the session no more. All of the
            // blob was in this request.
            Err(error @ RegistryError::UploadUnknown(_)) if begun == Some(0) => match body.whole().await {
                Some(body) => {
                    let body = body.map(|piece| piece.map_err(|gone| BodyError(Box::new(gone)))).boxed();
                    self.upload_whole(repo, digest, Chunk::default(), body).await
                }
                None => Err(error),
            },
            other => other,
        }
    }

    /// What became of a finish, when its session is gone or away and the repository may show the blob all the same.
    async fn unless_shown(
        &self,
        repo: &RepoName,
        digest: Digest,
        result: Result<(), RegistryError>,
    ) -> Result<(), RegistryError> {
        let Err(error @ (RegistryError::UploadUnknown(_) | RegistryError::OwnerAway(_))) = result else {
            return result;
        };
        match self.blob_stat(repo, &digest).await {
            Ok(_) => Ok(()),
            Err(unsure @ RegistryError::NotConfirmed) if matches!(error, RegistryError::UploadUnknown(_)) => {
                Err(unsure)
            }
            Err(_) => Err(error),
        }
    }

    /// Ends a session and drops its bytes.
    ///
    /// # Errors
    /// `UploadUnknown`, `OwnerAway`.
    pub async fn upload_cancel(self: &Arc<Self>, repo: &RepoName, id: UploadId) -> Result<(), RegistryError> {
        if id.node == self.node {
            return self.cancel_here(repo, id).await;
        }
        self.forward(repo, id, UploadAction::Cancel, &Replay::none(), &mut None).await.map(|_| ())
    }

    /// Begins a session at another node: the first of those that are given which takes it. While none of them can be
    /// reached they are tried in turns, for `uploads.owner_wait_ms`.
    ///
    /// # Errors
    /// `Busy` or `StorageFull` when those that can be reached have no room, `OwnerFailed`; `OwnerAway` when none can be
    /// reached, `Unplaceable` when there is none.
    pub(crate) async fn begin_at(&self, repo: &RepoName, nodes: &[NodeId]) -> Result<UploadProgress, RegistryError> {
        if nodes.is_empty() {
            return Err(RegistryError::Unplaceable(repo.clone()));
        }
        // One name per node for the whole search: an answer that was lost is the answer to the next try.
        let ids: Vec<UploadId> = nodes.iter().map(|&node| UploadId { node, session: Ulid::new() }).collect();
        let until = Instant::now() + ms(self.config.uploads.owner_wait_ms);
        let search = async {
            loop {
                match self.begin_at_one_of(repo, &ids).await {
                    Err(RegistryError::OwnerAway(_)) if Instant::now() + PAUSE < until => sleep(PAUSE).await,
                    ended => return ended,
                }
            }
        };
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Err(RegistryError::Stopping),
            begun = search.instrument(debug_span!("begin_upload_elsewhere")) => begun,
        }
    }

    /// One round over the candidates. A node that has no room does not end it: the next one may have some.
    async fn begin_at_one_of(&self, repo: &RepoName, ids: &[UploadId]) -> Result<UploadProgress, RegistryError> {
        let (mut away, mut refused) = (RegistryError::Unplaceable(repo.clone()), None);
        for &id in ids {
            match self.begin_at_node(repo, id).await {
                Err(error @ RegistryError::OwnerAway(_)) => away = error,
                // Of what several say the client is told what trying again may change.
                Err(error @ (RegistryError::Busy(_) | RegistryError::StorageFull | RegistryError::OwnerFailed(_))) => {
                    tracing::debug!(owner = %id.node, %error, "an upload cannot begin there");
                    if !matches!(refused, Some(RegistryError::Busy(_))) {
                        refused = Some(error);
                    }
                }
                ended => return ended,
            }
        }
        Err(refused.unwrap_or(away))
    }

    pub(crate) async fn begin_at_node(&self, repo: &RepoName, id: UploadId) -> Result<UploadProgress, RegistryError> {
        let action = UploadAction::Begin;
        let call = UploadCall { repo: repo.clone(), session: id.to_string(), action };
        let wait = BEGIN_ATTEMPT.min(ms(self.config.uploads.owner_wait_ms)).max(ATTEMPT);
        match self.floors.peers.forward_upload(id.node, &call, wait).await {
            Ok(Forwarded::Answer(reply)) => understand(reply, id, action),
            // There is no body to ask for.
            Ok(Forwarded::Go(_)) | Err(PeerError::Malformed(_)) => Err(RegistryError::OwnerFailed(id.node)),
            Err(PeerError::Busy) => understand(UploadReply::Fault(UploadFault::Busy), id, action),
            Err(error) => {
                tracing::warn!(owner = %id.node, %error, "an upload cannot begin at a node that cannot be reached");
                Err(RegistryError::OwnerAway(id.node))
            }
        }
    }

    /// Hands a request to the session's owner. One that cannot be reached is waited for, for `uploads.owner_wait_ms`;
    /// one that is lost on the way is asked again when the body is short and the client still there. `begun` becomes the
    /// session's length before the body.
    async fn forward(
        &self,
        repo: &RepoName,
        id: UploadId,
        action: UploadAction,
        body: &Replay,
        begun: &mut Option<u64>,
    ) -> Result<UploadProgress, RegistryError> {
        let mut call = UploadCall { repo: repo.clone(), session: id.to_string(), action };
        let forwarding = async {
            loop {
                let reply = match self.reach_owner(id, &call).await? {
                    Forwarded::Answer(reply) => reply,
                    Forwarded::Go(sending) => {
                        let start = *begun.get_or_insert(sending.length());
                        match send(sending, id, start, body).await? {
                            Some(reply) => reply,
                            None if body.gather(self.config.uploads.idle_timeout_ms).await? => {
                                call.action = from_where_it_stands(action);
                                continue;
                            }
                            None => return Err(RegistryError::OwnerAway(id.node)),
                        }
                    }
                };
                return understand(reply, id, action);
            }
        };
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Err(RegistryError::Stopping),
            result = forwarding.instrument(debug_span!("forward_upload", owner = %id.node)) => result,
        }
    }

    async fn reach_owner(&self, id: UploadId, call: &UploadCall) -> Result<Forwarded, RegistryError> {
        let until = Instant::now() + ms(self.config.uploads.owner_wait_ms);
        let mut lost = false;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let error = match self.floors.peers.forward_upload(id.node, call, left.max(ATTEMPT)).await {
                // It keeps what it has, and may be back soon.
                Ok(Forwarded::Answer(UploadReply::Fault(UploadFault::Stopping))) => PeerError::Stopped,
                // An answer that was lost may have been that it is done.
                Ok(Forwarded::Answer(UploadReply::Fault(UploadFault::Unknown)))
                    if lost && call.action == UploadAction::Cancel =>
                {
                    return Ok(Forwarded::Answer(UploadReply::Done));
                }
                Ok(forwarded) => return Ok(forwarded),
                Err(PeerError::UnknownNode(_)) => return Err(RegistryError::UploadUnknown(id.to_string())),
                Err(PeerError::Malformed(reason)) => {
                    tracing::error!(session = %id, reason, "an upload cannot be forwarded");
                    return Err(RegistryError::OwnerFailed(id.node));
                }
                Err(error) => error,
            };
            if left <= PAUSE || error == PeerError::Deadline {
                tracing::warn!(session = %id, %error, "the owner of an upload cannot be reached");
                return Err(RegistryError::OwnerAway(id.node));
            }
            lost |= matches!(error, PeerError::Unreachable(_));
            sleep(PAUSE).await;
        }
    }
}

/// Sends the body that the owner asked for, without what of it has landed already: the body began at `start`. `None`
/// when the owner was lost and may be asked again.
async fn send(
    sending: UploadSending,
    id: UploadId,
    start: u64,
    body: &Replay,
) -> Result<Option<UploadReply>, RegistryError> {
    let skip = sending.length().checked_sub(start);
    let Some(rest) = (match skip {
        Some(skip) => body.body(skip).await,
        None => None,
    }) else {
        return Err(RegistryError::OwnerAway(id.node));
    };
    match sending.send(rest).await {
        Ok(UploadReply::Fault(UploadFault::Stopping)) => Ok(None),
        Ok(reply) => Ok(Some(reply)),
        Err(error) => {
            tracing::debug!(%error, "the owner of an upload was lost");
            Ok(None)
        }
    }
}

/// The same request once more, for whatever of its body has not landed. How long that is the owner cannot check then;
/// that the body came to its end it sees all the same.
const fn from_where_it_stands(action: UploadAction) -> UploadAction {
    let chunk = Chunk { range: None, length: None };
    match action {
        UploadAction::Append(_) => UploadAction::Append(chunk),
        UploadAction::Finish { digest, .. } => UploadAction::Finish { digest, chunk },
        UploadAction::Status | UploadAction::Cancel | UploadAction::Begin => action,
    }
}

/// The owner's answer in the terms of this floor.
fn understand(reply: UploadReply, id: UploadId, asked: UploadAction) -> Result<UploadProgress, RegistryError> {
    let fault = match reply {
        UploadReply::Progress(length) => return Ok(UploadProgress { id, length }),
        UploadReply::Done => return Ok(UploadProgress { id, length: 0 }),
        UploadReply::Fault(fault) => fault,
    };
    Err(match fault {
        UploadFault::Unknown => RegistryError::UploadUnknown(id.to_string()),
        UploadFault::OutOfOrder { start, length } => RegistryError::OutOfOrder { start, length },
        UploadFault::SizeMismatch { expected, found } => RegistryError::SizeMismatch { expected, found },
        UploadFault::DigestMismatch => match asked {
            UploadAction::Finish { digest, .. } => RegistryError::DigestMismatch { expected: digest },
            UploadAction::Status | UploadAction::Append(_) | UploadAction::Cancel | UploadAction::Begin => {
                RegistryError::OwnerFailed(id.node)
            }
        },
        UploadFault::TooLarge { limit } => RegistryError::BlobTooLarge { limit },
        UploadFault::BrokenOff => RegistryError::Body(BodyError(Box::new(BrokenOff))),
        UploadFault::Idle { idle_ms } => RegistryError::Idle { idle_ms },
        UploadFault::Superseded => RegistryError::Superseded,
        UploadFault::StorageFull => RegistryError::StorageFull,
        UploadFault::NoQuorum => RegistryError::NoQuorum,
        UploadFault::Busy => RegistryError::Busy("requests for upload sessions at their owner"),
        UploadFault::Stopping => RegistryError::OwnerAway(id.node),
        UploadFault::Failed => RegistryError::OwnerFailed(id.node),
    })
}
