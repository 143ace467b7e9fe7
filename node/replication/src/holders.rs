//! Who has a blob, nearest first: what the state says, and what this node measured.

use crate::balance::{self, Offer, Tier};
use crate::config::Config;
use crate::me::Me;
use crate::reads::{InFlight, Reads};
use crate::status::PeerHealth;
use crate::telemetry;
use portolan_consensus::{Consensus, NodeProgress};
use portolan_meta::id::{FileId, NodeId, StoreId};
use portolan_meta::placement::{self, Topology};
use portolan_meta::query;
use portolan_meta::row::{BlobState, NodeRow, NodeState, Role};
use portolan_meta::view::{View, ViewError};
use portolan_oci::Digest;
use portolan_peer::{Peers, Standing};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

/// How often what is known of the other nodes is told.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// For how long a source stands still before its pings are looked at, and how often then.
const STANDSTILL: (Duration, Duration) = (Duration::from_secs(1), Duration::from_millis(100));

/// A node that may be asked for a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// The node.
    pub(crate) node: NodeId,
    /// Whether it may fetch what it lacks on our behalf: only the one node of our region that crosses the WAN for
    /// this blob is asked so.
    pub(crate) relay: bool,
}

/// What is known of a blob at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    /// Its length in bytes.
    pub(crate) size: u64,
    /// Its generation, for the confirmation of a copy made now.
    pub(crate) generation: u64,
    /// Whether any copy is recorded anywhere.
    pub(crate) recorded: bool,
    /// Whom to ask, in this order. Behind the recorded holders come all other nodes: one of them may have a copy
    /// that nobody could record yet.
    pub(crate) candidates: Vec<Candidate>,
    /// Whether this node may keep a copy.
    pub(crate) keeps: bool,
}

/// What is known of a blob's own files at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Here {
    /// The blob's length in bytes.
    pub(crate) size: u64,
    /// The files of it that this node is recorded to hold.
    pub(crate) own: Vec<FileId>,
}

/// Looks holders up, and remembers how reads of them went.
pub(crate) struct Holders {
    me: Me,
    consensus: Arc<Consensus>,
    peers: Arc<Peers>,
    reads: Arc<Reads>,
}

impl Holders {
    pub(crate) fn new(config: &Config, me: Me, consensus: Arc<Consensus>, peers: Arc<Peers>) -> Self {
        Self { me, consensus, peers, reads: Reads::new(config) }
    }

    /// What this node is recorded to hold of a blob; `None` when no live blob is recorded under the digest. What most pulls
    /// ask: it costs two reads, and looks at nobody else.
    pub(crate) fn here(&self, digest: &Digest) -> Result<Option<Here>, ViewError> {
        self.consensus.local().read(|view| here(view, digest, StoreId::from(self.me.node)))
    }

    /// What is known of a blob now; `None` when no live blob is recorded under the digest.
    pub(crate) fn of(&self, digest: &Digest) -> Result<Option<Known>, ViewError> {
        self.of_without(digest, &[])
    }

    /// The same for a reader to whom some nodes failed to give what they were to fetch for the region: another one shall.
    pub(crate) fn of_without(&self, digest: &Digest, failed: &[NodeId]) -> Result<Option<Known>, ViewError> {
        self.consensus.local().read(|view| {
            let offer = |node: &NodeRow| self.offer(node);
            known(view, &Topology::read(view)?, digest, &self.me, failed, &offer)
        })
    }

    /// The same of many blobs, for which the cluster itself is looked at once.
    pub(crate) fn of_many(&self, digests: &[Digest]) -> Result<Vec<Option<Known>>, ViewError> {
        self.consensus.local().read(|view| {
            let topology = Topology::read(view)?;
            let offer = |node: &NodeRow| self.offer(node);
            digests.iter().map(|digest| known(view, &topology, digest, &self.me, &[], &offer)).collect()
        })
    }

    /// Whether placement wants a copy on this node that is not there.
    pub(crate) fn lacks(&self, digest: &Digest) -> Result<bool, ViewError> {
        let own = StoreId::from(self.me.node);
        self.consensus.local().read(|view| {
            let topology = Topology::read(view)?;
            let standing = placement::standing(view, &topology, digest)?;
            Ok(standing.is_some_and(|standing| standing.missing.contains(&own)))
        })
    }

    /// Tries a node last for a while, because its bytes had another digest.
    pub(crate) fn accuse(&self, node: NodeId, span: Duration) {
        self.reads.accuse(node, span);
    }

    /// A read of a candidate begins. What is returned is told how it goes, and dropped when it ends.
    pub(crate) fn begin(&self, candidate: Candidate) -> InFlight {
        self.reads.begin(candidate.node, !candidate.relay)
    }

    /// Whether a node answers no pings.
    pub(crate) fn is_silent(&self, node: NodeId) -> bool {
        matches!(self.peers.standing(node), Some(Standing::Suspect { .. } | Standing::Gone))
    }

    /// Returns once a node that has been standing still for a while answers no pings either.
    pub(crate) async fn falls_silent(&self, node: NodeId) {
        let (first, then) = STANDSTILL;
        sleep(first).await;
        while !self.is_silent(node) {
            sleep(then).await;
        }
    }

    /// How well a node would serve a read, as far as this node knows.
    pub(crate) fn health(&self, node: NodeId) -> PeerHealth {
        if let Some(left) = self.reads.held(node) {
            return PeerHealth::Ejected { left };
        }
        match self.peers.standing(node) {
            Some(Standing::Suspect { phi }) => PeerHealth::Suspect { phi },
            Some(Standing::Gone) => PeerHealth::Gone,
            Some(Standing::NotReady) => PeerHealth::NotReady,
            Some(Standing::Returning) => PeerHealth::Returning,
            // This node itself is no member of its own list.
            Some(Standing::Well) | None => PeerHealth::Well,
        }
    }

