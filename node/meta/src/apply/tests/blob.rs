use super::world::{PIN_MS, World, boot, digest, image, repo};
use crate::command::Command;
use crate::family::Family;
use crate::id::{FileId, StoreId};
use crate::outcome::{Outcome, Refusal};
use crate::query;
use crate::row::{BlobState, Role};

fn commit(blob: &str, size: u64, store: u64, file: u128) -> Command {
    Command::CommitBlob {
        repo: repo("app"),
        digest: digest(blob),
        size,
        store: StoreId(store),
        file: FileId(file),
        pin_ms: PIN_MS,
        sums: None,
    }
}

#[test]
fn an_upload_is_visible_where_it_was_pushed_and_nowhere_else() {
    let mut world = World::new();
    world.upload(1, "app", "layer");
    world.upload(1, "other", "unrelated");
    assert!(world.visible("app", "layer"));
    assert!(!world.visible("other", "layer"));
    assert!(!world.visible("nobody", "layer"));
    assert_eq!(query::locations(&world.state, &digest("layer")).unwrap().len(), 1);
    world.check();
}

#[test]
fn a_pin_ends_and_takes_the_visibility_with_it() {
    let mut world = World::new();
    world.upload(1, "app", "layer");
    world.now_ms += PIN_MS;
    world.upload(1, "app", "other");
    assert!(!world.visible("app", "layer"));
    let row = query::blob(&world.state, &digest("layer")).unwrap().unwrap();
    assert_eq!(row.state, BlobState::Live, "time alone condemns nothing");
}

#[test]
fn a_pin_is_judged_by_the_time_of_the_entry_that_asks() {
    let mut world = World::new();
    world.upload(1, "app", "layer");
    world.now_ms += PIN_MS;
    let unknown = Outcome::Refused(Refusal::ChildrenUnknown(vec![digest("layer")]));
    assert_eq!(world.put(image("m", &["layer"], &[])), unknown);
    assert_eq!(query::clock_ms(&world.state).unwrap(), world.now_ms, "a refusal moves the clock too");
}

#[test]
fn a_shorter_pin_does_not_shorten_a_longer_one() {
    let mut world = World::new();
    world.upload(1, "app", "layer");
    let mut short = commit("layer", 5, 1, 9);
    if let Command::CommitBlob { pin_ms, .. } = &mut short {
        *pin_ms = 1;
    }
    world.run(1, short);
    world.now_ms += PIN_MS - 1;
    world.upload(1, "app", "other");
    assert!(world.visible("app", "layer"));
}

#[test]
fn a_second_upload_at_the_same_node_keeps_the_first_file() {
    let mut world = World::new();
    let first = world.upload(1, "app", "layer");
    let second = world.upload(1, "other", "layer");
    assert_eq!(first, second);
    assert_eq!(world.count(Family::Loc), 1);
    let third = world.upload(2, "other", "layer");
    assert_ne!(first, third);
    let generations: Vec<u64> =
        query::locations(&world.state, &digest("layer")).unwrap().iter().map(|copy| copy.generation).collect();
    assert_eq!(generations.len(), 2);
    assert_eq!(generations[0], generations[1]);
    world.check();
}

#[test]
fn uploads_that_cannot_count_are_refused() {
    let mut world = World::new();
    let mut witness = boot(4, "eu", 1);
    witness.role = Role::Witness;
    world.run(4, Command::NodeBoot(witness));
    world.upload(1, "app", "layer");
    let cases = [
        ("another node's store", 1, commit("new", 3, 2, 50), Refusal::ForeignStore),
        ("no store", 1, commit("new", 3, 9, 51), Refusal::ForeignStore),
        ("a witness stores nothing", 4, commit("new", 3, 4, 52), Refusal::ForeignStore),
        ("another size", 1, commit("layer", 6, 1, 53), Refusal::OtherSize { recorded: 5 }),
    ];
    for (case, node, command, refusal) in cases {
        assert_eq!(world.run(node, command), Outcome::Refused(refusal), "{case}");
    }
    assert_eq!(query::blob(&world.state, &digest("new")).unwrap(), None);
    world.check();
}

