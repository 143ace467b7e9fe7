use super::{ImageName, Images, TooLarge, contents};
use crate::codec::encode;
use crate::family::Family;
use crate::id::RepoId;
use crate::key;
use crate::memory::MemoryState;
use crate::row::{Child, ChildKind, ManifestRow, ReferrerRow, RepoRow, TagRow};
use portolan_oci::{Digest, RepoName};
use std::collections::{BTreeMap, BTreeSet};

const PLENTY: usize = 100;

fn digest(name: &str) -> Digest {
    Digest::sha256_of(name.as_bytes())
}

fn repo(name: &str) -> RepoName {
    name.parse().unwrap()
}

/// Repositories written row by row.
#[derive(Default)]
struct Shelf {
    state: MemoryState,
    repos: BTreeMap<String, RepoId>,
}

impl Shelf {
    fn repo(&mut self, name: &str) -> RepoId {
        if let Some(id) = self.repos.get(name) {
            return *id;
        }
        let id = RepoId(self.repos.len() as u64 + 1);
        let row = RepoRow { id, ever_held: true };
        self.state.put(Family::Repos, key::repo(&repo(name)), encode(&row));
        self.state.put(Family::Repos, key::repo_by_id(id), name.as_bytes().to_vec());
        self.repos.insert(name.to_owned(), id);
        id
    }

    /// A manifest: `m:x` names another manifest, everything else a blob.
    fn put(&mut self, name: &str, manifest: &str, children: &[&str], subject: Option<&str>) {
        let (id, own) = (self.repo(name), digest(manifest));
        let child = |text: &&str| match text.strip_prefix("m:") {
            Some(manifest) => Child { digest: digest(manifest), size: 1, kind: ChildKind::Manifest },
            None => Child { digest: digest(text), size: 1, kind: ChildKind::Blob },
        };
        let children: Vec<Child> = children.iter().map(child).collect();
        for child in &children {
            self.state.put(Family::Edges, key::edge(child.kind, &child.digest, id, &own), Vec::new());
        }
        let row = ManifestRow {
            media_type: "m".to_owned(),
            size: 1,
            parts: 1,
            children,
            subject: subject.map(digest),
            artifact_type: None,
            annotations: BTreeMap::new(),
            at_ms: 0,
        };
        self.state.put(Family::Manifests, key::manifest(id, &own), encode(&row));
        if let Some(subject) = subject {
            let row =
                ReferrerRow { media_type: "m".to_owned(), size: 1, artifact_type: None, annotations: BTreeMap::new() };
            self.state.put(Family::Referrers, key::referrer(id, &digest(subject), &own), encode(&row));
        }
    }

    fn tag(&mut self, name: &str, tag: &str, manifest: &str) {
        let (id, tag) = (self.repo(name), tag.parse().unwrap());
        let row = TagRow { digest: digest(manifest), revision: 1, by: "t".to_owned(), at_ms: 0 };
        self.state.put(Family::Tags, key::tag(id, &tag), encode(&row));
        self.state.put(Family::TagsByManifest, key::tag_of_manifest(id, &digest(manifest), &tag), Vec::new());
    }

    fn contents(&self, name: &str, manifest: &str) -> Option<(BTreeSet<Digest>, BTreeSet<Digest>)> {
        let found = contents(&self.state, &repo(name), &digest(manifest), PLENTY).unwrap().unwrap()?;
        assert_eq!(found.manifests[0], digest(manifest));
        let (manifests, blobs) = (found.manifests.len(), found.blobs.len());
        let sets = (BTreeSet::from_iter(found.manifests), BTreeSet::from_iter(found.blobs));
        assert_eq!((sets.0.len(), sets.1.len()), (manifests, blobs), "each once");
        Some(sets)
    }

    fn images(&self, blob: &str) -> Vec<String> {
        let mut images = Images::new(PLENTY);
        let names = images.of(&self.state, &digest(blob), PLENTY).unwrap();
        assert!(!images.is_cut());
        names.iter().map(ImageName::to_string).collect()
    }
}

fn digests<const N: usize>(names: [&str; N]) -> BTreeSet<Digest> {
    names.map(digest).into()
}

/// An index of two images, one of them signed, the signature's own SBOM, and an attestation in cosign's way.
fn shelf() -> Shelf {
    let mut shelf = Shelf::default();
    shelf.put("app", "amd", &["config", "base", "top"], None);
    shelf.put("app", "arm", &["config", "base", "other"], None);
    shelf.put("app", "index", &["m:amd", "m:arm", "m:absent"], None);
    shelf.put("app", "signature", &["empty", "sig"], Some("amd"));
    shelf.put("app", "bill", &["empty", "sbom"], Some("signature"));
    shelf.put("app", "attestation", &["att"], None);
    shelf.tag("app", "v1", "index");
    let hex = digest("index").hex();
    shelf.tag("app", &format!("sha256-{hex}.att"), "attestation");
    shelf.put("app", "unrelated", &["alone"], None);
    shelf.put("app", "orphan", &["adrift"], Some("gone"));
    shelf
}

