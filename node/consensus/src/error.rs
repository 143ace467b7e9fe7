//! What can go wrong on this floor, by what the caller can do about it.

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
