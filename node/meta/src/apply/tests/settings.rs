//! Policies, and what they do to targets, copies and pushes.

use super::world::{World, digest, image, repo};
use crate::command::{Command, DropReason, FoundCopy};
use crate::id::{FileId, StoreId};
use crate::outcome::{Outcome, Refusal};
use crate::placement::{Topology, standing, wanted};
use crate::policies::effective;
use crate::policy::{PolicyRow, Prefix, Regions, TagReads};
use crate::query;
use crate::row::{AckPolicy, BandwidthLimit, BandwidthRow, NodeState, Traffic};

fn only(regions: &[&str]) -> PolicyRow {
    let regions = Regions::Only(regions.iter().map(|region| (*region).to_owned()).collect());
    PolicyRow { regions: Some(regions), ..PolicyRow::default() }
}

fn never_outside(region: &str) -> PolicyRow {
    let regions = Regions::NeverOutside([region.to_owned()].into());
    PolicyRow { regions: Some(regions), ..PolicyRow::default() }
}

fn targets(world: &World, blob: &str) -> Vec<u64> {
    let topology = Topology::read(&world.state).unwrap();
    let mut found: Vec<u64> =
        wanted(&world.state, &topology, &digest(blob)).unwrap().targets.iter().map(|store| store.0).collect();
    found.sort_unstable();
    found
}

fn missing(world: &World, blob: &str) -> Vec<u64> {
    let topology = Topology::read(&world.state).unwrap();
    let standing = standing(&world.state, &topology, &digest(blob)).unwrap().unwrap();
    let mut found: Vec<u64> = standing.missing.iter().map(|store| store.0).collect();
    found.sort_unstable();
    found
}

/// Copies the blob to a node; says whether it counts.
fn copy(world: &mut World, node: u64, blob: &str) -> (FileId, bool) {
    let file = world.file();
    let generation = query::blob(&world.state, &digest(blob)).unwrap().unwrap().generation;
    let found = vec![FoundCopy { digest: digest(blob), file, generation }];
    match world.run(node, Command::AddLocations { store: StoreId(node), found }) {
        Outcome::LocationsAdded(counted) => (file, counted == [true]),
        other => panic!("{other:?}"),
    }
}

fn drop_surplus(world: &mut World, node: u64, blob: &str, file: FileId) -> Outcome {
    let store = StoreId(node);
    world.run(node, Command::DropLocation { digest: digest(blob), store, file, reason: DropReason::Surplus })
}

#[test]
fn targets_follow_the_policy_of_the_repository_and_its_change() {
    let mut world = World::new();
    world.upload(1, "team/app", "blob");
    assert_eq!(targets(&world, "blob"), [1, 2, 3]);
    world.set_policy("team", only(&["us"]));
    assert_eq!((targets(&world, "blob"), missing(&world, "blob")), (vec![2], vec![2]));
    world.set_policy("team/app", only(&["eu", "ap"]));
    assert_eq!(targets(&world, "blob"), [1, 3]);
    world.set_policy("team/app", PolicyRow::default());
    world.set_policy("team", PolicyRow::default());
    assert_eq!(targets(&world, "blob"), [1, 2, 3]);
}

#[test]
fn a_blob_that_two_repositories_show_is_wanted_wherever_one_of_them_wants_it() {
    let mut world = World::new();
    world.set_policy("a", only(&["eu"]));
    world.set_policy("b", only(&["us"]));
    world.upload(1, "a", "blob");
    assert_eq!(targets(&world, "blob"), [1]);
    world.upload(1, "b", "blob");
    assert_eq!(targets(&world, "blob"), [1, 2]);
    assert_eq!(world.run(1, Command::DeleteBlob { repo: repo("a"), digest: digest("blob") }), Outcome::Done);
    assert_eq!(targets(&world, "blob"), [2]);
    assert_eq!(world.run(1, Command::DeleteBlob { repo: repo("b"), digest: digest("blob") }), Outcome::Done);
    assert_eq!(targets(&world, "blob"), [0; 0], "nobody shows it");
}

