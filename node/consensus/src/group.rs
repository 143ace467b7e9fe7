//! What the parts of this floor share: Raft, the state, the peers, and the few questions that all of them ask.

use crate::clock::Clock;
use crate::config::Config;
use crate::state_machine::{Announcer, StateMachine};
use crate::types::{Reply, Request, Types, index_of};
use openraft::async_runtime::WatchReceiver;
use openraft::errors::{ClientWriteError, RaftError};
use openraft::metrics::RaftServerMetrics;
use portolan_meta::command::Proposal;
use portolan_meta::id::NodeId;
use portolan_meta::outcome::Outcome;
use portolan_meta::{codec, query};
use portolan_peer::Peers;
use portolan_store::State;
use portolan_trace::TraceContext;
use std::sync::Arc;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug_span};

pub(crate) type Raft = openraft::Raft<Types, StateMachine>;

/// The shared parts.
pub(crate) struct Group {
    pub(crate) node: NodeId,
    pub(crate) config: Config,
    pub(crate) raft: Raft,
    pub(crate) state: Arc<State>,
    pub(crate) peers: Arc<Peers>,
    pub(crate) announcer: Announcer,
    pub(crate) clock: Clock,
    /// Cancelled when this node stops.
    pub(crate) stopping: CancellationToken,
}

/// How an attempt to get a proposal committed ended.
pub(crate) enum Attempt {
    /// The leader applied it.
    Applied {
        /// Where.
        index: u64,
        /// What came of it.
        outcome: Outcome,
    },
    /// It was certainly not taken.
    NotTaken {
        /// Who leads, as far as whoever refused it knows.
        leader: Option<NodeId>,
    },
    /// It may or may not become committed.
    Unknown,
    /// Raft stopped on this node.
    Stopped,
}

/// Where this node stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standing {
    pub(crate) term: u64,
    pub(crate) leader: Option<NodeId>,
    pub(crate) committed: u64,
    pub(crate) applied: u64,
}

impl Standing {
    /// How many entries known to be committed are not applied here.
    pub(crate) fn lag(&self) -> u64 {
        self.committed.saturating_sub(self.applied)
    }
}

impl Group {
    /// Where this node stands now.
    pub(crate) fn standing(&self) -> Standing {
        let applied = *self.announcer.applied.borrow();
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        // The metrics may lag behind an apply that was just announced.
        let committed = index_of(metrics.cluster_committed).max(index_of(metrics.local_committed)).max(applied);
        Standing { term: metrics.current_term, leader: metrics.current_leader.map(NodeId), committed, applied }
    }

    /// Who leads, as far as this node knows.
    pub(crate) fn leader(&self) -> Option<NodeId> {
        self.raft.server_metrics().borrow_watched().current_leader.map(NodeId)
    }

    /// Whether this node leads.
    pub(crate) fn leads(&self) -> bool {
        self.leader() == Some(self.node)
    }

    /// Waits until a leader is known; `None` when there is none before the deadline or Raft stopped.
    pub(crate) async fn wait_leader(&self, deadline: Instant) -> Option<NodeId> {
        let known = self.until(|metrics| metrics.current_leader.map(NodeId));
        timeout_at(deadline, known).await.ok().flatten()
    }

    /// Waits until this node no longer takes `leader` for the leader.
    pub(crate) async fn wait_leader_gone(&self, leader: NodeId) {
        self.until(|metrics| (metrics.current_leader != Some(leader.0)).then_some(())).await;
    }

    /// Waits until this node takes `leader` for the leader, or the deadline passes.
    pub(crate) async fn wait_led_by(&self, leader: NodeId, deadline: Instant) {
        // What Raft tells of itself is told twice, and the two do not change at once.
        let mut metrics = self.raft.metrics();
        let led = async {
            self.until(|metrics| (metrics.current_leader == Some(leader.0)).then_some(())).await;
            loop {
                let known = metrics.borrow_watched().current_leader;
                if known == Some(leader.0) || metrics.changed().await.is_err() {
                    return;
                }
            }
        };
        // Past the deadline this node is merely not told yet.
        let _ = timeout_at(deadline, led).await;
    }

    /// Waits until somebody leads in a later term; `None` when nobody does before the deadline or Raft stopped.
    pub(crate) async fn wait_leader_after(&self, term: u64, deadline: Instant) -> Option<NodeId> {
        let later =
            self.until(|metrics| metrics.current_leader.filter(|_| metrics.vote.leader_id.term > term).map(NodeId));
        timeout_at(deadline, later).await.ok().flatten()
    }

    /// Waits until the metrics answer; `None` when Raft stopped.
    async fn until<T>(&self, mut pick: impl FnMut(&RaftServerMetrics<Types>) -> Option<T>) -> Option<T> {
        let mut metrics = self.raft.server_metrics();
        loop {
            if let Some(picked) = pick(&metrics.borrow_watched()) {
                return Some(picked);
            }
            if metrics.changed().await.is_err() {
                return None;
            }
        }
    }

    /// Waits until this node has applied an index; tells whether it did before the deadline.
    pub(crate) async fn wait_applied(&self, index: u64, deadline: Instant) -> bool {
        let mut applied = self.announcer.applied.subscribe();
        let waited = timeout_at(deadline, applied.wait_for(|applied| *applied >= index));
        matches!(waited.instrument(debug_span!("wait_applied", index)).await, Ok(Ok(_)))
    }

    /// Stamps a proposal and writes it through Raft on this node, if it leads.
    pub(crate) async fn write(&self, proposal: &mut Proposal, deadline: Instant) -> Attempt {
        proposal.at_ms = match self.stamp() {
            Ok(at_ms) => at_ms,
            Err(error) => {
                tracing::error!(%error, "the state's clock cannot be read");
                return Attempt::NotTaken { leader: None };
            }
        };
        let request = Request { bytes: codec::encode_proposal(proposal).into(), trace: TraceContext::current() };
        match timeout_at(deadline, self.raft.client_write(request)).await {
            Err(_) => Attempt::Unknown,
            Ok(Ok(response)) => match response.data {
                Reply(Some(outcome)) => Attempt::Applied { index: response.log_id.index, outcome },
                Reply(None) => Attempt::Unknown,
            },
            Ok(Err(RaftError::APIError(ClientWriteError::ForwardToLeader(forward)))) => {
                Attempt::NotTaken { leader: forward.leader_id.map(NodeId) }
            }
            Ok(Err(RaftError::APIError(error))) => {
                tracing::debug!(%error, "a proposal's entry was discarded");
                Attempt::Unknown
            }
            Ok(Err(RaftError::Fatal(_))) => Attempt::Stopped,
        }
    }

    fn stamp(&self) -> Result<u64, portolan_meta::view::ViewError> {
        let term = self.raft.server_metrics().borrow_watched().vote.leader_id.term;
        let mut failure = None;
        let at_ms = self.clock.stamp(term, || {
            self.state.read(query::clock_ms).unwrap_or_else(|error| {
                failure = Some(error);
                0
            })
        });
        failure.map_or(Ok(at_ms), Err)
    }
}
