//! Tests of placement.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use super::{Topology, ack_policy, default_ack, may_store, voters, wanted};
use crate::codec::encode;
use crate::family::Family;
use crate::id::{NodeId, RepoId, StoreId};
use crate::key;
use crate::memory::MemoryState;
use crate::policy::{COPIES_PER_REGION, Policy, PolicyRow, Prefix, Regions};
use crate::row::{AckPolicy, ChildKind, NodeRow, NodeState, Role, StoreRow};
use crate::view::{Row, View, ViewError};
use bytes::Bytes;
use portolan_oci::Digest;
use proptest::prelude::{Just, Strategy};
use proptest::{prop_assert, prop_assert_eq, proptest};
use std::cell::Cell;
use std::collections::BTreeMap;

fn node(id: u64, region: &str) -> NodeRow {
    NodeRow {
        id: NodeId(id),
        name: format!("node-{id}"),
        region: region.to_owned(),
        zone: String::new(),
        role: Role::Full,
        peer: String::new(),
        storage_uuid: String::new(),
        incarnation: 1,
        state: NodeState::Up,
        version: String::new(),
    }
}

fn disk(id: u64, weight: u32) -> (StoreId, StoreRow) {
    (StoreId(id), StoreRow::Disk { node: NodeId(id), weight })
}

/// Nodes 1 to `count` in one region.
fn region(count: u64) -> Topology {
    Topology::new((1..=count).map(|id| node(id, "eu")).collect(), (1..=count).map(|id| disk(id, 100)).collect())
}

/// What the default policy wants.
fn targets(digest: &Digest, topology: &Topology) -> Vec<StoreId> {
    super::targets(digest, topology, &Policy::default())
}

fn digests(count: u32) -> impl Iterator<Item = Digest> {
    (0..count).map(|number| Digest::sha256_of(&number.to_be_bytes()))
}

#[test]
fn each_region_holds_as_many_copies_as_it_can_up_to_two() {
    let nodes = [(1, "eu"), (2, "eu"), (3, "eu"), (4, "us"), (5, "ap"), (6, "ap")];
    let topology = Topology::new(
        nodes.iter().map(|(id, region)| node(*id, region)).collect(),
        nodes.iter().map(|(id, _)| disk(*id, 100)).collect(),
    );
    for digest in digests(100) {
        let mut copies: BTreeMap<&str, usize> = BTreeMap::new();
        for store in targets(&digest, &topology) {
            *copies.entry(&topology.owner(store).unwrap().region).or_default() += 1;
        }
        assert_eq!(copies, BTreeMap::from([("eu", 2), ("us", 1), ("ap", 2)]));
    }
}

#[test]
fn only_full_nodes_that_stay_are_targets() {
    let cases = [
        (Role::Full, NodeState::Up, true),
        (Role::Full, NodeState::Down, true),
        (Role::Full, NodeState::Out, false),
        (Role::Full, NodeState::Draining, false),
        (Role::Witness, NodeState::Up, false),
        (Role::Edge, NodeState::Up, false),
    ];
    for (role, state, is_target) in cases {
        let row = NodeRow { role, state, ..node(1, "eu") };
        let topology = Topology::new(vec![row], vec![disk(1, 100)]);
        let targets = targets(&Digest::sha256_of(b"x"), &topology);
        assert_eq!(targets == [StoreId(1)], is_target, "{role:?} {state:?}");
        assert_eq!(topology.full_nodes("eu"), usize::from(is_target));
        assert_eq!(topology.full_nodes_up("eu"), usize::from(is_target && state == NodeState::Up));
    }
}

#[test]
fn placement_is_what_it_was_in_the_first_release() {
    // A change of this list moves the blobs of every cluster.
    let topology = region(5);
    let first: Vec<Vec<u64>> =
        digests(4).map(|digest| targets(&digest, &topology).iter().map(|store| store.0).collect()).collect();
    assert_eq!(first, FIRST_RELEASE);
}

const FIRST_RELEASE: [[u64; 2]; 4] = [[1, 2], [2, 3], [4, 2], [1, 3]];

#[test]
fn a_store_is_chosen_in_proportion_to_its_weight() {
    let topology =
        Topology::new((1..=3).map(|id| node(id, "eu")).collect(), vec![disk(1, 100), disk(2, 200), disk(3, 0)]);
    let mut first: BTreeMap<StoreId, u32> = BTreeMap::new();
    for digest in digests(6_000) {
        let targets = targets(&digest, &topology);
        assert!(!targets.contains(&StoreId(3)), "a weight of zero wants nothing");
        *first.entry(targets[0]).or_default() += 1;
    }
    let share = f64::from(first[&StoreId(2)]) / 6_000.0;
    assert!((share - 2.0 / 3.0).abs() < 0.03, "{share}");
}