#[test]
fn what_must_not_be_stored_outside_is_refused_there_as_upload_and_as_copy() {
    let mut world = World::new();
    world.set_policy("app", never_outside("eu"));
    world.upload(1, "app", "blob");
    assert!(!copy(&mut world, 2, "blob").1);
    let file = world.file();
    let (repo, store) = (repo("app"), StoreId(2));
    let upload = Command::CommitBlob { repo, digest: digest("other"), size: 5, store, file, pin_ms: 1_000, sums: None };
    let barred = Refusal::Barred { region: "us".to_owned(), allowed: vec!["eu".to_owned()] };
    assert_eq!(world.run(2, upload), Outcome::Refused(barred));
    world.upload(2, "elsewhere", "blob");
    assert_eq!(targets(&world, "blob"), [1, 2, 3], "another repository that shows it allows it");
    world.check();
}

#[test]
fn a_copy_in_flight_while_the_policy_is_narrowed_does_not_count_and_one_that_landed_is_dropped() {
    let mut world = World::new();
    let first = world.upload(1, "app", "blob");
    let (landed, counts) = copy(&mut world, 2, "blob");
    assert!(counts);
    world.set_policy("app", never_outside("eu"));
    assert!(!copy(&mut world, 3, "blob").1, "it was on its way");
    assert_eq!(drop_surplus(&mut world, 1, "blob", first), Outcome::Refused(Refusal::TargetLacks));
    assert_eq!(drop_surplus(&mut world, 2, "blob", landed), Outcome::Done);
    let reclaimed = |world: &World| query::reclaims(&world.state, StoreId(2), None, 10).unwrap().len();
    assert_eq!(reclaimed(&world), 1);
    let unlinked = Command::Unlinked { store: StoreId(2), files: vec![landed] };
    assert_eq!(world.run(1, unlinked.clone()), Outcome::Refused(Refusal::ForeignStore));
    assert_eq!(world.run(2, unlinked), Outcome::Done);
    assert_eq!(reclaimed(&world), 0);
    world.check();
}

#[test]
fn a_surplus_copy_stays_while_a_target_lacks_the_blob_or_does_not_answer() {
    let mut world = World::new();
    let first = world.upload(1, "app", "blob");
    world.set_policy("app", only(&["us", "ap"]));
    let refused = Outcome::Refused(Refusal::TargetLacks);
    copy(&mut world, 2, "blob");
    assert_eq!(drop_surplus(&mut world, 1, "blob", first), refused);
    copy(&mut world, 3, "blob");
    world.set_state(3, NodeState::Down);
    assert_eq!(drop_surplus(&mut world, 1, "blob", first), refused, "its last readable copies would be one");
    world.set_state(3, NodeState::Up);
    assert_eq!(drop_surplus(&mut world, 1, "blob", first), Outcome::Done);
}

#[test]
fn a_push_waits_for_the_regions_that_its_policy_names_and_for_no_copy_that_will_not_stay() {
    let mut world = World::new();
    let ack = Some(AckPolicy { regions: 2, copies: 1 });
    world.set_policy("app", PolicyRow { ack, ..only(&["us", "ap"]) });
    world.upload(1, "app", "blob");
    let put = |world: &mut World| world.put(image("m", &["blob"], &["v1"]));
    let pending = Outcome::Refused(Refusal::NotYetDurable(vec![digest("blob")]));
    assert_eq!(put(&mut world), pending);
    copy(&mut world, 2, "blob");
    assert_eq!(put(&mut world), pending, "the copy in eu is surplus");
    copy(&mut world, 3, "blob");
    assert!(matches!(put(&mut world), Outcome::ManifestPut { .. }));
}