#[test]
fn an_image_is_its_manifest_with_its_children_and_everything_that_refers_to_any_of_them() {
    let mut shelf = shelf();
    let (manifests, blobs) = shelf.contents("app", "index").unwrap();
    assert_eq!(manifests, digests(["index", "amd", "arm", "signature", "bill", "attestation"]));
    assert_eq!(blobs, digests(["config", "base", "top", "other", "empty", "sig", "sbom", "att"]));
    let (manifests, blobs) = shelf.contents("app", "arm").unwrap();
    assert_eq!((manifests, blobs), (digests(["arm"]), digests(["config", "base", "other"])));
    // An index of the fallback scheme, which names what refers to its subject.
    shelf.put("app", "fallback", &["m:unrelated"], None);
    shelf.tag("app", &format!("sha256-{}", digest("arm").hex()), "fallback");
    let (manifests, _) = shelf.contents("app", "arm").unwrap();
    assert_eq!(manifests, digests(["arm", "fallback", "unrelated"]));
}

#[test]
fn what_refers_to_itself_has_an_end() {
    let mut shelf = Shelf::default();
    shelf.put("app", "a", &["x"], Some("b"));
    shelf.put("app", "b", &["y"], Some("a"));
    assert_eq!(shelf.contents("app", "a").unwrap(), (digests(["a", "b"]), digests(["x", "y"])));
    assert_eq!(shelf.images("x").len(), 0, "it has neither a tag nor a top");
}

#[test]
fn an_image_that_is_not_there_has_no_contents_and_a_large_one_is_refused() {
    let shelf = shelf();
    assert_eq!(shelf.contents("app", "nothing"), None);
    assert_eq!(shelf.contents("other", "index"), None);
    for (limit, fits) in [(14, true), (13, false), (1, false)] {
        let found = contents(&shelf.state, &repo("app"), &digest("index"), limit).unwrap();
        assert_eq!(found.is_ok(), fits, "{limit}: {found:?}");
        assert!(fits || found == Err(TooLarge { limit }));
    }
}

#[test]
fn a_blob_belongs_to_every_image_above_it_and_to_what_its_manifest_refers_to() {
    let mut shelf = shelf();
    shelf.put("copy", "amd", &["config", "base", "top"], None);
    shelf.tag("copy", "v1", "amd");
    shelf.tag("copy", "latest", "amd");
    assert_eq!(shelf.images("top"), ["app:v1", "copy:latest", "copy:v1"]);
    assert_eq!(shelf.images("other"), ["app:v1"]);
    assert_eq!(shelf.images("sbom"), ["app:v1"]);
    assert_eq!(shelf.images("alone"), [format!("app@{}", digest("unrelated"))]);
    assert_eq!(shelf.images("adrift"), [format!("app@{}", digest("orphan"))]);
    assert!(shelf.images("unheard of").is_empty());
}

/// A blob in ten images of one tag each.
fn base_layer() -> Shelf {
    let mut shelf = Shelf::default();
    for index in 0..10 {
        let manifest = format!("m{index}");
        shelf.put("app", &manifest, &["base", "config"], None);
        shelf.tag("app", &format!("v{index}"), &manifest);
    }
    shelf
}

#[test]
fn many_images_of_one_blob_are_looked_at_up_to_a_limit() {
    let shelf = base_layer();
    for (limit, found) in [(4, 4), (9, 9), (10, 10), (11, 10)] {
        let mut images = Images::new(PLENTY);
        let names = images.of(&shelf.state, &digest("base"), limit).unwrap();
        assert_eq!((names.len(), images.is_cut()), (found, limit < 10), "{limit}");
    }
}

#[test]
fn many_tags_of_one_manifest_are_named_up_to_a_limit() {
    let mut shelf = Shelf::default();
    shelf.put("app", "m", &["base"], None);
    (0..10).for_each(|index| shelf.tag("app", &format!("v{index}"), "m"));
    for (limit, found) in [(9, 9), (10, 10)] {
        let mut images = Images::new(PLENTY);
        let names = images.of(&shelf.state, &digest("base"), limit).unwrap();
        assert_eq!((names.len(), images.is_cut()), (found, limit < 10), "{limit}");
    }
}

#[test]
fn the_blobs_of_one_image_cost_little_more_than_one_of_them() {
    let shelf = base_layer();
    let mut images = Images::new(PLENTY);
    assert_eq!(images.of(&shelf.state, &digest("base"), PLENTY).unwrap().len(), 10);
    let left = images.steps();
    assert_eq!(left, PLENTY - 10 - 10 - 10, "ten edges, ten manifests, ten tags");
    assert!(images.of(&shelf.state, &digest("config"), PLENTY).unwrap().is_empty(), "they were found before");
    assert_eq!(images.steps(), left - 10, "ten edges");
    assert!(!images.is_cut() && !images.is_spent());
}

#[test]
fn whoever_has_taken_all_steps_says_that_there_may_be_more() {
    let shelf = base_layer();
    let mut images = Images::new(16);
    let names = images.of(&shelf.state, &digest("base"), PLENTY).unwrap();
    assert!((1..10).contains(&names.len()), "{names:?}");
    assert!(images.is_cut() && images.is_spent());
    assert!(images.of(&shelf.state, &digest("config"), PLENTY).unwrap().is_empty());
}
