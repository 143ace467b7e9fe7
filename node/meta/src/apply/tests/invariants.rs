//! What must hold in every state, whatever happened before.

use crate::codec::decode;
use crate::family::Family;
use crate::id::{RepoId, StoreId};
use crate::key;
use crate::limits;
use crate::memory::MemoryState;
use crate::query;
use crate::row::{BlobState, ChildKind, LocationRow, ManifestRow, PinRow, RepoRow, TagRow};
use portolan_oci::{Digest, RepoName, Tag};
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn check(state: &MemoryState) {
    let repos = repos(state);
    let manifests = manifests(state);
    edges_mirror_children(state, &manifests);
    pins_and_edges_keep_live_blobs(state, &manifests);
    tags_point_at_manifests(state, &manifests, &repos);
    locations_mirror_each_other(state);
    lists_show_what_is_there(state, &repos, &manifests);
}

type Manifests = BTreeMap<(RepoId, Digest), ManifestRow>;

fn repos(state: &MemoryState) -> BTreeMap<RepoId, (RepoName, RepoRow)> {
    let mut repos = BTreeMap::new();
    let mut by_id = BTreeMap::new();
    for (key, value) in state.rows(Family::Repos) {
        let text = |bytes: &[u8]| -> RepoName { std::str::from_utf8(bytes).unwrap().parse().unwrap() };
        match key[0] {
            b'n' => {
                let row: RepoRow = decode(Family::Repos, key, value).unwrap();
                repos.insert(row.id, (text(&key[1..]), row));
            }
            b'i' => {
                by_id.insert(RepoId(key::split_number(&key[1..]).unwrap().0), text(value));
            }
            b'l' | b'p' => {}
            other => panic!("a repository key of kind {other}"),
        }
    }
    let names: BTreeMap<RepoId, RepoName> = repos.iter().map(|(id, (name, _))| (*id, name.clone())).collect();
    assert_eq!(names, by_id, "ids and names mirror each other");
    repos
}

fn manifests(state: &MemoryState) -> Manifests {
    let mut manifests = BTreeMap::new();
    for (key, value) in state.rows(Family::Manifests) {
        let (repo, rest) = key::split_number(key).unwrap();
        if rest[0] == b'r' {
            let (digest, _) = key::split_digest(&rest[1..]).unwrap();
            manifests.insert((RepoId(repo), digest), decode(Family::Manifests, key, value).unwrap());
        }
    }
    manifests
}

fn edges_mirror_children(state: &MemoryState, manifests: &Manifests) {
    let stored: BTreeSet<Vec<u8>> = state.rows(Family::Edges).map(|(key, _)| key.to_vec()).collect();
    let due: BTreeSet<Vec<u8>> = manifests
        .iter()
        .flat_map(|((repo, parent), row)| {
            row.children.iter().map(move |child| key::edge(child.kind, &child.digest, *repo, parent))
        })
        .collect();
    assert_eq!(stored, due, "every child has its edge, and every edge its child");
    let stored: BTreeSet<Vec<u8>> = state.rows(Family::Referrers).map(|(key, _)| key.to_vec()).collect();
    let due: BTreeSet<Vec<u8>> = manifests
        .iter()
        .filter_map(|((repo, digest), row)| Some(key::referrer(*repo, row.subject.as_ref()?, digest)))
        .collect();
    assert_eq!(stored, due, "every subject has its referrer row");
}

fn pins_and_edges_keep_live_blobs(state: &MemoryState, manifests: &Manifests) {
    let live = |digest: &Digest| query::blob(state, digest).unwrap().is_some_and(|row| row.state == BlobState::Live);
    for ((repo, parent), row) in manifests {
        for child in &row.children {
            match child.kind {
                ChildKind::Blob => assert!(live(&child.digest), "{parent} has an edge to a blob that is not Live"),
                ChildKind::Manifest => {
                    assert!(manifests.contains_key(&(*repo, child.digest)), "{parent} lists an absent manifest");
                }
            }
        }
    }
    let clock = query::clock_ms(state).unwrap();
    for (key, value) in state.rows(Family::Pins) {
        let (digest, _) = key::split_digest(key).unwrap();
        let pin: PinRow = decode(Family::Pins, key, value).unwrap();
        assert!(pin.until_ms <= clock || live(&digest), "{digest} is pinned and not Live");
    }
}

