//! Identities as gRPC metadata: `portolan-*` keys with ASCII values, in requests and in answers.

use crate::guard::check_expected;
use crate::identity::{Expected, PROTOCOL_VERSION, PeerIdentity};
use crate::rejection::{Rejection, RejectionKind};
use http::{HeaderMap, HeaderValue};
use portolan_meta::id::NodeId;
use std::str::FromStr;

const PROTOCOL: &str = "portolan-protocol";
const CLUSTER: &str = "portolan-cluster";
const EPOCH: &str = "portolan-epoch";
const NODE: &str = "portolan-node";
const STORAGE: &str = "portolan-storage";
const INCARNATION: &str = "portolan-incarnation";
const BOOT: &str = "portolan-boot";
const TO_NODE: &str = "portolan-to-node";
const TO_STORAGE: &str = "portolan-to-storage";
const TO_INCARNATION: &str = "portolan-to-incarnation";

/// Says who speaks.
///
/// # Errors
/// A text of the identity does not fit into a header.
pub(crate) fn write_identity(headers: &mut HeaderMap, identity: &PeerIdentity) -> Result<(), Rejection> {
    headers.insert(PROTOCOL, HeaderValue::from(PROTOCOL_VERSION));
    headers.insert(CLUSTER, text("cluster id", &identity.cluster_id)?);
    headers.insert(EPOCH, HeaderValue::from(identity.epoch));
    headers.insert(NODE, HeaderValue::from(identity.node.0));
    headers.insert(STORAGE, text("storage uuid", &identity.storage_uuid)?);
    headers.insert(INCARNATION, HeaderValue::from(identity.incarnation));
    headers.insert(BOOT, text("boot id", &identity.boot)?);
    Ok(())
}

/// Whether a message says who speaks.
pub(crate) fn has_identity(headers: &HeaderMap) -> bool {
    headers.contains_key(NODE)
}

/// The number of the node that speaks, for the log, even when the rest is unreadable.
pub(crate) fn speaker(headers: &HeaderMap) -> Option<NodeId> {
    number(headers, NODE).ok().map(NodeId)
}

/// Reads who speaks. The protocol version is compared first, because another version may mean other headers.
///
/// # Errors
/// Something is missing, unreadable, or of another protocol version.
pub(crate) fn read_identity(headers: &HeaderMap) -> Result<PeerIdentity, Rejection> {
    let protocol: u32 = number(headers, PROTOCOL)?;
    if protocol != PROTOCOL_VERSION {
        let reason = format!("protocol version {protocol} is spoken there, {PROTOCOL_VERSION} here");
        return Err(Rejection::new(RejectionKind::Protocol, reason));
    }
    Ok(PeerIdentity {
        cluster_id: string(headers, CLUSTER)?.to_owned(),
        epoch: number(headers, EPOCH)?,
        node: NodeId(number(headers, NODE)?),
        storage_uuid: string(headers, STORAGE)?.to_owned(),
        incarnation: number(headers, INCARNATION)?,
        boot: string(headers, BOOT)?.to_owned(),
    })
}

/// Says whom a call is for.
///
/// # Errors
/// The storage uuid does not fit into a header.
pub(crate) fn write_addressee(
    headers: &mut HeaderMap,
    node: NodeId,
    expected: Option<&Expected>,
) -> Result<(), Rejection> {
    headers.insert(TO_NODE, HeaderValue::from(node.0));
    if let Some(expected) = expected {
        headers.insert(TO_STORAGE, text("storage uuid", &expected.storage_uuid)?);
        headers.insert(TO_INCARNATION, HeaderValue::from(expected.incarnation));
    }
    Ok(())
}

/// Whether a call is for this node as it is: the caller may know it under another data folder, or in a newer
/// incarnation (then this one runs on an old copy of its folder).
///
/// # Errors
/// It is for somebody else.
pub(crate) fn check_addressee(headers: &HeaderMap, local: &PeerIdentity) -> Result<(), Rejection> {
    check_node(NodeId(number(headers, TO_NODE)?), local.node)?;
    if !headers.contains_key(TO_STORAGE) {
        return Ok(());
    }
    let known = Expected {
        storage_uuid: string(headers, TO_STORAGE)?.to_owned(),
        incarnation: number(headers, TO_INCARNATION)?,
    };
    check_expected(&known, local)
}

