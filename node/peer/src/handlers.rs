//! What the server calls. Implemented by the floors above, so that this crate depends on none of them.

use crate::error::PeerError;
use crate::identity::PeerIdentity;
use crate::message::{
    Append, HelloCall, HelloReply, PingReply, ProposeCall, ProposeReply, ReadBlob, RemoteBlob, SnapshotFrame,
    TransferState,
};
use crate::upload::{UploadCall, UploadReply, WaitingBody};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use portolan_oci::Digest;
use std::sync::Arc;

/// A handler's answer. The future is dropped when the caller gives up or its deadline passes.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, PeerError>>;

/// Consensus.
pub trait RaftHandler: Send + Sync + 'static {
    /// Answers each request in order; must return the stream of answers without waiting for the first request. Both
    /// streams end when the caller goes away. An error in `requests` is its last item.
    fn append_stream(
        &self,
        from: PeerIdentity,
        requests: BoxStream<'static, Result<Append, PeerError>>,
    ) -> Answer<'_, BoxStream<'static, Result<Bytes, PeerError>>>;

    /// A vote request.
    fn vote(&self, from: PeerIdentity, request: Bytes) -> Answer<'_, Bytes>;

    /// Whether a vote would be granted.
    fn pre_vote(&self, from: PeerIdentity, request: Bytes) -> Answer<'_, Bytes>;

    /// A request to take the leadership over.
    fn transfer_leader(&self, from: PeerIdentity, request: Bytes) -> Answer<'_, Bytes>;

    /// An operator's wish that another node leads, handed to the one that does. Answers once another leads.
    fn hand_over(&self, from: PeerIdentity, request: Bytes) -> Answer<'_, Bytes>;

    /// A snapshot. The frames have been checked: a header first, then every byte of every file in order. If the
    /// stream ends without an error, it is complete; the files' SHA-256 are for the receiver to check.
    fn snapshot(
        &self,
        from: PeerIdentity,
        frames: BoxStream<'static, Result<SnapshotFrame, PeerError>>,
    ) -> Answer<'_, Bytes>;
}

/// The cluster's own business.
pub trait ClusterHandler: Send + Sync + 'static {
    /// How this node is.
    fn ping(&self, from: PeerIdentity) -> Answer<'_, PingReply>;

    /// Proposes on behalf of a node that does not lead.
    fn propose(&self, from: PeerIdentity, call: ProposeCall) -> Answer<'_, ProposeReply>;

    /// A read index, confirmed by a quorum after this call came.
    fn read_index(&self, from: PeerIdentity) -> Answer<'_, u64>;
}

/// Blobs.
pub trait BlobHandler: Send + Sync + 'static {
    /// Opens a blob from the offset asked for. Items may be of any size; they are read only as fast as the caller
    /// takes them. An offset beyond the end is [`PeerError::Malformed`].
    fn read_blob(&self, from: PeerIdentity, read: ReadBlob) -> Answer<'_, RemoteBlob>;

    /// Somebody got bytes of this blob from here that did not match. Answers once the accusation is noted, not once
    /// the file is hashed.
    fn accuse(&self, from: PeerIdentity, digest: Digest) -> Answer<'_, ()>;

    /// The CRC32C of each chunk of 256 KiB of a blob that is here whole, else [`PeerError::NotFound`].
    fn sums(&self, from: PeerIdentity, digest: Digest) -> Answer<'_, Vec<u32>>;

    /// The whole bytes of small blobs, one item for each digest in their order, `None` for one that is not here whole.
    /// They are read only as fast as the caller takes them; one above [`crate::message::MANY_BLOB_BYTES`] ends the stream.
    fn read_many(
        &self,
        from: PeerIdentity,
        digests: Vec<Digest>,
    ) -> Answer<'_, BoxStream<'static, Result<Option<Bytes>, PeerError>>>;

    /// Which of these blobs are being fetched now.
    fn transfers(&self, from: PeerIdentity, digests: Vec<Digest>) -> Answer<'_, Vec<TransferState>>;
}

/// Upload sessions of this node.
pub trait UploadHandler: Send + Sync + 'static {
    /// A client's request for a session, come to another node. The body is sent once it is accepted, and no faster than
    /// it is taken; a request that is refused accepts none. Dropping the answer's future must not undo what was begun.
    fn forwarded(&self, from: PeerIdentity, call: UploadCall, body: WaitingBody) -> Answer<'_, UploadReply>;
}

/// Answers `hello`, from the moment the port is bound.
pub trait HelloHandler: Send + Sync + 'static {
    /// What is known here; [`PeerError::Starting`] while a node that belongs to a cluster cannot tell yet: nothing
    /// would be taken for "no cluster".
    fn hello(&self, call: HelloCall) -> Answer<'_, HelloReply>;
}

/// All handlers but hello. Calls that come before they are set get [`PeerError::Starting`].
#[derive(Clone)]
pub struct Handlers {
    /// Consensus.
    pub raft: Arc<dyn RaftHandler>,
    /// The cluster's own business.
    pub cluster: Arc<dyn ClusterHandler>,
    /// Blobs.
    pub blobs: Arc<dyn BlobHandler>,
    /// Upload sessions.
    pub uploads: Arc<dyn UploadHandler>,
}