#[test]
fn a_condemned_blob_revives_with_a_new_generation_and_only_the_new_file() {
    let mut world = World::new();
    let old = [world.upload(1, "app", "layer"), world.upload(2, "app", "layer")];
    let before = query::blob(&world.state, &digest("layer")).unwrap().unwrap();
    assert!(!world.condemn("layer"), "a pin keeps it");
    world.now_ms += PIN_MS;
    world.upload(1, "app", "tick");
    assert!(world.condemn("layer"));
    assert!(!world.visible("app", "layer"));

    let again = commit("layer", 5, 1, old[0].0);
    assert_eq!(world.run(1, again.clone()), Outcome::Refused(Refusal::FileGivenUp), "its file may be unlinked");
    let new = world.upload(1, "app", "layer");
    let after = query::blob(&world.state, &digest("layer")).unwrap().unwrap();
    assert!(after.generation > before.generation);
    assert_eq!(after.state, BlobState::Live);
    let copies = query::locations(&world.state, &digest("layer")).unwrap();
    assert_eq!(copies.iter().map(|copy| copy.file).collect::<Vec<_>>(), [new]);
    for (store, file) in [(1, old[0]), (2, old[1])] {
        let given_up = query::reclaims(&world.state, StoreId(store), None, 10).unwrap();
        assert_eq!(given_up, [(file, digest("layer"))]);
    }
    assert!(matches!(world.run(1, again), Outcome::BlobCommitted { file, .. } if file == new), "another file counts");
    world.check();
}

#[test]
fn a_blob_is_found_in_every_repository_that_shows_it_and_in_no_other() {
    let mut world = World::new();
    let shown = |world: &World, limit| {
        let repos = query::repos_showing(&world.state, &digest("layer"), limit).unwrap();
        repos.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert!(shown(&world, 9).is_empty());
    world.upload(1, "expired", "layer");
    world.now_ms += PIN_MS;
    // An edge in one, a pin in another, both in the third, and something else in the last.
    for name in ["app", "both", "pinned"] {
        world.upload(1, name, "layer");
        world.upload(1, name, "another layer");
    }
    world.upload(1, "other", "another layer");
    world.put_ok(image("image", &["layer"], &[]));
    world.put_ok(image("twice", &["layer"], &[]));
    assert_eq!(shown(&world, 9), ["app", "both", "pinned"]);
    assert_eq!(shown(&world, 2), ["app", "both"]);
    assert_eq!(shown(&world, 0), [""; 0]);
    world.now_ms += PIN_MS;
    world.upload(1, "other", "another layer");
    assert_eq!(shown(&world, 9), ["app"], "pins end, edges stay");
    world.check();
}

#[test]
fn a_mount_needs_a_blob_that_the_source_shows() {
    let mut world = World::new();
    world.upload(1, "app", "layer");
    world.upload(1, "hidden", "secret");
    world.now_ms += PIN_MS;
    world.upload(1, "app", "layer");
    let mount = |from: &str, blob: &str| Command::MountBlob {
        repo: repo("copy"),
        from: repo(from),
        digest: digest(blob),
        pin_ms: PIN_MS,
    };
    let cases = [
        ("unknown source", mount("nobody", "layer"), Outcome::Refused(Refusal::UnknownRepo)),
        ("unknown blob", mount("app", "nothing"), Outcome::Refused(Refusal::UnknownBlob)),
        ("another repository's blob", mount("app", "secret"), Outcome::Refused(Refusal::UnknownBlob)),
        ("an expired pin", mount("hidden", "secret"), Outcome::Refused(Refusal::UnknownBlob)),
        ("a pinned blob", mount("app", "layer"), Outcome::Done),
    ];
    for (case, command, outcome) in cases {
        assert_eq!(world.run(1, command), outcome, "{case}");
    }
    assert!(world.visible("copy", "layer"));
    world.put_ok(image("image", &["layer"], &[]));
    world.now_ms += PIN_MS;
    assert_eq!(world.run(1, mount("app", "layer")), Outcome::Done, "an edge shows it too");
    world.check();
}