#[test]
fn a_policy_that_cannot_be_is_refused_and_changes_nothing() {
    let mut world = World::new();
    let cases = [
        only(&[]),
        PolicyRow { copies: Some(0), ..PolicyRow::default() },
        PolicyRow { copies: Some(17), ..PolicyRow::default() },
        PolicyRow { ack: Some(AckPolicy { regions: 0, copies: 1 }), ..PolicyRow::default() },
        PolicyRow { tag_reads: Some(TagReads::Bounded { ms: 0 }), ..PolicyRow::default() },
        PolicyRow { tag_reads: Some(TagReads::Bounded { ms: 3_600_001 }), ..PolicyRow::default() },
    ];
    for policy in cases {
        let outcome = world.run(1, Command::SetPolicy { prefix: Prefix::default(), policy: policy.clone() });
        assert!(matches!(outcome, Outcome::Refused(Refusal::Policy(_))), "{policy:?}: {outcome:?}");
        assert_eq!(effective(&world.state, &repo("app")).unwrap(), crate::policy::Policy::default());
    }
}

#[test]
fn a_blob_in_one_region_only_says_which_and_one_without_live_copies_says_who_has_them() {
    let mut world = World::new();
    world.upload(1, "app", "blob");
    let stand = |world: &World| {
        let topology = Topology::read(&world.state).unwrap();
        standing(&world.state, &topology, &digest("blob")).unwrap().unwrap()
    };
    let regions = |world: &World| {
        let standing = stand(world);
        let silent: Vec<String> = standing.silent_regions.into_iter().collect();
        (standing.lone_region, silent.join(" "), standing.live_copies)
    };
    let lone = |region: &str, copies| (Some(region.to_owned()), String::new(), copies);
    let silent = |regions: &str| (None, regions.to_owned(), 0);
    assert_eq!(regions(&world), lone("eu", 1));
    world.set_state(1, NodeState::Down);
    assert_eq!(regions(&world), silent("eu"), "its only holder is silent, and it is not lost");
    world.set_state(1, NodeState::Up);
    copy(&mut world, 2, "blob");
    assert_eq!(regions(&world), (None, String::new(), 2));
    world.set_state(1, NodeState::Down);
    assert_eq!(regions(&world), lone("us", 1));
    world.set_state(2, NodeState::Out);
    assert_eq!(regions(&world), silent("eu us"));
    world.set_state(1, NodeState::Draining);
    assert_eq!(regions(&world), lone("eu", 1), "who drains still answers");
}

#[test]
fn the_first_table_of_chunk_sums_that_is_told_is_kept() {
    let mut world = World::new();
    let mut upload = |sums: Option<&str>| {
        let (repo, file) = (repo("app"), world.file());
        let sums = sums.map(digest);
        let command =
            Command::CommitBlob { repo, digest: digest("b"), size: 1, store: StoreId(1), file, pin_ms: 1, sums };
        assert!(matches!(world.run(1, command), Outcome::BlobCommitted { .. }));
        query::blob(&world.state, &digest("b")).unwrap().unwrap().sums
    };
    assert_eq!(upload(None), None);
    assert_eq!(upload(Some("table")), Some(digest("table")));
    assert_eq!(upload(Some("another")), Some(digest("table")));
}

#[test]
fn the_first_limit_of_bandwidth_that_fits_counts_and_none_is_of_nothing() {
    let mut world = World::new();
    let limit = |from: &str, to: &str, class, bytes_per_second| {
        let name = |text: &str| (text != "*").then(|| text.to_owned());
        BandwidthLimit { from: name(from), to: name(to), class, bytes_per_second }
    };
    let row = |limits| BandwidthRow { limits };
    let stopped = world.run(1, Command::SetBandwidth(row(vec![limit("*", "*", None, 0)])));
    assert!(matches!(stopped, Outcome::Refused(Refusal::Policy(_))), "{stopped:?}");
    let limits = row(vec![limit("eu", "us", Some(Traffic::Repair), 5), limit("eu", "*", None, 9)]);
    assert_eq!(world.run(1, Command::SetBandwidth(limits)), Outcome::Done);
    let known = query::bandwidth(&world.state).unwrap();
    let cases = [
        ("eu", "us", Traffic::Repair, Some(5)),
        ("eu", "us", Traffic::Pull, Some(9)),
        ("eu", "ap", Traffic::Repair, Some(9)),
        ("us", "eu", Traffic::Repair, None),
    ];
    for (from, to, class, expected) in cases {
        assert_eq!(known.limit(from, to, class), expected, "{from} {to} {class:?}");
    }
}