/// Whether the node that speaks is the one that was meant.
///
/// # Errors
/// It is another.
pub(crate) fn check_node(meant: NodeId, speaks: NodeId) -> Result<(), Rejection> {
    if meant == speaks {
        return Ok(());
    }
    let reason = format!("the address of node {meant} leads to node {speaks}");
    Err(Rejection::new(RejectionKind::Node, reason))
}

fn text(what: &str, value: &str) -> Result<HeaderValue, Rejection> {
    HeaderValue::from_str(value)
        .map_err(|_| Rejection::new(RejectionKind::Missing, format!("the {what} {value:?} cannot be sent")))
}

fn string<'a>(headers: &'a HeaderMap, key: &str) -> Result<&'a str, Rejection> {
    headers
        .get(key)
        .and_then(|value| value.to_str().ok())
        .ok_or_else(|| Rejection::new(RejectionKind::Missing, format!("the message has no readable {key}")))
}

fn number<T: FromStr>(headers: &HeaderMap, key: &str) -> Result<T, Rejection> {
    string(headers, key)?
        .parse()
        .map_err(|_| Rejection::new(RejectionKind::Missing, format!("the message has no readable {key}")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic fails the test")]

    use super::{check_addressee, read_identity, write_addressee, write_identity};
    use crate::identity::{Expected, PeerIdentity};
    use crate::rejection::RejectionKind;
    use http::{HeaderMap, HeaderValue};
    use portolan_meta::id::NodeId;

    fn identity() -> PeerIdentity {
        PeerIdentity {
            cluster_id: "c".to_owned(),
            epoch: 2,
            node: NodeId(3),
            storage_uuid: "s".to_owned(),
            incarnation: 7,
            boot: "b".to_owned(),
        }
    }

    #[test]
    fn an_identity_survives_the_wire() {
        let mut headers = HeaderMap::new();
        write_identity(&mut headers, &identity()).unwrap();
        assert_eq!(read_identity(&headers), Ok(identity()));
    }

    #[test]
    fn a_header_that_is_missing_or_wrong_is_named() {
        let cases = [
            ("portolan-protocol", Some("2"), RejectionKind::Protocol),
            ("portolan-protocol", None, RejectionKind::Missing),
            ("portolan-cluster", None, RejectionKind::Missing),
            ("portolan-epoch", Some("x"), RejectionKind::Missing),
            ("portolan-node", Some("-1"), RejectionKind::Missing),
            ("portolan-storage", None, RejectionKind::Missing),
            ("portolan-incarnation", Some(""), RejectionKind::Missing),
            ("portolan-boot", None, RejectionKind::Missing),
        ];
        for (key, value, kind) in cases {
            let mut headers = HeaderMap::new();
            write_identity(&mut headers, &identity()).unwrap();
            headers.remove(key);
            if let Some(value) = value {
                headers.insert(key, HeaderValue::from_static(value));
            }
            assert_eq!(read_identity(&headers).unwrap_err().kind, kind, "{key} {value:?}");
        }
    }

    #[test]
    fn a_call_for_somebody_else_is_noticed() {
        let expected = |uuid: &str, incarnation| Some(Expected { storage_uuid: uuid.to_owned(), incarnation });
        let cases = [
            (3, None, None),
            (3, expected("s", 7), None),
            (3, expected("s", 6), None),
            (4, None, Some(RejectionKind::Node)),
            (3, expected("t", 7), Some(RejectionKind::Storage)),
            (3, expected("s", 8), Some(RejectionKind::Incarnation)),
        ];
        for (node, expected, want) in cases {
            let mut headers = HeaderMap::new();
            write_addressee(&mut headers, NodeId(node), expected.as_ref()).unwrap();
            let got = check_addressee(&headers, &identity()).err().map(|rejection| rejection.kind);
            assert_eq!(got, want, "{node} {expected:?}");
        }
    }
}
