//! openraft's state machine over the store's state: a batch of entries becomes one write.

use crate::change::Change;
use crate::disk::blocking;
use crate::markers::{self, LAST_APPLIED, MEMBERSHIP};
use crate::metrics;
use crate::snapshot::{Snapshot, SnapshotBuilder, SnapshotData, copy_in, current};
use crate::traces::EntryTraces;
use crate::types::{Entry, LogId, Reply, SnapshotMeta, StoredMembership, Types, encode, index_of};
use futures::{Stream, StreamExt};
use openraft::entry::RaftEntry;
use openraft::storage::{ApplyResponder, EntryResponder, RaftStateMachine};
use openraft::{EmptyNode, EntryPayload, Membership, OptionalSend};
use portolan_meta::command::Proposal;
use portolan_meta::{Overlay, apply, codec};
use portolan_sabotage::Sabotage;
use portolan_store::State;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::{broadcast, watch};

/// What the state machine tells those above.
#[derive(Clone)]
pub(crate) struct Announcer {
    /// The newest applied index.
    pub(crate) applied: watch::Sender<u64>,
    /// What it changed.
    pub(crate) changes: broadcast::Sender<Change>,
}

impl Announcer {
    /// `backlog`: see [`crate::Config::change_backlog`].
    pub(crate) fn new(backlog: usize) -> Self {
        Self { applied: watch::Sender::new(0), changes: broadcast::Sender::new(backlog.max(1)) }
    }

    fn announce(&self, applied: u64, changes: impl IntoIterator<Item = Change>) {
        self.applied.send_replace(applied);
        for change in changes {
            // Nobody listens, for instance while the node starts: whoever subscribes scans first.
            let _ = self.changes.send(change);
        }
    }
}

/// How much one write may hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BatchLimits {
    /// See [`crate::Config::apply_batch_entries`].
    pub(crate) entries: usize,
    /// See [`crate::Config::apply_batch_bytes`].
    pub(crate) bytes: u64,
}

/// The applied state as openraft sees it.
pub(crate) struct StateMachine {
    state: Arc<State>,
    announcer: Announcer,
    limits: BatchLimits,
    traces: Arc<EntryTraces>,
    last_applied: Option<LogId>,
    membership: StoredMembership,
}

impl StateMachine {
    /// Reads where the state stands.
    pub(crate) fn open(
        state: Arc<State>,
        announcer: Announcer,
        limits: BatchLimits,
        traces: Arc<EntryTraces>,
    ) -> io::Result<Self> {
        let (last_applied, membership) = markers::of_state(&state)?;
        announcer.applied.send_replace(index_of(last_applied));
        Ok(Self { state, announcer, limits, traces, last_applied, membership })
    }

    /// Applies one batch, and only then lets anybody hear of it. Away from the tasks: a catching-up node may make
    /// RocksDB hold its writers back for a while.
    async fn apply_batch(&mut self, batch: Vec<EntryResponder<Types>>) -> io::Result<()> {
        let (Some((first, _)), Some((last, _))) = (batch.first(), batch.last()) else { return Ok(()) };
        let last_applied = last.log_id();
        let spans = self.traces.apply(first.index()..=last.index());
        let (began, entries) = (Instant::now(), batch.len());
        let state = Arc::clone(&self.state);
        let applied = blocking(move || write_batch(&state, last_applied, batch)).await?;
        drop(spans);
        self.last_applied = Some(last_applied);
        if let Some(membership) = applied.membership {
            self.membership = membership;
        }
        self.announcer.announce(last_applied.index, applied.changes);
        metrics::applied(entries, began.elapsed());
        for (responder, reply) in applied.answers {
            responder.send(reply);
        }
        Ok(())
    }
}

/// What a written batch gave.
struct Applied {
    membership: Option<StoredMembership>,
    changes: Vec<Change>,
    answers: Vec<(ApplyResponder<Types>, Reply)>,
}

