//! The client: calls to other nodes.

use crate::config::Config;
use crate::error::PeerError;
use crate::guard::Guard;
use crate::health::Health;
use crate::identity::LocalIdentity;
use crate::io::Connector;
use crate::message::{
    HelloCall, HelloReply, Lane, Member, PingReply, ProposeCall, ProposeReply, ReadBlob, RemoteBlob, SnapshotFrame,
};
use bytes::Bytes;
use futures::Stream;
use futures::stream::BoxStream;
use portolan_meta::id::NodeId;
use portolan_oci::Digest;
use std::sync::Arc;
use std::time::Duration;

/// Calls to other nodes.
pub struct Peers {}

impl Peers {
    /// A client without members.
    #[must_use]
    pub fn new(
        local: Arc<LocalIdentity>,
        guard: Arc<dyn Guard>,
        connector: Arc<dyn Connector>,
        config: Config,
    ) -> Arc<Self> {
        todo!()
    }

    /// Replaces the list of members. Connections to members whose address stayed the same are kept.
    pub fn set_members(&self, members: Vec<Member>) {
        todo!()
    }

    /// The members, by id.
    #[must_use]
    pub fn members(&self) -> Vec<Member> {
        todo!()
    }

    /// How a node answered of late; `None` when it never did.
    #[must_use]
    pub fn health(&self, node: NodeId) -> Option<Health> {
        todo!()
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
        requests: impl Stream<Item = Bytes> + Send + 'static,
    ) -> Result<BoxStream<'static, Result<Bytes, PeerError>>, PeerError> {
        todo!()
    }

    /// Asks for a vote.
    ///
    /// # Errors
    /// See [`PeerError`].
    pub async fn vote(&self, target: NodeId, request: Bytes, timeout: Duration) -> Result<Bytes, PeerError> {
        todo!()
    }

    /// Asks whether a vote would be granted.
    ///
    /// # Errors
    /// See [`PeerError`].
    pub async fn pre_vote(&self, target: NodeId, request: Bytes, timeout: Duration) -> Result<Bytes, PeerError> {
        todo!()
    }

    /// Asks a voter to take the leadership over.
    ///
    /// # Errors
    /// See [`PeerError`].
    pub async fn transfer_leader(&self, target: NodeId, request: Bytes, timeout: Duration) -> Result<Bytes, PeerError> {
        todo!()
    }

    /// Sends a snapshot and returns the receiver's answer once it is installed. A source that fails ends its stream
    /// early: the receiver notices that bytes are missing. Dropping the future cancels the transfer.
    ///
    /// # Errors
    /// See [`PeerError`].
    pub async fn send_snapshot(
        &self,
        target: NodeId,
        frames: impl Stream<Item = SnapshotFrame> + Send + 'static,
    ) -> Result<Bytes, PeerError> {
        todo!()
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
        todo!()
    }

    /// Asks the leader for a read index.
    ///
    /// # Errors
    /// See [`PeerError`].
    pub async fn read_index(&self, target: NodeId, timeout: Duration) -> Result<u64, PeerError> {
        todo!()
    }

    /// Asks how a node is, and measures the round trip for [`Self::health`].
    ///
    /// # Errors
    /// See [`PeerError`].
    pub async fn ping(&self, target: NodeId, timeout: Duration) -> Result<PingReply, PeerError> {
        todo!()
    }

    /// Asks whoever listens at an address who it is. Needs no identity and no member.
    ///
    /// # Errors
    /// See [`PeerError`].
    pub async fn hello(&self, address: &str, call: HelloCall, timeout: Duration) -> Result<HelloReply, PeerError> {
        todo!()
    }

    /// Reads a blob from a peer. Every chunk has passed its checksum; the whole digest is the caller's to check. A
    /// stream that stands still for the progress timeout ends with [`PeerError::Deadline`].
    ///
    /// # Errors
    /// See [`PeerError`].
    pub async fn read_blob(&self, target: NodeId, read: ReadBlob) -> Result<RemoteBlob, PeerError> {
        todo!()
    }

    /// Tells a holder that its bytes did not match, so that it hashes its file again.
    ///
    /// # Errors
    /// See [`PeerError`].
    pub async fn accuse(&self, target: NodeId, digest: &Digest, timeout: Duration) -> Result<(), PeerError> {
        todo!()
    }
}
