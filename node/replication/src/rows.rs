//! A state made by commands, as a cluster makes it, for tests of what is read from its rows.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use portolan_meta::command::{Command, NodeBoot, Proposal, ProposalKey};
use portolan_meta::id::{FileId, NodeId, StoreId};
use portolan_meta::memory::MemoryState;
use portolan_meta::outcome::Outcome;
use portolan_meta::row::{NodeState, Role};
use portolan_oci::Digest;

/// The state, and how many commands made it.
pub(crate) struct Rows {
    pub(crate) state: MemoryState,
    index: u64,
}

impl Rows {
    /// Nodes 1.. in these regions.
    pub(crate) fn of(regions: &[&str]) -> Self {
        let mut rows = Self { state: MemoryState::new(), index: 0 };
        rows.apply(1, Command::InitCluster { cluster_id: "c".to_owned(), epoch: 0 });
        for (id, region) in (1..).zip(regions) {
            rows.apply(id, Command::NodeBoot(boot(id, region)));
        }
        rows
    }

    /// A command that a node proposes and that is not refused.
    pub(crate) fn apply(&mut self, node: u64, command: Command) -> Outcome {
        self.index += 1;
        let key = ProposalKey { node: NodeId(node), incarnation: 1, sequence: self.index, settled_below: 0 };
        let proposal = Proposal { key, at_ms: self.index, command };
        let (writes, outcome) = portolan_meta::apply(&self.state, self.index, &proposal).unwrap();
        self.state.write(&writes);
        assert!(!matches!(outcome, Outcome::Refused(_)), "{outcome:?}");
        outcome
    }

    /// An upload of five bytes at a node; tells the generation.
    pub(crate) fn push(&mut self, node: u64, digest: Digest, file: FileId) -> u64 {
        let (repo, store, size, pin_ms, sums) = ("r".parse().unwrap(), StoreId(node), 5, 1_000_000, None);
        let push = Command::CommitBlob { repo, digest, size, store, file, pin_ms, sums };
        let Outcome::BlobCommitted { generation, .. } = self.apply(node, push) else { panic!("it is not committed") };
        generation
    }

    /// What the cluster thinks of a node from now on.
    pub(crate) fn mark(&mut self, node: u64, state: NodeState) {
        self.apply(1, Command::SetNodeState { node: NodeId(node), incarnation: 1, state });
    }
}

fn boot(id: u64, region: &str) -> NodeBoot {
    NodeBoot {
        id: NodeId(id),
        name: format!("n{id}"),
        region: region.to_owned(),
        zone: String::new(),
        role: Role::Full,
        peer: format!("n{id}:7000"),
        storage_uuid: format!("s{id}"),
        incarnation: 1,
        version: "test".to_owned(),
    }
}
