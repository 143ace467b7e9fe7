//! The one handle for everyone above.

use crate::change::Change;
use crate::clock::Clock;
use crate::config::Config;
use crate::error::{ConsensusError, HandoverError, HashError, ProposeError, ReadError};
use crate::group::{Group, Raft};
use crate::handover::{self, Handover};
use crate::liveness::{Condition, Liveness};
use crate::log_store::LogStore;
use crate::members::{self, LocalNode, StaticMember};
use crate::metrics;
use crate::network::Network;
use crate::propose::Proposer;
use crate::read_index::{self, Barrier};
use crate::reading::{Freshness, StateView};
use crate::server::Server;
use crate::settings::raft_settings;
use crate::snapshot::Transfers;
use crate::state_hash::{StateHash, StateHasher};
use crate::state_machine::{Announcer, BatchLimits, StateMachine};
use crate::status::Status;
use crate::traces::EntryTraces;
use crate::unreached::Unreached;
use crate::work::Work;
use futures::future::BoxFuture;
use openraft::EmptyNode;
use openraft::async_runtime::WatchReceiver;
use openraft::errors::{InitializeError, RaftError};
use portolan_meta::command::{Command, NodeBoot};
use portolan_meta::id::NodeId;
use portolan_meta::outcome::Outcome;
use portolan_peer::{ClusterHandler, Member, NodeLoad, Peers, RaftHandler};
use portolan_store::{RaftLog, State};
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{broadcast, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug_span};

/// This node's part of the Raft group.
pub struct Consensus {
    local: LocalNode,
    members: Vec<StaticMember>,
    group: Arc<Group>,
    log: Arc<RaftLog>,
    proposer: Arc<Proposer>,
    barrier: Barrier,
    liveness: Arc<Liveness>,
    server: Arc<Server>,
    work: Arc<Work>,
    hasher: StateHasher,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl Consensus {
    /// Starts Raft on an opened log and state, and makes the listed members known to `peers`. The node takes part in
    /// the group from here on, as soon as the peer server has [`Self::raft_handler`] and [`Self::cluster_handler`].
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
        members::check(&members, local.id).map_err(ConsensusError::Members)?;
        metrics::describe(config.snapshot_log_bytes);
        let settings = Arc::new(raft_settings(&config, &local.cluster_id)?);
        peers.set_pulse(config.pulse());
        peers.set_members(members.iter().filter(|member| member.id != local.id).map(as_peer).collect());
        let transfers = Transfers::default();
        let announcer = Announcer::new(config.change_backlog);
        let limits = BatchLimits { entries: config.apply_batch_entries, bytes: config.apply_batch_bytes };
        let traces = Arc::new(EntryTraces::new(config.traced_entries));
        let machine = StateMachine::open(Arc::clone(&state), announcer.clone(), limits, Arc::clone(&traces))?;
        let unreached = Unreached::default();
        let network =
            Network::new(Arc::clone(&peers), transfers.clone(), Arc::clone(&traces), unreached.clone(), &config);
        let log_store = LogStore::new(Arc::clone(&log), config.append_max_bytes, traces);
        let raft = start_raft(local.id, settings, network, log_store, machine).await?;
        let group = Arc::new(Group {
            node: local.id,
            config,
            raft,
            state,
            peers,
            announcer,
            clock: Clock::default(),
            stopping: CancellationToken::new(),
        });
        Ok(Self::assemble(local, members, group, log, (transfers, unreached)))
    }

    fn assemble(
        local: LocalNode,
        members: Vec<StaticMember>,
        group: Arc<Group>,
        log: Arc<RaftLog>,
        (transfers, unreached): (Transfers, Unreached),
    ) -> Arc<Self> {
        let proposer = Arc::new(Proposer::new(Arc::clone(&group), local.incarnation));
        let liveness = Arc::new(Liveness::new());
        let server = Server::new(Arc::clone(&group), Arc::clone(&liveness), unreached, local.version.clone());
        let work = Arc::new(Work {
            group: Arc::clone(&group),
            log: Arc::clone(&log),
            proposer: Arc::clone(&proposer),
            liveness: Arc::clone(&liveness),
            members: members.clone(),
            transfers,
            cluster_id: local.cluster_id.clone(),
            epoch: local.epoch,
        });
        let (barrier, waiting) = Barrier::new(group.config.max_waiting_reads.get());
        let asking = Arc::clone(&group);
        let rounds = group.config.max_read_rounds;
        let reads = read_index::serve(waiting, rounds, move |deadline| read_index::ask(Arc::clone(&asking), deadline));
        let tasks = vec![
            spawn(&group, reads),
            spawn(&group, Arc::clone(&work).ping_all()),
            spawn(&group, Arc::clone(&work).judge_all()),
            spawn(&group, Arc::clone(&work).keep_house()),
        ];
        let tasks = Mutex::new(tasks);
        let hasher = StateHasher::default();
        Arc::new(Self { local, members, group, log, proposer, barrier, liveness, server, work, hasher, tasks })
    }

