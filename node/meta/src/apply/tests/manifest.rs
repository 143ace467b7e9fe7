use super::world::{PIN_MS, World, boot, child, digest, image, index, repo, tag};
use crate::codec::encode_proposal;
use crate::command::{Command, ManifestBytes, Proposal, ProposalKey, PutManifest};
use crate::family::Family;
use crate::id::NodeId;
use crate::limits;
use crate::outcome::{Outcome, Refusal};
use crate::query;
use crate::row::{AckPolicy, ChildKind, NodeState};
use bytes::Bytes;
use portolan_oci::{Algorithm, Digest, Reference};

fn put_part(name: &str, part: u16, bytes: Bytes) -> Command {
    Command::PutManifestPart { repo: repo("app"), digest: digest(name), part, bytes }
}

#[test]
fn a_push_is_found_by_tag_and_digest() {
    let mut world = World::new();
    world.upload(1, "app", "layer");
    world.put_ok(image("image", &["layer"], &["v1", "latest"]));
    for reference in [Reference::Tag(tag("v1")), Reference::Tag(tag("latest")), Reference::Digest(digest("image"))] {
        let found = query::resolve(&world.state, &repo("app"), &reference).unwrap().unwrap();
        assert_eq!(found.digest, digest("image"));
        assert_eq!(found.bytes, "image");
    }
    let unknown = Reference::Tag(tag("v2"));
    assert_eq!(query::resolve(&world.state, &repo("app"), &unknown).unwrap(), None);
    assert_eq!(world.tags("app").unwrap(), ["latest", "v1"]);
    world.now_ms += 10 * PIN_MS;
    world.upload(1, "app", "tick");
    assert!(world.visible("app", "layer"), "the edge keeps it when the pin is over");
    world.check();
}

#[test]
fn every_child_must_be_shown_by_the_repository() {
    let mut world = World::new();
    world.upload(1, "app", "here");
    world.upload(1, "other", "elsewhere");
    world.put_ok(image("child", &["here"], &[]));
    let unknown =
        |names: &[&str]| Outcome::Refused(Refusal::ChildrenUnknown(names.iter().map(|name| digest(name)).collect()));
    let cases = [
        ("absent", image("m", &["here", "absent"], &[]), unknown(&["absent"])),
        ("another repository's", image("m", &["elsewhere"], &[]), unknown(&["elsewhere"])),
        ("each is named once", image("m", &["x", "y", "x"], &[]), unknown(&["x", "y"])),
        ("an absent manifest", index("m", &["child", "none"], &[]), unknown(&["none"])),
        ("a blob is no manifest", index("m", &["here"], &[]), unknown(&["here"])),
        ("a manifest is no blob", image("m", &["child"], &[]), unknown(&["child"])),
    ];
    for (case, put, outcome) in cases {
        assert_eq!(world.put(put), outcome, "{case}");
    }
    let mut fresh = image("m", &["here"], &["v1"]);
    fresh.repo = repo("fresh");
    assert_eq!(world.put(fresh), unknown(&["here"]));
    assert_eq!(query::repo(&world.state, &repo("fresh")).unwrap(), None, "a refusal makes no repository");
    world.check();
}

#[test]
fn pushing_the_same_again_moves_nothing() {
    let mut world = World::new();
    world.upload(1, "app", "layer");
    world.put_ok(image("one", &["layer"], &["v1"]));
    world.now_ms += 1;
    world.put_ok(image("one", &["layer"], &["v1", "v2"]));
    let row = query::tag(&world.state, &repo("app"), &tag("v1")).unwrap().unwrap();
    assert_eq!((row.revision, row.at_ms), (1, world.now_ms - 1));
    assert_eq!(query::tag_history(&world.state, &repo("app"), &tag("v1"), 10).unwrap().len(), 1);
    assert_eq!(world.tags("app").unwrap(), ["v1", "v2"]);
    world.check();
}

#[test]
fn a_tag_counts_its_moves_and_remembers_so_many() {
    let mut world = World::new();
    world.upload(1, "app", "layer");
    let moves = limits::TAG_HISTORY + 5;
    for number in 1..=moves {
        let name = if number % 2 == 0 { "even" } else { "odd" };
        world.put_ok(image(name, &["layer"], &["v1"]));
        let row = query::tag(&world.state, &repo("app"), &tag("v1")).unwrap().unwrap();
        assert_eq!((row.revision, row.digest), (number, digest(name)));
        world.now_ms += 1;
    }
    let history = query::tag_history(&world.state, &repo("app"), &tag("v1"), 1_000).unwrap();
    assert_eq!(history.len() as u64, limits::TAG_HISTORY);
    assert_eq!(history.first().unwrap().0, moves);
    assert_eq!(history.last().unwrap().0, moves - limits::TAG_HISTORY + 1);
    world.check();
}

