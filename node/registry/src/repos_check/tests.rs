use super::{Ground, PolicyError, check};
use portolan_meta::id::{NodeId, StoreId};
use portolan_meta::placement::Topology;
use portolan_meta::policies::Policies;
use portolan_meta::policy::{PartitionContract, Policy, PolicyRow, Prefix, Regions, TagReads};
use portolan_meta::row::{AckPolicy, NodeRow, NodeState, Role, StoreRow};

fn node((id, region): (u64, &&str)) -> NodeRow {
    NodeRow {
        id: NodeId(id),
        name: format!("n{id}"),
        region: (*region).to_owned(),
        zone: String::new(),
        role: Role::Full,
        peer: String::new(),
        storage_uuid: String::new(),
        incarnation: 1,
        state: NodeState::Up,
        version: String::new(),
    }
}

fn only(regions: &[&str]) -> PolicyRow {
    let regions = regions.iter().map(|region| (*region).to_owned()).collect();
    PolicyRow { regions: Some(Regions::Only(regions)), ..PolicyRow::default() }
}

fn ack(regions: u32, copies: u32) -> PolicyRow {
    PolicyRow { ack: Some(AckPolicy { regions, copies }), ..PolicyRow::default() }
}

/// Judges a change at `team`, in a cluster with a full node for each of `nodes`, of which the first `voters` vote.
fn judge(nodes: &[&str], voters: usize, row: &PolicyRow) -> Result<Vec<String>, PolicyError> {
    judge_after(&Policies::default(), nodes, voters, row)
}

/// The same where there are settings already.
fn judge_after(
    policies: &Policies,
    nodes: &[&str],
    voters: usize,
    row: &PolicyRow,
) -> Result<Vec<String>, PolicyError> {
    let rows: Vec<NodeRow> = (1..).zip(nodes).map(node).collect();
    let stores = rows.iter().map(|node| (StoreId(node.id.0), StoreRow::Disk { node: node.id, weight: 1 })).collect();
    let topology = Topology::new(rows.clone(), stores);
    let ground = Ground { topology: &topology, policies, voters: &rows[..voters] };
    check(&ground, &Prefix::parse("team").unwrap(), row)
}

const SPREAD: [&str; 5] = ["eu", "us", "ap", "eu", "us"];

#[test]
fn what_a_cluster_can_keep_is_taken_and_what_may_surprise_is_told() {
    let copies = PolicyRow { copies: Some(2), ..PolicyRow::default() };
    let all = PolicyRow { regions: Some(Regions::All), ..PolicyRow::default() };
    let cases: [(PolicyRow, &[&str]); 7] = [
        (PolicyRow::default(), &[]),
        (all, &[]),
        (only(&["eu", "us"]), &[]),
        (ack(2, 2), &[]),
        (ack(3, 1), &[]),
        (copies, &["fewer than 2 full nodes in ap"]),
        // Two copies in three regions, of which one has one node.
        (ack(3, 2), &["pushes wait for 2 copies in each of 3 regions, and 2 have"]),
    ];
    for (row, want) in cases {
        let got = judge(&SPREAD, 3, &row).unwrap();
        assert_eq!(got.len(), want.len(), "{row:?}: {got:?}");
        for (got, want) in got.iter().zip(want) {
            assert!(got.starts_with(want), "{got} / {want}");
        }
    }
}

#[test]
fn what_it_cannot_keep_is_refused() {
    let bounded = |ms| PolicyRow { tag_reads: Some(TagReads::Bounded { ms }), ..PolicyRow::default() };
    let copies = |copies| PolicyRow { copies: Some(copies), ..PolicyRow::default() };
    let known = || ["ap", "eu", "us"].map(str::to_owned).to_vec();
    let team = || Prefix::parse("team").unwrap();
    let unknown = PolicyError::UnknownRegion { region: "mars".to_owned(), known: known() };
    let cases = [
        (only(&["eu", "mars"]), unknown),
        (only(&[]), PolicyError::RegionCount { count: 0 }),
        (copies(0), PolicyError::Copies { copies: 0 }),
        (copies(17), PolicyError::Copies { copies: 17 }),
        (ack(0, 1), PolicyError::AckOfNothing { regions: 0, copies: 1 }),
        (ack(4, 1), PolicyError::AckRegions { prefix: team(), regions: 4, wanted: 3 }),
        (
            PolicyRow { ack: ack(3, 1).ack, ..only(&["eu", "us"]) },
            PolicyError::AckRegions { prefix: team(), regions: 3, wanted: 2 },
        ),
        (
            PolicyRow { ack: ack(1, 2).ack, ..copies(1) },
            PolicyError::AckCopies { prefix: team(), copies: 2, wanted: 1 },
        ),
        (bounded(0), PolicyError::Bound { ms: 0 }),
        (bounded(3_600_001), PolicyError::Bound { ms: 3_600_001 }),
    ];
    for (row, want) in cases {
        assert_eq!(judge(&SPREAD, 3, &row).unwrap_err(), want, "{row:?}");
    }
    assert!(judge(&SPREAD, 3, &bounded(3_600_000)).is_ok());
}

