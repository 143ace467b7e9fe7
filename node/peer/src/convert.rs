//! Between the wire's types and those of the floors above.

use crate::error::PeerError;
use crate::message::{
    Append, HelloCall, HelloReply, NodeLoad, PingReply, ProposeReply, ReadBlob, SnapshotData, SnapshotFile,
    SnapshotFrame, SnapshotHeader,
};
use portolan_meta::id::NodeId;
use portolan_oci::Digest;
use portolan_proto::v1;
use portolan_trace::{TraceContext, Wire};
use std::time::Duration;

pub(crate) fn append_to_wire(append: Append) -> v1::AppendRequest {
    let traces = append.traces.iter().filter_map(|(index, context)| {
        let Wire { traceparent, tracestate } = context.to_wire()?;
        Some(v1::EntryTrace { index: *index, traceparent, tracestate })
    });
    v1::AppendRequest { traces: traces.collect(), payload: append.payload }
}

/// A trace that does not parse is left out: entries matter, spans do not.
pub(crate) fn append_from_wire(append: v1::AppendRequest) -> Append {
    let traces = append.traces.into_iter().filter_map(|trace| {
        let wire = Wire { traceparent: trace.traceparent, tracestate: trace.tracestate };
        Some((trace.index, TraceContext::from_wire(wire)?))
    });
    Append { traces: traces.collect(), payload: append.payload }
}

pub(crate) fn digest_from_wire(text: &str) -> Result<Digest, PeerError> {
    text.parse().map_err(|_| PeerError::Malformed(format!("digest {text:?}")))
}

pub(crate) fn read_to_wire(read: &ReadBlob) -> v1::ReadBlobRequest {
    v1::ReadBlobRequest { digest: read.digest.to_string(), offset: read.offset, limit: read.limit, relay: read.relay }
}

pub(crate) fn read_from_wire(read: &v1::ReadBlobRequest) -> Result<ReadBlob, PeerError> {
    Ok(ReadBlob { digest: digest_from_wire(&read.digest)?, offset: read.offset, limit: read.limit, relay: read.relay })
}

pub(crate) fn hello_to_wire(call: HelloCall) -> v1::HelloRequest {
    v1::HelloRequest { name: call.name, storage_uuid: call.storage_uuid }
}

pub(crate) fn hello_from_wire(call: v1::HelloRequest) -> HelloCall {
    HelloCall { name: call.name, storage_uuid: call.storage_uuid }
}

pub(crate) fn hello_reply_to_wire(reply: HelloReply) -> v1::HelloReply {
    v1::HelloReply {
        name: reply.name,
        cluster_id: reply.cluster_id,
        epoch: reply.epoch,
        known_storage_uuid: reply.known_storage_uuid,
        known_node: reply.known_node.map(|node| node.0),
        members: reply.members,
    }
}

pub(crate) fn hello_reply_from_wire(reply: v1::HelloReply) -> HelloReply {
    HelloReply {
        name: reply.name,
        cluster_id: reply.cluster_id,
        epoch: reply.epoch,
        known_storage_uuid: reply.known_storage_uuid,
        known_node: reply.known_node.map(NodeId),
        members: reply.members,
    }
}

pub(crate) fn ping_to_wire(reply: PingReply) -> v1::PingReply {
    v1::PingReply {
        applied: reply.applied,
        term: reply.term,
        leader: reply.leader.map_or(0, |node| node.0),
        writable: reply.writable,
        ready: reply.ready,
        version: reply.version,
        load: reply.load.map(load_to_wire),
        round_trips: reply.round_trips.into_iter().map(round_trip_to_wire).collect(),
    }
}

fn load_to_wire(load: NodeLoad) -> v1::NodeLoad {
    v1::NodeLoad {
        up_ms: load.up_ms,
        requests: load.requests,
        faults: load.faults,
        received_bytes: load.received_bytes,
        sent_bytes: load.sent_bytes,
        queue: load.queue,
        queue_bytes: load.queue_bytes,
        fetches: load.fetches,
        uploads: load.uploads,
        disk_free_bytes: load.disk_free_bytes,
    }
}

fn load_from_wire(load: v1::NodeLoad) -> NodeLoad {
    NodeLoad {
        up_ms: load.up_ms,
        requests: load.requests,
        faults: load.faults,
        received_bytes: load.received_bytes,
        sent_bytes: load.sent_bytes,
        queue: load.queue,
        queue_bytes: load.queue_bytes,
        fetches: load.fetches,
        uploads: load.uploads,
        disk_free_bytes: load.disk_free_bytes,
    }
}

fn round_trip_to_wire((node, took): (NodeId, Duration)) -> v1::RoundTrip {
    v1::RoundTrip { node: node.0, rtt_us: u64::try_from(took.as_micros()).unwrap_or(u64::MAX) }
}

pub(crate) fn ping_from_wire(reply: v1::PingReply) -> PingReply {
    let round_trips = reply.round_trips.iter().map(|trip| (NodeId(trip.node), Duration::from_micros(trip.rtt_us)));
    PingReply {
        applied: reply.applied,
        term: reply.term,
        leader: (reply.leader != 0).then_some(NodeId(reply.leader)),
        writable: reply.writable,
        ready: reply.ready,
        version: reply.version,
        load: reply.load.map(load_from_wire),
        round_trips: round_trips.collect(),
    }
}

pub(crate) fn propose_reply_to_wire(reply: ProposeReply) -> v1::ProposeReply {
    v1::ProposeReply { index: reply.index, outcome: reply.outcome }
}