#[test]
fn a_large_manifest_arrives_in_parts() {
    let mut world = World::new();
    let whole = Bytes::from(vec![7; limits::MANIFEST_PART_BYTES + 10]);
    let (first, second) = (whole.slice(..limits::MANIFEST_PART_BYTES), whole.slice(limits::MANIFEST_PART_BYTES..));
    let put = PutManifest { size: whole.len() as u64, bytes: ManifestBytes::Parts(2), ..image("big", &[], &["v1"]) };
    let missing = Outcome::Refused(Refusal::PartsMissing);
    assert_eq!(world.put(put.clone()), missing, "no part");
    assert_eq!(world.run(1, put_part("big", 1, second.clone())), Outcome::Done);
    assert_eq!(world.put(put.clone()), missing, "one part");
    assert_eq!(world.run(2, put_part("big", 0, first.slice(1..))), Outcome::Done);
    assert_eq!(world.put(put.clone()), missing, "one part too short");
    assert_eq!(world.tags("app"), None, "parts alone hold nothing");
    assert_eq!(world.run(2, put_part("big", 0, first.clone())), Outcome::Done);
    world.put_ok(put.clone());
    let found = query::manifest(&world.state, &repo("app"), &digest("big")).unwrap().unwrap();
    assert_eq!(found.bytes, whole);
    let staged = query::repo(&world.state, &repo("app")).unwrap().unwrap().id;
    assert!(
        world.state.rows(Family::Manifests).all(|(key, _)| key != crate::key::manifest_staged(staged, &put.digest))
    );
    assert_eq!(world.run(1, put_part("big", 0, second)), Outcome::Done, "late parts change nothing");
    world.put_ok(put);
    world.check();
}

#[test]
fn parts_that_nobody_puts_are_removed_by_a_later_push() {
    let mut world = World::new();
    world.run(1, put_part("abandoned", 0, Bytes::from_static(b"x")));
    world.run(1, put_part("abandoned", 1, Bytes::from_static(b"x")));
    world.now_ms += limits::STAGED_MS - 1;
    world.run(1, put_part("next", 0, Bytes::from_static(b"x")));
    assert_eq!(world.count(Family::Manifests), 5, "still awaited");
    world.now_ms += 1;
    world.run(1, put_part("next", 0, Bytes::from_static(b"x")));
    assert_eq!(world.count(Family::Manifests), 2, "one part and its mark");
    world.check();
}

#[test]
fn limits_are_refused_by_name() {
    let mut world = World::new();
    let base = || image("m", &[], &[]);
    let too_large = limits::MANIFEST_INLINE_BYTES + 1;
    let cases = [
        ("bytes in a manifest", PutManifest { size: limits::MANIFEST_BYTES + 1, ..base() }),
        (
            "bytes inside a put",
            PutManifest {
                size: too_large as u64,
                bytes: ManifestBytes::Inline(Bytes::from(vec![0; too_large])),
                ..base()
            },
        ),
        (
            "children of a manifest",
            PutManifest { children: vec![child("c", ChildKind::Blob); limits::MANIFEST_CHILDREN + 1], ..base() },
        ),
        (
            "bytes of annotations in a manifest",
            PutManifest { annotations: [("k".to_owned(), "v".repeat(limits::MANIFEST_FACT_BYTES))].into(), ..base() },
        ),
        ("tags in a put", PutManifest { tags: vec![tag("t"); limits::TAGS_PER_PUT + 1], ..base() }),
    ];
    for (expected, put) in cases {
        match world.put(put) {
            Outcome::Refused(Refusal::TooMany { what, .. }) => assert_eq!(what, expected),
            other => panic!("{expected}: {other:?}"),
        }
    }
    let large = put_part("m", 0, Bytes::from(vec![0; limits::MANIFEST_PART_BYTES + 1]));
    assert!(matches!(world.run(1, large), Outcome::Refused(Refusal::TooMany { .. })));
    let late = put_part("m", u16::try_from(limits::MANIFEST_PARTS).unwrap(), Bytes::new());
    assert!(matches!(world.run(1, late), Outcome::Refused(Refusal::TooMany { .. })));
}