    /// Makes a new group out of the listed voters. For the first listed member only, and only when no listed peer
    /// knows a cluster. Does nothing when this node already has a log.
    ///
    /// # Errors
    /// Raft stopped.
    pub async fn initialize_if_first(&self) -> Result<(), ConsensusError> {
        let voters = self.members.iter().filter(|member| member.voter);
        let voters: BTreeMap<u64, EmptyNode> = voters.map(|member| (member.id.0, EmptyNode {})).collect();
        match self.group.raft.initialize(voters).await {
            Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => Ok(()),
            Err(RaftError::APIError(error @ InitializeError::NotInMembers(_))) => {
                Err(ConsensusError::Settings(error.to_string()))
            }
            Err(RaftError::Fatal(error)) => Err(raft_error(error)),
        }
    }

    /// Makes this start of this node known: commits the cluster's id, which only the first time changes anything, and
    /// the node's boot. To be called once per start; what the node announces before it is refused.
    ///
    /// # Errors
    /// See [`Self::propose`]. A refusal is an outcome: another cluster, or another data folder under this node's id.
    pub async fn boot(&self, deadline: Instant) -> Result<Outcome, ProposeError> {
        let cluster_id = self.local.cluster_id.clone();
        let init = Command::InitCluster { cluster_id, epoch: self.local.epoch };
        let outcome = self.propose(init, deadline).await?;
        if matches!(outcome, Outcome::Refused(_)) {
            return Ok(outcome);
        }
        let me = self.members.iter().find(|member| member.id == self.local.id);
        let me = me.expect("`start` checked that this node is listed");
        let boot = NodeBoot {
            id: me.id,
            name: me.name.clone(),
            region: me.region.clone(),
            zone: me.zone.clone(),
            role: me.role,
            peer: me.peer.clone(),
            storage_uuid: self.local.storage_uuid.clone(),
            incarnation: self.local.incarnation,
            version: self.local.version.clone(),
        };
        self.propose(Command::NodeBoot(boot), deadline).await
    }

    /// Changes the state. Returns once this node has applied the command, so that a later local view shows it.
    ///
    /// # Errors
    /// See [`ProposeError`]; only [`ProposeError::NoLeader`] and [`ProposeError::TooLarge`] mean "certainly not".
    pub async fn propose(&self, command: Command, deadline: Instant) -> Result<Outcome, ProposeError> {
        self.proposer.propose(command, deadline).await
    }

