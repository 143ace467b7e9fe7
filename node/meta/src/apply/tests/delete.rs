use super::world::{GRACE_MS, PIN_MS, World, digest, image, index, repo, tag};
use crate::command::{Command, PutManifest};
use crate::family::Family;
use crate::limits;
use crate::outcome::{Outcome, Refusal};
use crate::query;

fn manifest(name: &str) -> Command {
    Command::DeleteManifest { repo: repo("app"), digest: digest(name), grace_ms: GRACE_MS, by: "tester".to_owned() }
}

fn delete_tag(name: &str, of: &str) -> Command {
    Command::DeleteTag { repo: repo(of), tag: tag(name), by: "tester".to_owned() }
}

fn blob(name: &str, of: &str) -> Command {
    Command::DeleteBlob { repo: repo(of), digest: digest(name) }
}

#[test]
fn deleting_a_tag_leaves_the_manifest_and_a_history() {
    let mut world = World::new();
    world.put_ok(image("m", &[], &["v1", "v2"]));
    let cases = [
        ("unknown repository", delete_tag("v1", "none"), Outcome::Refused(Refusal::UnknownRepo)),
        ("unknown tag", delete_tag("v3", "app"), Outcome::Refused(Refusal::UnknownTag)),
        ("known", delete_tag("v1", "app"), Outcome::Done),
        ("again", delete_tag("v1", "app"), Outcome::Refused(Refusal::UnknownTag)),
    ];
    for (case, command, outcome) in cases {
        assert_eq!(world.run(1, command), outcome, "{case}");
    }
    assert_eq!(world.tags("app").unwrap(), ["v2"]);
    assert!(query::manifest(&world.state, &repo("app"), &digest("m")).unwrap().is_some());
    world.put_ok(image("m", &[], &["v1"]));
    let row = query::tag(&world.state, &repo("app"), &tag("v1")).unwrap().unwrap();
    assert_eq!(row.revision, 3, "put, deleted, put");
    let history = query::tag_history(&world.state, &repo("app"), &tag("v1"), 10).unwrap();
    let digests: Vec<_> = history.iter().map(|(_, row)| row.digest).collect();
    assert_eq!(digests, [Some(digest("m")), None, Some(digest("m"))]);
    world.check();
}

#[test]
fn deleting_a_manifest_takes_its_tags_and_leaves_its_blobs_pinned() {
    let mut world = World::new();
    world.upload(1, "app", "layer");
    let put = PutManifest { subject: Some(digest("subject")), ..image("m", &["layer"], &["v1", "v2"]) };
    world.put_ok(put);
    world.put_ok(image("other", &["layer"], &["v3"]));
    world.now_ms += 2 * PIN_MS;
    assert_eq!(world.run(1, manifest("m")), Outcome::ManifestDeleted { tags: 2 });
    assert_eq!(world.tags("app").unwrap(), ["v3"]);
    assert_eq!(world.count(Family::Referrers), 0);
    assert_eq!(world.run(1, manifest("m")), Outcome::Refused(Refusal::UnknownManifest));
    assert_eq!(world.run(1, manifest("other")), Outcome::ManifestDeleted { tags: 1 });
    assert_eq!(world.count(Family::Manifests), 0);
    assert!(world.visible("app", "layer"));
    assert!(!world.condemn("layer"), "the grace is a pin");
    assert_eq!(query::catalog(&world.state, None, 10).unwrap(), [], "it holds no manifest now");
    assert_eq!(world.tags("app"), Some(vec![]), "but it did");
    world.now_ms += GRACE_MS;
    world.upload(1, "app", "tick");
    assert!(!world.visible("app", "layer"));
    assert!(world.condemn("layer"));
    world.check();
}

#[test]
fn a_manifest_stays_while_an_index_lists_it() {
    let mut world = World::new();
    world.put_ok(image("m", &[], &["v1"]));
    world.put_ok(index("all", &["m"], &[]));
    assert_eq!(world.run(1, manifest("m")), Outcome::Refused(Refusal::ListedByIndex(vec![digest("all")])));
    assert_eq!(world.tags("app").unwrap(), ["v1"], "a refusal takes no tag");
    assert_eq!(world.run(1, manifest("all")), Outcome::ManifestDeleted { tags: 0 });
    assert_eq!(world.run(1, manifest("m")), Outcome::ManifestDeleted { tags: 1 });
    world.check();
}

#[test]
fn an_index_of_another_repository_does_not_matter() {
    let mut world = World::new();
    world.put_ok(image("m", &[], &[]));
    world.put_ok(PutManifest { repo: repo("other"), ..image("m", &[], &[]) });
    world.put_ok(PutManifest { repo: repo("other"), ..index("all", &["m"], &[]) });
    assert_eq!(world.run(1, manifest("m")), Outcome::ManifestDeleted { tags: 0 });
    world.check();
}

#[test]
fn a_manifest_with_many_tags_goes_in_steps() {
    let mut world = World::new();
    let names: Vec<String> = (0..2 * limits::TAGS_PER_DELETE + 1).map(|number| format!("v{number}")).collect();
    for tags in names.chunks(limits::TAGS_PER_PUT) {
        world.put_ok(image("m", &[], &tags.iter().map(String::as_str).collect::<Vec<_>>()));
    }
    for _ in 0..2 {
        assert_eq!(world.run(1, manifest("m")), Outcome::MoreToDo);
        world.check();
    }
    assert_eq!(world.run(1, manifest("m")), Outcome::ManifestDeleted { tags: 1 });
    assert_eq!(world.count(Family::Tags), 0);
    world.check();
}

#[test]
fn the_largest_manifest_is_deleted_in_one_apply() {
    let mut world = World::new();
    let blobs: Vec<String> = (0..limits::MANIFEST_CHILDREN).map(|number| format!("blob-{number}")).collect();
    for blob in &blobs {
        world.upload(1, "app", blob);
    }
    let tags: Vec<String> = (0..limits::TAGS_PER_DELETE).map(|number| format!("v{number}")).collect();
    let layers: Vec<&str> = blobs.iter().map(String::as_str).collect();
    for tags in tags.chunks(limits::TAGS_PER_PUT) {
        world.put_ok(image("m", &layers, &tags.iter().map(String::as_str).collect::<Vec<_>>()));
    }
    // `World::apply` asserts the bound on rows.
    assert_eq!(world.run(1, manifest("m")), Outcome::ManifestDeleted { tags: 256 });
    world.check();
}

#[test]
fn deleting_a_blob_hides_it_in_its_repository_only() {
    let mut world = World::new();
    world.upload(1, "app", "layer");
    world.upload(1, "other", "layer");
    world.put_ok(image("m", &["layer"], &[]));
    let cases = [
        ("unknown repository", blob("layer", "none"), Outcome::Refused(Refusal::UnknownRepo)),
        ("unknown blob", blob("nothing", "app"), Outcome::Refused(Refusal::UnknownBlob)),
        ("in use", blob("layer", "app"), Outcome::Refused(Refusal::ReferredTo(vec![digest("m")]))),
        ("pinned", blob("layer", "other"), Outcome::Done),
        ("again", blob("layer", "other"), Outcome::Refused(Refusal::UnknownBlob)),
    ];
    for (case, command, outcome) in cases {
        assert_eq!(world.run(1, command), outcome, "{case}");
    }
    assert!(world.visible("app", "layer"));
    assert!(!world.visible("other", "layer"));
    assert_eq!(world.count(Family::Loc), 1, "no file is touched");
    world.check();
}
