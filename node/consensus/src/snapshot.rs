//! Snapshots: checkpoints of the state, built here or received from a leader.

use crate::disk::blocking;
use crate::markers;
use crate::metrics;
use crate::types::Types;
use openraft::storage::RaftSnapshotBuilder;
use portolan_sabotage::Sabotage;
use portolan_store::{Checkpoint, Incoming, State};
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

pub(crate) type Snapshot = openraft::alias::SnapshotOf<Types, SnapshotData>;

/// How much of a file is held in memory at once.
pub(crate) const PIECE_BYTES: usize = 256 << 10;

/// A snapshot's bytes, on this node's disk.
pub(crate) enum SnapshotData {
    /// Made from this node's own state; may be sent.
    Built(Arc<Checkpoint>),
    /// Received whole and verified; may be installed.
    Received(Incoming),
}

/// Makes checkpoints.
pub(crate) struct SnapshotBuilder {
    state: Arc<State>,
}

impl SnapshotBuilder {
    pub(crate) fn new(state: Arc<State>) -> Self {
        Self { state }
    }
}

impl RaftSnapshotBuilder<Types> for SnapshotBuilder {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> Result<Snapshot, io::Error> {
        let state = Arc::clone(&self.state);
        let checkpoint = blocking(move || state.checkpoint().map_err(io::Error::other)).await?;
        metrics::built();
        tracing::info!(checkpoint = checkpoint.id(), bytes = checkpoint.total_bytes(), "made a snapshot");
        describe(&self.state, checkpoint)
    }
}

/// The newest checkpoint, if there is one. Does not wait for one that is being made: Raft asks on the task that applies.
pub(crate) fn current(state: &State) -> io::Result<Option<Snapshot>> {
    state.current_checkpoint().map(|checkpoint| describe(state, checkpoint)).transpose()
}

/// The meta data is read from the checkpoint itself, not from the state that went on since.
fn describe(state: &State, checkpoint: Arc<Checkpoint>) -> io::Result<Snapshot> {
    let mut meta = markers::of_checkpoint(&checkpoint)?;
    // Sabotaged: it is taken for as new as the state is by now.
    if portolan_sabotage::is(Sabotage::SnapshotWithoutApplied) {
        (meta.last_log_id, meta.last_membership) = markers::of_state(state)?;
    }
    Ok(Snapshot { meta, snapshot: SnapshotData::Built(checkpoint) })
}

/// Lands a checkpoint of another state on the same machine.
pub(crate) fn copy_in(state: &State, checkpoint: &Checkpoint) -> io::Result<Incoming> {
    let incoming = state.incoming().map_err(io::Error::other)?;
    let mut piece = vec![0; PIECE_BYTES];
    for file in checkpoint.files() {
        let mut source = checkpoint.open_file(&file.name).map_err(io::Error::other)?;
        let mut target = incoming.file(file).map_err(io::Error::other)?;
        loop {
            let count = source.read(&mut piece)?;
            if count == 0 {
                break;
            }
            target.write(&piece[..count]).map_err(io::Error::other)?;
        }
        target.finish().map_err(io::Error::other)?;
    }
    Ok(incoming)
}

/// Counts the snapshot transfers under way: while there is one the log is not purged, so that the receiver finds the
/// entries that follow its snapshot.
#[derive(Clone, Default)]
pub(crate) struct Transfers(Arc<AtomicUsize>);

impl Transfers {
    /// Counts one until the guard is dropped.
    pub(crate) fn begin(&self) -> TransferGuard {
        self.0.fetch_add(1, Ordering::AcqRel);
        TransferGuard(self.clone())
    }

    /// How many are under way.
    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::Acquire)
    }
}

/// See [`Transfers::begin`].
pub(crate) struct TransferGuard(Transfers);

impl Drop for TransferGuard {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::AcqRel);
    }
}
