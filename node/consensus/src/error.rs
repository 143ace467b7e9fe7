//! What can go wrong on this floor, by what the caller can do about it.

use portolan_meta::id::NodeId;
use serde::{Deserialize, Serialize};

/// Starting, stopping, or changing the group failed.
#[derive(Debug, thiserror::Error)]
pub enum ConsensusError {
    /// The static member list cannot be used.
    #[error("the member list is wrong: {0}")]
    Members(MembersError),
    /// openraft refused the settings.
    #[error("the raft settings are wrong: {0}")]
    Settings(String),
    /// The log or the state could not be read or written, or does not decode.
    #[error("the store failed: {0}")]
    Store(#[from] std::io::Error),
    /// Raft stopped: the node must be restarted, its log says why.
    #[error("raft stopped: {0}")]
    Raft(String),
}

/// See [`ConsensusError::Members`].
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum MembersError {
    /// Nobody is listed.
    #[error("nobody is listed")]
    Empty,
    /// Nobody votes.
    #[error("nobody votes")]
    NoVoter,
    /// This node is not in the list.
    #[error("node {0} is not listed")]
    SelfMissing(u64),
    /// An id is listed twice.
    #[error("node {0} is listed twice")]
    Twice(u64),
}

/// A command has no outcome.
#[derive(Debug, thiserror::Error)]
pub enum ProposeError {
    /// No leader took it before the deadline. It was certainly not committed.
    #[error("there is no leader")]
    NoLeader,
    /// It was handed to a leader, but the deadline passed before its outcome was known: it may or may not be, or
    /// become, committed.
    #[error("the deadline passed; the outcome is unknown")]
    Deadline,
    /// It is larger than a log entry may be.
    #[error("the command has {bytes} bytes, more than {limit}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// What is allowed.
        limit: usize,
    },
    /// This node shuts down. The outcome is unknown.
    #[error("this node is stopping")]
    Stopped,
}

/// A hash of the state is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum HashError {
    /// Another one is being made: each reads the whole state. Ask again when it is done.
    #[error("the state is being hashed already")]
    Busy,
    /// This node shuts down.
    #[error("this node is stopping")]
    Stopped,
    /// The state could not be read.
    #[error("the store failed: {0}")]
    Store(#[from] std::io::Error),
}

/// No other node leads now.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandoverError {
    /// No leader answered before the deadline. It was certainly not done.
    #[error("there is no leader")]
    NoLeader,
    /// The named node cannot lead, or not now. Nothing was done.
    #[error("node {node} cannot take the leadership over: {why}")]
    Unfit {
        /// The node.
        node: NodeId,
        /// Why.
        why: Unfit,
    },
    /// There is no other voter that could lead now. Nothing was done.
    #[error("no other voter answers and is up to date")]
    Nobody,
    /// It was asked for, and no answer tells that it is done: another node may lead, or an election may go on.
    #[error("the leadership was not taken over in time")]
    NotTaken,
    /// The leader does not know what it is asked for, as one of an older version. It did nothing.
    #[error("node {node} leads, and does not understand that it is to hand over")]
    NotUnderstood {
        /// The leader.
        node: NodeId,
    },
    /// This node shuts down.
    #[error("this node is stopping")]
    Stopped,
}

/// Why a node cannot take the leadership over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Unfit {
    /// It follows without a vote.
    #[error("it has no vote")]
    NoVote,
    /// It does not answer the leader.
    #[error("it does not answer the leader")]
    Silent,
    /// It would have to catch up first.
    #[error("its log lacks {entries} entries of the leader's")]
    Behind {
        /// How many.
        entries: u64,
    },
}

/// A view is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// No leader confirmed the commit index before the deadline, or this node did not catch up to it.
    #[error("no leader confirmed a fresh state before the deadline")]
    Unavailable,
    /// More reads wait than [`crate::Config::max_waiting_reads`].
    #[error("too many reads wait for the leader")]
    Busy,
    /// This node shuts down.
    #[error("this node is stopping")]
    Stopped,
}