    /// A view of the state. [`Freshness::Local`] never waits and never fails.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn view(&self, freshness: Freshness) -> Result<StateView, ReadError> {
        match freshness {
            Freshness::Local => Ok(self.local()),
            Freshness::Linearizable { deadline } => tokio::select! {
                biased;
                () = self.group.stopping.cancelled() => Err(ReadError::Stopped),
                view = self.fresh(deadline).instrument(debug_span!("read_index")) => view,
            },
        }
    }

    async fn fresh(&self, deadline: Instant) -> Result<StateView, ReadError> {
        let index = self.barrier.pass(deadline).await?;
        if self.group.wait_applied(index, deadline).await { Ok(self.local()) } else { Err(ReadError::Unavailable) }
    }

    /// The state as applied here; the same as `view(Freshness::Local)` without the `await`.
    #[must_use]
    pub fn local(&self) -> StateView {
        StateView::new(Arc::clone(&self.group.state))
    }

    /// Hashes the state as applied here, and says at which index that was. Nodes of one version that have applied the
    /// same index have the same hash. Reads the whole state, one call at a time.
    ///
    /// # Errors
    /// See [`HashError`].
    pub async fn state_hash(&self) -> Result<StateHash, HashError> {
        self.hasher.hash(&self.group).await
    }

    /// What is applied here from now on. A receiver that lags rescans the state.
    #[must_use]
    pub fn changes(&self) -> broadcast::Receiver<Change> {
        self.group.announcer.changes.subscribe()
    }

    /// The newest index applied here.
    #[must_use]
    pub fn applied(&self) -> watch::Receiver<u64> {
        self.group.announcer.applied.subscribe()
    }

    /// The group as this node sees it.
    #[must_use]
    pub fn status(&self) -> Status {
        self.work.status()
    }

    /// This node's id.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.group.node
    }

    /// Which start of this node this is.
    #[must_use]
    pub fn incarnation(&self) -> u64 {
        self.local.incarnation
    }

    /// What the floors above know about this node's disk, for the pings of others. Ready and writable until said
    /// otherwise.
    pub fn set_condition(&self, condition: Condition) {
        self.liveness.set_condition(condition);
    }

    /// What the floors above count on this node, for the pings of others: a copy that costs nothing to answer with.
    pub fn set_load(&self, load: NodeLoad) {
        self.liveness.set_load(load);
    }

    /// Has another voter lead: the named one, or of those that answer the one that lacks least of the log. Any node may
    /// be asked. Returns once this node knows that another leads, or that the named one did already.
    ///
    /// # Errors
    /// See [`HandoverError`].
    pub async fn hand_over(&self, to: Option<NodeId>, deadline: Instant) -> Result<Handover, HandoverError> {
        tokio::select! {
            biased;
            () = self.group.stopping.cancelled() => Err(HandoverError::Stopped),
            done = handover::hand_over(&self.group, to, deadline) => done,
        }
    }

    /// What the peer server calls for Raft's messages.
    #[must_use]
    pub fn raft_handler(&self) -> Arc<dyn RaftHandler> {
        Arc::clone(&self.server) as Arc<dyn RaftHandler>
    }

    /// What the peer server calls for forwarded proposals, read-index and pings.
    #[must_use]
    pub fn cluster_handler(&self) -> Arc<dyn ClusterHandler> {
        Arc::clone(&self.server) as Arc<dyn ClusterHandler>
    }

    /// Returns when Raft stops by itself, which only a failing store makes it do: the node must be stopped, and its
    /// log says why. Never returns while all is well.
    pub async fn failed(&self) -> ConsensusError {
        let mut metrics = self.group.raft.metrics();
        loop {
            if let Err(error) = &metrics.borrow_watched().running_state {
                return ConsensusError::Raft(error.to_string());
            }
            if metrics.changed().await.is_err() {
                return ConsensusError::Raft("it is gone".to_owned());
            }
        }
    }

    /// Stops all tasks and Raft, awaits them, and makes state and log durable. Proposals and reads that wait get
    /// `Stopped`. The second call does nothing.
    pub async fn shutdown(&self) {
        self.group.stopping.cancel();
        let tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        for task in tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, "a worker of consensus ended badly");
            }
        }
        if let Err(error) = self.group.raft.shutdown().await {
            tracing::error!(%error, "raft ended badly");
        }
        let (state, log) = (Arc::clone(&self.group.state), Arc::clone(&self.log));
        let flushed = crate::disk::blocking(move || {
            log.close();
            state.flush().map_err(std::io::Error::other)
        });
        if let Err(error) = flushed.await {
            tracing::error!(%error, "the state was not flushed; the log has it");
        }
    }
}

/// Runs a worker until this node stops.
fn spawn(group: &Group, worker: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    let stopping = group.stopping.clone();
    tokio::spawn(async move {
        stopping.run_until_cancelled(worker).await;
    })
}

/// Starts Raft. Boxed, and in a plain function: the body of an async one is compiled anew into every crate that waits for
/// it, which with openraft in it costs each of them a minute.
fn start_raft(
    node: NodeId,
    settings: Arc<openraft::Config>,
    network: Network,
    log: LogStore,
    machine: StateMachine,
) -> BoxFuture<'static, Result<Raft, ConsensusError>> {
    Box::pin(async move { Raft::new(node.0, settings, network, log, machine).await.map_err(raft_error) })
}

fn as_peer(member: &StaticMember) -> Member {
    Member {
        node: member.id,
        name: member.name.clone(),
        region: member.region.clone(),
        zone: member.zone.clone(),
        address: member.peer.clone(),
    }
}

fn raft_error(error: impl std::fmt::Display) -> ConsensusError {
    ConsensusError::Raft(error.to_string())
}
