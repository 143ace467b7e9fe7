//! Open a blob wherever it is: the one entry for pulls.

use crate::error::ReadError;
use bytes::Bytes;
use futures::stream::BoxStream;
use portolan_meta::id::NodeId;
use std::ops::Range;

/// Where an opened blob's bytes come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A file of this node's disk.
    Local,
    /// A transfer that another reader or the worker had begun.
    Following,
    /// A transfer that this reader began, from this holder first.
    Peer(NodeId),
    /// A transfer that is not stored, because this node has no room.
    Through(NodeId),
}

impl Source {
    /// The label in metrics and logs.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Following => "following",
            Self::Peer(_) => "peer",
            Self::Through(_) => "through",
        }
    }
}

/// An opened blob. Dropping it ends the reading; a transfer that policy wants goes on.
pub struct BlobBody {
    /// The whole blob's length in bytes.
    pub size: u64,
    /// Which bytes `stream` yields.
    pub range: Range<u64>,
    /// Where they come from.
    pub source: Source,
    /// The bytes, in order. After an error the response must be cut short, never completed.
    pub stream: BoxStream<'static, Result<Bytes, ReadError>>,
}

impl std::fmt::Debug for BlobBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlobBody")
            .field("size", &self.size)
            .field("range", &self.range)
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}
