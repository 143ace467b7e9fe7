use super::world::{PIN_MS, World, boot, digest};
use crate::command::{Command, DropReason, FoundCopy};
use crate::family::Family;
use crate::id::{FileId, StoreId};
use crate::limits;
use crate::outcome::{Outcome, Refusal};
use crate::query;
use crate::row::NodeState;

fn add(store: u64, copies: &[(&str, u128, u64)]) -> Command {
    let found = copies
        .iter()
        .map(|(blob, file, generation)| FoundCopy {
            digest: digest(blob),
            file: FileId(*file),
            generation: *generation,
        })
        .collect();
    Command::AddLocations { store: StoreId(store), found }
}

fn drop(blob: &str, store: u64, file: FileId, reason: DropReason) -> Command {
    Command::DropLocation { digest: digest(blob), store: StoreId(store), file, reason }
}

#[test]
fn each_copy_is_judged_alone() {
    let mut world = World::new();
    world.upload(1, "app", "a");
    world.upload(1, "app", "b");
    let generation = |world: &World, blob| query::blob(&world.state, &digest(blob)).unwrap().unwrap().generation;
    let (a, b) = (generation(&world, "a"), generation(&world, "b"));
    let found = [("a", 70, a), ("b", 71, b + 1), ("none", 72, 1), ("a", 70, a), ("a", 73, a), ("b", 74, b)];
    let outcome = world.run(2, add(2, &found));
    assert_eq!(outcome, Outcome::LocationsAdded(vec![true, false, false, true, false, true]));
    assert_eq!(world.run(2, add(2, &[("a", 70, a)])), Outcome::LocationsAdded(vec![true]), "again is no harm");
    assert_eq!(world.run(2, add(3, &[("a", 75, a)])), Outcome::Refused(Refusal::ForeignStore));
    world.check();
}

#[test]
fn a_late_copy_of_a_condemned_or_revived_blob_does_not_count() {
    let mut world = World::new();
    world.upload(1, "app", "a");
    let fetched = query::blob(&world.state, &digest("a")).unwrap().unwrap().generation;
    world.now_ms += PIN_MS;
    world.upload(1, "app", "tick");
    assert!(world.condemn("a"));
    assert_eq!(world.run(2, add(2, &[("a", 80, fetched)])), Outcome::LocationsAdded(vec![false]));
    world.upload(1, "app", "a");
    assert_eq!(world.run(2, add(2, &[("a", 80, fetched)])), Outcome::LocationsAdded(vec![false]));
    world.check();
}

#[test]
fn a_full_confirmation_fits_in_one_apply() {
    let mut world = World::new();
    let names: Vec<String> = (0..=limits::LOCATIONS_PER_ADD).map(|number| format!("blob-{number}")).collect();
    let mut found = Vec::new();
    for (number, name) in names.iter().enumerate() {
        world.upload(1, "app", name);
        let generation = query::blob(&world.state, &digest(name)).unwrap().unwrap().generation;
        found.push((name.as_str(), 10_000 + number as u128, generation));
    }
    let limit = limits::LOCATIONS_PER_ADD;
    assert_eq!(world.run(2, add(2, &found[..limit])), Outcome::LocationsAdded(vec![true; limit]));
    assert!(matches!(world.run(2, add(2, &found)), Outcome::Refused(Refusal::TooMany { .. })));
}

#[test]
fn a_damaged_copy_is_dropped_by_its_holder_whatever_else_there_is() {
    let mut world = World::new();
    let file = world.upload(1, "app", "a");
    let other = world.file();
    let cases = [
        ("not the holder", 2, drop("a", 1, file, DropReason::Damaged), Outcome::Refused(Refusal::ForeignStore)),
        ("another file", 1, drop("a", 1, other, DropReason::Damaged), Outcome::Refused(Refusal::UnknownLocation)),
        ("the holder", 1, drop("a", 1, file, DropReason::Damaged), Outcome::Done),
        ("again", 1, drop("a", 1, file, DropReason::Damaged), Outcome::Refused(Refusal::UnknownLocation)),
    ];
    for (case, node, command, outcome) in cases {
        assert_eq!(world.run(node, command), outcome, "{case}");
    }
    assert_eq!(world.count(Family::Reclaim), 0, "a damaged file is in its holder's hands already");
    world.check();
}

#[test]
fn a_surplus_copy_stays_until_every_target_holds_the_blob() {
    let mut world = World::new();
    // Region eu has three full nodes, so that one of them is no target.
    for id in [4, 5] {
        world.run(id, Command::NodeBoot(boot(id, "eu", 1)));
    }
    let mut files: Vec<(u64, FileId)> = Vec::new();
    for id in [1, 4, 5, 2] {
        let file = world.upload(id, "app", "a");
        files.push((id, file));
    }
    let topology = crate::placement::Topology::read(&world.state).unwrap();
    let targets = crate::placement::targets(&digest("a"), &topology, &crate::policy::Policy::default());
    let (spare, file) = *files.iter().find(|(id, _)| !targets.contains(&StoreId(*id))).unwrap();
    let refused = Outcome::Refused(Refusal::TargetLacks);
    assert_eq!(world.run(spare, drop("a", spare, file, DropReason::Surplus)), refused, "region ap lacks it");
    world.upload(3, "app", "a");
    let (target, held) = *files.iter().find(|(id, _)| targets.contains(&StoreId(*id))).unwrap();
    assert_eq!(world.run(target, drop("a", target, held, DropReason::Surplus)), refused, "a target is no surplus");
    assert_eq!(world.run(spare, drop("a", spare, file, DropReason::Surplus)), Outcome::Done);
    assert_eq!(query::reclaims(&world.state, StoreId(spare), None, 10).unwrap(), [(file, digest("a"))]);
    world.check();
}

#[test]
fn without_targets_no_copy_is_surplus() {
    let mut world = World::new();
    let file = world.upload(1, "app", "a");
    for node in [1, 2, 3] {
        world.set_state(node, NodeState::Draining);
    }
    let outcome = world.run(1, drop("a", 1, file, DropReason::Surplus));
    assert_eq!(outcome, Outcome::Refused(Refusal::TargetLacks));
}
