#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::{Candidate, Known, Me, Offer, Tier, here, known};
use crate::rows::Rows;
use bytes::Bytes;
use portolan_meta::command::{Command, FoundCopy};
use portolan_meta::id::{FileId, NodeId, StoreId};
use portolan_meta::placement::{Topology, targets};
use portolan_meta::policy::Policy;
use portolan_meta::row::{NodeRow, NodeState};
use portolan_oci::Digest;

/// A cluster, and what node 1 of region "a" makes of its rows.
struct Cluster(Rows);

impl Cluster {
    /// Nodes 1.. in these regions.
    fn of(regions: &[&str]) -> Self {
        Self(Rows::of(regions))
    }

    fn push(&mut self, node: u64, digest: Digest) -> u64 {
        self.0.push(node, digest, FileId(u128::from(node)))
    }

    fn replicate(&mut self, node: u64, digest: Digest, generation: u64) {
        let found = vec![FoundCopy { digest, file: FileId(u128::from(node)), generation }];
        self.0.apply(node, Command::AddLocations { store: StoreId(node), found });
    }

    fn mark(&mut self, node: u64, state: NodeState) {
        self.0.mark(node, state);
    }

    /// The files that a node is recorded to hold.
    fn own(&self, node: u64) -> Option<Vec<FileId>> {
        here(&self.0.state, &digest(), StoreId(node)).unwrap().map(|here| here.own)
    }

    /// What node 1 of region "a" knows.
    fn known(&self, digest: &Digest, suspect: &[u64]) -> Option<Known> {
        self.known_without(digest, suspect, &[])
    }

    /// The same when some nodes failed to cross for it.
    fn known_without(&self, digest: &Digest, suspect: &[u64], failed: &[NodeId]) -> Option<Known> {
        let offer = |node: &NodeRow| Offer {
            node: node.id,
            last: false,
            sick: suspect.contains(&node.id.0),
            tier: if node.region == "a" { Tier::Region } else { Tier::Elsewhere },
            // Higher numbers are nearer, so that the order is not that of the ids, and none is comparable to another.
            latency: 0.5_f64.powi(i32::try_from(node.id.0).unwrap()),
            in_flight: 0,
        };
        let me = Me { node: NodeId(1), region: "a".to_owned(), zone: String::new() };
        let topology = Topology::read(&self.0.state).unwrap();
        known(&self.0.state, &topology, digest, &me, failed, &offer).unwrap()
    }
}

fn digest() -> Digest {
    Digest::sha256_of(&Bytes::from_static(b"hello"))
}

fn order(known: &Known) -> Vec<(u64, bool)> {
    known.candidates.iter().map(|Candidate { node, relay }| (node.0, *relay)).collect()
}

#[test]
fn holders_come_first_by_distance_and_everybody_else_behind_them() {
    let mut cluster = Cluster::of(&["a", "b", "c", "d"]);
    assert_eq!((cluster.known(&digest(), &[]), cluster.own(1)), (None, None));
    let generation = cluster.push(2, digest());
    cluster.replicate(3, digest(), generation);
    let known = cluster.known(&digest(), &[]).unwrap();
    assert_eq!(order(&known), [(3, false), (2, false), (4, false)]);
    assert_eq!((known.size, known.generation, known.recorded, known.keeps), (5, generation, true, true));
    assert_eq!(cluster.own(1), Some(Vec::new()));
}

#[test]
fn a_suspect_is_tried_after_the_other_holders_and_a_silent_one_after_all() {
    let mut cluster = Cluster::of(&["a", "b", "c", "d", "e"]);
    let generation = cluster.push(2, digest());
    cluster.replicate(3, digest(), generation);
    cluster.replicate(4, digest(), generation);
    assert_eq!(order(&cluster.known(&digest(), &[4]).unwrap()), [(3, false), (2, false), (4, false), (5, false)]);
    cluster.mark(3, NodeState::Down);
    assert_eq!(order(&cluster.known(&digest(), &[4]).unwrap()), [(2, false), (4, false), (5, false), (3, false)]);
}

#[test]
fn an_own_copy_is_named_and_nobody_is_asked_to_relay_without_neighbours() {
    let mut cluster = Cluster::of(&["a", "b"]);
    cluster.push(1, digest());
    let known = cluster.known(&digest(), &[]).unwrap();
    assert_eq!(cluster.own(1), Some(vec![FileId(1)]));
    assert_eq!(order(&known), [(2, false)]);
}

#[test]
fn one_node_of_the_region_crosses_for_its_neighbours_and_the_next_takes_over_from_a_sick_one() {
    let mut cluster = Cluster::of(&["a", "a", "a", "b"]);
    let generation = cluster.push(4, digest());
    let topology = Topology::read(&cluster.0.state).unwrap();
    let targets: Vec<u64> = targets(&digest(), &topology, &Policy::default()).iter().map(|store| store.0).collect();
    let preferred = [targets[0], targets[1], (1..=3).find(|node| !targets[..2].contains(node)).unwrap()];
    // Each of the three in turn is sick, and those before it; node 1, who asks, never holds itself to be.
    let mut sick = Vec::new();
    for crosses in preferred {
        let asked = order(&cluster.known(&digest(), &sick).unwrap());
        let relays: Vec<u64> = asked.iter().filter(|(_, relay)| *relay).map(|(node, _)| *node).collect();
        if crosses == 1 {
            assert_eq!(relays, [0; 0], "it crosses itself");
            break;
        }
        assert_eq!((asked[0], &relays[..]), ((crosses, true), &[crosses][..]), "{sick:?} are sick");
        let failed: Vec<NodeId> = sick.iter().copied().map(NodeId).collect();
        let known = cluster.known_without(&digest(), &[], &failed).unwrap();
        assert_eq!(order(&known)[0], (crosses, true), "{failed:?} failed");
        sick.push(crosses);
    }
    // Once a neighbour has it, it is read like any holder.
    cluster.replicate(3, digest(), generation);
    assert_eq!(order(&cluster.known(&digest(), &[]).unwrap())[0], (3, false));
    let sick_holder = order(&cluster.known(&digest(), &[3]).unwrap());
    assert_ne!(sick_holder[0].0, 3, "a neighbour that has it and is sick does not hold up the others");
}