/// Every entry sees what the earlier ones wrote, and all of it is written at once.
fn write_batch(state: &State, last_applied: LogId, batch: Vec<EntryResponder<Types>>) -> io::Result<Applied> {
    let batch = decode_all(batch)?;
    let latest = state.latest();
    let mut overlay = Overlay::new(&latest);
    overlay.prefetch(batch.iter().filter_map(|decoded| decoded.proposal.as_ref())).map_err(io::Error::other)?;
    let mut membership = None;
    let mut answers = Vec::with_capacity(batch.len());
    for Decoded { log_id, proposal, config, responder } in batch {
        let reply = match proposal {
            Some(proposal) => {
                let (writes, outcome) = apply(&overlay, log_id.index, &proposal).map_err(io::Error::other)?;
                overlay.absorb(writes);
                Reply(Some(outcome))
            }
            None => Reply(None),
        };
        if let Some(config) = config {
            membership = Some(StoredMembership::new(Some(log_id), config));
        }
        if let Some(responder) = responder {
            answers.push((responder, reply));
        }
    }
    let writes = overlay.into_writes();
    let mut markers = vec![(LAST_APPLIED, encode(&last_applied)?)];
    if let Some(membership) = &membership {
        markers.push((MEMBERSHIP, encode(membership)?));
    }
    state.write(&writes, &markers).map_err(io::Error::other)?;
    Ok(Applied { membership, changes: changes_of(writes.changed_blobs, writes.topology_changed), answers })
}

/// An entry, opened.
struct Decoded {
    log_id: LogId,
    proposal: Option<Proposal>,
    config: Option<Membership<u64, EmptyNode>>,
    responder: Option<ApplyResponder<Types>>,
}

fn decode_all(batch: Vec<EntryResponder<Types>>) -> io::Result<Vec<Decoded>> {
    let decode = |(entry, responder): EntryResponder<Types>| {
        let log_id = entry.log_id;
        let (proposal, config) = match entry.payload {
            EntryPayload::Blank => (None, None),
            EntryPayload::Membership(config) => (None, Some(config)),
            EntryPayload::Normal(request) => {
                (Some(codec::decode_proposal(&request.bytes).map_err(io::Error::other)?), None)
            }
        };
        Ok(Decoded { log_id, proposal, config, responder })
    };
    batch.into_iter().map(decode).collect()
}

fn changes_of(mut blobs: Vec<portolan_oci::Digest>, topology: bool) -> Vec<Change> {
    let mut changes = Vec::new();
    if topology {
        changes.push(Change::Topology);
    }
    if !blobs.is_empty() {
        blobs.sort_unstable();
        blobs.dedup();
        changes.push(Change::Blobs(blobs.into()));
    }
    changes
}

fn entry_bytes(entry: &Entry) -> u64 {
    match &entry.payload {
        EntryPayload::Normal(request) => request.bytes.len() as u64,
        EntryPayload::Blank | EntryPayload::Membership(_) => 0,
    }
}

impl RaftStateMachine<Types> for StateMachine {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        Ok((self.last_applied, self.membership.clone()))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> Result<(), io::Error>
    where
        Strm: Stream<Item = Result<EntryResponder<Types>, io::Error>> + Unpin + OptionalSend,
    {
        let mut batch = Vec::new();
        let mut bytes = 0;
        while let Some(item) = entries.next().await {
            let item = item?;
            bytes += entry_bytes(&item.0);
            batch.push(item);
            if batch.len() >= self.limits.entries || bytes >= self.limits.bytes {
                self.apply_batch(std::mem::take(&mut batch)).await?;
                bytes = 0;
            }
        }
        self.apply_batch(batch).await
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        SnapshotBuilder::new(Arc::clone(&self.state))
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, snapshot: SnapshotData) -> Result<(), io::Error> {
        let (state, announced) = (Arc::clone(&self.state), meta.last_log_id);
        blocking(move || {
            let incoming = match snapshot {
                SnapshotData::Received(incoming) => incoming,
                SnapshotData::Built(checkpoint) => copy_in(&state, &checkpoint)?,
            };
            let verify = |markers: &BTreeMap<String, Vec<u8>>| match markers::of_received(markers) {
                Ok(held) if held == announced => Ok(()),
                // Sabotaged: what it holds is not looked at.
                Ok(_) if portolan_sabotage::is(Sabotage::SnapshotWithoutApplied) => Ok(()),
                Ok(held) => Err(format!("it holds {held:?}, but was announced as {announced:?}")),
                Err(error) => Err(error.to_string()),
            };
            state.install(incoming, verify).map_err(io::Error::other)?;
            // A snapshot of one's own at the same place: what this node would send on if it became the leader.
            state.checkpoint().map(|_| ()).map_err(io::Error::other)
        })
        .await?;
        (self.last_applied, self.membership) = markers::of_state(&self.state)?;
        metrics::installed();
        let index = index_of(self.last_applied);
        tracing::info!(index, "a snapshot replaced the state");
        self.announcer.announce(index, [Change::Reset]);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, io::Error> {
        current(&self.state)
    }
}
