//! The one handle for everyone above.

use crate::change::Change;
use crate::config::Config;
use crate::error::{ConsensusError, ProposeError, ReadError};
use crate::members::{LocalNode, StaticMember};
use crate::reading::{Freshness, StateView};
use crate::status::Status;
use portolan_meta::command::Command;
use portolan_meta::id::NodeId;
use portolan_meta::outcome::Outcome;
use portolan_peer::{ClusterHandler, Peers, RaftHandler};
use portolan_store::{RaftLog, State};
use std::sync::Arc;
use tokio::sync::{broadcast, watch};
use tokio::time::Instant;

/// This node's part of the Raft group.
pub struct Consensus {}

impl Consensus {
    /// Starts Raft on an opened log and state. It takes part in the group from here on, as soon as the peer server
    /// has [`Self::raft_handler`] and [`Self::cluster_handler`]. The boot proposal is made by the caller.
    ///
    /// # Errors
    /// The member list or the settings are wrong, or the store failed.
    pub async fn start(
        config: Config,
        local: LocalNode,
        members: Vec<StaticMember>,
        log: Arc<RaftLog>,
        state: Arc<State>,
        peers: Arc<Peers>,
    ) -> Result<Arc<Self>, ConsensusError> {
        todo!()
    }

    /// Makes a new group out of the listed voters. For the first listed member only, and only when no listed peer
    /// knows a cluster. Does nothing when this node already has a log.
    ///
    /// # Errors
    /// Raft stopped.
    pub async fn initialize_if_first(&self) -> Result<(), ConsensusError> {
        todo!()
    }

    /// Changes the state. Returns once this node has applied the command, so that a later local view shows it.
    ///
    /// # Errors
    /// See [`ProposeError`]; only [`ProposeError::NoLeader`] and [`ProposeError::TooLarge`] mean "certainly not".
    pub async fn propose(&self, command: Command, deadline: Instant) -> Result<Outcome, ProposeError> {
        todo!()
    }

    /// A view of the state. [`Freshness::Local`] never waits and never fails.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn view(&self, freshness: Freshness) -> Result<StateView, ReadError> {
        todo!()
    }

    /// The state as applied here; the same as `view(Freshness::Local)` without the `await`.
    #[must_use]
    pub fn local(&self) -> StateView {
        todo!()
    }

    /// What is applied here from now on. A receiver that lags rescans the state.
    #[must_use]
    pub fn changes(&self) -> broadcast::Receiver<Change> {
        todo!()
    }

    /// The newest index applied here.
    #[must_use]
    pub fn applied(&self) -> watch::Receiver<u64> {
        todo!()
    }

    /// The group as this node sees it.
    #[must_use]
    pub fn status(&self) -> Status {
        todo!()
    }

    /// This node's id.
    #[must_use]
    pub fn node(&self) -> NodeId {
        todo!()
    }

    /// Hands the leadership to another voter, if this node leads. Returns once asked for, not once done.
    ///
    /// # Errors
    /// Raft stopped.
    pub async fn transfer_leader(&self, to: NodeId) -> Result<(), ConsensusError> {
        todo!()
    }

    /// What the peer server calls for Raft's messages.
    #[must_use]
    pub fn raft_handler(self: &Arc<Self>) -> Arc<dyn RaftHandler> {
        todo!()
    }

    /// What the peer server calls for forwarded proposals, read-index and pings.
    #[must_use]
    pub fn cluster_handler(self: &Arc<Self>) -> Arc<dyn ClusterHandler> {
        todo!()
    }

    /// Stops all tasks and Raft, and awaits them. Proposals and reads that wait get `Stopped`.
    pub async fn shutdown(&self) {
        todo!()
    }
}
