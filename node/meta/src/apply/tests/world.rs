//! A state with three nodes in three regions, and short names for what the tests do to it.

use super::invariants;
use crate::apply::apply;
use crate::codec;
use crate::command::{Command, ManifestBytes, NodeBoot, Proposal, ProposalKey, PutManifest};
use crate::family::Family;
use crate::id::{FileId, NodeId, StoreId};
use crate::key;
use crate::limits;
use crate::memory::MemoryState;
use crate::outcome::Outcome;
use crate::policy::{PolicyRow, Prefix};
use crate::query;
use crate::row::{AckPolicy, BlobState, Child, ChildKind, NodeState, Role};
use bytes::Bytes;
use portolan_oci::{Digest, RepoName, Tag};
use std::collections::BTreeMap;

pub(super) const PIN_MS: u64 = 1_000;
pub(super) const GRACE_MS: u64 = 5_000;

pub(super) fn repo(name: &str) -> RepoName {
    name.parse().unwrap()
}

pub(super) fn tag(name: &str) -> Tag {
    name.parse().unwrap()
}

/// A digest for each name.
pub(super) fn digest(name: &str) -> Digest {
    Digest::sha256_of(name.as_bytes())
}

pub(super) fn boot(id: u64, region: &str, incarnation: u64) -> NodeBoot {
    NodeBoot {
        id: NodeId(id),
        name: format!("node-{id}"),
        region: region.to_owned(),
        zone: String::new(),
        role: Role::Full,
        peer: format!("127.0.0.1:{}", 7000 + id),
        storage_uuid: format!("uuid-{id}"),
        incarnation,
        version: "1".to_owned(),
    }
}

/// A manifest whose children are blobs, named by its own name.
pub(super) fn image(name: &str, blobs: &[&str], tags: &[&str]) -> PutManifest {
    put(name, blobs.iter().map(|blob| child(blob, ChildKind::Blob)).collect(), tags)
}

/// A manifest whose children are manifests.
pub(super) fn index(name: &str, manifests: &[&str], tags: &[&str]) -> PutManifest {
    put(name, manifests.iter().map(|name| child(name, ChildKind::Manifest)).collect(), tags)
}

pub(super) fn child(name: &str, kind: ChildKind) -> Child {
    Child { digest: digest(name), size: name.len() as u64, kind }
}

fn put(name: &str, children: Vec<Child>, tags: &[&str]) -> PutManifest {
    PutManifest {
        repo: repo("app"),
        digest: digest(name),
        media_type: "application/vnd.oci.image.manifest.v1+json".to_owned(),
        size: name.len() as u64,
        bytes: ManifestBytes::Inline(Bytes::copy_from_slice(name.as_bytes())),
        children,
        subject: None,
        artifact_type: None,
        annotations: BTreeMap::new(),
        tags: tags.iter().map(|name| tag(name)).collect(),
        by: "tester".to_owned(),
    }
}

pub(super) struct World {
    pub(super) state: MemoryState,
    pub(super) index: u64,
    pub(super) now_ms: u64,
    next: BTreeMap<u64, ProposalKey>,
    files: u128,
}

impl World {
    /// Nodes 1, 2, 3 in `eu`, `us`, `ap`.
    pub(super) fn new() -> Self {
        let mut world = Self::empty();
        for (id, region) in [(1, "eu"), (2, "us"), (3, "ap")] {
            assert_eq!(world.run(id, Command::NodeBoot(boot(id, region, 1))), Outcome::Done);
        }
        world
    }

    pub(super) fn empty() -> Self {
        Self { state: MemoryState::new(), index: 0, now_ms: 1_000, next: BTreeMap::new(), files: 0 }
    }

    /// The next name of a node's proposals; a command of a new incarnation begins a new count.
    pub(super) fn name(&mut self, node: u64, command: &Command) -> ProposalKey {
        let first = ProposalKey { node: NodeId(node), incarnation: 1, sequence: 0, settled_below: 0 };
        let last = self.next.entry(node).or_insert(first);
        match command {
            Command::NodeBoot(boot) if boot.incarnation > last.incarnation => {
                *last = ProposalKey { incarnation: boot.incarnation, ..first };
            }
            _ => {}
        }
        last.sequence += 1;
        last.settled_below = last.sequence;
        *last
    }

    /// Proposes as a node and applies.
    pub(super) fn run(&mut self, node: u64, command: Command) -> Outcome {
        let key = self.name(node, &command);
        self.apply(&Proposal { key, at_ms: self.now_ms, command })
    }