proptest! {
    #[test]
    fn one_node_more_moves_its_share_and_no_more(count in 2_u64..12) {
        let (before, after) = (region(count), region(count + 1));
        let new = StoreId(count + 1);
        let (mut moved, total) = (0_u32, 2_000);
        for digest in digests(total) {
            let (old, now) = (targets(&digest, &before), targets(&digest, &after));
            // Whoever is a target now was one before, or is the new store.
            prop_assert!(now.iter().all(|store| *store == new || old.contains(store)));
            moved += u32::from(now.contains(&new));
        }
        let expected = f64::from(COPIES_PER_REGION) / (count + 1) as f64;
        let share = f64::from(moved) / f64::from(total);
        prop_assert!((share - expected).abs() < 0.05, "{share} instead of {expected}");
    }

    #[test]
    fn one_node_less_moves_only_what_it_held(count in 3_u64..12, gone in 1_u64..12) {
        let gone = StoreId(1 + gone % count);
        let before = region(count);
        let nodes = before.nodes().cloned().map(|row| {
            let state = if StoreId::from(row.id) == gone { NodeState::Out } else { row.state };
            NodeRow { state, ..row }
        });
        let after = Topology::new(nodes.collect(), (1..=count).map(|id| disk(id, 100)).collect());
        for digest in digests(300) {
            let (old, now) = (targets(&digest, &before), targets(&digest, &after));
            if old.contains(&gone) {
                prop_assert!(old.iter().all(|store| *store == gone || now.contains(store)));
            } else {
                prop_assert_eq!(old, now);
            }
        }
    }

    #[test]
    fn two_nodes_never_disagree(order in Just((1_u64..=9).collect::<Vec<_>>()).prop_shuffle()) {
        let shuffled = Topology::new(
            order.iter().map(|id| node(*id, "eu")).collect(),
            order.iter().rev().map(|id| disk(*id, 100)).collect(),
        );
        for digest in digests(50) {
            prop_assert_eq!(targets(&digest, &shuffled), targets(&digest, &region(9)));
        }
    }
}

#[test]
fn two_copies_are_asked_for_where_two_nodes_are_up() {
    for (full_nodes_up, copies) in [(0, 1), (1, 1), (2, 2), (3, 2)] {
        assert_eq!(default_ack(full_nodes_up), AckPolicy { regions: 1, copies });
    }
}

#[test]
fn without_an_own_ack_a_push_asks_for_what_its_repository_keeps_where_it_keeps_it() {
    let nodes = [(1, "eu"), (2, "eu"), (3, "us")];
    let topology = Topology::new(
        nodes.iter().map(|(id, region)| node(*id, region)).collect(),
        nodes.iter().map(|(id, _)| disk(*id, 100)).collect(),
    );
    let only = |region: &str| Regions::Only([region.to_owned()].into());
    let one = |regions| AckPolicy { regions: 1, copies: regions };
    let own = AckPolicy { regions: 2, copies: 1 };
    let cases = [
        (Policy::default(), 1, one(2)),
        (Policy::default(), 3, one(1)),
        (Policy { copies: 1, ..Policy::default() }, 1, one(1)),
        (Policy { regions: only("eu"), ..Policy::default() }, 3, one(2)),
        (Policy { regions: only("us"), ..Policy::default() }, 1, one(1)),
        (Policy { ack: Some(own), ..Policy::default() }, 1, own),
    ];
    for (policy, proposer, expected) in cases {
        assert_eq!(ack_policy(&topology, &policy, NodeId(proposer)), expected, "{policy:?} at {proposer}");
    }
}

#[test]
fn whoever_is_elected_in_a_region_is_well_and_another_takes_over() {
    let topology = region(4);
    for digest in digests(50) {
        let first = topology.elect(&digest, "eu", |_| true);
        assert_eq!(first.map(StoreId::from), targets(&digest, &topology).first().copied());
        let second = topology.elect(&digest, "eu", |node| Some(node.id) != first);
        assert_eq!(second.map(StoreId::from), targets(&digest, &topology).get(1).copied());
        assert_eq!(topology.elect(&digest, "eu", |_| false), None);
        assert_eq!(topology.elect(&digest, "us", |_| true), None);
    }
}

#[test]
fn voters_are_odd_in_number_and_spread() {
    // Each letter is a member's region; a capital one votes.
    let expected = [
        ("", ""),
        ("a", "A"),
        ("aa", "Aa"),
        ("aaa", "AAA"),
        ("aaaa", "AAAa"),
        ("abc", "ABC"),
        ("abcabc", "ABCabc"),
        ("aabbcc", "AaBbCc"),
        ("abab", "ABAb"),
        ("ab", "Ab"),
        ("aabb", "AABb"),
        ("abbb", "ABBb"),
        ("abcd", "ABCd"),
        ("abcdabcd", "ABCDAbcd"),
        ("abcde", "ABCDE"),
    ];
    for (members, votes) in expected {
        let regions: Vec<String> = members.chars().map(String::from).collect();
        let list: Vec<(&str, &str)> = regions.iter().map(|region| ("name", region.as_str())).collect();
        let marked: String = voters(&list)
            .into_iter()
            .zip(members.chars())
            .map(|(votes, region)| if votes { region.to_ascii_uppercase() } else { region })
            .collect();
        assert_eq!(marked, votes);
    }
}

