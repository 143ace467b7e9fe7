//! Errors on the wire: the only place of gRPC status codes.
//!
//! What a caller acts on travels by name under `portolan-error`; the codes are for whoever looks from outside. An
//! error without that name is the transport's own.

use crate::error::PeerError;
use crate::rejection::{Rejection, RejectionKind, Side};
use portolan_meta::id::NodeId;
use std::error::Error;
use tonic::{Code, Status};

pub(crate) const ERROR: &str = "portolan-error";
const REJECTION: &str = "portolan-rejection";
const LEADER: &str = "portolan-leader";

pub(crate) const REFUSED: &str = "refused";
pub(crate) const STARTING: &str = "starting";
const REFUSED_HERE: &str = "refused-here";
const STOPPED: &str = "stopped";
const NOT_LEADER: &str = "not-leader";
const NOT_FOUND: &str = "not-found";
const BUSY: &str = "busy";
const DEADLINE: &str = "deadline";
const MALFORMED: &str = "malformed";
const REMOTE: &str = "remote";

/// What a handler's error looks like to the caller.
pub(crate) fn to_status(error: &PeerError) -> Status {
    let (code, name) = match error {
        PeerError::NotLeader { .. } => (Code::FailedPrecondition, NOT_LEADER),
        PeerError::Refused { by: Side::Peer, .. } => (Code::PermissionDenied, REFUSED),
        PeerError::Refused { by: Side::Us, .. } => (Code::PermissionDenied, REFUSED_HERE),
        PeerError::NotFound => (Code::NotFound, NOT_FOUND),
        PeerError::Busy => (Code::ResourceExhausted, BUSY),
        PeerError::Starting => (Code::Unavailable, STARTING),
        PeerError::Stopped => (Code::Unavailable, STOPPED),
        PeerError::Deadline => (Code::DeadlineExceeded, DEADLINE),
        PeerError::Malformed(_) => (Code::InvalidArgument, MALFORMED),
        PeerError::Corrupt { .. } => (Code::DataLoss, REMOTE),
        PeerError::Remote(_) | PeerError::UnknownNode(_) | PeerError::NoIdentity | PeerError::Unreachable(_) => {
            (Code::Internal, REMOTE)
        }
    };
    let message = match error {
        PeerError::Malformed(message) | PeerError::Remote(message) => message.clone(),
        PeerError::Refused { rejection, .. } => rejection.reason.clone(),
        other => other.to_string(),
    };
    let mut status = Status::new(code, message);
    let metadata = status.metadata_mut();
    metadata.insert(ERROR, tonic::metadata::MetadataValue::from_static(name));
    if let PeerError::NotLeader { leader: Some(leader) } = error {
        metadata.insert(LEADER, tonic::metadata::MetadataValue::from(leader.0));
    }
    if let PeerError::Refused { rejection, .. } = error {
        metadata.insert(REJECTION, tonic::metadata::MetadataValue::from_static(rejection.kind.as_str()));
    }
    status
}

/// What a status means to the caller.
pub(crate) fn from_status(status: &Status) -> PeerError {
    let text = |key| status.metadata().get(key).and_then(|value| value.to_str().ok());
    let message = || status.message().to_owned();
    let refused = |by| {
        let kind = text(REJECTION).and_then(RejectionKind::parse).unwrap_or(RejectionKind::Missing);
        PeerError::Refused { by, rejection: Rejection::new(kind, message()) }
    };
    match text(ERROR) {
        Some(REFUSED) => refused(Side::Peer),
        Some(REFUSED_HERE) => refused(Side::Us),
        Some(NOT_LEADER) => {
            PeerError::NotLeader { leader: text(LEADER).and_then(|leader| leader.parse().ok()).map(NodeId) }
        }
        Some(NOT_FOUND) => PeerError::NotFound,
        Some(BUSY) => PeerError::Busy,
        Some(STARTING) => PeerError::Starting,
        Some(STOPPED) => PeerError::Unreachable("the peer is stopping".to_owned()),
        Some(DEADLINE) => PeerError::Deadline,
        Some(MALFORMED) => PeerError::Malformed(message()),
        Some(_) => PeerError::Remote(message()),
        None => from_transport(status),
    }
}

/// What the transport itself says, here or at the peer.
fn from_transport(status: &Status) -> PeerError {
    match status.code() {
        Code::DeadlineExceeded => PeerError::Deadline,
        // tonic's own timer, which obeys `grpc-timeout`, says "cancelled".
        Code::Cancelled if status.message().contains("Timeout expired") => PeerError::Deadline,
        Code::ResourceExhausted => PeerError::Busy,
        Code::InvalidArgument | Code::OutOfRange | Code::Unimplemented => {
            PeerError::Malformed(status.message().to_owned())
        }
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::Internal
        | Code::Unavailable
        | Code::DataLoss
        | Code::Unauthenticated => PeerError::Unreachable(with_causes(status)),
    }
}

/// The message and its causes: the outermost says no more than "transport error".
fn with_causes(status: &Status) -> String {
    let mut text = status.message().to_owned();
    let mut cause = status.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !next.is_empty() && !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{from_status, to_status};
    use crate::error::PeerError;
    use crate::rejection::{Rejection, RejectionKind, Side};
    use portolan_meta::id::NodeId;

    #[test]
    fn errors_that_a_caller_acts_on_survive_the_wire() {
        let rejection = Rejection::new(RejectionKind::Storage, "another folder");
        let same = [
            PeerError::NotLeader { leader: Some(NodeId(2)) },
            PeerError::NotLeader { leader: None },
            PeerError::NotFound,
            PeerError::Busy,
            PeerError::Starting,
            PeerError::Deadline,
            PeerError::Malformed("offset".to_owned()),
            PeerError::Remote("disk".to_owned()),
            PeerError::Refused { by: Side::Peer, rejection },
        ];
        for error in same {
            assert_eq!(from_status(&to_status(&error)), error);
        }
        assert!(matches!(from_status(&to_status(&PeerError::Stopped)), PeerError::Unreachable(_)));
        assert!(matches!(from_status(&to_status(&PeerError::Corrupt { offset: 1 })), PeerError::Remote(_)));
    }

    #[test]
    fn an_error_of_the_transport_is_never_taken_for_a_handlers() {
        let cases = [
            (tonic::Status::not_found("no route"), PeerError::Unreachable("no route".to_owned())),
            (tonic::Status::cancelled("Timeout expired"), PeerError::Deadline),
            (tonic::Status::resource_exhausted("shed"), PeerError::Busy),
            (tonic::Status::unimplemented("of a later version"), PeerError::Malformed("of a later version".to_owned())),
        ];
        for (status, want) in cases {
            assert_eq!(from_status(&status), want);
        }
    }
}
