//! How proposals, outcomes and rows become bytes: MessagePack with field names, so that a newer version can add
//! fields that an older one skips.

use crate::command::Proposal;
use crate::family::Family;
use crate::outcome::Outcome;
use crate::view::{View, ViewError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Write as _;

/// Bytes that are not what they should be: another version's, or damaged. Nothing can be done with them.
#[derive(Debug, thiserror::Error)]
#[error("these bytes are no {what}: {source}")]
pub struct CodecError {
    /// What was expected.
    what: &'static str,
    /// What the decoder said.
    source: rmp_serde::decode::Error,
}

/// A proposal as the log carries it.
#[must_use]
pub fn encode_proposal(proposal: &Proposal) -> Vec<u8> {
    encode(proposal)
}

/// A proposal from the log.
///
/// # Errors
/// When the bytes are not a proposal of this or an older version.
pub fn decode_proposal(bytes: &[u8]) -> Result<Proposal, CodecError> {
    rmp_serde::from_slice(bytes).map_err(|source| CodecError { what: "proposal", source })
}

/// An outcome as peers and the dedupe window carry it.
#[must_use]
pub fn encode_outcome(outcome: &Outcome) -> Vec<u8> {
    encode(outcome)
}

/// An outcome from a peer.
///
/// # Errors
/// When the bytes are not an outcome of this or an older version.
pub fn decode_outcome(bytes: &[u8]) -> Result<Outcome, CodecError> {
    rmp_serde::from_slice(bytes).map_err(|source| CodecError { what: "outcome", source })
}

/// A row as its family stores it.
#[must_use]
pub fn encode<T: Serialize>(row: &T) -> Vec<u8> {
    rmp_serde::to_vec_named(row).expect("plain data without unsized sequences always has a MessagePack form")
}

/// A row from its stored bytes.
///
/// # Errors
/// [`ViewError::Corrupt`] when they do not decode.
pub fn decode<T: DeserializeOwned>(family: Family, key: &[u8], bytes: &[u8]) -> Result<T, ViewError> {
    rmp_serde::from_slice(bytes).map_err(|error| corrupt(family, key, &error.to_string()))
}

/// Reads one row.
///
/// # Errors
/// What the view fails with, or [`ViewError::Corrupt`].
pub fn read<T: DeserializeOwned>(view: &dyn View, family: Family, key: &[u8]) -> Result<Option<T>, ViewError> {
    view.get(family, key)?.map(|bytes| decode(family, key, &bytes)).transpose()
}

/// What to say of a row that is not what its family holds.
#[must_use]
pub fn corrupt(family: Family, key: &[u8], reason: &str) -> ViewError {
    let mut hex = String::with_capacity(key.len() * 2);
    for byte in key {
        let _ = write!(hex, "{byte:02x}");
    }
    ViewError::Corrupt { family: family.name(), key: hex, reason: reason.to_owned() }
}
