//! The client: calls to other nodes.

use crate::append::{Progress, incoming, outgoing};
use crate::blob;
use crate::config::Config;
use crate::convert::{hello_reply_from_wire, hello_to_wire, ping_from_wire, propose_reply_from_wire, read_to_wire};
use crate::error::PeerError;
use crate::guard::Guard;
use crate::health::{Health, HealthCell, Pulse, Standing};
use crate::identity::LocalIdentity;
use crate::io::Connector;
use crate::link::{Link, lazy_channel};
use crate::many;
use crate::message::{
    Append, HelloCall, HelloReply, Lane, ManyBlobs, Member, PingReply, ProposeCall, ProposeReply, ReadBlob, RemoteBlob,
    SnapshotFrame, TransferState,
};
use crate::refusals::Refusals;
use crate::snapshot::Sending;
use crate::status::from_status;
use crate::stub::{Shared, Stub, Target};
use crate::telemetry;
use crate::upload::{Forwarded, Outgoing, UploadCall};
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use portolan_meta::id::NodeId;
use portolan_oci::Digest;
use portolan_proto::v1;
use portolan_proto::v1::blobs_client::BlobsClient;
use portolan_proto::v1::cluster_client::ClusterClient;
use portolan_proto::v1::raft_client::RaftClient;
use portolan_proto::v1::uploads_client::UploadsClient;
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;
use tokio::time::{Instant, timeout};
use tonic::{Request, Response, Status};

/// Calls to other nodes. Connections are made when first needed and again when they break.
pub struct Peers {
    connector: Arc<dyn Connector>,
    shared: Arc<Shared>,
    members: RwLock<Members>,
    pulse: OnceLock<Pulse>,
}

#[derive(Default)]
struct Members {
    closed: bool,
    known: BTreeMap<NodeId, (Member, Arc<Link>)>,
}

impl Peers {
    /// A client without members.
    #[must_use]
    pub fn new(
        local: Arc<LocalIdentity>,
        guard: Arc<dyn Guard>,
        connector: Arc<dyn Connector>,
        config: Config,
    ) -> Arc<Self> {
        telemetry::describe();
        let refusals = Refusals::new(&config);
        let shared = Arc::new(Shared { local, guard, refusals, config });
        Arc::new(Self { connector, shared, members: RwLock::default(), pulse: OnceLock::new() })
    }

    /// Replaces the list of members. Connections to members whose address stayed the same are kept.
    pub fn set_members(&self, members: Vec<Member>) {
        let mut current = self.members.write().unwrap_or_else(PoisonError::into_inner);
        if current.closed {
            return;
        }
        let mut before = std::mem::take(&mut current.known);
        for member in members {
            let link = match before.remove(&member.node) {
                Some((_, link)) if link.target.address == member.address => link,
                _ => Arc::new(self.link(&member)),
            };
            current.known.insert(member.node, (member, link));
        }
    }

    fn link(&self, member: &Member) -> Link {
        telemetry::describe_peer(member.node);
        let target = Target { node: member.node, address: member.address.clone(), health: HealthCell::default() };
        Link::new(Arc::new(target), Arc::clone(&self.connector), Arc::clone(&self.shared))
    }

    /// The members, by id.
    #[must_use]
    pub fn members(&self) -> Vec<Member> {
        let members = self.members.read().unwrap_or_else(PoisonError::into_inner);
        members.known.values().map(|(member, _)| member.clone()).collect()
    }

    /// How a node answered of late; `None` when it never did.
    #[must_use]
    pub fn health(&self, node: NodeId) -> Option<Health> {
        let members = self.members.read().unwrap_or_else(PoisonError::into_inner);
        members.known.get(&node).and_then(|(_, link)| link.target.health.get())
    }

    /// Says how members are pinged, and what their silence means; what was said first counts.
    pub fn set_pulse(&self, pulse: Pulse) {
        // A second word is one too many.
        let _ = self.pulse.set(pulse);
    }

    fn pulse(&self) -> Pulse {
        self.pulse.get().copied().unwrap_or_default()
    }