pub(crate) fn propose_reply_from_wire(reply: v1::ProposeReply) -> ProposeReply {
    ProposeReply { index: reply.index, outcome: reply.outcome }
}

pub(crate) fn frame_to_wire(frame: SnapshotFrame) -> v1::SnapshotFrame {
    use v1::snapshot_frame::Frame;
    let frame = match frame {
        SnapshotFrame::Header(header) => {
            let files = header.files.into_iter().map(file_to_wire).collect();
            Frame::Header(v1::SnapshotHeader { meta: header.meta, files })
        }
        SnapshotFrame::Data(data) => {
            Frame::Data(v1::SnapshotData { file: data.file, offset: data.offset, bytes: data.bytes })
        }
    };
    v1::SnapshotFrame { frame: Some(frame) }
}

fn file_to_wire(file: SnapshotFile) -> v1::SnapshotFile {
    v1::SnapshotFile { name: file.name, size: file.size, sha256: file.sha256.to_vec().into() }
}

pub(crate) fn frame_from_wire(frame: v1::SnapshotFrame) -> Result<SnapshotFrame, PeerError> {
    use v1::snapshot_frame::Frame;
    match frame.frame {
        Some(Frame::Header(header)) => {
            let files = header.files.into_iter().map(file_from_wire).collect::<Result<_, _>>()?;
            Ok(SnapshotFrame::Header(SnapshotHeader { meta: header.meta, files }))
        }
        Some(Frame::Data(data)) => {
            Ok(SnapshotFrame::Data(SnapshotData { file: data.file, offset: data.offset, bytes: data.bytes }))
        }
        None => Err(PeerError::Malformed("an empty snapshot frame".to_owned())),
    }
}

fn file_from_wire(file: v1::SnapshotFile) -> Result<SnapshotFile, PeerError> {
    // The receiver makes a file of that name: it must not lead out of its directory.
    let plain = !file.name.is_empty() && !file.name.starts_with('.') && !file.name.contains(['/', '\\', '\0']);
    if !plain {
        return Err(PeerError::Malformed(format!("snapshot file name {:?}", file.name)));
    }
    let sha256 = <[u8; 32]>::try_from(&file.sha256[..])
        .map_err(|_| PeerError::Malformed("a SHA-256 that has not 32 bytes".to_owned()))?;
    Ok(SnapshotFile { name: file.name, size: file.size, sha256 })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic fails the test")]

    use super::{digest_from_wire, file_from_wire, frame_from_wire, frame_to_wire, ping_from_wire, ping_to_wire};
    use crate::error::PeerError;
    use crate::message::{NodeLoad, PingReply, SnapshotData, SnapshotFile, SnapshotFrame, SnapshotHeader};
    use bytes::Bytes;
    use portolan_meta::id::NodeId;
    use portolan_proto::v1;
    use std::collections::BTreeMap;
    use std::time::Duration;

    #[test]
    fn frames_survive_the_wire() {
        let file = SnapshotFile { name: "000012.sst".to_owned(), size: 9, sha256: [7; 32] };
        let header = SnapshotHeader { meta: Bytes::from_static(b"meta"), files: vec![file] };
        let data = SnapshotData { file: 0, offset: 4, bytes: Bytes::from_static(b"bytes") };
        for frame in [SnapshotFrame::Header(header), SnapshotFrame::Data(data)] {
            assert_eq!(frame_from_wire(frame_to_wire(frame.clone())), Ok(frame));
        }
        assert!(frame_from_wire(v1::SnapshotFrame { frame: None }).is_err());
    }

    #[test]
    fn a_file_name_that_leads_elsewhere_is_refused() {
        let file =
            |name: &str, sha: usize| v1::SnapshotFile { name: name.to_owned(), size: 1, sha256: vec![0; sha].into() };
        for name in ["", ".", "..", "../x", "a/b", "a\\b", "/etc", "a\0b"] {
            assert!(matches!(file_from_wire(file(name, 32)), Err(PeerError::Malformed(_))), "{name:?}");
        }
        assert!(file_from_wire(file("MANIFEST-000005", 32)).is_ok());
        assert!(file_from_wire(file("CURRENT", 31)).is_err());
    }

    #[test]
    fn an_unknown_leader_stays_unknown() {
        for leader in [None, Some(NodeId(3))] {
            let reply = PingReply { leader, applied: 5, ..PingReply::default() };
            assert_eq!(ping_from_wire(ping_to_wire(reply.clone())), reply);
        }
    }

    #[test]
    fn the_load_and_the_round_trips_of_a_ping_survive_the_wire_and_may_be_absent() {
        let load = NodeLoad {
            up_ms: 1,
            requests: 2,
            faults: 3,
            received_bytes: 4,
            sent_bytes: 5,
            queue: 6,
            queue_bytes: 7,
            fetches: 8,
            uploads: 9,
            disk_free_bytes: Some(10),
        };
        let round_trips = BTreeMap::from([(NodeId(2), Duration::from_micros(101_250))]);
        for load in [None, Some(load), Some(NodeLoad { disk_free_bytes: None, ..load })] {
            let reply = PingReply { load, round_trips: round_trips.clone(), ..PingReply::default() };
            assert_eq!(ping_from_wire(ping_to_wire(reply.clone())), reply);
        }
        let of_an_older_node = v1::PingReply { applied: 5, ..v1::PingReply::default() };
        assert_eq!(ping_from_wire(of_an_older_node), PingReply { applied: 5, ..PingReply::default() });
    }

    #[test]
    fn a_digest_that_is_none_is_malformed() {
        assert!(matches!(digest_from_wire("sha256:xyz"), Err(PeerError::Malformed(_))));
    }
}
