//! A node's start becomes a row of the replicated state, and what the state says of the others' identities reaches the
//! guard of the peer traffic.

use crate::config::Config;
use crate::error::Failure;
use portolan_consensus::{Change, Consensus, LocalNode, ProposeError};
use portolan_meta::command::{Command, NodeBoot};
use portolan_meta::id::NodeId;
use portolan_meta::outcome::Outcome;
use portolan_meta::query;
use portolan_peer::IdentityTable;
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// What this part of a node is called.
pub(crate) const NAME: &str = "the boot proposal";
/// How long one proposal may look for a quorum before it is made again.
const ATTEMPT: Duration = Duration::from_secs(10);
/// The pause before a failed attempt is repeated.
const PAUSE: Duration = Duration::from_millis(200);

/// What a start proposes.
pub(crate) struct Announcement {
    /// For the first listed member: the cluster's id, which an existing cluster has already.
    init: Option<Command>,
    boot: Command,
}

impl Announcement {
    /// Of this start.
    pub(crate) fn new(config: &Config, local: &LocalNode) -> Self {
        let init = (local.id == NodeId(1))
            .then(|| Command::InitCluster { cluster_id: local.cluster_id.clone(), epoch: local.epoch });
        let boot = Command::NodeBoot(NodeBoot {
            id: local.id,
            name: config.node.name.clone(),
            region: config.node.region.clone(),
            zone: config.node.zone.clone(),
            role: config.node.role,
            peer: config.peer.advertise.clone(),
            storage_uuid: local.storage_uuid.clone(),
            incarnation: local.incarnation,
            version: local.version.clone(),
        });
        Self { init, boot }
    }
}

/// Proposes the announcement until it is committed; a node without a quorum serves what it has meanwhile.
///
/// # Errors
/// When the cluster refuses this node: it must not go on.
pub(crate) async fn announce(
    consensus: &Consensus,
    announcement: &Announcement,
    stop: &CancellationToken,
) -> Result<(), Failure> {
    for command in announcement.init.iter().chain([&announcement.boot]) {
        let outcome = stop.run_until_cancelled(until_committed(consensus, command)).await;
        match outcome {
            None => return Ok(()),
            Some(Outcome::Refused(refusal)) => return Err(Failure::start("joining the cluster")(refusal)),
            Some(_) => {}
        }
    }
    tracing::info!("the cluster knows this start");
    Ok(())
}

async fn until_committed(consensus: &Consensus, command: &Command) -> Outcome {
    loop {
        match consensus.propose(command.clone(), Instant::now() + ATTEMPT).await {
            Ok(outcome) => return outcome,
            // The stop token ends this wait.
            Err(ProposeError::Stopped) => return std::future::pending().await,
            Err(error @ (ProposeError::NoLeader | ProposeError::Deadline | ProposeError::TooLarge { .. })) => {
                tracing::warn!(%error, "this start is not known to the cluster yet");
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Tells the guard what is committed about each node, now and after every change, until `stop`.
pub(crate) async fn watch_identities(consensus: &Consensus, table: &IdentityTable, stop: &CancellationToken) {
    let mut changes = consensus.changes();
    loop {
        match consensus.local().read(query::nodes) {
            Ok(rows) => {
                for row in rows {
                    table.commit(row.id, &row.storage_uuid, row.incarnation);
                }
            }
            Err(error) => tracing::error!(%error, "the nodes cannot be read"),
        }
        loop {
            let change = tokio::select! {
                () = stop.cancelled() => return,
                change = changes.recv() => change,
            };
            match change {
                Ok(Change::Blobs(_)) => {}
                Ok(Change::Topology | Change::Reset) | Err(RecvError::Lagged(_)) => break,
                // Consensus has stopped before this task: nothing changes any more.
                Err(RecvError::Closed) => return stop.cancelled().await,
            }
        }
    }
}
