//! Raft's messages and the cluster's questions from other nodes: what the peer server calls.

use crate::group::{Attempt, Group};
use crate::handover;
use crate::liveness::Liveness;
use crate::read_index;
use crate::snapshot::SnapshotData;
use crate::traces::attach;
use crate::types::{AppendRequest, SnapshotMeta, Types, Vote, decode, encode};
use crate::unreached::Unreached;
use bytes::Bytes;
use futures::future::FutureExt;
use futures::stream::BoxStream;
use futures::{StreamExt, future};
use openraft::raft::TransferLeaderRequest;
use openraft::storage::Snapshot;
use portolan_meta::codec;
use portolan_meta::id::NodeId;
use portolan_oci::{Algorithm, Digest};
use portolan_peer::{
    Answer, Append, ClusterHandler, PeerError, PeerIdentity, PingReply, ProposeCall, ProposeReply, RaftHandler,
    SnapshotFrame, SnapshotHeader,
};
use portolan_store::{CheckpointFile, Incoming, State};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Display;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;

/// Answers other nodes.
pub(crate) struct Server {
    group: Arc<Group>,
    liveness: Arc<Liveness>,
    unreached: Unreached,
    version: String,
    /// One snapshot is received at a time: a second would only compete for the same disk.
    receiving: Semaphore,
}

impl Server {
    pub(crate) fn new(group: Arc<Group>, liveness: Arc<Liveness>, unreached: Unreached, version: String) -> Arc<Self> {
        Arc::new(Self { group, liveness, unreached, version, receiving: Semaphore::new(1) })
    }

    /// A node calls: if this node leads and appends did not get through to it, they are tried again at once.
    async fn heard(&self, from: NodeId) {
        if !self.group.leads() || !self.unreached.heard(from) {
            return;
        }
        tracing::debug!(peer = %from, "a node that was out of reach calls: appends to it are tried at once");
        if let Err(error) = self.group.raft.trigger().reset_backoff([from.0]).await {
            // Raft stopped, of which the node's owner hears by itself.
            tracing::debug!(%error, peer = %from, "appends could not be tried at once");
        }
    }

    async fn receive_snapshot(
        &self,
        from: PeerIdentity,
        mut frames: BoxStream<'static, Result<SnapshotFrame, PeerError>>,
    ) -> Result<Bytes, PeerError> {
        let _place = self.receiving.try_acquire().map_err(|_| PeerError::Busy)?;
        let Some(SnapshotFrame::Header(header)) = frames.next().await.transpose()? else {
            return Err(PeerError::Malformed("a snapshot begins with its header".to_owned()));
        };
        let (vote, meta): (Vote, SnapshotMeta) = parse(&header.meta)?;
        tracing::info!(peer = %from.node, files = header.files.len(), snapshot = %meta, "receiving a snapshot");
        let (pieces, received) = mpsc::channel(4);
        let state = Arc::clone(&self.group.state);
        let writer = tokio::task::spawn_blocking(move || write_files(&state, &header, received));
        let mut broken = None;
        while let Some(frame) = frames.next().await {
            match frame {
                Ok(frame) => {
                    // A writer that gave up says why below.
                    if pieces.send(frame).await.is_err() {
                        break;
                    }
                }
                Err(error) => {
                    broken = Some(error);
                    break;
                }
            }
        }
        drop(pieces);
        let written = writer.await.map_err(failed)?;
        if let Some(error) = broken {
            return Err(error);
        }
        let incoming = written.map_err(failed)?;
        let snapshot = Snapshot { meta, snapshot: SnapshotData::Received(incoming) };
        answer(&self.group.raft.install_full_snapshot(vote, snapshot).await.map_err(failed)?)
    }
}

/// Lands the pieces, which come in the order of the header's files and without gaps.
fn write_files(
    state: &State,
    header: &SnapshotHeader,
    mut pieces: mpsc::Receiver<SnapshotFrame>,
) -> io::Result<Incoming> {
    let incoming = state.incoming().map_err(io::Error::other)?;
    for (number, file) in header.files.iter().enumerate() {
        let digest = Digest::from_raw(Algorithm::Sha256, &file.sha256)
            .ok_or_else(|| corrupt(&file.name, "its checksum is no SHA-256"))?;
        let described = CheckpointFile { name: file.name.clone(), size: file.size, digest };
        let mut target = incoming.file(&described).map_err(io::Error::other)?;
        let mut written = 0;
        while written < file.size {
            let Some(SnapshotFrame::Data(piece)) = pieces.blocking_recv() else {
                return Err(corrupt(&file.name, "the transfer ended early"));
            };
            if usize::try_from(piece.file) != Ok(number) || piece.offset != written {
                return Err(corrupt(&file.name, "pieces came out of order"));
            }
            target.write(&piece.bytes).map_err(io::Error::other)?;
            written += piece.bytes.len() as u64;
        }
        target.finish().map_err(io::Error::other)?;
    }
    Ok(incoming)
}

