//! A request for an upload session on its way to the node that owns it, and its body behind it.
//!
//! The body is sent only once the owner asks for it. A request whose owner cannot be reached has thus lost nothing and
//! may be tried again, and a client that waits for a "continue" is not told to send what nobody would take.

use crate::convert::digest_from_wire;
use crate::error::PeerError;
use crate::status::{from_status, to_status};
use bytes::Bytes;
use futures::stream::{self, BoxStream, unfold};
use futures::{FutureExt, Stream, StreamExt};
use portolan_oci::{ContentRange, Digest, RepoName};
use portolan_proto::v1;
use portolan_proto::v1::upload_fault::Kind;
use portolan_proto::v1::upload_frame::Frame;
use portolan_proto::v1::upload_reply::Reply;
use portolan_proto::v1::upload_request::Action;
use std::future::Future;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};
use tonic::Status;

/// What a client asks of an upload session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadCall {
    /// The repository.
    pub repo: RepoName,
    /// The session, as clients know it.
    pub session: String,
    /// What is to be done.
    pub action: UploadAction,
}

/// What is to be done with an upload session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UploadAction {
    /// Tell how many bytes it has.
    Status,
    /// Append the body.
    Append(Chunk),
    /// Append the body and make the session a blob.
    Finish {
        /// What the blob must be.
        digest: Digest,
        /// What is said about the body.
        chunk: Chunk,
    },
    /// Drop it.
    Cancel,
    /// Make it: the other node may not store the repository's bytes.
    Begin,
}

/// What a request says about its body before it comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chunk {
    /// Where it belongs; `None` means the session's end.
    pub range: Option<ContentRange>,
    /// How long it is in bytes; `None` when that is not known before its end.
    pub length: Option<u64>,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UploadReply {
    /// The session has so many bytes.
    Progress(u64),
    /// It is finished, or cancelled.
    Done,
    /// It was refused, or failed.
    Fault(UploadFault),
}

/// Why a request for an upload session was refused, in the terms of the floor that owns sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UploadFault {
    /// No such session.
    Unknown,
    /// The chunk begins elsewhere than where the session ends.
    OutOfOrder {
        /// Where the chunk begins.
        start: u64,
        /// How many bytes the session has.
        length: u64,
    },
    /// The body was longer or shorter than announced.
    SizeMismatch {
        /// What was announced.
        expected: u64,
        /// What came.
        found: u64,
    },
    /// The bytes are not those of the digest.
    DigestMismatch,
    /// The session would grow beyond the largest blob.
    TooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// The body broke off.
    BrokenOff,
    /// The body stood still.
    Idle {
        /// For how long, in milliseconds.
        idle_ms: u64,
    },
    /// Another request took the session over.
    Superseded,
    /// The owner's disk is full.
    StorageFull,
    /// The commit found no quorum in time.
    NoQuorum,
    /// The owner does all it may do at once.
    Busy,
    /// The owner is stopping.
    Stopping,
    /// The owner failed; its log says how.
    Failed,
}

/// A body ended before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the body broke off")]
pub struct BrokenOff;

/// A request's body between nodes. An error is its last item.
pub type ForwardedBody = BoxStream<'static, Result<Bytes, BrokenOff>>;

/// A body that waits at the other node.
pub struct WaitingBody {
    frames: BoxStream<'static, Result<v1::UploadFrame, Status>>,
    go: oneshot::Sender<u64>,
}

impl WaitingBody {
    /// Has it sent, now that the session has `length` bytes and the body is about to land behind them.
    #[must_use]
    pub fn accept(self, length: u64) -> ForwardedBody {
        let _ = self.go.send(length);
        unfold(Some(self.frames), |frames| async move {
            let mut frames = frames?;
            match frames.next().await {
                Some(Ok(v1::UploadFrame { frame: Some(Frame::Bytes(bytes)) })) => Some((Ok(bytes), Some(frames))),
                Some(Ok(v1::UploadFrame { frame: Some(Frame::End(_)) })) => None,
                Some(Ok(_) | Err(_)) | None => Some((Err(BrokenOff), None)),
            }
        })
        .boxed()
    }
}

