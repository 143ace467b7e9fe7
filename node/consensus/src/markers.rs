//! The two facts of Raft that are written together with the rows they belong to.

use crate::types::{LogId, SnapshotMeta, StoredMembership, decode};
use portolan_store::{Checkpoint, State};
use std::collections::BTreeMap;
use std::io;

/// The marker that holds the newest applied log id.
pub(crate) const LAST_APPLIED: &str = "last_applied";
/// The marker that holds the newest applied membership.
pub(crate) const MEMBERSHIP: &str = "membership";

/// Where the live state stands.
pub(crate) fn of_state(state: &State) -> io::Result<(Option<LogId>, StoredMembership)> {
    let read = |key| state.marker(key).map_err(io::Error::other);
    parse(read(LAST_APPLIED)?.as_deref(), read(MEMBERSHIP)?.as_deref())
}

/// Where a checkpoint stands, which may be behind the live state it was made from.
pub(crate) fn of_checkpoint(checkpoint: &Checkpoint) -> io::Result<SnapshotMeta> {
    let (last_log_id, last_membership) = parse(checkpoint.marker(LAST_APPLIED), checkpoint.marker(MEMBERSHIP))?;
    Ok(SnapshotMeta { last_log_id, last_membership })
}

/// The newest log id that a received state has applied.
pub(crate) fn of_received(markers: &BTreeMap<String, Vec<u8>>) -> io::Result<Option<LogId>> {
    markers.get(LAST_APPLIED).map(|bytes| decode(bytes)).transpose()
}

fn parse(last_applied: Option<&[u8]>, membership: Option<&[u8]>) -> io::Result<(Option<LogId>, StoredMembership)> {
    let last_applied = last_applied.map(decode).transpose()?;
    let membership = membership.map(decode).transpose()?;
    Ok((last_applied, membership.unwrap_or_default()))
}