    /// The order in which a reader in a region would ask all nodes that keep blobs, as far as this node knows: how far
    /// they are from there is what the nodes of that region told, how well they are what this node sees.
    pub(crate) fn order(&self, region: &str) -> Result<Vec<NodeId>, ViewError> {
        let rows = self.consensus.local().read(query::nodes)?;
        let progress = self.consensus.status().nodes;
        let mut offers: Vec<Offer> = rows
            .iter()
            .filter(|row| row.role == Role::Full)
            .map(|row| Offer {
                node: row.id,
                last: !answers(row),
                sick: self.health(row.id) != PeerHealth::Well,
                tier: if row.region == region { Tier::Region } else { Tier::Elsewhere },
                latency: balance::latency(0.0, nearest(region, row.id, &rows, &progress)),
                in_flight: 0,
            })
            .collect();
        balance::order(&mut offers, |_| 0);
        Ok(offers.iter().map(|offer| offer.node).collect())
    }

    /// Keeps the gauges of the other nodes true, until it is told to stop.
    pub(crate) async fn tell(self: Arc<Self>, stop: CancellationToken) {
        let mut ticks = interval(TELL_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            for member in self.peers.members() {
                let (_, latency) = self.reads.load(member.node);
                let latency = latency.max(self.rtt(member.node).unwrap_or_default().as_secs_f64());
                let (phi, is_ejected) =
                    (self.peers.phi(member.node).unwrap_or_default(), self.reads.held(member.node).is_some());
                telemetry::peer(member.node, phi, is_ejected, latency);
            }
        }
    }

    fn rtt(&self, node: NodeId) -> Option<Duration> {
        self.peers.health(node).and_then(|health| health.rtt)
    }

    /// What speaks for asking a node.
    fn offer(&self, node: &NodeRow) -> Offer {
        let tier = match () {
            () if node.region == self.me.region && node.zone == self.me.zone => Tier::Zone,
            () if node.region == self.me.region => Tier::Region,
            () => Tier::Elsewhere,
        };
        let (in_flight, reads) = self.reads.load(node.id);
        let sick = node.id != self.me.node && self.health(node.id) != PeerHealth::Well;
        let latency = balance::latency(reads, self.rtt(node.id));
        Offer { node: node.id, last: false, sick, tier, latency, in_flight }
    }
}

/// The shortest round trip that a node of a region told of a node; none to itself.
fn nearest(
    region: &str,
    node: NodeId,
    rows: &[NodeRow],
    progress: &BTreeMap<NodeId, NodeProgress>,
) -> Option<Duration> {
    let there = rows.iter().filter(|row| row.region == region);
    let trips = there.filter_map(|row| match progress.get(&row.id) {
        _ if row.id == node => Some(Duration::ZERO),
        told => told?.round_trips.get(&node).copied(),
    });
    trips.min()
}

fn answers(node: &NodeRow) -> bool {
    matches!(node.state, NodeState::Up | NodeState::Draining)
}

/// See [`Holders::here`]. Pure.
fn here(view: &dyn View, digest: &Digest, own: StoreId) -> Result<Option<Here>, ViewError> {
    let Some(blob) = query::blob(view, digest)?.filter(|blob| blob.state == BlobState::Live) else {
        return Ok(None);
    };
    let copies = query::locations(view, digest)?;
    let counts = copies.iter().filter(|copy| copy.store == own && copy.generation == blob.generation);
    Ok(Some(Here { size: blob.size, own: counts.map(|copy| copy.file).collect() }))
}

/// See [`Holders::of`]. Pure but for `offer`, which knows what was measured, and for lots between equals.
fn known(
    view: &dyn View,
    topology: &Topology,
    digest: &Digest,
    me: &Me,
    failed: &[NodeId],
    offer: &dyn Fn(&NodeRow) -> Offer,
) -> Result<Option<Known>, ViewError> {
    let Some(blob) = query::blob(view, digest)?.filter(|blob| blob.state == BlobState::Live) else {
        return Ok(None);
    };
    let mut locations = query::locations(view, digest)?;
    locations.retain(|location| location.generation == blob.generation);
    let (me, my_region) = (me.node, me.region.as_str());
    let holds = |node: &NodeRow| locations.iter().any(|location| location.store == StoreId::from(node.id));
    let others = || topology.nodes().filter(|node| node.id != me && node.role == Role::Full);
    let mut offers: Vec<Offer> =
        others().map(|node| Offer { last: !(holds(node) && answers(node)), ..offer(node) }).collect();
    balance::order(&mut offers, |below| rand::random_range(0..below));
    let mut candidates: Vec<Candidate> =
        offers.iter().map(|offer| Candidate { node: offer.node, relay: false }).collect();

    let is_well = |node: &NodeRow| answers(node) && (node.id == me || !offer(node).sick);
    let held_nearby = others().any(|node| node.region == my_region && holds(node) && is_well(node));
    let may_store = placement::may_store(view, topology, digest, my_region)?;
    if !held_nearby && !locations.is_empty() && may_store {
        // One node of the region crosses the WAN, the region's other nodes read through it; when it sickens, the next
        // best takes over.
        let crosses = topology.elect(digest, my_region, |node| is_well(node) && !failed.contains(&node.id));
        if let Some(node) = crosses.filter(|node| *node != me) {
            candidates.insert(0, Candidate { node, relay: true });
        }
    }
    Ok(Some(Known {
        size: blob.size,
        generation: blob.generation,
        recorded: !locations.is_empty(),
        candidates,
        keeps: may_store && topology.node(me).is_some_and(|node| node.role == Role::Full),
    }))
}

#[cfg(test)]
mod tests;