    /// How well a node would serve a read, as its pings tell; `None` for one that is no member.
    #[must_use]
    pub fn standing(&self, node: NodeId) -> Option<Standing> {
        let target = self.target(node).ok()?;
        Some(target.health.standing(self.pulse()))
    }

    /// How surprising a node's silence is: minus the decimal logarithm of its chance.
    #[must_use]
    pub fn phi(&self, node: NodeId) -> Option<f64> {
        let target = self.target(node).ok()?;
        Some(target.health.phi(self.pulse()))
    }

    /// The smoothed round trips to those members that answered anything within the last `within`.
    #[must_use]
    pub fn round_trips(&self, within: Duration) -> BTreeMap<NodeId, Duration> {
        let members = self.members.read().unwrap_or_else(PoisonError::into_inner);
        let healths = members.known.iter().filter_map(|(node, (_, link))| Some((*node, link.target.health.get()?)));
        let alive = healths.filter(|(_, health)| health.last_seen.elapsed() <= within);
        alive.filter_map(|(node, health)| Some((node, health.rtt?))).collect()
    }

    /// Lets go of all connections; calls from now on fail with [`PeerError::Stopped`]. Streams that are open end when
    /// their owners drop them.
    pub fn close(&self) {
        let mut members = self.members.write().unwrap_or_else(PoisonError::into_inner);
        *members = Members { closed: true, known: BTreeMap::new() };
    }

    fn stub(&self, node: NodeId, lane: Lane) -> Result<Stub, PeerError> {
        let members = self.members.read().unwrap_or_else(PoisonError::into_inner);
        if members.closed {
            return Err(PeerError::Stopped);
        }
        let (_, link) = members.known.get(&node).ok_or(PeerError::UnknownNode(node))?;
        if self.shared.local.get().is_none() {
            return Err(PeerError::NoIdentity);
        }
        Ok(link.stub(lane))
    }

    fn raft(&self, target: NodeId, lane: Lane) -> Result<RaftClient<Stub>, PeerError> {
        let limit = self.shared.config.max_message_bytes;
        let client = RaftClient::new(self.stub(target, lane)?);
        Ok(client.max_decoding_message_size(limit).max_encoding_message_size(limit))
    }

    fn cluster(&self, target: NodeId) -> Result<ClusterClient<Stub>, PeerError> {
        Ok(self.cluster_over(self.stub(target, Lane::Control)?))
    }

    fn cluster_over(&self, stub: Stub) -> ClusterClient<Stub> {
        let limit = self.shared.config.max_message_bytes;
        ClusterClient::new(stub).max_decoding_message_size(limit).max_encoding_message_size(limit)
    }

    fn blobs(&self, target: NodeId, lane: Lane) -> Result<BlobsClient<Stub>, PeerError> {
        let limit = self.shared.config.max_message_bytes;
        let client = BlobsClient::new(self.stub(target, lane)?);
        Ok(client.max_decoding_message_size(limit).max_encoding_message_size(limit))
    }

