#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::{Candidate, Distance, Known, Tier, known, missing};
use bytes::Bytes;
use portolan_meta::command::{Command, FoundCopy, NodeBoot, Proposal, ProposalKey};
use portolan_meta::id::{FileId, NodeId, StoreId};
use portolan_meta::memory::MemoryState;
use portolan_meta::outcome::Outcome;
use portolan_meta::placement::{Topology, targets};
use portolan_meta::row::{NodeRow, NodeState, Role};
use portolan_oci::Digest;
use std::time::Duration;

/// A state made by commands, as a cluster makes it.
struct Cluster {
    state: MemoryState,
    index: u64,
}

impl Cluster {
    /// Nodes 1.. in these regions.
    fn of(regions: &[&str]) -> Self {
        let mut cluster = Self { state: MemoryState::new(), index: 0 };
        cluster.apply(NodeId(1), Command::InitCluster { cluster_id: "c".to_owned(), epoch: 0 });
        for (id, region) in (1..).zip(regions) {
            cluster.apply(NodeId(id), Command::NodeBoot(boot(id, region)));
        }
        cluster
    }

    fn apply(&mut self, node: NodeId, command: Command) -> Outcome {
        self.index += 1;
        let key = ProposalKey { node, incarnation: 1, sequence: self.index, settled_below: 0 };
        let proposal = Proposal { key, at_ms: self.index, command };
        let (writes, outcome) = portolan_meta::apply(&self.state, self.index, &proposal).unwrap();
        self.state.write(&writes);
        assert!(!matches!(outcome, Outcome::Refused(_)), "{outcome:?}");
        outcome
    }

    fn push(&mut self, node: u64, digest: Digest) -> u64 {
        let command = Command::CommitBlob {
            repo: "r".parse().unwrap(),
            digest,
            size: 5,
            store: StoreId(node),
            file: FileId(u128::from(node)),
            pin_ms: 1_000_000,
        };
        let Outcome::BlobCommitted { generation, .. } = self.apply(NodeId(node), command) else { panic!() };
        generation
    }

    fn replicate(&mut self, node: u64, digest: Digest, generation: u64) {
        let found = vec![FoundCopy { digest, file: FileId(u128::from(node)), generation }];
        self.apply(NodeId(node), Command::AddLocations { store: StoreId(node), found });
    }

    fn mark(&mut self, node: u64, state: NodeState) {
        self.apply(NodeId(1), Command::SetNodeState { node: NodeId(node), incarnation: 1, state });
    }

    /// What node 1 of region "a" knows; `far` tells how far each other node is, in milliseconds.
    fn known(&self, digest: &Digest, suspect: &[u64]) -> Option<Known> {
        let distance = |node: &NodeRow| Distance {
            suspect: suspect.contains(&node.id.0),
            tier: if node.region == "a" { Tier::Region } else { Tier::Elsewhere },
            // Higher numbers are nearer, so that the order is not that of the ids.
            rtt: Duration::from_millis(100 - node.id.0),
            node: node.id,
        };
        known(&self.state, digest, NodeId(1), "a", &distance).unwrap()
    }
}

fn boot(id: u64, region: &str) -> NodeBoot {
    NodeBoot {
        id: NodeId(id),
        name: format!("n{id}"),
        region: region.to_owned(),
        zone: String::new(),
        role: Role::Full,
        peer: format!("n{id}:7000"),
        storage_uuid: format!("s{id}"),
        incarnation: 1,
        version: "test".to_owned(),
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
    assert_eq!(cluster.known(&digest(), &[]), None);
    let generation = cluster.push(2, digest());
    cluster.replicate(3, digest(), generation);
    let known = cluster.known(&digest(), &[]).unwrap();
    assert_eq!(order(&known), [(3, false), (2, false), (4, false)]);
    assert_eq!((known.size, known.generation, known.recorded, known.keeps), (5, generation, true, true));
    assert!(known.own.is_empty());
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
    assert_eq!(known.own, [FileId(1)]);
    assert_eq!(order(&known), [(2, false)]);
}

#[test]
fn the_first_target_of_the_region_crosses_for_its_neighbours() {
    let mut cluster = Cluster::of(&["a", "a", "a", "b"]);
    let generation = cluster.push(4, digest());
    let topology = Topology::read(&cluster.state).unwrap();
    let first = targets(&digest(), &topology)[0].0;
    let asked = order(&cluster.known(&digest(), &[]).unwrap());
    if first == 1 {
        assert!(asked.iter().all(|(_, relay)| !relay), "it crosses itself");
    } else {
        assert_eq!(asked[0], (first, true));
        let suspected = order(&cluster.known(&digest(), &[first]).unwrap());
        assert_eq!(suspected[0], (4, false), "a suspect is not waited for");
    }
    // Once a neighbour has it, it is read like any holder.
    cluster.replicate(3, digest(), generation);
    assert_eq!(order(&cluster.known(&digest(), &[]).unwrap())[0], (3, false));
}

#[test]
fn missing_is_what_targets_lack() {
    let mut cluster = Cluster::of(&["a", "b", "c"]);
    let generation = cluster.push(2, digest());
    let lacking = |cluster: &Cluster| {
        let topology = Topology::read(&cluster.state).unwrap();
        missing(&cluster.state, &topology, &digest()).unwrap().map(|missing| missing.stores)
    };
    assert_eq!(lacking(&cluster), Some(vec![StoreId(1), StoreId(3)]));
    cluster.replicate(3, digest(), generation);
    assert_eq!(lacking(&cluster), Some(vec![StoreId(1)]));
    cluster.mark(1, NodeState::Out);
    assert_eq!(lacking(&cluster), None);
}