fn corrupt(name: &str, reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("snapshot file {name}: {reason}"))
}

impl RaftHandler for Server {
    fn append_stream(
        &self,
        from: PeerIdentity,
        requests: BoxStream<'static, Result<Append, PeerError>>,
    ) -> Answer<'_, BoxStream<'static, Result<Bytes, PeerError>>> {
        // A stream that breaks, or says what does not decode, ends; the leader opens another.
        let requests = requests.map(move |request| {
            let parsed = request.and_then(|Append { payload, traces }| {
                let mut request = parse::<AppendRequest>(&payload)?;
                attach(&mut request, traces);
                Ok(request)
            });
            parsed.inspect_err(|error| tracing::debug!(%error, peer = %from.node, "an append stream broke"))
        });
        let requests = requests
            .take_while(|request| future::ready(request.is_ok()))
            .filter_map(|request| future::ready(request.ok()));
        let answers = self.group.raft.stream_append(requests).map(|result| answer(&result.map_err(failed)?));
        future::ready(Ok(answers.boxed())).boxed()
    }

    fn vote(&self, _from: PeerIdentity, request: Bytes) -> Answer<'_, Bytes> {
        async move { answer(&self.group.raft.vote(parse(&request)?).await.map_err(failed)?) }.boxed()
    }

    fn pre_vote(&self, _from: PeerIdentity, request: Bytes) -> Answer<'_, Bytes> {
        async move { answer(&self.group.raft.pre_vote(parse(&request)?).await.map_err(failed)?) }.boxed()
    }

    fn transfer_leader(&self, _from: PeerIdentity, request: Bytes) -> Answer<'_, Bytes> {
        async move {
            let request: TransferLeaderRequest<Types> = parse(&request)?;
            answer(&self.group.raft.handle_transfer_leader(request).await.map_err(failed)?)
        }
        .boxed()
    }

    fn hand_over(&self, from: PeerIdentity, request: Bytes) -> Answer<'_, Bytes> {
        async move {
            tracing::info!(peer = %from.node, "is asked to hand the leadership over");
            answer(&handover::give(&self.group, parse(&request)?).await?)
        }
        .boxed()
    }

    fn snapshot(
        &self,
        from: PeerIdentity,
        frames: BoxStream<'static, Result<SnapshotFrame, PeerError>>,
    ) -> Answer<'_, Bytes> {
        self.receive_snapshot(from, frames).boxed()
    }
}

impl ClusterHandler for Server {
    fn ping(&self, from: PeerIdentity) -> Answer<'_, PingReply> {
        let standing = self.group.standing();
        let condition = self.liveness.condition();
        let reply = PingReply {
            applied: standing.applied,
            term: standing.term,
            leader: standing.leader,
            writable: condition.writable,
            ready: condition.ready && standing.lag() <= self.group.config.ready_lag_entries,
            version: self.version.clone(),
            load: self.liveness.load(),
            round_trips: self.group.peers.round_trips(self.group.config.silent_after()),
        };
        async move {
            self.heard(from.node).await;
            Ok(reply)
        }
        .boxed()
    }

    fn propose(&self, from: PeerIdentity, call: ProposeCall) -> Answer<'_, ProposeReply> {
        async move {
            self.heard(from.node).await;
            let mut proposal =
                codec::decode_proposal(&call.proposal).map_err(|error| PeerError::Malformed(error.to_string()))?;
            let deadline = Instant::now() + Duration::from_millis(self.group.config.forwarded_timeout_ms);
            match self.group.write(&mut proposal, deadline).await {
                Attempt::Applied { index, outcome } => {
                    Ok(ProposeReply { index, outcome: codec::encode_outcome(&outcome).into() })
                }
                Attempt::NotTaken { leader } => Err(PeerError::NotLeader { leader }),
                Attempt::Unknown => Err(PeerError::Deadline),
                Attempt::Stopped => Err(PeerError::Remote("stopping".to_owned())),
            }
        }
        .boxed()
    }

    fn read_index(&self, from: PeerIdentity) -> Answer<'_, u64> {
        async move {
            self.heard(from.node).await;
            if !self.group.leads() {
                return Err(PeerError::NotLeader { leader: self.group.leader() });
            }
            let round = Duration::from_millis(self.group.config.read_round_ms);
            read_index::confirm(&self.group, round).await.ok_or(PeerError::NotLeader { leader: None })
        }
        .boxed()
    }
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, PeerError> {
    decode(bytes).map_err(|error| PeerError::Malformed(error.to_string()))
}

fn answer<T: Serialize>(value: &T) -> Result<Bytes, PeerError> {
    encode(value).map(Bytes::from).map_err(failed)
}

fn failed(error: impl Display) -> PeerError {
    PeerError::Remote(error.to_string())
}