#[test]
fn the_largest_commands_fit_in_a_log_entry() {
    let long = |number: usize| Digest::of(Algorithm::Sha512, &number.to_be_bytes());
    let children = (0..limits::MANIFEST_CHILDREN)
        .map(|number| crate::row::Child { digest: long(number), size: u64::MAX, kind: ChildKind::Manifest })
        .collect();
    let put = PutManifest {
        repo: "r".repeat(255).parse().unwrap(),
        digest: long(0),
        media_type: "m".repeat(1_000),
        bytes: ManifestBytes::Inline(Bytes::from(vec![0; limits::MANIFEST_INLINE_BYTES])),
        children,
        annotations: [("k".to_owned(), "v".repeat(limits::MANIFEST_FACT_BYTES - 1_001))].into(),
        tags: vec!["t".repeat(128).parse().unwrap(); limits::TAGS_PER_PUT],
        ..image("m", &[], &[])
    };
    let found = (0..limits::LOCATIONS_PER_ADD)
        .map(|number| crate::command::FoundCopy {
            digest: long(number),
            file: crate::id::FileId(u128::MAX),
            generation: u64::MAX,
        })
        .collect();
    let commands = [
        Command::PutManifest(Box::new(put)),
        Command::AddLocations { store: crate::id::StoreId(u64::MAX), found },
        put_part("m", u16::MAX, Bytes::from(vec![0; limits::MANIFEST_PART_BYTES])),
    ];
    for command in commands {
        let key =
            ProposalKey { node: NodeId(u64::MAX), incarnation: u64::MAX, sequence: u64::MAX, settled_below: u64::MAX };
        let length = encode_proposal(&Proposal { key, at_ms: u64::MAX, command }).len();
        assert!(length <= limits::LOG_ENTRY_BYTES, "{length} bytes");
    }
    assert_eq!(limits::MANIFEST_PARTS * limits::MANIFEST_PART_BYTES, usize::try_from(limits::MANIFEST_BYTES).unwrap());
}

#[test]
fn a_put_waits_for_as_many_copies_as_the_proposers_region_asks() {
    let mut world = World::new();
    world.run(4, Command::NodeBoot(boot(4, "eu", 1)));
    world.upload(1, "app", "layer");
    let short = Outcome::Refused(Refusal::NotYetDurable(vec![digest("layer")]));
    assert_eq!(world.put(image("m", &["layer"], &["v1"])), short, "one copy where the region has two full nodes");
    let through_us = Command::PutManifest(Box::new(image("m", &["layer"], &[])));
    assert!(matches!(world.run(2, through_us), Outcome::ManifestPut { .. }), "us has one node, so one copy is enough");
    world.upload(4, "app", "layer");
    world.put_ok(image("m", &["layer"], &["v1"]));
    world.set_state(4, NodeState::Draining);
    world.set_state(1, NodeState::Draining);
    world.put_ok(image("m", &["layer"], &["v2"]));
    world.check();
}

#[test]
fn a_region_whose_second_node_is_down_asks_for_one_copy_on_a_node_that_is_up() {
    let mut world = World::new();
    world.run(4, Command::NodeBoot(boot(4, "eu", 1)));
    world.upload(1, "app", "layer");
    let put = |world: &mut World, tag| world.put(image("m", &["layer"], &[tag]));
    let short = Outcome::Refused(Refusal::NotYetDurable(vec![digest("layer")]));
    assert_eq!(put(&mut world, "v1"), short);
    world.set_state(4, NodeState::Down);
    assert!(matches!(put(&mut world, "v1"), Outcome::ManifestPut { .. }));
    world.set_state(4, NodeState::Up);
    assert_eq!(put(&mut world, "v2"), short, "back to two as soon as both are up");
    world.set_state(1, NodeState::Down);
    let through_4 = Command::PutManifest(Box::new(image("m", &["layer"], &["v2"])));
    assert_eq!(world.run(4, through_4), short, "the copy is on the node that is down");
    world.set_state(1, NodeState::Up);
    world.set_ack("app", AckPolicy { regions: 1, copies: 2 });
    world.set_state(4, NodeState::Down);
    assert_eq!(put(&mut world, "v2"), short, "a policy of the repository's own holds whoever is down");
    world.check();
}

#[test]
fn a_repositorys_own_policy_asks_for_regions() {
    let mut world = World::new();
    world.upload(1, "app", "layer");
    world.set_ack("app", AckPolicy { regions: 2, copies: 1 });
    let short = Outcome::Refused(Refusal::NotYetDurable(vec![digest("layer")]));
    assert_eq!(world.put(image("m", &["layer"], &[])), short);
    world.upload(3, "app", "layer");
    world.put_ok(image("m", &["layer"], &[]));
}