/// What an owner says first.
pub enum Forwarded {
    /// It wants the body.
    Go(UploadSending),
    /// It has an answer already; nothing of the body was read.
    Answer(UploadReply),
}

type Answers = BoxStream<'static, Result<v1::UploadReply, Status>>;

/// A request whose body the owner waits for.
pub struct UploadSending {
    length: u64,
    body: oneshot::Sender<ForwardedBody>,
    sent: oneshot::Receiver<()>,
    answers: Answers,
    finish: Duration,
}

/// The frames of a call: the request, then the body once there is one.
pub(crate) struct Outgoing {
    body: oneshot::Sender<ForwardedBody>,
    sent: oneshot::Receiver<()>,
}

impl Outgoing {
    pub(crate) fn of(
        call: &UploadCall,
        largest: usize,
    ) -> (Self, impl Stream<Item = v1::UploadFrame> + Send + 'static) {
        let (give, body) = oneshot::channel::<ForwardedBody>();
        let (ended, sent) = oneshot::channel();
        let request = v1::UploadFrame { frame: Some(Frame::Request(call_to_wire(call))) };
        let rest = body.into_stream().map(move |body| match body {
            Ok(body) => body_frames(body, largest).boxed(),
            Err(_) => stream::empty().boxed(),
        });
        let closing = stream::once(async move {
            // Whoever waits for the answer counts its patience from here.
            let _ = ended.send(());
            None
        });
        let frames =
            stream::iter([Some(request)]).chain(rest.flatten().map(Some)).chain(closing).filter_map(std::future::ready);
        (Self { body: give, sent }, frames)
    }

    /// Awaits the owner's first word for at most `turn`. After the body's end the owner will get `finish`.
    pub(crate) async fn first(
        self,
        mut answers: Answers,
        turn: Duration,
        finish: Duration,
    ) -> Result<Forwarded, PeerError> {
        let first = timeout(turn, next(&mut answers)).await.map_err(|_| PeerError::Deadline)??;
        Ok(match first {
            Word::Go { length } => {
                Forwarded::Go(UploadSending { length, body: self.body, sent: self.sent, answers, finish })
            }
            Word::Last(reply) => Forwarded::Answer(reply),
        })
    }
}

impl UploadSending {
    /// How many bytes the session has: where the body will begin.
    #[must_use]
    pub const fn length(&self) -> u64 {
        self.length
    }

    /// Sends the body, as fast as the owner takes it, and awaits the answer: it may come before the body's end. A dead
    /// owner shows by its connection; one that has the whole body gets `upload_finish_timeout_ms` to answer.
    ///
    /// # Errors
    /// The owner was lost; what it took of the body, it keeps.
    pub async fn send(self, body: ForwardedBody) -> Result<UploadReply, PeerError> {
        let Self { length: _, body: give, sent, mut answers, finish } = self;
        let _ = give.send(body);
        let late = async move {
            // Without a word the frames were dropped with the call: then the answers end too.
            let _ = sent.await;
            sleep(finish).await;
        };
        tokio::select! {
            biased;
            answer = next(&mut answers) => match answer? {
                Word::Last(reply) => Ok(reply),
                Word::Go { .. } => Err(PeerError::Malformed("an upload was told to go twice".to_owned())),
            },
            () = late => Err(PeerError::Deadline),
        }
    }
}

/// What an owner says.
enum Word {
    Go { length: u64 },
    Last(UploadReply),
}

async fn next(answers: &mut Answers) -> Result<Word, PeerError> {
    match answers.next().await {
        Some(Ok(reply)) => word_from_wire(&reply),
        Some(Err(status)) => Err(from_status(&status)),
        None => Err(PeerError::Unreachable("the owner of the upload gave no answer".to_owned())),
    }
}