fn tags_point_at_manifests(state: &MemoryState, manifests: &Manifests, repos: &BTreeMap<RepoId, (RepoName, RepoRow)>) {
    let mut mirror = BTreeSet::new();
    for (key, value) in state.rows(Family::Tags) {
        let (repo, rest) = key::split_number(key).unwrap();
        let repo = RepoId(repo);
        let tag: Tag = std::str::from_utf8(rest).unwrap().parse().unwrap();
        let row: TagRow = decode(Family::Tags, key, value).unwrap();
        assert!(manifests.contains_key(&(repo, row.digest)), "{tag} points at an absent manifest");
        mirror.insert(key::tag_of_manifest(repo, &row.digest, &tag));
        let history = query::tag_history(state, &repos[&repo].0, &tag, usize::MAX).unwrap();
        assert!(history.len() as u64 <= limits::TAG_HISTORY);
        assert_eq!(history[0].0, row.revision, "{tag}'s newest move is its revision");
        assert_eq!(history[0].1.digest, Some(row.digest));
        assert!(history.windows(2).all(|pair| pair[0].0 == pair[1].0 + 1), "{tag}'s revisions have no gaps");
    }
    let stored: BTreeSet<Vec<u8>> = state.rows(Family::TagsByManifest).map(|(key, _)| key.to_vec()).collect();
    assert_eq!(stored, mirror, "tags_by_manifest mirrors tags");
}

fn locations_mirror_each_other(state: &MemoryState) {
    let mut mirror = BTreeMap::new();
    let mut stores = BTreeSet::new();
    for (key, value) in state.rows(Family::Loc) {
        let (digest, rest) = key::split_digest(key).unwrap();
        let (store, rest) = key::split_number(rest).unwrap();
        let (file, _) = key::split_file(rest).unwrap();
        let store = StoreId(store);
        let row: LocationRow = decode(Family::Loc, key, value).unwrap();
        let blob = query::blob(state, &digest).unwrap().unwrap();
        assert_eq!(row.generation, blob.generation, "a copy of {digest} is of another generation");
        assert!(stores.insert((digest, store)), "{store} holds {digest} twice");
        assert!(!state.rows(Family::Reclaim).any(|(key, _)| key == key::reclaim(store, file)), "held and given up");
        mirror.insert(key::location_by_store(store, &digest, file), value.clone());
    }
    let stored: BTreeMap<Vec<u8>, _> =
        state.rows(Family::LocByStore).map(|(key, value)| (key.to_vec(), value.clone())).collect();
    assert_eq!(stored, mirror, "loc_by_store mirrors loc");
}

fn lists_show_what_is_there(state: &MemoryState, repos: &BTreeMap<RepoId, (RepoName, RepoRow)>, manifests: &Manifests) {
    let mut holding: Vec<RepoName> = Vec::new();
    for (repo, (name, row)) in repos {
        let holds = manifests.keys().any(|(id, _)| id == repo);
        assert!(row.ever_held || !holds, "{name} holds a manifest and never did");
        if holds {
            holding.push(name.clone());
        }
    }
    holding.sort();
    assert_eq!(query::catalog(state, None, usize::MAX).unwrap(), holding, "the catalog lists those that hold one");
    for (repo, digest) in manifests.keys() {
        let whole = query::manifest(state, &repos[repo].0, digest).unwrap().unwrap();
        assert_eq!(whole.bytes.len() as u64, whole.row.size);
    }
}
