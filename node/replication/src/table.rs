//! The checksums of a blob's chunks, as committed with the blob: what any chunk from a peer is checked by, on arrival and
//! without the rest of the blob.

use crate::holders::Holders;
use portolan_consensus::Consensus;
use portolan_meta::query;
use portolan_oci::Digest;
use portolan_peer::{PeerError, Peers};
use portolan_store::{CHUNK_BYTES, table_digest};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};
use tracing::{debug, warn};

/// How many holders are asked for one table.
const ASKED: usize = 4;

/// How many tables are remembered: clients that read a layer range by range come many times for each.
const REMEMBERED: usize = 64;

/// Longer tables (of blobs above 64 GiB) are not remembered.
const REMEMBERED_CHUNKS: usize = 256 << 10;

/// One CRC32C per chunk, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Table(Arc<[u32]>);

impl Table {
    /// The sum of a chunk.
    pub(crate) fn sum(&self, index: u64) -> Option<u32> {
        usize::try_from(index).ok().and_then(|index| self.0.get(index).copied())
    }

    /// All of them.
    pub(crate) fn sums(&self) -> &[u32] {
        &self.0
    }
}

/// Finds tables.
pub(crate) struct Tables {
    consensus: Arc<Consensus>,
    holders: Arc<Holders>,
    peers: Arc<Peers>,
    patience: Duration,
    remembered: Mutex<VecDeque<(Digest, Table)>>,
}

impl Tables {
    /// `patience` is for all holders together that are asked for one.
    pub(crate) fn new(consensus: Arc<Consensus>, holders: Arc<Holders>, peers: Arc<Peers>, patience: Duration) -> Self {
        Self { consensus, holders, peers, patience, remembered: Mutex::default() }
    }

    /// What the cluster committed to as the digest of a blob's table; `None` for blobs of older versions.
    pub(crate) fn committed(&self, digest: &Digest) -> Option<Digest> {
        let row = self.consensus.local().read(|view| query::blob(view, digest));
        row.ok().flatten().and_then(|row| row.sums)
    }

    /// The table of a blob; `None` when nothing is committed or nobody gives the right one in time.
    pub(crate) async fn of(&self, digest: Digest, size: u64) -> Option<Table> {
        let committed = self.committed(&digest)?;
        if let Some(table) = self.recall(&digest) {
            return Some(table);
        }
        let table = self.ask(digest, size, committed).await?;
        self.remember(digest, &table);
        Some(table)
    }

    async fn ask(&self, digest: Digest, size: u64, committed: Digest) -> Option<Table> {
        let deadline = Instant::now() + self.patience;
        let known = self.holders.of(&digest).ok().flatten()?;
        // Who relays has no table before it has the blob.
        let holders = known.candidates.iter().filter(|candidate| !candidate.relay);
        for holder in holders.take(ASKED) {
            let until = deadline.min(Instant::now() + self.patience / 3);
            match timeout_at(until, self.peers.blob_sums(holder.node, &digest))
                .await
                .unwrap_or(Err(PeerError::Deadline))
            {
                Ok(sums) if sums.len() as u64 == size.div_ceil(CHUNK_BYTES) && table_digest(&sums) == committed => {
                    return Some(Table(sums.into()));
                }
                Ok(_) => warn!(%digest, peer = %holder.node, "a peer's chunk sums are not those that were committed"),
                Err(error) => debug!(%digest, peer = %holder.node, %error, "a peer gave no chunk sums"),
            }
        }
        None
    }

    fn recall(&self, digest: &Digest) -> Option<Table> {
        let remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        remembered.iter().find(|(known, _)| known == digest).map(|(_, table)| table.clone())
    }

    fn remember(&self, digest: Digest, table: &Table) {
        if table.0.len() > REMEMBERED_CHUNKS {
            return;
        }
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        remembered.retain(|(known, _)| *known != digest);
        if remembered.len() >= REMEMBERED {
            remembered.pop_front();
        }
        remembered.push_back((digest, table.clone()));
    }
}