/// A body in frames of at most `largest` bytes, closed by an end unless it breaks off.
fn body_frames(body: ForwardedBody, largest: usize) -> impl Stream<Item = v1::UploadFrame> + Send + 'static {
    unfold(Some((body, Bytes::new())), move |state| async move {
        let (mut body, mut rest) = state?;
        while rest.is_empty() {
            match body.next().await {
                Some(Ok(bytes)) => rest = bytes,
                Some(Err(BrokenOff)) => return None,
                None => return Some((v1::UploadFrame { frame: Some(Frame::End(v1::UploadEnd {})) }, None)),
            }
        }
        let bytes = rest.split_to(rest.len().min(largest.max(1)));
        Some((v1::UploadFrame { frame: Some(Frame::Bytes(bytes)) }, Some((body, rest))))
    })
}

/// The owner's side: the request, which comes first.
pub(crate) async fn request<S>(frames: &mut S, patience: Duration) -> Result<UploadCall, PeerError>
where
    S: Stream<Item = Result<v1::UploadFrame, Status>> + Unpin,
{
    let first = timeout(patience, frames.next()).await.map_err(|_| PeerError::Deadline)?;
    match first.transpose().map_err(|status| from_status(&status))? {
        Some(v1::UploadFrame { frame: Some(Frame::Request(request)) }) => call_from_wire(request),
        Some(_) => Err(PeerError::Malformed("a forwarded upload that does not begin with its request".to_owned())),
        None => Err(PeerError::Unreachable("a forwarded upload ended before its request".to_owned())),
    }
}

/// The owner's side: the body that follows once it is accepted, and what tells of that.
pub(crate) fn incoming<S>(frames: S) -> (oneshot::Receiver<u64>, WaitingBody)
where
    S: Stream<Item = Result<v1::UploadFrame, Status>> + Send + 'static,
{
    let (go, going) = oneshot::channel();
    (going, WaitingBody { frames: frames.boxed(), go })
}

/// The owner's side: its answers.
pub(crate) fn answers(
    going: oneshot::Receiver<u64>,
    answer: impl Future<Output = Result<UploadReply, PeerError>> + Send + 'static,
) -> impl Stream<Item = Result<v1::UploadReply, Status>> + Send + 'static {
    let go = going.into_stream().filter_map(|going| {
        let go = going.ok().map(|length| Reply::Go(v1::UploadGo { length }));
        std::future::ready(go.map(|go| Ok(v1::UploadReply { reply: Some(go) })))
    });
    let result = answer.into_stream().map(|answer| match answer {
        Ok(reply) => Ok(reply_to_wire(&reply)),
        Err(error) => Err(to_status(&error)),
    });
    stream::select(go, result)
}

fn call_to_wire(call: &UploadCall) -> v1::UploadRequest {
    let action = match &call.action {
        UploadAction::Status => Action::Status(v1::UploadStatus {}),
        UploadAction::Append(chunk) => Action::Append(v1::UploadAppend { chunk: Some(chunk_to_wire(*chunk)) }),
        UploadAction::Finish { digest, chunk } => {
            Action::Finish(v1::UploadFinish { digest: digest.to_string(), chunk: Some(chunk_to_wire(*chunk)) })
        }
        UploadAction::Cancel => Action::Cancel(v1::UploadCancel {}),
        UploadAction::Begin => Action::Begin(v1::UploadBegin {}),
    };
    v1::UploadRequest { repo: call.repo.to_string(), session: call.session.clone(), action: Some(action) }
}

fn call_from_wire(request: v1::UploadRequest) -> Result<UploadCall, PeerError> {
    let repo = request.repo.parse().map_err(|_| PeerError::Malformed(format!("repository {:?}", request.repo)))?;
    let action = match request.action {
        Some(Action::Status(_)) => UploadAction::Status,
        Some(Action::Append(append)) => UploadAction::Append(chunk_from_wire(append.chunk.as_ref())?),
        Some(Action::Finish(finish)) => UploadAction::Finish {
            digest: digest_from_wire(&finish.digest)?,
            chunk: chunk_from_wire(finish.chunk.as_ref())?,
        },
        Some(Action::Cancel(_)) => UploadAction::Cancel,
        Some(Action::Begin(_)) => UploadAction::Begin,
        None => return Err(PeerError::Malformed("a forwarded upload without an action".to_owned())),
    };
    Ok(UploadCall { repo, session: request.session, action })
}