    /// Opens a long-lived stream: answers come in the order of the requests, and many requests may be under way. When
    /// requests are unanswered and no answer comes within the progress timeout, the last item is
    /// [`PeerError::Deadline`]. Dropping the answers ends the stream.
    ///
    /// # Errors
    /// The stream could not be opened.
    pub async fn append_stream(
        &self,
        target: NodeId,
        lane: Lane,
        requests: impl Stream<Item = Append> + Send + 'static,
    ) -> Result<BoxStream<'static, Result<Bytes, PeerError>>, PeerError> {
        let mut client = self.raft(target, lane)?;
        let peer = self.target(target)?;
        let progress = Arc::new(Progress::default());
        let requests = outgoing(requests, Arc::clone(&progress));
        let call = client.append(requests);
        let answers = bounded("append", self.shared.config.open_timeout(), call).await?;
        Ok(incoming(answers, progress, self.shared.config.progress_timeout(), peer))
    }

    fn target(&self, node: NodeId) -> Result<Arc<Target>, PeerError> {
        let members = self.members.read().unwrap_or_else(PoisonError::into_inner);
        let (_, link) = members.known.get(&node).ok_or(PeerError::UnknownNode(node))?;
        Ok(Arc::clone(&link.target))
    }

    /// Asks for a vote.
    ///
    /// # Errors
    /// See [`PeerError`].
    pub async fn vote(&self, target: NodeId, request: Bytes, timeout: Duration) -> Result<Bytes, PeerError> {
        let mut client = self.raft(target, Lane::Raft)?;
        let request = with_deadline(v1::RaftPayload { payload: request }, timeout);
        Ok(bounded("vote", timeout, client.vote(request)).await?.payload)
    }

    /// Asks whether a vote would be granted.
    ///
    /// # Errors
    /// See [`PeerError`].
    pub async fn pre_vote(&self, target: NodeId, request: Bytes, timeout: Duration) -> Result<Bytes, PeerError> {
        let mut client = self.raft(target, Lane::Raft)?;
        let request = with_deadline(v1::RaftPayload { payload: request }, timeout);
        Ok(bounded("pre_vote", timeout, client.pre_vote(request)).await?.payload)
    }

    /// Asks a voter to take the leadership over.
    ///
    /// # Errors
    /// See [`PeerError`].
    pub async fn transfer_leader(&self, target: NodeId, request: Bytes, timeout: Duration) -> Result<Bytes, PeerError> {
        let mut client = self.raft(target, Lane::Raft)?;
        let request = with_deadline(v1::RaftPayload { payload: request }, timeout);
        Ok(bounded("transfer_leader", timeout, client.transfer_leader(request)).await?.payload)
    }

    /// Asks the leader to hand the leadership over. Its answer comes once that is settled, and says whether another leads.
    ///
    /// # Errors
    /// See [`PeerError`]. `Malformed` is of a leader that does not know the call, as one of an older version: it did
    /// nothing, and trying again does not help until it is upgraded. After `Unreachable`, `Deadline`, `Remote` and a refusal
    /// of its answer by this side, whether it did is unknown.
    pub async fn hand_over(&self, target: NodeId, request: Bytes, timeout: Duration) -> Result<Bytes, PeerError> {
        let mut client = self.raft(target, Lane::Raft)?;
        let request = with_deadline(v1::RaftPayload { payload: request }, timeout);
        Ok(bounded("hand_over", timeout, client.hand_over(request)).await?.payload)
    }

    /// Sends a snapshot, over a bulk connection so that appends are not delayed, and returns the receiver's answer
    /// once it is installed. A source that fails ends its stream early: the receiver notices that bytes are missing.
    /// Dropping the future cancels the transfer.
    ///
    /// # Errors
    /// See [`PeerError`].
    pub async fn send_snapshot(
        &self,
        target: NodeId,
        frames: impl Stream<Item = SnapshotFrame> + Send + 'static,
    ) -> Result<Bytes, PeerError> {
        let mut client = self.raft(target, Lane::Bulk)?;
        let config = &self.shared.config;
        let sending = Sending::new();
        let call = client.snapshot(sending.frames(frames));
        let install = Duration::from_millis(config.snapshot_install_timeout_ms);
        let answer = sending.watch(Box::pin(call), config.progress_timeout(), install).await;
        let result = answer.and_then(|answer| answer.map_err(|status| from_status(&status)));
        count("snapshot", result.as_ref().err());
        Ok(result?.into_inner().payload)
    }

    /// Hands a proposal to the leader.
    ///
    /// # Errors
    /// See [`PeerError`]. After `Unreachable`, `Deadline` and `Remote`, whether it was applied is unknown.
    pub async fn propose(
        &self,
        target: NodeId,
        call: ProposeCall,
        timeout: Duration,
    ) -> Result<ProposeReply, PeerError> {
        let mut client = self.cluster(target)?;
        let request = with_deadline(v1::ProposeRequest { proposal: call.proposal }, timeout);
        Ok(propose_reply_from_wire(bounded("propose", timeout, client.propose(request)).await?))
    }

    /// Asks the leader for a read index.
    ///
    /// # Errors
    /// See [`PeerError`].
    pub async fn read_index(&self, target: NodeId, timeout: Duration) -> Result<u64, PeerError> {
        let mut client = self.cluster(target)?;
        let request = with_deadline(v1::ReadIndexRequest {}, timeout);
        Ok(bounded("read_index", timeout, client.read_index(request)).await?.index)
    }

    /// Asks how a node is, and measures the round trip for [`Self::health`]. One that answers has its connections for blobs
    /// made, where they do not stand.
    ///
    /// # Errors
    /// See [`PeerError`].
    pub async fn ping(&self, target: NodeId, timeout: Duration) -> Result<PingReply, PeerError> {
        let mut client = self.cluster(target)?;
        let peer = self.target(target)?;
        let request = with_deadline(v1::PingRequest {}, timeout);
        let sent = Instant::now();
        let answer = bounded("ping", timeout, client.ping(request)).await;
        let reply = answer.inspect_err(|error| peer.health.failed(error))?;
        let took = sent.elapsed();
        peer.health.answered(took, reply.ready, self.pulse());
        self.warm(target, timeout);
        telemetry::round_trip(target, took);
        Ok(ping_from_wire(reply))
    }

    fn warm(&self, target: NodeId, timeout: Duration) {
        let members = self.members.read().unwrap_or_else(PoisonError::into_inner);
        let Some((_, link)) = members.known.get(&target) else { return };
        link.warm(|stub| {
            let mut client = self.cluster_over(stub);
            Box::pin(async move {
                // Whoever needs the connection finds out by itself what is wrong with it.
                let _ = bounded("ping", timeout, client.ping(with_deadline(v1::PingRequest {}, timeout))).await;
            })
        });
    }

    /// Asks whoever listens at an address who it is. Needs no identity and no member.
    ///
    /// # Errors
    /// See [`PeerError`].
    pub async fn hello(&self, address: &str, call: HelloCall, timeout: Duration) -> Result<HelloReply, PeerError> {
        let channel = lazy_channel(&self.shared.config, Lane::Control, address, &self.connector);
        let mut client = self.cluster_over(Stub { channel, target: None, shared: Arc::clone(&self.shared) });
        let request = with_deadline(hello_to_wire(call), timeout);
        Ok(hello_reply_from_wire(bounded("hello", timeout, client.hello(request)).await?))
    }

    /// Reads a blob from a peer. Every chunk has passed its checksum; the whole digest is the caller's to check. A
    /// stream that stands still for the progress timeout ends with [`PeerError::Deadline`].
    ///
    /// # Errors
    /// See [`PeerError`].
    pub async fn read_blob(&self, target: NodeId, read: ReadBlob) -> Result<RemoteBlob, PeerError> {
        self.read_blob_over(target, Lane::Bulk, read).await
    }

    /// [`Self::read_blob`] over connections of the caller's choice.
    ///
    /// # Errors
    /// See [`PeerError`].
    pub async fn read_blob_over(&self, target: NodeId, lane: Lane, read: ReadBlob) -> Result<RemoteBlob, PeerError> {
        let mut client = self.blobs(target, lane)?;
        let (open, progress) = (self.shared.config.open_timeout(), self.shared.config.progress_timeout());
        let frames = bounded("read_blob", open, client.read(read_to_wire(&read))).await?;
        blob::receive(frames, &read, open, progress).await
    }

    /// The CRC32C of each chunk of 256 KiB of a blob, as a holder that has it whole knows them: enough to check any range
    /// of it, not to trust the whole.
    ///
    /// # Errors
    /// [`PeerError::NotFound`] when it is not there whole; see [`PeerError`].
    pub async fn blob_sums(&self, target: NodeId, digest: &Digest) -> Result<Vec<u32>, PeerError> {
        let mut client = self.blobs(target, Lane::Bulk)?;
        let timeout = self.shared.config.open_timeout();
        let request = with_deadline(v1::SumsRequest { digest: digest.to_string() }, timeout);
        many::sums_from_wire(bounded("blob_sums", timeout, client.sums(request)).await?)
    }

    /// Reads whole small blobs, at most [`crate::message::MANY_BLOBS`], in one stream. One that stands still for the
    /// progress timeout ends with [`PeerError::Deadline`].
    ///
    /// # Errors
    /// See [`PeerError`]. What is not there is no error, but a place without bytes.
    pub async fn read_many(&self, target: NodeId, digests: Vec<Digest>) -> Result<ManyBlobs, PeerError> {
        let (request, count) = (many::digests_to_wire(&digests)?, digests.len());
        let mut client = self.blobs(target, Lane::Bulk)?;
        let (open, progress) = (self.shared.config.open_timeout(), self.shared.config.progress_timeout());
        let call = client.read_many(v1::ReadManyRequest { digests: request });
        let frames = bounded("read_many", open, call).await?;
        Ok(many::receive(frames, count, open, progress))
    }

    /// Asks which of these blobs, at most [`crate::message::MANY_BLOBS`], a node is fetching now.
    ///
    /// # Errors
    /// See [`PeerError`].
    pub async fn transfers(
        &self,
        target: NodeId,
        digests: Vec<Digest>,
        timeout: Duration,
    ) -> Result<Vec<TransferState>, PeerError> {
        let request = v1::TransfersRequest { digests: many::digests_to_wire(&digests)? };
        let mut client = self.blobs(target, Lane::Control)?;
        let reply = bounded("transfers", timeout, client.transfers(with_deadline(request, timeout))).await?;
        many::transfers_from_wire(reply, &digests)
    }

    /// Hands a client's request for an upload session to the session's owner, and awaits its first word: an answer, or
    /// that it wants the body. Until then nothing of the body was read, so that an error may be tried again, but not one
    /// of patience (`Deadline` after `open`): the request may only be late, behind the bodies of others, and would come
    /// after the one that replaced it.
    ///
    /// # Errors
    /// See [`PeerError`].
    pub async fn forward_upload(
        &self,
        target: NodeId,
        call: &UploadCall,
        open: Duration,
    ) -> Result<Forwarded, PeerError> {
        let config = &self.shared.config;
        let limit = config.max_message_bytes;
        let client = UploadsClient::new(self.stub(target, Lane::Bulk)?);
        let mut client = client.max_decoding_message_size(limit).max_encoding_message_size(limit);
        let (outgoing, frames) = Outgoing::of(call, config.chunk_bytes);
        let answers = bounded("forward_upload", open, client.forward(frames)).await?;
        let ms = Duration::from_millis;
        let (turn, finish) = (ms(config.upload_turn_timeout_ms), ms(config.upload_finish_timeout_ms));
        outgoing.first(answers.boxed(), turn, finish).await
    }

    /// Tells a holder that its bytes did not match, so that it hashes its file again.
    ///
    /// # Errors
    /// See [`PeerError`].
    pub async fn accuse(&self, target: NodeId, digest: &Digest, timeout: Duration) -> Result<(), PeerError> {
        let mut client = self.blobs(target, Lane::Control)?;
        let request = with_deadline(v1::AccuseRequest { digest: digest.to_string() }, timeout);
        bounded("accuse", timeout, client.accuse(request)).await?;
        Ok(())
    }
}

/// The deadline travels, so that the other side stops working on what nobody waits for.
fn with_deadline<T>(message: T, timeout: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(timeout);
    request
}

async fn bounded<T>(
    name: &'static str,
    limit: Duration,
    call: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T, PeerError> {
    let result = match timeout(limit, Box::pin(call)).await {
        Err(_) => Err(PeerError::Deadline),
        Ok(Err(status)) => Err(from_status(&status)),
        Ok(Ok(response)) => Ok(response.into_inner()),
    };
    count(name, result.as_ref().err());
    result
}

fn count(call: &'static str, error: Option<&PeerError>) {
    telemetry::calls(call, error).increment(1);
    if let Some(error) = error {
        tracing::debug!(call, %error, "a call to a peer failed");
    }
}
