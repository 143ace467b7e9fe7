//! What can go wrong between two nodes.

use crate::rejection::{Rejection, Side};
use portolan_meta::id::NodeId;
use thiserror::Error;

/// Why a call to a peer failed. Handlers answer with it too: [`Self::NotLeader`], [`Self::NotFound`], [`Self::Busy`],
/// [`Self::Starting`], [`Self::Deadline`], [`Self::Malformed`] and [`Self::Remote`] reach the caller as they are,
/// everything else as [`Self::Remote`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PeerError {
    /// The node is not among the members: nothing was sent.
    #[error("node {0} is not a member")]
    UnknownNode(NodeId),
    /// This node has no identity yet, so that it may only say hello: nothing was sent.
    #[error("this node has no identity yet")]
    NoIdentity,
    /// No connection, or it broke. If the call changes something, whether it did is unknown.
    #[error("the peer cannot be reached: {0}")]
    Unreachable(String),
    /// The peer answers, but its handlers are not in place yet: it did nothing.
    #[error("the peer is starting")]
    Starting,
    /// No answer in time, or a stream stood still. If the call changes something, whether it did is unknown.
    #[error("no answer within the deadline")]
    Deadline,
    /// One side does not accept the other's identity. Trying again does not help until an operator acts.
    #[error("refused by {by}: {rejection}")]
    Refused {
        /// Who refused.
        by: Side,
        /// Why.
        rejection: Rejection,
    },
    /// The peer does not lead, or may not act as leader at the moment: it did nothing.
    #[error("the peer does not lead")]
    NotLeader {
        /// Who leads, as far as it knows.
        leader: Option<NodeId>,
    },
    /// The peer does not have it.
    #[error("not found at the peer")]
    NotFound,
    /// The peer is at a limit: it did nothing; try again later or elsewhere.
    #[error("the peer is busy")]
    Busy,
    /// Bytes arrived that do not match their checksum.
    #[error("wrong checksum at byte {offset}")]
    Corrupt {
        /// Where the damaged chunk begins in the blob.
        offset: u64,
    },
    /// One side sent what the protocol does not allow.
    #[error("malformed message: {0}")]
    Malformed(String),
    /// The peer's handler failed; its log says more. Whether a change was made is unknown.
    #[error("the peer failed: {0}")]
    Remote(String),
    /// This node is shutting down.
    #[error("stopped")]
    Stopped,
}
