//! Raft's messages to one other node, over `peer`.

use crate::config::Config;
use crate::pipeline::Pipeline;
use crate::snapshot::{PIECE_BYTES, Snapshot, SnapshotData, Transfers};
use crate::traces::EntryTraces;
use crate::types::{AppendRequest, AppendResult, Types, Vote, VoteRequest, VoteResponse, decode, encode};
use crate::unreached::Unreached;
use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, future, stream};
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{Backoff, NetBackoff, NetSnapshot, NetStreamAppend, NetTransferLeader, NetVote, RPCOption};
use openraft::raft::{SnapshotResponse, TransferLeaderRequest, TransferLeaderResponse};
use openraft::{EmptyNode, OptionalSend, RaftNetworkFactory};
use portolan_meta::id::NodeId;
use portolan_peer::{
    Append, Lane, PeerError, Peers, SnapshotData as Piece, SnapshotFile, SnapshotFrame, SnapshotHeader,
};
use portolan_store::Checkpoint;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::future::Future;
use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

/// Makes a client per node and purpose.
pub(crate) struct Network {
    peers: Arc<Peers>,
    transfers: Transfers,
    traces: Arc<EntryTraces>,
    unreached: Unreached,
    limits: Limits,
}

#[derive(Clone, Copy)]
struct Limits {
    /// See [`Config::append_in_flight`].
    in_flight: usize,
    /// How long an append stream that is owed an answer may stay silent. It is a matter of progress, so that a long
    /// queue of appends over a slow link is not cut, and longer than a heartbeat, so that one slow fsync is not.
    silence: Duration,
    snapshot: Duration,
}

impl Network {
    pub(crate) fn new(
        peers: Arc<Peers>,
        transfers: Transfers,
        traces: Arc<EntryTraces>,
        unreached: Unreached,
        config: &Config,
    ) -> Self {
        let limits = Limits {
            in_flight: config.append_in_flight,
            silence: config.profile.timing().election_min,
            snapshot: Duration::from_millis(config.snapshot_transfer_ms),
        };
        Self { peers, transfers, traces, unreached, limits }
    }

    fn client(&self, target: u64, lane: Lane) -> Client {
        Client {
            peers: Arc::clone(&self.peers),
            transfers: self.transfers.clone(),
            traces: Arc::clone(&self.traces),
            unreached: self.unreached.clone(),
            limits: self.limits,
            target: NodeId(target),
            lane,
        }
    }
}

impl RaftNetworkFactory<Types> for Network {
    type Network = Client;

    async fn new_client(&mut self, target: u64, _node: &EmptyNode) -> Client {
        self.client(target, Lane::Raft)
    }

    async fn new_heartbeat_client(&mut self, target: u64, _node: &EmptyNode) -> Client {
        self.client(target, Lane::Heartbeat)
    }
}

/// One node, for one purpose.
pub(crate) struct Client {
    peers: Arc<Peers>,
    transfers: Transfers,
    traces: Arc<EntryTraces>,
    unreached: Unreached,
    limits: Limits,
    target: NodeId,
    lane: Lane,
}

impl NetBackoff<Types> for Client {
    /// As the settings say.
    fn backoff(&self) -> Option<Backoff> {
        None
    }
}

type Answers<'s> = BoxStream<'s, Result<AppendResult, RPCError<Types>>>;

impl NetStreamAppend<Types> for Client {
    fn stream_append<'s, S>(
        &'s mut self,
        mut input: S,
        option: RPCOption,
    ) -> BoxFuture<'s, Result<Answers<'s>, RPCError<Types>>>
    where
        S: Stream<Item = AppendRequest> + OptionalSend + Unpin + 'static,
    {
        let silence = self.limits.silence.max(option.soft_ttl());
        let pipeline = Pipeline::new(self.limits.in_flight, silence);
        let traces = Arc::clone(&self.traces);
        async move {
            // openraft waits out its backoff inside the stream of requests: a call to a dead node that failed before
            // it asked for the first one would be repeated at once, thousands of times a second.
            let Some(first) = input.next().await else { return Ok(stream::empty().boxed()) };
            let requests = stream::once(future::ready(first)).chain(input).map(move |request| {
                let traces = traces.beside(&request);
                encode(&request).map(|payload| Append { payload: payload.into(), traces })
            });
            let requests = pipeline.requests(requests);
            let answers = self.peers.append_stream(self.target, self.lane, requests).await.map_err(|error| {
                if self.lane == Lane::Raft {
                    self.unreached.note(self.target);
                }
                rpc_error(&error)
            })?;
            let answers = pipeline.answers(answers).map(|answer| {
                let bytes = answer.map_err(|error| rpc_error(&error))?;
                decode(&bytes).map_err(|error| RPCError::Network(NetworkError::new(&error)))
            });
            Ok(answers.boxed())
        }
        .boxed()
    }
}

impl NetVote<Types> for Client {
    async fn vote(&mut self, rpc: VoteRequest, option: RPCOption) -> Result<VoteResponse, RPCError<Types>> {
        let answer = self.peers.vote(self.target, message(&rpc)?, option.soft_ttl()).await;
        parse(answer)
    }

