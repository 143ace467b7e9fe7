//! The names of this crate's metrics.

use crate::error::PeerError;
use crate::rejection::{RejectionKind, Side};
use metrics::{Counter, Histogram, Unit, counter, describe_counter, describe_histogram, histogram};
use portolan_meta::id::NodeId;
use std::time::Duration;

/// The calls that are counted.
const CALLS: [&str; 16] = [
    "accuse",
    "append",
    "blob_sums",
    "forward_upload",
    "hand_over",
    "hello",
    "ping",
    "pre_vote",
    "propose",
    "read_blob",
    "read_index",
    "read_many",
    "snapshot",
    "transfer_leader",
    "transfers",
    "vote",
];

/// Says what each metric means, and begins those whose labels are known. Repeating it is harmless.
pub(crate) fn describe() {
    describe_counter!("portolan_peer_calls_total", Unit::Count, "Calls to other nodes, by how they ended.");
    describe_counter!(
        "portolan_peer_refused_total",
        Unit::Count,
        "Messages refused because of who sent them, by this node or by a peer."
    );
    describe_histogram!("portolan_peer_round_trip_seconds", Unit::Seconds, "Pings to each peer that were answered.");
    for call in CALLS {
        calls(call, None).increment(0);
    }
    for by in [Side::Us, Side::Peer] {
        for reason in RejectionKind::ALL {
            refused(by, reason).increment(0);
        }
    }
}

/// Begins what is told of each peer.
pub(crate) fn describe_peer(peer: NodeId) {
    drop(round_trips(peer));
}

/// Calls that ended with this error, or with none.
pub(crate) fn calls(call: &'static str, error: Option<&PeerError>) -> Counter {
    counter!("portolan_peer_calls_total", "call" => call, "outcome" => outcome(error))
}

/// Refusals on this ground.
pub(crate) fn refused(by: Side, reason: RejectionKind) -> Counter {
    let by = match by {
        Side::Us => "us",
        Side::Peer => "peer",
    };
    counter!("portolan_peer_refused_total", "by" => by, "reason" => reason.as_str())
}

/// A ping was answered.
pub(crate) fn round_trip(peer: NodeId, took: Duration) {
    round_trips(peer).record(took);
}

fn round_trips(peer: NodeId) -> Histogram {
    histogram!("portolan_peer_round_trip_seconds", "peer" => peer.to_string())
}

fn outcome(error: Option<&PeerError>) -> &'static str {
    let Some(error) = error else { return "ok" };
    match error {
        PeerError::UnknownNode(_) => "unknown_node",
        PeerError::NoIdentity => "no_identity",
        PeerError::Unreachable(_) => "unreachable",
        PeerError::Starting => "starting",
        PeerError::Deadline => "deadline",
        PeerError::Refused { .. } => "refused",
        PeerError::NotLeader { .. } => "not_leader",
        PeerError::NotFound => "not_found",
        PeerError::Busy => "busy",
        PeerError::Corrupt { .. } => "corrupt",
        PeerError::Malformed(_) => "malformed",
        PeerError::Remote(_) => "remote",
        PeerError::Stopped => "stopped",
    }
}
