//! What a push waits for.

use super::standing::answers;
use super::topology::Topology;
use crate::id::NodeId;
use crate::policy::{Policy, Regions};
use crate::query;
use crate::row::{AckPolicy, BlobState};
use crate::view::{View, ViewError};
use portolan_oci::Digest;
use std::collections::{BTreeMap, BTreeSet};

/// The ack policy of a repository that has none of its own, pushed to in a region with so many full nodes that are up:
/// two of them where there are two. One region suffices.
///
/// Nodes that are down are not waited for: a copy there would not count, so a region of two nodes could take no push
/// until the lost one is out. It takes them with one copy, as a region of one node does; the second is made when the
/// node is back. Who wants pushes to fail rather than that writes the policy into the repository.
#[must_use]
pub const fn default_ack(full_nodes_up: usize) -> AckPolicy {
    AckPolicy { regions: 1, copies: if full_nodes_up >= 2 { 2 } else { 1 } }
}

/// The ack policy that a put through this node has to meet: the repository's own, or the default of the node's region.
/// Where the repository wants no copy in that region, the default is that of the largest region where it does; it never
/// asks for more copies than the repository keeps.
#[must_use]
pub fn ack_policy(topology: &Topology, policy: &Policy, proposer: NodeId) -> AckPolicy {
    policy.ack.unwrap_or_else(|| {
        let own = topology.node(proposer).map_or("", |node| node.region.as_str());
        let up = if policy.regions.want(own) {
            topology.full_nodes_up(own)
        } else {
            let wanting = topology.regions().filter(|region| policy.regions.want(region));
            wanting.map(|region| topology.full_nodes_up(region)).max().unwrap_or(0)
        };
        let ack = default_ack(up);
        AckPolicy { copies: ack.copies.min(policy.copies.max(1)), ..ack }
    })
}

/// On how many nodes of each region a blob is durable; nodes that are down or out do not count, and a blob that is
/// not Live is durable nowhere.
///
/// # Errors
/// What the view fails with, or [`ViewError::Corrupt`].
pub fn durability(view: &dyn View, topology: &Topology, digest: &Digest) -> Result<BTreeMap<String, u32>, ViewError> {
    let mut regions = BTreeMap::new();
    let Some(row) = query::blob(view, digest)?.filter(|row| row.state == BlobState::Live) else {
        return Ok(regions);
    };
    let mut counted = BTreeSet::new();
    for copy in query::locations(view, digest)? {
        let Some(owner) = topology.owner(copy.store) else {
            continue;
        };
        if answers(owner.state) && copy.generation == row.generation && counted.insert(owner.id) {
            *regions.entry(owner.region.clone()).or_default() += 1;
        }
    }
    Ok(regions)
}

/// Whether a blob is durable enough for an ack policy: on `copies` nodes in each of `regions` regions. Only regions
/// where the repository wants copies count: what lies elsewhere is not kept.
///
/// # Errors
/// What the view fails with, or [`ViewError::Corrupt`].
pub fn durable(
    view: &dyn View,
    topology: &Topology,
    digest: &Digest,
    wanted: &Regions,
    ack: AckPolicy,
) -> Result<bool, ViewError> {
    let regions = durability(view, topology, digest)?;
    let enough = regions.iter().filter(|(region, copies)| wanted.want(region) && **copies >= ack.copies).count();
    Ok(enough >= ack.regions as usize)
}
