//! Why one node does not talk to another.

use std::fmt;

/// Which side of a call refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// This node.
    Us,
    /// The peer.
    Peer,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Us => "this node",
            Self::Peer => "the peer",
        })
    }
}

/// The closed list of grounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RejectionKind {
    /// No identity came with the message, or one that cannot be read.
    Missing,
    /// Another version of the protocol.
    Protocol,
    /// Another cluster.
    Cluster,
    /// Another epoch: one side missed a recovery after a lost majority.
    Epoch,
    /// Not the node that was asked for: an address leads elsewhere.
    Node,
    /// Another data folder than the one committed under this node id.
    Storage,
    /// An older start of the node than one already known.
    Incarnation,
}

impl RejectionKind {
    pub(crate) const ALL: [Self; 7] =
        [Self::Missing, Self::Protocol, Self::Cluster, Self::Epoch, Self::Node, Self::Storage, Self::Incarnation];

    /// The name on the wire and in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Protocol => "protocol",
            Self::Cluster => "cluster",
            Self::Epoch => "epoch",
            Self::Node => "node",
            Self::Storage => "storage",
            Self::Incarnation => "incarnation",
        }
    }

    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// Why an identity is not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The ground.
    pub kind: RejectionKind,
    /// A sentence for the log of either side, with both values in it.
    pub reason: String,
}

impl Rejection {
    /// A rejection with its sentence.
    #[must_use]
    pub fn new(kind: RejectionKind, reason: impl Into<String>) -> Self {
        Self { kind, reason: reason.into() }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}
