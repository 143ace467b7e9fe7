//! The cluster's id, and its nodes.

use super::tx::{Tx, refused};
use crate::command::NodeBoot;
use crate::family::Family;
use crate::id::{NodeId, StoreId};
use crate::key;
use crate::limits;
use crate::outcome::{NodeConflict, Outcome, Refusal};
use crate::placement::DISK_WEIGHT;
use crate::query;
use crate::row::{ClusterRow, NodeRow, NodeState, Role, StoreRow};
use crate::view::{View, ViewError};

pub(super) fn init_cluster(tx: &mut Tx<'_>, cluster_id: &str, epoch: u64) -> Result<Outcome, ViewError> {
    match query::cluster(tx.view())? {
        Some(known) if known.cluster_id == cluster_id => Ok(Outcome::Done),
        Some(known) => refused(Refusal::OtherCluster { known: known.cluster_id }),
        None => {
            let row = ClusterRow { cluster_id: cluster_id.to_owned(), epoch };
            tx.put(Family::Sys, key::CLUSTER.to_vec(), &row);
            Ok(Outcome::Done)
        }
    }
}

/// Why a booting node is not who it says, if so.
pub(super) fn conflict(view: &dyn View, boot: &NodeBoot) -> Result<Option<NodeConflict>, ViewError> {
    for node in query::nodes(view)? {
        if node.id == boot.id && node.storage_uuid != boot.storage_uuid {
            return Ok(Some(NodeConflict::OtherStorage { known: node.storage_uuid }));
        }
        if node.id != boot.id && node.name == boot.name {
            return Ok(Some(NodeConflict::NameTaken));
        }
    }
    Ok(None)
}

/// A node started. It counts again, unless it was leaving: a restart does not change an operator's mind.
pub(super) fn boot(tx: &mut Tx<'_>, boot: &NodeBoot) -> Result<Outcome, ViewError> {
    let known = query::node(tx.view(), boot.id)?;
    if known.is_none() && query::nodes(tx.view())?.len() >= limits::NODES {
        return refused(Refusal::TooMany { what: "nodes".to_owned(), limit: limits::NODES });
    }
    if let Some(later) = known.as_ref().filter(|known| known.incarnation > boot.incarnation) {
        return refused(Refusal::OldIncarnation { proposed: boot.incarnation, known: later.incarnation });
    }
    let state = match known.map(|known| known.state) {
        Some(NodeState::Draining) => NodeState::Draining,
        Some(NodeState::Up | NodeState::Down | NodeState::Out) | None => NodeState::Up,
    };
    let row = NodeRow {
        id: boot.id,
        name: boot.name.clone(),
        region: boot.region.clone(),
        zone: boot.zone.clone(),
        role: boot.role,
        peer: boot.peer.clone(),
        storage_uuid: boot.storage_uuid.clone(),
        incarnation: boot.incarnation,
        state,
        version: boot.version.clone(),
    };
    tx.put(Family::Nodes, key::node(boot.id), &row);
    // Only full nodes write locations, so only their disks are stores. One that was full before keeps its row: its
    // copies are still there.
    let store = key::store(StoreId::from(boot.id));
    if boot.role == Role::Full && tx.view().get(Family::Stores, &store)?.is_none() {
        tx.put(Family::Stores, store, &StoreRow::Disk { node: boot.id, weight: DISK_WEIGHT });
    }
    tx.topology_changed();
    Ok(Outcome::Done)
}

pub(super) fn set_state(tx: &mut Tx<'_>, id: NodeId, incarnation: u64, state: NodeState) -> Result<Outcome, ViewError> {
    let Some(mut row) = query::node(tx.view(), id)? else {
        return refused(Refusal::UnknownNode);
    };
    let falls_back = row.state == NodeState::Out && state == NodeState::Down;
    if row.incarnation == incarnation && row.state != state && !falls_back {
        row.state = state;
        tx.put(Family::Nodes, key::node(id), &row);
        tx.topology_changed();
    }
    Ok(Outcome::Done)
}