#[test]
fn an_index_answers_for_the_blobs_of_its_manifests() {
    let mut world = World::new();
    world.upload(1, "app", "a");
    world.upload(2, "app", "a");
    world.upload(1, "app", "b");
    world.put_ok(image("image-a", &["a"], &[]));
    world.put_ok(image("image-b", &["b"], &[]));
    world.put_ok(index("inner", &["image-b"], &[]));
    world.set_state(1, NodeState::Down);
    let put = |world: &mut World, manifests: &[&str]| {
        world.run(2, Command::PutManifest(Box::new(index("outer", manifests, &["v1"]))))
    };
    let short = Outcome::Refused(Refusal::NotYetDurable(vec![digest("b")]));
    assert_eq!(put(&mut world, &["image-a", "image-b"]), short);
    assert_eq!(put(&mut world, &["image-a", "inner"]), short, "through an index in the index too");
    world.set_state(1, NodeState::Up);
    assert!(matches!(put(&mut world, &["image-a", "inner"]), Outcome::ManifestPut { .. }));
    world.check();
}

#[test]
fn what_hangs_below_an_index_is_bounded() {
    let mut world = World::new();
    let blobs: Vec<String> = (0..5 * limits::MANIFEST_CHILDREN).map(|number| format!("blob-{number}")).collect();
    let mut images = Vec::new();
    for (number, layers) in blobs.chunks(limits::MANIFEST_CHILDREN).enumerate() {
        for blob in layers {
            world.upload(1, "app", blob);
        }
        let name = format!("image-{number}");
        world.put_ok(image(&name, &layers.iter().map(String::as_str).collect::<Vec<_>>(), &[]));
        images.push(name);
    }
    let names: Vec<&str> = images.iter().map(String::as_str).collect();
    assert!(matches!(world.put(index("all", &names, &[])), Outcome::Refused(Refusal::TooMany { .. })));
    world.put_ok(index("some", &names[..3], &[]));
}

#[test]
fn referrers_are_listed_by_type_and_page() {
    let mut world = World::new();
    let names = ["sig-1", "sig-2", "sbom-1", "sig-3"];
    for name in names {
        let put = PutManifest {
            subject: Some(digest("subject")),
            artifact_type: Some(name[..name.len() - 2].to_owned()),
            ..image(name, &[], &[])
        };
        world.put_ok(put);
    }
    let list = |kind: Option<&str>, after: Option<&Digest>, limit| -> Vec<Digest> {
        let rows = query::referrers(&world.state, &repo("app"), &digest("subject"), kind, after, limit).unwrap();
        rows.into_iter().map(|(digest, _)| digest).collect()
    };
    let mut all: Vec<Digest> = names.iter().map(|name| digest(name)).collect();
    all.sort();
    let mut signatures: Vec<Digest> = ["sig-1", "sig-2", "sig-3"].iter().map(|name| digest(name)).collect();
    signatures.sort();
    assert_eq!(list(None, None, 10), all);
    assert_eq!(list(None, Some(&all[1]), 10), all[2..]);
    assert_eq!(list(None, None, 3), all[..3]);
    assert_eq!(list(Some("sig"), None, 10), signatures);
    assert_eq!(list(Some("sig"), None, 2), signatures[..2]);
    assert_eq!(list(Some("sig"), Some(&signatures[1]), 2), signatures[2..]);
    assert_eq!(list(Some("other"), None, 10), []);
    world.check();
}

#[test]
fn lists_are_lexical_and_continue_behind_any_name() {
    let mut world = World::new();
    let tags = ["1", "A", "a", "a-b", "a.b", "a_b", "ab", "b"];
    for name in tags {
        world.put_ok(image("m", &[], &[name]));
    }
    let page = |after: Option<&str>, limit| -> Vec<String> {
        let after = after.map(tag);
        let tags = query::tags(&world.state, &repo("app"), after.as_ref(), limit).unwrap().unwrap();
        tags.iter().map(ToString::to_string).collect()
    };
    assert_eq!(page(None, 100), tags);
    assert_eq!(page(None, 3), tags[..3]);
    assert_eq!(page(Some("a"), 2), tags[3..5]);
    assert_eq!(page(Some("a-a"), 2), tags[3..5], "a name that is not there");
    assert_eq!(page(Some("zzz"), 2), Vec::<String>::new());

    let repos = ["a", "a-b", "a/b", "a0", "app", "b"];
    for name in repos {
        let put = PutManifest { repo: repo(name), ..image("m", &[], &[]) };
        world.put_ok(put);
    }
    world.upload(1, "only-blobs", "layer");
    let page = |after: Option<&str>, limit| -> Vec<String> {
        let after = after.map(repo);
        let names = query::catalog(&world.state, after.as_ref(), limit).unwrap();
        names.iter().map(ToString::to_string).collect()
    };
    assert_eq!(page(None, 100), repos);
    assert_eq!(page(Some("a-b"), 2), repos[2..4]);
    assert_eq!(page(Some("a-c"), 2), repos[2..4]);
    assert_eq!(world.tags("only-blobs"), None, "it never held a manifest");
    world.check();
}