fn chunk_to_wire(chunk: Chunk) -> v1::UploadChunk {
    v1::UploadChunk { range: chunk.range.map(|range| range.to_string()), length: chunk.length }
}

fn chunk_from_wire(chunk: Option<&v1::UploadChunk>) -> Result<Chunk, PeerError> {
    let Some(chunk) = chunk else { return Ok(Chunk::default()) };
    let range = chunk.range.as_deref().map(ContentRange::parse).transpose();
    let range = range.map_err(|error| PeerError::Malformed(error.to_string()))?;
    Ok(Chunk { range, length: chunk.length })
}

fn reply_to_wire(reply: &UploadReply) -> v1::UploadReply {
    v1::UploadReply {
        reply: Some(match reply {
            UploadReply::Progress(length) => Reply::Progress(v1::UploadProgress { length: *length }),
            UploadReply::Done => Reply::Done(v1::UploadDone {}),
            UploadReply::Fault(fault) => Reply::Fault(fault_to_wire(*fault)),
        }),
    }
}

fn word_from_wire(reply: &v1::UploadReply) -> Result<Word, PeerError> {
    Ok(match &reply.reply {
        Some(Reply::Go(go)) => Word::Go { length: go.length },
        Some(Reply::Progress(progress)) => Word::Last(UploadReply::Progress(progress.length)),
        Some(Reply::Done(_)) => Word::Last(UploadReply::Done),
        Some(Reply::Fault(fault)) => Word::Last(UploadReply::Fault(fault_from_wire(fault))),
        None => return Err(PeerError::Malformed("an empty answer to a forwarded upload".to_owned())),
    })
}

fn fault_to_wire(fault: UploadFault) -> v1::UploadFault {
    let (kind, expected, found) = match fault {
        UploadFault::Unknown => (Kind::Unknown, 0, 0),
        UploadFault::OutOfOrder { start, length } => (Kind::OutOfOrder, length, start),
        UploadFault::SizeMismatch { expected, found } => (Kind::SizeMismatch, expected, found),
        UploadFault::DigestMismatch => (Kind::DigestMismatch, 0, 0),
        UploadFault::TooLarge { limit } => (Kind::TooLarge, limit, 0),
        UploadFault::BrokenOff => (Kind::BrokenOff, 0, 0),
        UploadFault::Idle { idle_ms } => (Kind::Idle, idle_ms, 0),
        UploadFault::Superseded => (Kind::Superseded, 0, 0),
        UploadFault::StorageFull => (Kind::StorageFull, 0, 0),
        UploadFault::NoQuorum => (Kind::NoQuorum, 0, 0),
        UploadFault::Busy => (Kind::Busy, 0, 0),
        UploadFault::Stopping => (Kind::Stopping, 0, 0),
        UploadFault::Failed => (Kind::Failed, 0, 0),
    };
    v1::UploadFault { kind: kind.into(), expected, found }
}

/// A kind that this version does not know is a failure like any other.
fn fault_from_wire(fault: &v1::UploadFault) -> UploadFault {
    let v1::UploadFault { expected, found, .. } = *fault;
    match fault.kind() {
        Kind::Unknown => UploadFault::Unknown,
        Kind::OutOfOrder => UploadFault::OutOfOrder { start: found, length: expected },
        Kind::SizeMismatch => UploadFault::SizeMismatch { expected, found },
        Kind::DigestMismatch => UploadFault::DigestMismatch,
        Kind::TooLarge => UploadFault::TooLarge { limit: expected },
        Kind::BrokenOff => UploadFault::BrokenOff,
        Kind::Idle => UploadFault::Idle { idle_ms: expected },
        Kind::Superseded => UploadFault::Superseded,
        Kind::StorageFull => UploadFault::StorageFull,
        Kind::NoQuorum => UploadFault::NoQuorum,
        Kind::Busy => UploadFault::Busy,
        Kind::Stopping => UploadFault::Stopping,
        Kind::Failed => UploadFault::Failed,
    }
}
