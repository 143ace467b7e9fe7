//! What openraft's type parameters are here, and how they become bytes.
//!
//! MessagePack by position: both ends of a call and every reader of a log run software of the same `protocol version`
//! (checked by `peer`) or carry the field defaults that openraft keeps for older encodings.

use bytes::Bytes;
use openraft::impls::EmptyNode;
use portolan_meta::outcome::Outcome;
use portolan_trace::TraceContext;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io;

openraft::declare_raft_types!(
    /// openraft's type parameters.
    pub(crate) Types:
        D = Request,
        R = Reply,
        NodeId = u64,
        Node = EmptyNode,
);

/// One encoded proposal. It is encoded once, by the leader that stamped it; log and network copy the bytes.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Request {
    pub(crate) bytes: Bytes,
    /// Where in a trace it was proposed, on its way into a log; neither stored nor sent with the entry.
    #[serde(skip)]
    pub(crate) trace: Option<TraceContext>,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Request({} bytes)", self.bytes.len())
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What an apply answers; `None` for entries that are Raft's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reply(pub(crate) Option<Outcome>);

pub(crate) type Entry = openraft::alias::EntryOf<Types>;
pub(crate) type LogId = openraft::alias::LogIdOf<Types>;
pub(crate) type Vote = openraft::alias::VoteOf<Types>;
pub(crate) type StoredMembership = openraft::alias::StoredMembershipOf<Types>;
pub(crate) type SnapshotMeta = openraft::alias::SnapshotMetaOf<Types>;
pub(crate) type AppendRequest = openraft::raft::AppendEntriesRequest<Types>;
pub(crate) type AppendResult = openraft::raft::StreamAppendResult<Types>;
pub(crate) type VoteRequest = openraft::raft::VoteRequest<Types>;
pub(crate) type VoteResponse = openraft::raft::VoteResponse<Types>;

/// The index of a log id; 0 when there is none.
pub(crate) fn index_of(log_id: Option<LogId>) -> u64 {
    log_id.map_or(0, |log_id| log_id.index)
}

/// Encodes a message, an entry or a marker.
pub(crate) fn encode<T: Serialize>(value: &T) -> io::Result<Vec<u8>> {
    rmp_serde::to_vec(value).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// Decodes what [`encode`] made.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> io::Result<T> {
    rmp_serde::from_slice(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

#[cfg(test)]
mod tests {
    use super::{AppendRequest, Entry, LogId, Request, Vote, decode, encode};
    use bytes::Bytes;
    use openraft::EntryPayload;
    use openraft::vote::{RaftLeaderId, leader_id_adv};

    #[test]
    fn an_append_survives_the_wire_and_its_bytes_are_not_spread_out() {
        let log_id = LogId::new(leader_id_adv::LeaderId::new(3_u64, 2_u64).to_committed(), 9);
        let payload = EntryPayload::Normal(Request { bytes: Bytes::from(vec![0xa5; 1_000]), trace: None });
        let request = AppendRequest {
            vote: Vote::new_committed(3, 2),
            prev_log_id: None,
            leader_commit: Some(log_id),
            entries: vec![Entry { log_id, payload }],
        };
        let bytes = encode(&request).expect("encodes");
        assert!(bytes.len() < 1_100, "{} bytes", bytes.len());
        let back: AppendRequest = decode(&bytes).expect("decodes");
        assert_eq!(back.entries, request.entries);
        assert_eq!((back.vote, back.leader_commit), (request.vote, request.leader_commit));
    }
}