    pub(super) fn apply(&mut self, proposal: &Proposal) -> Outcome {
        // What travels is what was proposed.
        let bytes = codec::encode_proposal(proposal);
        assert_eq!(&codec::decode_proposal(&bytes).unwrap(), proposal);
        self.index += 1;
        let (writes, outcome) = apply(&self.state, self.index, proposal).unwrap();
        assert!(writes.rows.len() <= limits::ROWS_PER_APPLY, "{} rows: {proposal:?}", writes.rows.len());
        self.state.write(&writes);
        assert_eq!(codec::decode_outcome(&codec::encode_outcome(&outcome)).unwrap(), outcome);
        outcome
    }

    pub(super) fn check(&self) {
        invariants::check(&self.state);
    }

    pub(super) fn file(&mut self) -> FileId {
        self.files += 1;
        FileId(self.files)
    }

    /// Uploads a blob to a repository at a node.
    pub(super) fn upload(&mut self, node: u64, to: &str, blob: &str) -> FileId {
        let file = self.file();
        let command = Command::CommitBlob {
            repo: repo(to),
            digest: digest(blob),
            size: blob.len() as u64,
            store: StoreId(node),
            file,
            pin_ms: PIN_MS,
            sums: None,
        };
        match self.run(node, command) {
            Outcome::BlobCommitted { file, .. } => file,
            other => panic!("upload of {blob}: {other:?}"),
        }
    }

    pub(super) fn put(&mut self, put: PutManifest) -> Outcome {
        self.run(1, Command::PutManifest(Box::new(put)))
    }

    pub(super) fn put_ok(&mut self, put: PutManifest) {
        let outcome = self.put(put);
        assert!(matches!(outcome, Outcome::ManifestPut { .. }), "{outcome:?}");
    }

    pub(super) fn set_state(&mut self, node: u64, state: NodeState) {
        let incarnation = query::node(&self.state, NodeId(node)).unwrap().unwrap().incarnation;
        let command = Command::SetNodeState { node: NodeId(node), incarnation, state };
        assert_eq!(self.run(1, command), Outcome::Done);
    }

    pub(super) fn set_ack(&mut self, name: &str, ack: AckPolicy) {
        self.set_policy(name, PolicyRow { ack: Some(ack), ..PolicyRow::default() });
    }

    pub(super) fn set_policy(&mut self, prefix: &str, policy: PolicyRow) {
        let prefix = Prefix::parse(prefix).unwrap();
        assert_eq!(self.run(1, Command::SetPolicy { prefix, policy }), Outcome::Done);
    }

    /// What condemning will do: refused unless the blob is Live without edge and unexpired pin.
    pub(super) fn condemn(&mut self, blob: &str) -> bool {
        condemn(&mut self.state, &digest(blob))
    }

    pub(super) fn visible(&self, name: &str, blob: &str) -> bool {
        query::visible_blob(&self.state, &repo(name), &digest(blob)).unwrap().is_some()
    }

    pub(super) fn tags(&self, name: &str) -> Option<Vec<String>> {
        let tags = query::tags(&self.state, &repo(name), None, 1_000).unwrap()?;
        Some(tags.iter().map(ToString::to_string).collect())
    }

    pub(super) fn count(&self, family: Family) -> usize {
        self.state.rows(family).count()
    }
}

pub(super) fn condemn(state: &mut MemoryState, digest: &Digest) -> bool {
    let Some(mut row) = query::blob(state, digest).unwrap().filter(|row| row.state == BlobState::Live) else {
        return false;
    };
    let clock = query::clock_ms(state).unwrap();
    let prefix = [&[b'b'][..], &key::blob(digest)].concat();
    let edges = state.rows(Family::Edges).filter(|(key, _)| key.starts_with(&prefix)).count();
    let pins: Vec<(Vec<u8>, u64)> = state
        .rows(Family::Pins)
        .filter(|(key, _)| key.starts_with(&key::blob(digest)))
        .map(|(key, value)| {
            let pin: crate::row::PinRow = codec::decode(Family::Pins, key, value).unwrap();
            (key.to_vec(), pin.until_ms)
        })
        .collect();
    if edges > 0 || pins.iter().any(|(_, until_ms)| *until_ms > clock) {
        return false;
    }
    row.state = BlobState::Condemned;
    state.put(Family::Blobs, key::blob(digest), codec::encode(&row));
    let rows = pins.into_iter().map(|(key, _)| crate::view::Write::Delete(Family::Pins, key)).collect();
    state.write(&crate::view::Writes { rows, ..Default::default() });
    true
}