    async fn pre_vote(&mut self, rpc: VoteRequest, option: RPCOption) -> Result<VoteResponse, RPCError<Types>> {
        let answer = self.peers.pre_vote(self.target, message(&rpc)?, option.soft_ttl()).await;
        parse(answer)
    }
}

impl NetTransferLeader<Types> for Client {
    async fn transfer_leader(
        &mut self,
        req: TransferLeaderRequest<Types>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<Types>, RPCError<Types>> {
        let answer = self.peers.transfer_leader(self.target, message(&req)?, option.soft_ttl()).await;
        parse(answer)
    }
}

impl NetSnapshot<Types> for Client {
    type SnapshotData = SnapshotData;

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let _transfer = self.transfers.begin();
        let SnapshotData::Built(checkpoint) = snapshot.snapshot else {
            let error = NetworkError::from_string("a received snapshot is installed, never sent on");
            return Err(StreamingError::Network(error));
        };
        tracing::info!(
            peer = %self.target, checkpoint = checkpoint.id(), bytes = checkpoint.total_bytes(), "sending a snapshot"
        );
        let meta = encode(&(vote, &snapshot.meta)).map_err(|error| NetworkError::<Types>::new(&error))?;
        let header = header_of(&checkpoint, meta.into()).map_err(|error| NetworkError::<Types>::new(&error))?;
        let (sender, frames) = mpsc::channel(4);
        let reader = tokio::task::spawn_blocking(move || read_files(&checkpoint, header, &sender));
        let sending = self.peers.send_snapshot(self.target, ReceiverStream::new(frames));
        let answer = tokio::select! {
            answer = tokio::time::timeout(self.limits.snapshot, sending) => Ok(answer),
            closed = cancel => Err(closed),
        };
        // The stream is gone by now, whichever way it ended: the reader ends with it.
        if let Ok(Err(error)) = reader.await {
            tracing::error!(%error, peer = %self.target, "reading a snapshot failed");
        }
        let answer = answer.map_err(StreamingError::Closed)?.unwrap_or(Err(PeerError::Deadline));
        Ok(parse::<SnapshotResponse<Types>>(answer)?)
    }
}

fn header_of(checkpoint: &Checkpoint, meta: Bytes) -> io::Result<SnapshotHeader> {
    let files = checkpoint.files().iter().map(|file| {
        let sha256 = file.digest.raw().try_into().map_err(io::Error::other)?;
        Ok(SnapshotFile { name: file.name.clone(), size: file.size, sha256 })
    });
    Ok(SnapshotHeader { meta, files: files.collect::<io::Result<_>>()? })
}

/// Reads the files into the stream, as fast as the receiver takes them. Ends early when it goes away.
fn read_files(checkpoint: &Checkpoint, header: SnapshotHeader, frames: &mpsc::Sender<SnapshotFrame>) -> io::Result<()> {
    if frames.blocking_send(SnapshotFrame::Header(header)).is_err() {
        return Ok(());
    }
    for (number, file) in checkpoint.files().iter().enumerate() {
        let number = u32::try_from(number).map_err(io::Error::other)?;
        let mut source = checkpoint.open_file(&file.name).map_err(io::Error::other)?;
        let mut offset = 0;
        while offset < file.size {
            let mut piece = vec![0; PIECE_BYTES];
            let count = source.read(&mut piece)?;
            if count == 0 {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, file.name.clone()));
            }
            piece.truncate(count);
            let data = Piece { file: number, offset, bytes: piece.into() };
            if frames.blocking_send(SnapshotFrame::Data(data)).is_err() {
                return Ok(());
            }
            offset += count as u64;
        }
    }
    Ok(())
}

fn message<T: Serialize>(value: &T) -> Result<Bytes, RPCError<Types>> {
    encode(value).map(Bytes::from).map_err(|error| RPCError::Network(NetworkError::new(&error)))
}

fn parse<T: DeserializeOwned>(answer: Result<Bytes, PeerError>) -> Result<T, RPCError<Types>> {
    let bytes = answer.map_err(|error| rpc_error(&error))?;
    decode(&bytes).map_err(|error| RPCError::Network(NetworkError::new(&error)))
}

/// `Unreachable` makes openraft back off, `Network` makes it try again at once.
fn rpc_error(error: &PeerError) -> RPCError<Types> {
    match error {
        PeerError::Deadline | PeerError::Busy | PeerError::Corrupt { .. } | PeerError::Malformed(_) => {
            RPCError::Network(NetworkError::new(error))
        }
        PeerError::UnknownNode(_)
        | PeerError::NoIdentity
        | PeerError::Unreachable(_)
        | PeerError::Starting
        | PeerError::Refused { .. }
        | PeerError::NotLeader { .. }
        | PeerError::NotFound
        | PeerError::Remote(_)
        | PeerError::Stopped => RPCError::Unreachable(Unreachable::new(error)),
    }
}