#[test]
fn more_copies_than_any_region_has_nodes_are_taken_with_a_warning() {
    let copies = |copies| PolicyRow { copies: Some(copies), ..PolicyRow::default() };
    for wanted in [2, 16] {
        let warnings = judge(&["eu", "us"], 1, &copies(wanted)).unwrap();
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].starts_with(&format!("fewer than {wanted} full nodes in eu, us")), "{warnings:?}");
    }
    // The default may be written down wherever it holds.
    let default = Policy::default();
    let row = PolicyRow { regions: Some(default.regions), ..copies(default.copies) };
    assert!(judge(&["eu"], 1, &row).is_ok());
}

#[test]
fn what_stays_as_it_was_is_not_judged_anew() {
    let team = Prefix::parse("team").unwrap();
    let below = Prefix::parse("team/held").unwrap();
    // Set while there were three regions with voters in each; one region is left.
    let before = PolicyRow { ack: ack(3, 1).ack, ..only(&["eu", "us", "ap"]) };
    let held = ack(2, 2);
    let policies = Policies::default().with(&team, &before).with(&below, &held);
    let judge = |row: &PolicyRow| judge_after(&policies, &["eu", "eu"], 1, row);
    let unreachable = PolicyRow { partition: Some(PartitionContract::Fail), ..before.clone() };
    assert!(judge(&unreachable).is_ok(), "{:?}", judge(&unreachable));
    let reads = PolicyRow { tag_reads: Some(TagReads::Linearizable), ..before.clone() };
    assert!(judge(&reads).is_ok(), "{:?}", judge(&reads));
    // What is changed is judged, alone and with what stays.
    let wrong = PolicyRow { tag_reads: Some(TagReads::Bounded { ms: 0 }), ..before.clone() };
    assert_eq!(judge(&wrong).unwrap_err(), PolicyError::Bound { ms: 0 });
    let other = PolicyRow { ack: before.ack, ..only(&["eu", "us"]) };
    assert!(matches!(judge(&other).unwrap_err(), PolicyError::UnknownRegion { .. }));
    let fewer = PolicyRow { ack: before.ack, ..only(&["eu"]) };
    assert_eq!(judge(&fewer).unwrap_err(), PolicyError::AckRegions { prefix: team.clone(), regions: 3, wanted: 1 });
    let one = PolicyRow { ack: ack(1, 1).ack, copies: Some(1), ..only(&["eu"]) };
    let unmet = PolicyError::AckRegions { prefix: below, regions: 2, wanted: 1 };
    assert_eq!(judge(&one).unwrap_err(), unmet, "what lies below would be left with it");
}

#[test]
fn several_regions_are_promised_only_while_no_majority_of_voters_is_in_one() {
    let cases = [
        (&["eu", "us", "ap"][..], 3, None),
        (&["eu", "eu", "us", "us", "ap"], 5, None),
        (&["eu", "eu", "us"], 3, Some(("eu", 2, 3))),
        (&["eu", "us"], 1, Some(("eu", 1, 1))),
        (&["eu", "eu", "eu", "us", "ap"], 5, Some(("eu", 3, 5))),
        (&["eu", "us"], 2, None),
    ];
    for (nodes, voters, want) in cases {
        let want = want.map(|(region, voters, of)| PolicyError::VotersInOneRegion {
            regions: 2,
            region: region.to_owned(),
            voters,
            of,
        });
        assert_eq!(judge(nodes, voters, &ack(2, 1)).err(), want, "{nodes:?}");
        assert!(judge(nodes, voters, &ack(1, 1)).is_ok(), "{nodes:?}");
    }
}