/// Counts the scans of a state.
struct Counting {
    state: MemoryState,
    scans: Cell<usize>,
}

impl View for Counting {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, ViewError> {
        self.state.get(family, key)
    }

    fn scan(&self, family: Family, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Row>, ViewError> {
        self.scans.set(self.scans.get() + 1);
        self.state.scan(family, prefix, after, limit)
    }
}

/// Repositories of these names show a blob: every third by a pin, the others by edges of three manifests each.
fn shown_in(names: &[String], digest: &Digest, policies: &[(&str, Regions)]) -> Counting {
    let mut state = MemoryState::new();
    for node in [node(1, "ap"), node(2, "eu"), node(3, "us")] {
        state.put(Family::Stores, key::store(StoreId(node.id.0)), encode(&disk(node.id.0, 100).1));
        state.put(Family::Nodes, key::node(node.id), encode(&node));
    }
    for (id, name) in (1..).zip(names) {
        state.put(Family::Repos, key::repo_by_id(RepoId(id)), name.as_bytes().to_vec());
        if id % 3 == 0 {
            state.put(Family::Pins, key::pin(digest, RepoId(id)), Vec::new());
        } else {
            for parent in digests(3) {
                state.put(Family::Edges, key::edge(ChildKind::Blob, digest, RepoId(id), &parent), Vec::new());
            }
        }
    }
    for (prefix, regions) in policies {
        let row = PolicyRow { regions: Some(regions.clone()), ..PolicyRow::default() };
        state.put(Family::Repos, key::policy(&Prefix::parse(prefix).unwrap()), encode(&row));
    }
    Counting { state, scans: Cell::new(0) }
}

/// What it is, which repository is the odd one, the policies, who shall hold the blob, and where it may be stored.
type Case = (&'static str, usize, Vec<(&'static str, Regions)>, &'static [u64], &'static [&'static str]);

#[test]
fn every_repository_that_shows_a_blob_has_its_say_and_none_is_asked_in_vain() {
    let digest = Digest::sha256_of(b"base layer");
    let only = |region: &str| Regions::Only([region.to_owned()].into());
    let never = |region: &str| Regions::NeverOutside([region.to_owned()].into());
    // 1,000 repositories, of which one wants something else.
    let names = |odd: usize| -> Vec<String> {
        (0..1_000).map(|at| if at == odd { "odd/app".to_owned() } else { format!("team/app-{at}") }).collect()
    };
    let cases: [Case; 6] = [
        ("no policy", 0, vec![], &[1, 2, 3], &["ap", "eu", "us"]),
        ("one for all", 0, vec![("", only("eu"))], &[2], &["ap", "eu", "us"]),
        ("the first, by an edge", 0, vec![("", never("eu")), ("odd", never("us"))], &[2, 3], &["eu", "us"]),
        ("in the middle, by an edge", 600, vec![("team", never("eu")), ("odd", never("us"))], &[2, 3], &["eu", "us"]),
        ("the last, by an edge", 999, vec![("", only("eu")), ("odd", only("us"))], &[2, 3], &["ap", "eu", "us"]),
        ("near the end, by a pin", 998, vec![("", never("eu")), ("odd", never("us"))], &[2, 3], &["eu", "us"]),
    ];
    for (case, odd, policies, stores, regions) in cases {
        let view = shown_in(&names(odd), &digest, &policies);
        let topology = Topology::read(&view).unwrap();
        view.scans.set(0);
        let found = wanted(&view, &topology, &digest).unwrap();
        let mut targets: Vec<u64> = found.targets.iter().map(|store| store.0).collect();
        targets.sort_unstable();
        assert_eq!(targets, stores, "{case}");
        // Three rows for each repository, 64 at a time; where the first say the most, no more are read.
        let scans = view.scans.get();
        assert!(scans <= if policies.len() < 2 || odd == 0 { 2 } else { 45 }, "{case}: {scans} scans");
        for region in ["ap", "eu", "us"] {
            let allowed = may_store(&view, &topology, &digest, region).unwrap();
            assert_eq!(allowed, regions.contains(&region), "{case}: {region}");
            assert_eq!(allowed, found.may_store(region), "{case}: {region}");
        }
    }
}

#[test]
fn a_blob_that_nobody_shows_is_wanted_nowhere_and_barred_where_some_policy_confines() {
    let digest = Digest::sha256_of(b"orphan");
    for (regions, allowed) in
        [(Regions::Only(["eu".to_owned()].into()), true), (Regions::NeverOutside(["eu".to_owned()].into()), false)]
    {
        let view = shown_in(&[], &digest, &[("team", regions)]);
        let topology = Topology::read(&view).unwrap();
        assert!(wanted(&view, &topology, &digest).unwrap().targets.is_empty());
        assert_eq!(may_store(&view, &topology, &digest, "eu").unwrap(), allowed);
    }
}
