//! Consensus.

use super::entry::{Later, caller, ready};
use crate::convert::append_from_wire;
use crate::error::PeerError;
use crate::message::Append;
use crate::snapshot;
use crate::status::{from_status, to_status};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{BoxStream, unfold};
use portolan_proto::v1::raft_server::Raft;
use portolan_proto::v1::{AppendRequest, RaftPayload, SnapshotFrame};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

pub(crate) struct RaftService {
    pub(crate) handlers: Later,
    pub(crate) progress: Duration,
    /// Ends append streams, which would otherwise never end.
    pub(crate) stopping: CancellationToken,
}

fn payload(answer: Result<Bytes, PeerError>) -> Result<Response<RaftPayload>, Status> {
    match answer {
        Ok(payload) => Ok(Response::new(RaftPayload { payload })),
        Err(error) => Err(to_status(&error)),
    }
}

/// The requests of a stream; an error is the last.
fn requests(stream: Streaming<AppendRequest>) -> BoxStream<'static, Result<Append, PeerError>> {
    unfold(Some(stream), |state| async move {
        let mut stream = state?;
        match stream.message().await {
            Ok(Some(request)) => Some((Ok(append_from_wire(request)), Some(stream))),
            Ok(None) => None,
            Err(status) => Some((Err(from_status(&status)), None)),
        }
    })
    .boxed()
}

/// The answers of a stream, until the server stops.
fn answers(
    stream: BoxStream<'static, Result<Bytes, PeerError>>,
    stopping: CancellationToken,
) -> BoxStream<'static, Result<RaftPayload, Status>> {
    unfold(Some((stream, stopping)), |state| async move {
        let (mut stream, stopping) = state?;
        let answer = tokio::select! {
            biased;
            () = stopping.cancelled() => Err(PeerError::Stopped),
            answer = stream.next() => answer?,
        };
        Some(match answer {
            Ok(payload) => (Ok(RaftPayload { payload }), Some((stream, stopping))),
            Err(error) => (Err(to_status(&error)), None),
        })
    })
    .boxed()
}

#[tonic::async_trait]
impl Raft for RaftService {
    type AppendStream = BoxStream<'static, Result<RaftPayload, Status>>;

    async fn append(&self, request: Request<Streaming<AppendRequest>>) -> Result<Response<Self::AppendStream>, Status> {
        let from = caller(request.extensions())?;
        let handler = &ready(&self.handlers)?.raft;
        let stream = handler.append_stream(from, requests(request.into_inner())).await;
        let stream = stream.map_err(|error| to_status(&error))?;
        Ok(Response::new(answers(stream, self.stopping.clone())))
    }

    async fn vote(&self, request: Request<RaftPayload>) -> Result<Response<RaftPayload>, Status> {
        let from = caller(request.extensions())?;
        payload(ready(&self.handlers)?.raft.vote(from, request.into_inner().payload).await)
    }

    async fn pre_vote(&self, request: Request<RaftPayload>) -> Result<Response<RaftPayload>, Status> {
        let from = caller(request.extensions())?;
        payload(ready(&self.handlers)?.raft.pre_vote(from, request.into_inner().payload).await)
    }

    async fn transfer_leader(&self, request: Request<RaftPayload>) -> Result<Response<RaftPayload>, Status> {
        let from = caller(request.extensions())?;
        payload(ready(&self.handlers)?.raft.transfer_leader(from, request.into_inner().payload).await)
    }

    async fn hand_over(&self, request: Request<RaftPayload>) -> Result<Response<RaftPayload>, Status> {
        let from = caller(request.extensions())?;
        payload(ready(&self.handlers)?.raft.hand_over(from, request.into_inner().payload).await)
    }

    async fn snapshot(&self, request: Request<Streaming<SnapshotFrame>>) -> Result<Response<RaftPayload>, Status> {
        let from = caller(request.extensions())?;
        let handler = &ready(&self.handlers)?.raft;
        let frames = snapshot::receive(request.into_inner(), self.progress);
        payload(handler.snapshot(from, frames).await)
    }
}
